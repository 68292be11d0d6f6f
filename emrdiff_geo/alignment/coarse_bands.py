"""MSI bands of coarser pixels than the others, brought onto their grid by whoever stacked them.

Sentinel-2 has bands of 10, 20 and 60 m, ASTER and WorldView-3 coarser ones in the short-wave
infrared: in one image some bands then show nothing of the finest detail. A method that takes their
pixels for observations of single pixels follows blocks and blur. Such bands are told by their
pixels: repeated ones (nearest neighbour), and a lack of all detail that the others have (bilinear,
cubic).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import named
from ..grids.pair import Pair
from ..grids.windows import Window
from ..system.threads import one_blas_thread
from .shift import scattered_windows

#: Edge of the windows that are looked at, MSI pixels, and how many of them.
EDGE, WINDOWS = 256, 9
#: Whole pixels that it takes to judge by detail.
LEAST = 4096
#: How many pixels of the image one of a band may be wide.
FACTORS = range(2, 13)
#: Share of neighbours within and across the pixels of a repeated band that are equal: least and
#: most. Quantised bands have equal neighbours by chance, the same everywhere.
WITHIN, ACROSS = 0.995, 0.9
#: The same where pixels are repeated now once, now twice, as in an image that was reprojected; the
#: most that the finest band has; share of the steps that are more than the smallest there is.
IRREGULAR, CHANCE, STEPS = 0.3, 0.15, 0.5
#: Standard deviation of the finest detail, relative to what the image's sharpest bands let expect,
#: below which a band is a coarser one: no band of 348 MSI of random responses on 29 training scenes
#: is, half of them with noise. Bands that were degraded by 2 and interpolated have 0.1 to 0.2 on
#: remote-sensing scenes, more where there is little texture.
SHARP = 0.25
#: The same for pixels of the width that a band's are taken to have.
ENOUGH = 0.2
#: Correlation from which on two bands tell what is to be expected of a third, and that they have to
#: have with it.
ALIKE, AKIN = 0.5, 0.3
#: Widths that are tried where pixels are not repeated, and how much wider what two bands are
#: compared by is than the finest detail.
SMOOTH, WIDER, WIDEST = (2, 3, 4, 6), 4, 8
#: Fourth difference: of the detail of an image hardly more than that of its single pixels.
_KERNEL = np.array([1, -4, 6, -4, 1]) / 16
_REACH = 2


@dataclass(frozen=True)
class CoarseBands:
    """Bands of one pixel size.

    Attributes
    ----------
    bands : tuple of int
    factor : int
        Width of their pixels in pixels of the image.
    phase : (int, int)
        Row and column, modulo the factor, where one of their pixels begins.
    """

    bands: tuple[int, ...]
    factor: int
    phase: tuple[int, int] = (0, 0)


@one_blas_thread()
def coarse_bands(pair: Pair) -> list[CoarseBands]:
    """Find the MSI bands of coarser pixels.

    Parameters
    ----------
    pair : Pair
        Some windows of its MSI are read.

    Returns
    -------
    list of CoarseBands
        By size and place of their pixels; empty where all bands are alike.
    """
    if pair.n_msi < 2:
        return []
    windows = [(window, pair.msi.read(*window)) for window in _windows(pair)]
    found = _repeated(windows)
    images = [image for _, image in windows]
    seen = sum(np.isfinite(image).sum(axis=(1, 2)) for image in images)
    # A band of large gaps would leave little of the others to be compared.
    rest = [b for b in range(pair.n_msi) if b not in found and 2 * seen[b] >= seen.max()]
    if (
        len(rest) > 1
        and sum(np.isfinite(image[rest]).all(axis=0).sum() for image in images) >= LEAST
    ):
        found |= _blurred([image[rest] for image in images], rest)
    kinds = sorted(set(found.values()))
    if len(found) == pair.n_msi:
        # An image on a grid finer than any of its bands: the finest are what there is.
        kinds = [kind for kind in kinds if kind[0] > kinds[0][0]]
    return [CoarseBands(tuple(b for b in sorted(found) if found[b] == k), *k) for k in kinds]


def fine_bands(pair: Pair, coarse: list[CoarseBands]) -> np.ndarray:
    """The MSI bands that are not among the coarse ones."""
    return np.setdiff1d(np.arange(pair.n_msi), [band for kind in coarse for band in kind.bands])


def sentence(kind: CoarseBands, then: str) -> str:
    """What was found, and what is done then, for people."""
    bands = named("band", (band + 1 for band in kind.bands))
    have = "has" if len(kind.bands) == 1 else "have"
    return f"The MSI's {bands} {have} pixels {kind.factor} times as wide as the image: {then}."


def _windows(pair: Pair) -> Iterator[Window]:
    row, col = pair.offset
    for rows, cols in itertools.islice(scattered_windows(pair.shape, EDGE), WINDOWS):
        yield (
            slice(rows.start + row, rows.stop + row),
            slice(cols.start + col, cols.stop + col),
        )


_Kind = tuple[int, tuple[int, int]]


def _repeated(windows: list[tuple[Window, np.ndarray]]) -> dict[int, _Kind]:
    """Width and phase of the pixels of bands whose neighbours are equal."""
    along = [_Equal.of(windows, axis) for axis in (0, 1)]
    found: dict[int, _Kind] = {}
    shares = np.array([equal.share for equal in along])
    steps = np.array([equal.steps for equal in along])
    irregular = (shares >= IRREGULAR).all(axis=0) & (steps >= STEPS).all(axis=0)
    irregular &= shares.min() <= CHANCE
    for band in range(len(windows[0][1])):
        for factor in FACTORS:
            row, col = (equal.phase(band, factor) for equal in along)
            if row is not None and col is not None:
                found[band] = factor, (row, col)  # the widest that fits
        if irregular[band] and band not in found:
            width = 1 / max(1 - shares[:, band].mean(), 1 / max(FACTORS))
            found[band] = max(round(width), min(FACTORS)), (0, 0)
    return found


@dataclass(frozen=True)
class _Equal:
    """How many neighbours along an axis are equal, where those of any band differ.

    What is clipped, and so has the least or the largest value of its band, is left out.

    Attributes
    ----------
    pairs : ndarray
        ``(s, n)`` neighbours by the place of the first along the axis.
    equal : ndarray
        ``(s, n)`` of them.
    steps : ndarray
        ``(s,)`` share of the others that differ by more than the least there is.
    """

    pairs: np.ndarray
    equal: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, windows: list[tuple[Window, np.ndarray]], axis: int) -> _Equal:
        size = max(window[axis].stop for window, _ in windows)
        bands = len(windows[0][1])
        lowest, highest = (
            f.reduce([f.reduce(image, axis=(1, 2)) for _, image in windows])[:, None, None]
            for f in (np.fmin, np.fmax)
        )
        pairs, equal = np.zeros((2, bands, size))
        jumps: list[list[np.ndarray]] = [[] for _ in range(bands)]
        for window, image in windows:
            step = np.abs(np.diff(image, axis=1 + axis))
            first = image[:, :-1] if axis == 0 else image[:, :, :-1]
            clipped = (step == 0) & ((first == lowest) | (first == highest))
            counted = (step > 0).any(axis=0) & np.isfinite(step) & ~clipped
            at = slice(window[axis].start, window[axis].start + step.shape[1 + axis])
            pairs[:, at] += counted.sum(axis=2 - axis)
            equal[:, at] += ((step == 0) & counted).sum(axis=2 - axis)
            for band, values, there in zip(jumps, step, counted, strict=True):
                band.append(values[there & (values > 0)])
        steps = [np.concatenate(band) for band in jumps]
        more = [np.mean(s > 2.5 * s.min()) if len(s) else 0.0 for s in steps]
        return cls(pairs, equal, np.array(more))

    @property
    def share(self) -> np.ndarray:
        """Share ``(s,)`` of equal neighbours."""
        return self.equal.sum(axis=1) / np.maximum(self.pairs.sum(axis=1), 1)

    def phase(self, band: int, factor: int) -> int | None:
        """Where the pixels of a band begin if they are so wide; None if they are not."""
        place = np.arange(self.pairs.shape[1]) % factor
        pairs = np.bincount(place, self.pairs[band], factor)
        equal = np.bincount(place, self.equal[band], factor)
        # Where no band ever differs all are equal.
        share = np.divide(equal, pairs, out=np.ones(factor), where=pairs > 0)
        last = int(np.argmin(share))
        if share[last] > ACROSS or np.delete(share, last).min() < WITHIN:
            return None
        return (last + 1) % factor


def _blurred(images: list[np.ndarray], bands: list[int]) -> dict[int, _Kind]:
    """Width of the pixels of bands that lack the finest detail, beside those that have it."""
    sharpness = _sharpness(images, 1, WIDEST)
    coarse = sharpness < SHARP
    if not coarse.any() or coarse.all():
        return {}
    found: dict[int, _Kind] = {}
    for factor in SMOOTH:
        sharp = _sharpness(images, factor, WIDER * factor) >= ENOUGH
        for at in np.flatnonzero(coarse):
            if bands[at] not in found and (sharp[at] or factor == SMOOTH[-1]):
                found[bands[at]] = factor, (0, 0)
    return found


def _sharpness(images: list[np.ndarray], factor: int, wider: int) -> np.ndarray:
    """Deviation ``(s,)`` of the finest detail of so many times larger pixels, relative.

    Noise is in the variance of a band, but not in what two bands have in common: the pair of bands
    that has most of it, relative to the same at a larger scale, tells what a sharp band has.
    """
    fine = _in_common([_means(image, factor) for image in images])
    wide = _in_common([_means(image, wider) for image in images])
    variance = np.diag(wide)
    tiny = np.finfo(float).tiny
    quotient = np.divide(fine, wide, out=np.zeros_like(fine), where=np.abs(wide) > tiny)
    correlation = np.abs(wide) / np.maximum(np.sqrt(np.outer(variance, variance)), tiny)
    alike = (correlation > ALIKE) & ~np.eye(len(wide), dtype=bool)
    sharpness = np.ones(len(wide))
    for band, akin in enumerate(correlation > AKIN):
        # Bands that have nothing in common with this one tell nothing of it, nor could they help.
        expected = quotient[alike & np.outer(akin, akin)].max(initial=0.0)
        if expected > 0 and variance[band] > tiny:
            sharpness[band] = np.sqrt(max(quotient[band, band], 0) / expected)
    return sharpness


def _means(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of ``factor`` x ``factor`` pixels, NaN where one is missing."""
    bands, height, width = image.shape
    h, w = height // factor, width // factor
    blocks = image[:, : h * factor, : w * factor].reshape(bands, h, factor, w, factor)
    return blocks.mean(axis=(2, 4), dtype=np.float64)


def _in_common(images: list[np.ndarray]) -> np.ndarray:
    """Covariance ``(s, s)`` of the finest detail of images without trend."""
    total, count = np.zeros((len(images[0]),) * 2), 0
    inner = slice(_REACH, -_REACH)
    for image in images:
        whole = np.isfinite(image).all(axis=0)
        filled = np.where(whole, image, 0)
        for axis in (1, 2):
            detail = ndimage.convolve1d(filled, _KERNEL, axis=axis)[:, inner, inner]
            seen = ndimage.binary_erosion(whole, np.ones((2 * _REACH + 1,) * 2))[inner, inner]
            values = detail[:, seen]
            total += values @ values.T
            count += values.shape[1]
    return total / max(count, 1)
