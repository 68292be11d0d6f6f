"""Agreement of a fused tile with the HSI's own pixels, where these are no whole MSI pixels.

Fusion works on a low-resolution grid that nests in the MSI's, and resampling onto it blurs: an
HSI of 30 m put on pixels of 28.8 m and averaged back correlates with itself at 0.96. What was lost
is known, though: the mean of the result over every original HSI pixel should be that pixel. So
the differences are interpolated to the fine grid and added, as in back-projection.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .grid import Pair
from .resample import PixelMap, overlap
from .sources import ResampledSource
from .statistics import SceneStatistics

ROUNDS = 4
#: Share of an HSI pixel that must lie in a tile for its mean to be known there.
WHOLE = 0.999
#: HSI pixels around a window from which it is corrected.
MARGIN = 4


def agree_with_hsi(
    fused: np.ndarray, pair: Pair, rows: slice, cols: slice, statistics: SceneStatistics
) -> np.ndarray:
    """Correct a fused window so that its means over the HSI's original pixels are its signal.

    Parameters
    ----------
    fused : ndarray
        ``(L, h, w)`` float32 without NaN, the HSI's good bands and units.
    pair : Pair
        Its HSI is returned as it is where it was not resampled.
    rows, cols : slice
        The window in the pair's high-resolution frame.
    statistics : SceneStatistics
        Which of the HSI's bands are good, and what of them is no noise.

    Returns
    -------
    ndarray
        As ``fused``. HSI pixels that the window cuts change nothing.
    """
    if not isinstance(pair.hsi, ResampledSource) or pair.hr_geobox is None:
        return fused
    window = pair.hr_geobox[rows, cols]
    found = _spread(window, pair.hsi)
    if found is None:
        return fused
    (top, left), shape, spread = found
    mean = _mean(window, pair.hsi, (top, left), shape)
    if mean is None:
        return fused
    native = pair.hsi.source.read(slice(top, top + shape[0]), slice(left, left + shape[1]))
    wanted = native[statistics.good].reshape(len(fused), -1).T
    known = (np.asarray(mean.sum(axis=1)).ravel() > WHOLE) & np.isfinite(wanted).all(axis=1)
    wanted = np.where(known[:, None], wanted, 0)
    image = np.ascontiguousarray(fused.reshape(len(fused), -1).T)
    seen = mean @ image
    wanted = seen + (wanted - seen) @ statistics.signal.T
    for _ in range(ROUNDS):
        image += spread @ ((wanted - mean @ image) * known[:, None]).astype(np.float32)
    return np.ascontiguousarray(image.T).reshape(fused.shape)


def _spread(
    window, hsi: ResampledSource
) -> tuple[tuple[int, int], tuple[int, int], sparse.csr_array] | None:
    """Bilinear interpolation from HSI pixels to those of a window: origin, shape, weights."""
    height, width = window.shape
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    u, v = (c.ravel() - 0.5 for c in PixelMap.between(window, hsi.source_geobox)(x, y))
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        return None
    left, top = int(np.floor(u.min())), int(np.floor(v.min()))
    shape = int(np.floor(v.max())) - top + 2, int(np.floor(u.max())) - left + 2
    j, i = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    du, dv = u - j, v - i
    cells = [
        ((i - top + a) * shape[1] + (j - left + b), (dv if a else 1 - dv) * (du if b else 1 - du))
        for a in (0, 1)
        for b in (0, 1)
    ]
    index = np.stack([c for c, _ in cells], axis=1).ravel()
    weight = np.stack([w for _, w in cells], axis=1).ravel().astype(np.float32)
    pointer = np.arange(0, 4 * u.size + 1, 4)
    matrix = sparse.csr_array((weight, index, pointer), shape=(u.size, shape[0] * shape[1]))
    return (top, left), shape, matrix


def _mean(
    window, hsi: ResampledSource, origin: tuple[int, int], shape: tuple[int, int]
) -> sparse.csr_array | None:
    """Means of a window over HSI pixels, as a matrix ``(HSI pixels, window pixels)``."""
    y, x = np.meshgrid(
        origin[0] + np.arange(shape[0] + 1.0), origin[1] + np.arange(shape[1] + 1.0), indexing="ij"
    )
    size = tuple(window.shape)
    found = overlap(*PixelMap.between(hsi.source_geobox, window)(x, y), size)
    if found is None:
        return None
    inner = sparse.coo_array(found.weights)
    row, col = np.divmod(inner.col, found.shape[1])
    column = (row + found.row) * size[1] + col + found.col
    weights = inner.data.astype(np.float32), (inner.row, column)
    return sparse.csr_array(
        sparse.coo_array(weights, shape=(shape[0] * shape[1], size[0] * size[1]))
    )
