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
(`_posterior`) and for every spectral component by the likelihood, and is no less than what the two
images disagree about. Nothing is learned beforehand.
"""

from __future__ import annotations

import numpy as np

from ..degrade import Degradation
from ..statistics import SceneStatistics
from ._guided import guided_filter
from ._posterior import OFFSET_LENGTH, SLOPE_LENGTH, STEP, Process, Window, correlation, hat
from .options import WHOLE, MethodOptions, Part, Place
from .regression import agree_with_msi, back_project

#: HR pixels whose features are held at once, or one cell's if it has more.
PIXELS = 4096
#: LR pixels around the part of a tile that is used, from which back-projection takes anything.
MARGIN = 4


def fuse_gaussian_process(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    place: Place,
) -> np.ndarray:
    """Fuse a tile; see the module's text."""
    part = place.around(hr.shape[1:], MARGIN * statistics.ratio, statistics.ratio)
    mean = posterior_mean(lr, hr, statistics, place.origin, part)
    return back_project(agree_with_msi(mean, hr, statistics), lr, statistics)


def posterior_mean(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int],
    part: Part = WHOLE,
) -> np.ndarray:
    """What the process explains of a tile, ``(L, r h, r w)``, before back-projection.

    It is made locally linear in the `part` that matters.
    """
    process = Process.of(lr, hr, statistics, origin)
    mean = _mean(process, statistics.degradation)
    radius = statistics.ratio // 2 + 1
    mean[:, *part] = guided_filter(mean[:, *part], process.bands[:, *part], radius)
    fused = process.regressed
    fused += np.tensordot(process.spectra.T, mean, axes=1)
    return fused


def _mean(process: Process, degradation: Degradation) -> np.ndarray:
    """Posterior mean ``(q, H, W)`` float32 of a process."""
    q, h, w = process.observed.shape
    s, m = len(process.bands), len(process.seen)
    offset = np.zeros((q, h, w), np.float32)
    slopes = np.zeros((s, q, h, w), np.float32)
    functions = np.zeros((*(len(starts) for starts in process.starts()), m, q), np.float32)
    for window in process.windows():
        weight, share = window.posterior.dual(), window.share()
        functions[window.index] = window.features @ weight
        offset[:, *window.at] += share * (window.near @ weight).T.reshape(q, *share.shape)
        varying = np.matmul(window.far, window.bands[:, :, None] * weight)
        varying = varying.transpose(0, 2, 1).reshape(s, q, *share.shape)
        slopes[:, :, *window.at] += share * varying
    found = degradation.up(offset)
    for band, slope in zip(process.bands, slopes, strict=True):
        found += band * degradation.up(slope)
    _add_functions(found, process, functions, degradation.ratio)
    return found


def _add_functions(found: np.ndarray, process: Process, functions: np.ndarray, ratio: int) -> None:
    """Add to ``(q, H, W)`` the functions of colour, cell by cell between the windows' centres.

    Parameters
    ----------
    found : ndarray
        ``(q, H, W)``, changed in place.
    process : Process
    functions : ndarray
        ``(rows, cols, m, q)`` weights of the features in every window.
    ratio : int
    """
    q, height, width = found.shape
    edge = STEP * ratio
    rows, cols = (
        _cells(n, p * ratio, edge) for n, p in zip((height, width), process.phase, strict=True)
    )
    together = max(1, PIXELS // edge**2)
    for i, (y, share_y) in enumerate(rows):
        for first in range(0, len(cols), together):
            group = cols[first : first + together]
            span = slice(group[0][0].start, group[-1][0].stop)
            features = np.concatenate(list(process.inputs.features((y, span))))
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


def posterior_deviation(
    lr: np.ndarray, hr: np.ndarray, statistics: SceneStatistics, origin: tuple[int, int]
) -> np.ndarray:
    """Posterior standard deviation of the process in all bands, ``(L, r h, r w)`` float32.

    How it varies over the ground is that of the mean over the components, weighted by their
    variances; the nugget is not in it. Back-projection makes the actual error smaller.
    """
    process = Process.of(lr, hr, statistics, origin)
    variance = np.zeros((len(process.spectra), *hr.shape[1:]), np.float32)
    for window in process.windows():
        at = tuple(slice(s.start * statistics.ratio, s.stop * statistics.ratio) for s in window.at)
        relative = _relative_variance(process, window, at, statistics.ratio)
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
