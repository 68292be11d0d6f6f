"""What a coarse pixel sees of a fine image, wherever it lies: sums weighted by the PSF.

`degrade` does the same for grids that nest, where the weights repeat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..degradation.degrade import Degradation
from ..grids.sources import Source

#: Fine pixels that are gathered at once, of all bands.
GATHERED = 4_000_000
#: Share of what a pixel sees that must be there.
SEEN = 0.5
#: One kernel along y and one along x, each ``(k, m)`` weights on fine pixels around a centre.
Kernels = tuple[np.ndarray, np.ndarray]


def kernels_of(degradation: Degradation) -> Kernels:
    """The PSF as weights on fine pixels, ``(1, m)`` along each axis."""
    n = 2 * degradation.reach_down + 1
    along_y, along_x = (_trimmed(degradation.matrix_down(n, axis)[n // 2]) for axis in (0, 1))
    return along_y[None], along_x[None]


def _trimmed(kernel: np.ndarray) -> np.ndarray:
    """A kernel without the zeros at both of its ends, its middle where it was."""
    used = np.flatnonzero(kernel)
    zeros = min(int(used[0]), len(kernel) - 1 - int(used[-1]))
    return kernel[zeros : len(kernel) - zeros]


def seen_at(image: np.ndarray, y: np.ndarray, x: np.ndarray, kernels: Kernels) -> np.ndarray:
    """Weighted sums of fine pixels around points.

    Parameters
    ----------
    image : ndarray
        ``(s, H, W)`` without NaN; what lies beyond its edges is 0.
    y, x : ndarray
        ``(n,)`` rows and columns; the first pixel's centre is at 0.5.
    kernels : (ndarray, ndarray)
        ``(k, m)`` each; between the pixels they were sampled on, kernels are straight lines.

    Returns
    -------
    ndarray
        ``(s, n, k, k)`` float32 for all products of a kernel along y and one along x. The same to
        the bit, whatever else is asked for.
    """
    size = tuple(kernel.shape[1] + 1 for kernel in kernels)
    k = len(kernels[0])
    image = np.pad(image.astype(np.float32), ((0, 0), (size[0], size[0]), (size[1], size[1])))
    out = np.empty((len(image), len(y), k, k), np.float32)
    step = max(1, GATHERED // (len(image) * size[0] * size[1]))
    for first in range(0, len(y), step):
        some = slice(first, first + step)
        (i, along_y), (j, along_x) = (
            _weights(at[some], kernel) for at, kernel in zip((y, x), kernels, strict=True)
        )
        i = np.clip(i + size[0], 0, image.shape[1] - size[0])
        j = np.clip(j + size[1], 0, image.shape[2] - size[1])
        rows, cols = i[:, None] + np.arange(size[0]), j[:, None] + np.arange(size[1])
        around = image[:, rows[:, :, None], cols[:, None, :]]
        out[:, some] = along_y @ around @ along_x.transpose(0, 2, 1)
    return out


def _weights(at: np.ndarray, kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First pixels ``(n,)`` and weights ``(n, k, m + 1)`` of kernels around points of an axis."""
    m = kernels.shape[1]
    first = np.floor(at - 0.5 - (m + 1) / 2) + 1
    part = (first + 0.5 - at + (m + 1) / 2).astype(np.float32)[:, None, None]
    padded = np.pad(kernels, ((0, 0), (1, 1))).astype(np.float32)
    weights = (1 - part) * padded[:, :-1] + part * padded[:, 1:]
    return first.astype(np.int64), weights


def window_around(
    y: np.ndarray, x: np.ndarray, kernels: Kernels
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Window of fine pixels that points see through kernels, and the points in that window."""
    spans, inside = [], []
    for at, kernel in zip((y, x), kernels, strict=True):
        reach = kernel.shape[1] // 2 + 1
        first = int(np.floor(at.min())) - reach
        spans.append(slice(first, int(np.ceil(at.max())) + reach))
        inside.append(at - first)
    return (spans[0], spans[1]), inside[0], inside[1]


def seen_of(
    source: Source, y: np.ndarray, x: np.ndarray, kernels: Kernels, least: float = SEEN
) -> np.ndarray:
    """What points see of a source, ``(s, n)`` float32; NaN where less than a share of it is there.

    Parameters
    ----------
    source : Source
        Of fine pixels.
    y, x : ndarray
        ``(n,)`` in its pixels.
    kernels : (ndarray, ndarray)
        ``(1, m)`` each.
    least : float
        The share, 0..1.
    """

    def weighted(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return seen_at(image, y, x, kernels)[..., 0, 0]

    return _enough(source, y, x, kernels, least, weighted)


def seen_on_mesh(
    source: Source, y: np.ndarray, x: np.ndarray, kernels: Kernels, least: float = SEEN
) -> np.ndarray:
    """`seen_of` at the crossings ``(s, h, w)`` of rows ``(h,)`` and columns ``(w,)``.

    Along one axis after the other, which takes a small part of the time; its rounding is another.
    """

    def weighted(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        along_y = _weighted_rows(image, y, kernels[0])
        return _weighted_rows(along_y.transpose(0, 2, 1), x, kernels[1]).transpose(0, 2, 1)

    return _enough(source, y, x, kernels, least, weighted)


def _weighted_rows(image: np.ndarray, y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weighted sums ``(s, h, W)`` of the rows of an image around ``(h,)``.

    Term by term, so that they are the same to the bit whatever else is asked for.
    """
    first, weights = _weights(y, kernel)
    out = np.zeros((len(image), len(y), image.shape[2]), np.float32)
    for tap in range(weights.shape[2]):
        row = first + tap
        inside = (row >= 0) & (row < image.shape[1])
        weight = np.where(inside, weights[:, 0, tap], np.float32(0))
        out += weight[:, None] * image[:, np.where(inside, row, 0)]
    return out


def _enough(
    source: Source,
    y: np.ndarray,
    x: np.ndarray,
    kernels: Kernels,
    least: float,
    weighted: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Weighted means of what is there; NaN where that is less than a share of all."""
    window, y, x = window_around(y, x, kernels)
    image = source.read(*window)
    there = np.isfinite(image)
    found = weighted(np.where(there, image, np.float32(0)), y, x)
    if there.all():
        return found
    together = (there == there[:1]).all()
    share = weighted((there[:1] if together else there).astype(np.float32), y, x)
    # Rounding leaves 0.9999999 of a whole, as if there were a gap somewhere.
    share = np.where(share > 1 - 1e-5, np.float32(1), share)
    enough = share >= least
    return np.where(enough, found / np.where(enough, share, 1), np.float32(np.nan))
