"""From images to what a figure shows: colours, error maps, points. No plotting here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..degradation.degrade import Degradation
from ..errors import InputError
from ..grids.sources import ArraySource
from ..grids.windows import blocks
from .metrics import as_readable, block_side, spectral_angle

Array = NDArray[np.floating]

RED_GREEN_BLUE_NM = (650.0, 550.0, 450.0)
_RANKS = (0.3, 0.2, 0.1)
# Further than this from the wanted wavelength a band does not show that colour.
_COLOUR_TOLERANCE_NM = 50.0
_FEW_BANDS = 12
_POINT_SIDE = 96  # points are chosen on a thinned image of at most this side


def rgb_bands(
    n_bands: int, wavelength_nm: Array | None = None, good: NDArray[np.bool_] | None = None
) -> tuple[int, int, int]:
    """Bands to show as red, green and blue.

    Those nearest to 650, 550 and 450 nm; where wavelengths are unknown or do not reach there the
    third, second and first of a few bands, or those at 0.3, 0.2 and 0.1 of the rank of many.
    """
    usable = np.arange(n_bands) if good is None or not good.any() else np.flatnonzero(good)
    if wavelength_nm is not None:
        distance = np.abs(
            np.asarray(wavelength_nm, float)[usable] - np.reshape(RED_GREEN_BLUE_NM, (3, 1))
        )
        distance = np.where(np.isfinite(distance), distance, np.inf)
        if distance.min(axis=1).max() <= _COLOUR_TOLERANCE_NM:
            return tuple(int(usable[i]) for i in distance.argmin(axis=1))
    last = len(usable) - 1
    ranks = (2, 1, 0) if len(usable) <= _FEW_BANDS else [round(r * last) for r in _RANKS]
    return tuple(int(usable[min(rank, last)]) for rank in ranks)


def stretch_limits(planes: Array, percent: float = 2.0) -> Array:
    """(bands, 2) values at `percent` and 100 - `percent` of the valid pixels of each plane."""
    limits = np.array([[0.0, 1.0]] * len(planes))
    for limit, plane in zip(limits, planes, strict=True):
        values = plane[np.isfinite(plane)]
        if values.size:
            limit[:] = np.percentile(values, [percent, 100 - percent])
        if limit[1] <= limit[0]:
            limit[1] = limit[0] + 1
    return limits


def stretched(planes: Array, limits: Array) -> Array:
    """(3, h, w) values as an (h, w, 4) picture 0..1 that is transparent where there is no data."""
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    valid = np.isfinite(planes).all(0)
    colours = np.clip((planes - low) / (high - low), 0, 1)
    return np.moveaxis(np.concatenate([np.where(valid, colours, 0), valid[None]]), 0, -1)


def comparable(limits: Array, others: Array) -> bool:
    """Whether two stretches are near enough for one to serve both images."""
    span = np.ptp(limits, axis=1, keepdims=True)
    return bool((np.abs(limits - others) < 0.5 * span).all())


def step_for(shape: tuple[int, int], max_side: int) -> int:
    """Every how many pixels an image is shown so that no side exceeds `max_side`."""
    return max(math.ceil(max(shape) / max_side), 1)


def reduced(
    image: Any, step: int, function: Callable[..., Array], other: Any = None, count: int = 1
) -> Array:
    """Apply a function to blocks of one or two images and average cells of `step` pixels.

    Parameters
    ----------
    image, other : (band, y, x), read block by block.
    step : side of the cells in pixels; the last ones may be smaller.
    function : from the block, or from both blocks, (band, h, w) to (count, h, w).

    Returns
    -------
    (count, ceil(y / step), ceil(x / step)) float32, NaN where a cell has no valid pixel.
    """
    sources = [as_readable(each) for each in (image, other) if each is not None]
    height, width = sources[0].shape[1:]
    out = np.full((count, -(-height // step), -(-width // step)), np.nan, np.float32)
    side = tuple(max(s // step, 1) * step for s in block_side(sources[0]))
    for rows, cols in blocks((height, width), side):
        values = function(*(source.read(rows, cols) for source in sources))
        top, left = rows.start // step, cols.start // step
        cells = _cell_means(np.asarray(values, np.float64), step)
        out[:, top : top + cells.shape[1], left : left + cells.shape[2]] = cells
    return out


def _cell_means(values: Array, step: int) -> Array:
    if step == 1:
        return values
    starts = [np.arange(0, n, step) for n in values.shape[1:]]

    def total(a: Array) -> Array:
        return np.add.reduceat(np.add.reduceat(a, starts[0], axis=1), starts[1], axis=2)

    valid = np.isfinite(values)
    number = total(valid.astype(np.float64))
    sums = total(np.where(valid, values, 0))
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)


def picture(image: Any, bands: tuple[int, ...], step: int) -> Array:
    """Some bands of an image as float32 (bands, h, w), averaged over cells of `step` pixels."""
    chosen = list(bands)
    source = as_readable(image)
    if isinstance(source, ArraySource):  # bands that are not shown need not be read
        return reduced(source.array[chosen], step, lambda block: block, count=len(chosen))
    return reduced(source, step, lambda block: block[chosen], count=len(chosen))


def _mean_square(p: Array, x: Array) -> Array:
    """Per pixel over the bands that are valid in both."""
    square = (np.asarray(p, np.float64) - x) ** 2
    valid = np.isfinite(square)
    number = valid.sum(0)
    mean = np.where(valid, square, 0).sum(0) / np.maximum(number, 1)
    return np.where(number > 0, mean, np.nan)[None]


def _angle(p: Array, x: Array) -> Array:
    both = np.isfinite(p) & np.isfinite(x)
    angle = spectral_angle(np.where(both, p, 0), np.where(both, x, 0))
    return np.where(both.any(0), angle, np.nan)[None]


def error_map(fused: Any, reference: Any, kind: str = "rmse", step: int = 1) -> Array:
    """(h, w) RMSE over bands in input units, or ``"sam"`` in degrees, per cell of `step` pixels."""
    if kind == "sam":
        return reduced(fused, step, _angle, reference)[0]
    if kind != "rmse":
        raise InputError(f"There is no error map {kind!r}; use rmse or sam.")
    return np.sqrt(reduced(fused, step, _mean_square, reference)[0])


class Degraded:
    """A fine image in the frame of a pair, read as means over coarse pixels."""

    def __init__(self, frame: Any, ratio: int) -> None:
        self._frame, self._operator = frame, Degradation(ratio, "area")
        self.shape = (frame.shape[0], frame.shape[1] // ratio, frame.shape[2] // ratio)
        self.ratio = ratio
        # What a block of fine pixels may hold decides how many coarse ones are read at a time.
        side = max(int(math.sqrt(4e6 / frame.shape[0])) // ratio, 1)
        self.chunks = (side, side)

    def read(self, rows: slice, cols: slice) -> Array:
        r = self.ratio
        out = np.empty((self.shape[0], rows.stop - rows.start, cols.stop - cols.start), np.float32)
        for a, b in blocks(out.shape[1:], self.chunks):
            window = (
                slice((part.start + start) * r, (part.stop + start) * r)
                for part, start in ((a, rows.start), (b, cols.start))
            )
            out[:, a, b] = self._operator.down_masked(self._frame.read(*window), min_weight=0.999)
        return out


def telling_points(cube: Array, count: int) -> list[tuple[int, int]]:
    """Pixels whose spectra differ most from each other, the first one the most usual.

    Parameters
    ----------
    cube : (band, h, w) small image, NaN for nodata.
    count : number of (row, column) to return; fewer where there are not enough valid pixels.

    Notes
    -----
    Farthest-point sampling (Gonzalez, Theoretical Computer Science 38, 1985) among pixels that are
    neither at the edge nor of the darkest or brightest 2 %, so that glints and defects are not
    what is shown.
    """
    bands = np.isfinite(cube).any(axis=(1, 2))
    valid = np.isfinite(cube[bands]).all(axis=0) & bands.any()
    margin = min(valid.shape) // 20
    if margin and valid[margin:-margin, margin:-margin].any():
        inner = np.zeros_like(valid)
        inner[margin:-margin, margin:-margin] = True
        valid &= inner
    rows, cols = np.nonzero(valid)
    if len(rows) == 0:
        return []
    spectra = cube[bands][:, rows, cols].T.astype(np.float64)
    level = spectra.mean(axis=1)
    low, high = np.percentile(level, [2, 98])
    usual = (level >= low) & (level <= high)
    rows, cols, spectra = rows[usual], cols[usual], spectra[usual]
    distance = ((spectra - np.median(spectra, axis=0)) ** 2).sum(axis=1)
    chosen = [int(distance.argmin())]
    distance = np.full(len(spectra), np.inf)
    while len(chosen) < min(count, len(spectra)):
        distance = np.minimum(distance, ((spectra - spectra[chosen[-1]]) ** 2).sum(axis=1))
        if distance.max() == 0:
            break
        chosen.append(int(distance.argmax()))
    return [(int(rows[i]), int(cols[i])) for i in chosen]


def points_to_show(fused: Any, reference: Any, count: int) -> list[tuple[int, int]]:
    """Rows and columns of :func:`telling_points` of a large image, valid in both if there are two.

    Parameters
    ----------
    fused, reference : (band, y, x) arrays or DataArrays; `reference` may be None.
    """
    step = step_for(fused.shape[1:], _POINT_SIDE)
    thinned = slice(step // 2, None, step)
    cube = np.asarray(fused[:, thinned, thinned])
    if reference is not None:
        truth = np.asarray(reference[:, thinned, thinned])
        cube = np.where(np.isfinite(cube), truth, np.nan)
    points = telling_points(cube, count)
    return [(row * step + step // 2, col * step + step // 2) for row, col in points]


def upper_limit(values: Array) -> float:
    """Upper end of a colour scale: 99 % of the valid values are below."""
    finite = values[np.isfinite(values)]
    top = float(np.percentile(finite, 99)) if finite.size else 0.0
    return top if top > 0 else 1.0


def broken_line(x: Array, y: Array, factor: float = 6.0) -> tuple[Array, Array]:
    """A spectrum with gaps where the axis leaps, such as at the water bands.

    Parameters
    ----------
    x, y : (n,) axis and values.
    factor : a step this many times the median one is a leap.
    """
    order = np.argsort(x, kind="stable")
    x, y = np.asarray(x, float)[order], np.asarray(y, float)[order]
    steps = np.diff(x)
    if steps.size == 0:
        return x, y
    leaps = np.flatnonzero(steps > factor * np.median(steps)) + 1
    return np.insert(x, leaps, np.nan), np.insert(y, leaps, np.nan)
