"""Regression whose coefficients are Gaussian processes: spectra vary smoothly in space and colour.

The HSI is modelled as its global regression on the MSI plus a Gaussian process of position and MSI
colour, a sum of three terms: a smooth offset, slopes on the MSI bands that vary smoothly over the
ground (spatially varying coefficients, Gelfand et al., "Spatial modeling with spatially varying
coefficient processes", JASA 98, 2003), and a function of colour (`_colours`). Each LR pixel sees
the mean of the process over its PSF, so that mixed pixels are understood as mixtures, as in
area-to-point kriging (Kyriakidis, Geographical Analysis 36, 2004). The posterior mean at the HR
pixels, made locally linear in the MSI since these are mixtures too (`_guided`), is the fused image
after back-projection.

How much of an LR pixel the process need not explain, the nugget, is found in every window
(`_posterior`) and for every spectral component by the likelihood, and is no less than what
misplaced pixels make the two images differ by. Nothing is learned beforehand.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..degradation.degrade import REACH_UP, Degradation
from ..grids.windows import coarser, finer, within
from ..scene.statistics import SceneStatistics
from ._guided import guided_filter
from ._posterior import OFFSET_LENGTH, SLOPE_LENGTH, STEP, Process, Window, correlation, hat
from .options import WHOLE, MethodOptions, Part, Place
from .regression import agree_with_msi, back_project, covered, regressed

#: HR pixels whose features are held at once, or one cell's if it has more.
PIXELS = 4096
#: LR pixels around the part of a tile that is wanted, which back-projection looks at. With 4, 5 and
#: 6 the part differs from that of a whole tile by 1.3, 0.16 and 0.02 % of what the network adds.
MARGIN = 6


def fuse_gaussian_process(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    place: Place,
) -> np.ndarray:
    """Fuse a tile; see the module's text."""
    ratio = statistics.ratio
    frame = place.around(hr.shape[1:], MARGIN * ratio, ratio)
    mean = posterior_mean(lr, hr, statistics, place.origin, frame)
    agreeing = agree_with_msi(mean, hr[:, *frame], statistics)
    coarse = coarser(frame, ratio)
    sure = covered(coarse, lr, statistics.degradation)
    return place.cut(back_project(agreeing, lr[:, *coarse], statistics, sure=sure), frame)


