"""Regression whose coefficients are Gaussian processes: spectra vary smoothly in space and colour.

The HSI is modelled as its global regression on the MSI plus a Gaussian process of position and MSI
colour, a sum of three terms: a smooth offset, slopes on the MSI bands that vary smoothly over the
ground (spatially varying coefficients, Gelfand et al., "Spatial modeling with spatially varying
coefficient processes", JASA 98, 2003), and a function of colour (`_colours`). Each LR pixel sees
the mean of the process over its PSF, so that mixed pixels are understood as mixtures, as in
area-to-point kriging (Kyriakidis, Geographical Analysis 36, 2004). The posterior mean at the HR
pixels is the fused image, after back-projection.

It is solved in windows of LR pixels that lie on a fixed grid of the scene and overlap by half;
their results are mixed with weights that fall off linearly. How much of an LR pixel the process
need not explain, the nugget, is found in every window and for every spectral component by the
likelihood, and is no less than what the two images disagree about. Nothing is learned beforehand.
"""

from __future__ import annotations

import numpy as np

from ..statistics import SceneStatistics
from ._colours import Colours, Inputs
from .options import MethodOptions
from .regression import back_project

#: Edge of a window, LR pixels, and how far windows lie apart.
WINDOW = 12
STEP = WINDOW // 2
#: Spectral components of what the global regression leaves that are modelled; the rest is noise,
#: and comes back with the back-projection.
COMPONENTS = 12
#: Lengths over which the offset and the slopes vary, standard deviations in LR pixels.
OFFSET_LENGTH, SLOPE_LENGTH = 2.5, 5.0
#: Candidates for the nugget, relative to the variance of each of the three terms.
NUGGETS = 10.0 ** np.arange(-4, 1.01, 0.5)
#: HR pixels whose features are held at once, or one cell's if it has more.
PIXELS = 4096
#: Observations that count as one in the likelihood, since their errors are correlated. On the
#: scenes of `_colours.FEATURES` 1 and 4 gave 2.01 and 2.04 dB, and 0.44 and 0.46 dB; the most
#: likely nugget alone 1.99 and 0.44 dB.
CORRELATED = 4.0


def fuse_gaussian_process(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    origin: tuple[int, int],
) -> np.ndarray:
    """Fuse a tile; see the module's text."""
    return back_project(posterior_mean(lr, hr, statistics, origin), lr, statistics.degradation)


def posterior_mean(
    lr: np.ndarray, hr: np.ndarray, statistics: SceneStatistics, origin: tuple[int, int]
) -> np.ndarray:
    """What the process explains of a tile, ``(L, r h, r w)``, before back-projection."""
    mean_m, mean_h = (
        m.astype(np.float32)[:, None, None] for m in (statistics.msi_mean, statistics.hsi_mean)
    )
    fused = np.tensordot(statistics.slopes.T.astype(np.float32), hr - mean_m, axes=1)
    fused += mean_h
    spectra = _components(statistics)
    unexplained = np.tensordot(spectra, lr - statistics.degradation.down(fused), axes=1)
    colours = Colours.of(statistics)
    floor = _least_nugget(statistics, spectra)
    process = _process(unexplained, hr, colours, floor, statistics, origin)
    fused += np.tensordot(spectra.T, process, axes=1)
    return fused


def _components(statistics: SceneStatistics) -> np.ndarray:
    """Leading spectral components ``(q, L)`` of what the global regression leaves at LR."""
    _, vectors = np.linalg.eigh(statistics.residual_covariance)
    return vectors[:, ::-1][:, :COMPONENTS].T.astype(np.float32)


def _least_nugget(statistics: SceneStatistics, spectra: np.ndarray) -> np.ndarray:
    """Variance ``(q,)`` that the images' disagreement has in every component at LR.

    On the scenes of `_colours.FEATURES`, their HSI shifted by a tenth of its pixel and nothing
    correcting it, it made up for a loss of 0.8 dB on the mean and 2.3 dB at worst; where the PSF
    is measured, which corrects such a shift, it costs nothing. Four times it gained 0.1 dB in the
    first case and lost 0.2 dB in the second.
    """
    slopes = statistics.slopes @ spectra.T.astype(np.float64)
    return np.maximum(np.einsum("sk,st,tk->k", slopes, statistics.unseen_by_hsi, slopes), 0)