def posterior_mean(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int],
    part: Part = WHOLE,
) -> np.ndarray:
    """What the process explains of a tile, before back-projection.

    Parameters
    ----------
    lr, hr, statistics
        As for a fusion method.
    origin : (int, int)
        Of the tile in the scene's fine grid.
    part : (slice, slice)
        Of the tile, whole LR pixels; all of what lies around it is observed.

    Returns
    -------
    ndarray
        ``(L, y, x)`` float32 of the part.
    """
    ratio = statistics.ratio
    part = Place(inner=part).around(hr.shape[1:], 0, ratio)
    process = Process.of(lr, hr, statistics, origin)
    mean = _mean(process, statistics.degradation, part)
    mean = guided_filter(mean, process.bands[:, *part], ratio // 2 + 1)
    fused = regressed(hr[:, *part], statistics)
    fused += np.tensordot(process.spectra.T, mean, axes=1)
    return fused


def _mean(process: Process, degradation: Degradation, part: Part) -> np.ndarray:
    """Posterior mean ``(q, y, x)`` float32 of a process in a part of its tile."""
    q, h, w = process.observed.shape
    wide = Place(inner=coarser(part, degradation.ratio)).around((h, w), REACH_UP)
    s, m = len(process.bands), len(process.seen)
    offset = np.zeros((q, h, w), np.float32)
    slopes = np.zeros((s, q, h, w), np.float32)
    functions = np.zeros((*(len(starts) for starts in process.starts()), m, q), np.float32)
    for window in process.windows(wide):
        weight, share = window.posterior.dual(), window.share()
        functions[window.index] = window.features @ weight
        offset[:, *window.at] += share * (window.near @ weight).T.reshape(q, *share.shape)
        varying = np.matmul(window.far, window.bands[:, :, None] * weight)
        varying = varying.transpose(0, 2, 1).reshape(s, q, *share.shape)
        slopes[:, :, *window.at] += share * varying
    inner = within(part, finer(wide, degradation.ratio))
    found = degradation.up(offset[:, *wide])[:, *inner].copy()
    for band, slope in zip(process.bands[:, *part], slopes[:, :, *wide], strict=True):
        found += band * degradation.up(slope)[:, *inner]
    _add_functions(found, process, functions, degradation.ratio, part)
    return found


def _add_functions(
    found: np.ndarray, process: Process, functions: np.ndarray, ratio: int, part: Part
) -> None:
    """Add to ``(q, y, x)`` the functions of colour, cell by cell between the windows' centres.

    Parameters
    ----------
    found : ndarray
        ``(q, y, x)`` of the part, changed in place.
    process : Process
    functions : ndarray
        ``(rows, cols, m, q)`` weights of the features in every window.
    ratio : int
    part : (slice, slice)
        Of the tile.
    """
    edge = STEP * ratio
    rows, cols = (_cells(s, p * ratio, edge) for s, p in zip(part, process.phase, strict=True))
    together = max(1, PIXELS // edge**2)
    for (i, y, share_y), first in product(rows, range(0, len(cols), together)):
        group = cols[first : first + together]
        span = slice(group[0][1].start, group[-1][1].stop)
        features = np.concatenate(list(process.inputs.features((y, span))))
        for j, x, share_x in group:
            around = functions[i : i + 2, j : j + 2].transpose(2, 0, 1, 3)
            cell = features[:, :, x.start - span.start : x.stop - span.start]
            values = cell.reshape(len(cell), -1).T @ around.reshape(len(cell), -1)
            values = values.reshape(*cell.shape[1:], 2, 2, len(found))
            at = within((y, x), part)
            found[:, *at] += np.einsum("yxijq,yi,xj->qyx", values, share_y, share_x)


def _cells(part: slice, phase: int, edge: int) -> list[tuple[int, slice, np.ndarray]]:
    """Cells of `edge` pixels along an axis of a tile, as far as a part of it has them.

    Returns
    -------
    list of (int, slice, ndarray)
        Number of the window at a cell's beginning, pixels of the cell, and shares ``(n, 2)`` of
        the windows at both of its ends.
    """
    cells = []
    for number, start in enumerate(range(-phase, part.stop, edge)):
        span = slice(max(start, part.start), min(start + edge, part.stop))
        if span.start < span.stop:
            share = (np.arange(span.start, span.stop, dtype=np.float32) + 0.5 - start) / edge
            cells.append((number, span, np.stack([1 - share, share], axis=1).astype(np.float32)))
    return cells


def posterior_deviation(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int],
    part: Part = WHOLE,
) -> np.ndarray:
    """Posterior standard deviation of the process in all bands, ``(L, y, x)`` float32.

    Arguments are those of `posterior_mean`. How it varies over the ground is that of the mean over
    the components, weighted by their variances; the nugget is not in it. Back-projection makes the
    actual error smaller.
    """
    ratio = statistics.ratio
    part = Place(inner=part).around(hr.shape[1:], 0, ratio)
    process = Process.of(lr, hr, statistics, origin)
    size = tuple(s.stop - s.start for s in part)
    variance = np.zeros((len(process.spectra), *size), np.float32)
    for window in process.windows(coarser(part, ratio)):
        rows, cols = (
            slice(max(s.start, p.start), min(s.stop, p.stop))
            for s, p in zip(finer(window.at, ratio), part, strict=True)
        )
        relative = _relative_variance(process, window, (rows, cols), ratio)
        at = within((rows, cols), part)
        variance[:, *at] += window.posterior.amplitude[:, None, None] * relative
    return np.sqrt(np.tensordot(np.square(process.spectra.T), variance, axes=1))


def _relative_variance(
    process: Process, window: Window, at: tuple[slice, slice], ratio: int
) -> np.ndarray:
    """Posterior variance at a window's HR pixels ``(y, x)``, times the window's share there.

    It is relative to the amplitude, of which a value has three parts before anything is observed.
    """
    posterior = window.posterior
    total = max(float(posterior.amplitude.sum()), np.finfo(float).tiny)
    inverse = posterior.inverse @ (posterior.amplitude / total)
    explained = (posterior.vectors * np.sqrt(inverse)).astype(np.float32)
    bands = process.bands[:, *at].reshape(len(process.bands), -1)
    features = np.concatenate(list(process.inputs.features(at))).reshape(len(process.seen), -1)
    near, far = (_to_window(window, at, ratio, n) for n in (OFFSET_LENGTH, SLOPE_LENGTH))
    covariance = features.T @ window.features.astype(np.float32)
    covariance += far * (bands.T @ window.bands.astype(np.float32)) + near
    variance = 1 + np.square(bands).sum(axis=0) + np.square(features).sum(axis=0)
    variance -= np.square(covariance @ explained).sum(axis=1)
    y, x = (
        hat((np.arange(a.start, a.stop) + 0.5 - first * ratio) / (STEP * ratio))
        for a, first in zip(at, window.start, strict=True)
    )
    share = (y[:, None] * x).astype(np.float32)
    return share * np.maximum(variance, 0).reshape(share.shape)


def _to_window(window: Window, at: tuple[slice, slice], ratio: int, length: float) -> np.ndarray:
    """Correlation ``(p, n)`` float32 of HR pixels with the window's LR pixels."""
    y, x = (
        correlation(
            np.square(
                (np.arange(fine.start, fine.stop)[:, None] + 0.5) / ratio
                - (np.arange(coarse.start, coarse.stop) + 0.5)
            ),
            length,
        ).astype(np.float32)
        for fine, coarse in zip(at, window.at, strict=True)
    )
    return (y[:, None, :, None] * x[None, :, None, :]).reshape(len(y) * len(x), -1)