def _process(
    observed: np.ndarray,
    hr: np.ndarray,
    colours: Colours,
    floor: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int],
) -> np.ndarray:
    """Posterior mean ``(q, H, W)`` of the process that LR pixels ``(q, h, w)`` observe."""
    degradation, ratio = statistics.degradation, statistics.ratio
    bands = colours.axes(hr) / np.float32(np.sqrt(len(hr)))
    inputs = colours.inputs(hr)
    seen = np.concatenate([degradation.down(part) for part in inputs.features()])
    at = tuple(o // ratio for o in origin)
    offset, slopes, functions = _solve(observed, degradation.down(bands), seen, floor, at)
    found = degradation.up(offset)
    for band, slope in zip(bands, slopes, strict=True):
        found += band * degradation.up(slope)
    _add_functions(found, inputs, functions, ratio, tuple(o % STEP for o in at))
    return found


def _starts(size: int, origin: int) -> np.ndarray:
    """First pixels of the windows that see an axis of `size` LR pixels from `origin` on."""
    return np.arange(-STEP - origin % STEP, size, STEP)


def _solve(
    observed: np.ndarray,
    bands: np.ndarray,
    seen: np.ndarray,
    floor: np.ndarray,
    origin: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve all windows.

    Returns
    -------
    offset, slopes : ndarray
        ``(q, h, w)`` and ``(s, q, h, w)`` float32 at the LR pixels, mixed over the windows.
    functions : ndarray
        ``(rows, cols, m, q)`` float32 weights of the features in every window.
    """
    q, h, w = observed.shape
    rows, cols = (_starts(n, o) for n, o in zip((h, w), origin, strict=True))
    offset = np.zeros((q, h, w), np.float32)
    slopes = np.zeros((len(bands), q, h, w), np.float32)
    functions = np.zeros((len(rows), len(cols), len(seen), q), np.float32)
    for i, top in enumerate(rows):
        for j, left in enumerate(cols):
            at = _inside(top, h), _inside(left, w)
            e, z, f = (a[:, *at].reshape(len(a), -1) for a in (observed, bands, seen))
            near, far = _nearness(*((s.stop - s.start) for s in at))
            z, f = z.astype(np.float64), f.astype(np.float64)
            kernel = near + far * (z.T @ z) + f.T @ f
            weight = _dual_weights(kernel, e.T.astype(np.float64), floor)
            functions[i, j] = f @ weight
            share = _hat(at[0], top)[:, None] * _hat(at[1], left)
            shape = q, *share.shape
            offset[:, *at] += share * (near @ weight).T.reshape(shape)
            varying = np.matmul(far, z[:, :, None] * weight)
            slopes[:, :, *at] += share * varying.transpose(0, 2, 1).reshape(len(z), *shape)
    return offset, slopes, functions


def _inside(start: int, size: int) -> slice:
    return slice(max(start, 0), min(start + WINDOW, size))


def _hat(span: slice, start: int) -> np.ndarray:
    """Weight of a window at its pixels; those of all windows sum to 1."""
    position = np.arange(span.start, span.stop) + 0.5 - start
    return 1 - np.abs(position / STEP - 1)


def _nearness(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlations ``(n, n)`` of the offset and of the slopes between the pixels of a window."""
    y, x = (axis.ravel() for axis in np.indices((height, width)))
    squared = np.square(y[:, None] - y) + np.square(x[:, None] - x)
    return tuple(np.exp(-squared / (2 * length**2)) for length in (OFFSET_LENGTH, SLOPE_LENGTH))


def _dual_weights(kernel: np.ndarray, observed: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """``(n, q)`` weights of the observations ``(n, q)`` under their covariance ``(n, n)``.

    The weights are a mean over the candidates for the nugget that are no less than `floor`, a
    variance ``(q,)``: for every column by their likelihood, the amplitude being profiled out
    (Rasmussen and Williams, "Gaussian processes for machine learning", 2006, section 5.4).
    """
    values, vectors = np.linalg.eigh(kernel)
    rotated = vectors.T @ observed
    inverse = 1 / (np.maximum(values, 0) + NUGGETS[:, None])
    amplitude = inverse @ np.square(rotated) / len(observed)
    fit = np.log(inverse).mean(axis=1)[:, None] - np.log(amplitude + np.finfo(float).tiny)
    too_small = NUGGETS[:, None] * amplitude < floor
    too_small[-1] = False
    fit[too_small] = -np.inf
    likelihood = np.exp((fit - fit.max(axis=0)) * (0.5 * len(observed) / CORRELATED))
    likelihood /= likelihood.sum(axis=0)
    return vectors @ (rotated * (inverse.T @ likelihood))


def _add_functions(
    found: np.ndarray,
    inputs: Inputs,
    functions: np.ndarray,
    ratio: int,
    phase: tuple[int, int],
) -> None:
    """Add to ``(q, H, W)`` the functions of colour, cell by cell between the windows' centres."""
    q, height, width = found.shape
    edge = STEP * ratio
    rows = _cells(height, phase[0] * ratio, edge)
    cols = _cells(width, phase[1] * ratio, edge)
    together = max(1, PIXELS // edge**2)
    for i, (y, share_y) in enumerate(rows):
        for first in range(0, len(cols), together):
            group = cols[first : first + together]
            span = slice(group[0][0].start, group[-1][0].stop)
            features = np.concatenate(list(inputs.features((y, span))))
            for j, (x, share_x) in enumerate(group, first):
                around = functions[i : i + 2, j : j + 2].transpose(2, 0, 1, 3)
                cell = features[:, :, x.start - span.start : x.stop - span.start]
                values = cell.reshape(len(cell), -1).T @ around.reshape(len(cell), -1)
                values = values.reshape(*cell.shape[1:], 2, 2, q)
                found[:, y, x] += np.einsum("yxijq,yi,xj->qyx", values, share_y, share_x)


def _cells(size: int, phase: int, edge: int) -> list[tuple[slice, np.ndarray]]:
    """Cells of `edge` pixels along an axis, and shares ``(n, 2)`` of the windows at both ends."""
    cells = []
    for start in range(-phase, size, edge):
        span = slice(max(start, 0), min(start + edge, size))
        share = (np.arange(span.start, span.stop, dtype=np.float32) + 0.5 - start) / edge
        cells.append((span, np.stack([1 - share, share], axis=1).astype(np.float32)))
    return cells
