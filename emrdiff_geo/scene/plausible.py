"""Values that no ground explains: dead and hot detectors that nobody marked.

A band goes with its neighbours. What lies far off every line that the scene draws between a band
and those beside it, in one or two bands of a spectrum and in few pixels side by side, was not seen.
An unusual material differs in many bands, and shows in the pixels around.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: Bands beside one that tell what to expect of it.
BESIDE = (-1, 1, -2, 2, -3, 3)
#: How far off a value has to be: in units of what is usual for its band, or for three quarters of
#: its pixel's bands where these are worse, and in standard deviations of the band. Of 27 scenes of
#: the training, degraded by 4, 8 values of one were so far off, of two others 3 and 1, and none of
#: the rest; so were 91 to 100 % of zeros that were put into four of them.
FAR, CONTRAST = 10.0, 0.5
#: How much of that the pixels to the sides, or those above and below, may usually be off, and no
#: more than `MOST` bands of those up to `BANDS` beside it, one fewer of fewer than `MANY` bands.
SHARED, REACH, MOST, BANDS, MANY = 0.25, 2, 2, 3, 20
#: Fewest values that have to be known along bands, rows or columns, itself among them.
KNOWN_BANDS, KNOWN_PIXELS = 4, 3
#: Largest share of a band's values that are the same. More are in dark bands that were clipped,
#: whose values are judged by so many of the largest contrasts of any band.
SAME, CLIPPED = 0.2, 4
#: Values of which the lines are drawn; pixels that are looked at at a time.
ENOUGH, PIXELS = 300_000, 4096
#: No difference is less than so much of the largest value, by rounding, or of the usual contrast:
#: whole numbers in a dark band are no dead detectors.
ROUNDING, STEP = 1e-6, 2e-3
#: How often lines are drawn, and values are looked at once what was implausible is gone.
DRAWN, LOOKS = 4, 2
#: Pixels around that decide about one.
MARGIN = REACH * LOOKS


@dataclass(frozen=True, eq=False)
class Plausible:
    """What the bands of a scene let expect of each other.

    Attributes
    ----------
    slope, constant : ndarray
        ``(6, L)`` float32, of the lines on the bands `BESIDE`; NaN where there is none.
    usual : ndarray
        ``(L,)`` float32: how far values lie off the second nearest of these lines.
    contrast : ndarray
        ``(L,)`` float32: standard deviation, by quantiles; of clipped bands more.
    """

    slope: np.ndarray
    constant: np.ndarray
    usual: np.ndarray
    contrast: np.ndarray

    @classmethod
    def of(cls, spectra: np.ndarray) -> Plausible:
        """Of spectra ``(L, n)``; NaN is nodata. Some of them may be implausible."""
        spectra = spectra[:, :: max(spectra.size // ENOUGH, 1)]
        lines = [_line(_beside(spectra, by), spectra) for by in BESIDE]
        slope, constant = (
            np.stack(values).astype(np.float32) for values in zip(*lines, strict=True)
        )
        contrast = np.diff(_quantiles(spectra, 0.16, 0.84), axis=0)[0] / 2
        least = ROUNDING * np.nanmax(np.abs(spectra), initial=np.finfo(np.float32).tiny)
        least = max(least, STEP * float(np.median(contrast)))
        contrast = np.maximum(contrast, least)
        known = cls(slope, constant, np.ones(len(spectra), np.float32), contrast)
        usual = 2.5 * _quantiles(known.off(spectra), 0.5)[0]
        clipped = [_commonest(band) > SAME for band in spectra]
        contrast[clipped] = CLIPPED * contrast.max(initial=0)
        return cls(slope, constant, np.maximum(usual, least), contrast)

    def off(self, image: np.ndarray) -> np.ndarray:
        """How far values ``(L, ...)`` lie off the second nearest line; NaN where there are none."""
        nearest = np.full(image.shape, np.inf, np.float32)
        second = nearest.copy()
        for by, slope, constant in zip(BESIDE, self.slope, self.constant, strict=True):
            shape = (-1, *(1 for _ in image.shape[1:]))
            away = np.abs(
                image - constant.reshape(shape) - slope.reshape(shape) * _beside(image, by)
            )
            away[np.isnan(away)] = np.inf
            np.minimum(second, np.maximum(nearest, away), out=second)
            np.minimum(nearest, away, out=nearest)
        second[~np.isfinite(second)] = np.nan
        return second

    def implausible(self, image: np.ndarray) -> np.ndarray:
        """Which values of an image ``(L, h, w)`` are, ``(L, h, w)`` bool; `MARGIN` decides too."""
        found = np.zeros(image.shape, bool)
        height, width = image.shape[1:]
        rows = max(PIXELS // max(width, 1), 1)
        for first, last in pairwise([*range(0, height, rows), height]):
            top, bottom = max(first - MARGIN, 0), min(last + MARGIN, height)
            part = image[:, top:bottom].copy()
            for _ in range(LOOKS):
                part[self._implausible(part)] = np.nan
            part = np.isnan(part[:, first - top : last - top])
            found[:, first:last] = part & ~np.isnan(image[:, first:last])
        return found

    def _implausible(self, image: np.ndarray) -> np.ndarray:
        off = self.off(image)
        units = off / self.usual[:, None, None]
        # Whole pixels may be unusual: what differs in many bands is the ground.
        units /= np.maximum(np.quantile(np.nan_to_num(units), 0.75, axis=0), 1)
        far = (units > FAR) & (off > CONTRAST * self.contrast[:, None, None])
        if not far.any():
            return far
        at = np.nonzero(far)
        # Of noisy bands either unit alone would have their neighbours look alike.
        beside = [_along(u, at, 0, BANDS) for u in (units, off / self.contrast[:, None, None])]
        alike = [(b > SHARED * b[BANDS]).sum(axis=0) for b in beside]
        told = np.isfinite(beside[0]).sum(axis=0) >= KNOWN_BANDS
        most = MOST if len(image) >= MANY else MOST - 1
        around = [_usually(_along(off, at, axis, REACH)) for axis in (1, 2)]
        alone = np.minimum(*around) < SHARED * off[at]
        far[at] = told & alone & (np.minimum(*alike) <= most)
        return far


def _beside(image: np.ndarray, by: int) -> np.ndarray:
    """The band beside each band ``(L, ...)``; NaN where there is none."""
    found = np.full_like(image, np.nan)
    if by > 0:
        found[:-by] = image[by:]
    else:
        found[-by:] = image[:by]
    return found


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and constant ``(L,)`` of lines through ``(L, n)``, drawn again without what is off."""
    kept = np.isfinite(x) & np.isfinite(y)
    for _ in range(DRAWN):
        count = np.maximum(kept.sum(axis=1), 1)
        mean_x, mean_y = (
            np.where(kept, v, 0).sum(axis=1, dtype=np.float64) / count for v in (x, y)
        )
        dx, dy = (np.where(kept, v - mean[:, None], 0) for v, mean in ((x, mean_x), (y, mean_y)))
        square = (dx * dx).sum(axis=1)
        slope = np.where(square > 0, (dx * dy).sum(axis=1) / np.where(square > 0, square, 1), 0)
        constant = mean_y - slope * mean_x
        away = np.abs(y - constant[:, None] - slope[:, None] * x)
        usual = 1.4826 * _quantiles(away, 0.5)[0]
        kept = away <= 3 * usual[:, None]
    return slope, constant


def _quantiles(values: np.ndarray, *shares: float) -> np.ndarray:
    """Quantiles of every band of ``(L, n)``, as ``(k, L)`` float32; 0 of bands without values."""
    known = np.isfinite(values).any(axis=1)
    found = np.zeros((len(shares), len(values)), np.float32)
    found[:, known] = np.nanquantile(values[known], shares, axis=1)
    return found


def _commonest(band: np.ndarray) -> float:
    """Share of a band's values that the commonest of them has."""
    counts = np.unique(band[np.isfinite(band)], return_counts=True)[1]
    return counts.max(initial=0) / max(counts.sum(), 1)


def _usually(around: np.ndarray) -> np.ndarray:
    """Median ``(n,)`` of ``(m, n)``, infinite where few are known."""
    known = np.isfinite(around).sum(axis=0) >= KNOWN_PIXELS
    found = np.full(around.shape[1], np.inf, np.float32)
    found[known] = np.nanmedian(around[:, known], axis=0)
    return found


def _along(image: np.ndarray, at: tuple[np.ndarray, ...], axis: int, reach: int) -> np.ndarray:
    """Values ``(2 reach + 1, n)`` around n of ``(L, h, w)`` along an axis; NaN beyond the image."""
    around = np.full((2 * reach + 1, len(at[0])), np.nan, np.float32)
    for row, by in zip(around, range(-reach, reach + 1), strict=True):
        place = at[axis] + by
        inside = (place >= 0) & (place < image.shape[axis])
        index = [i[inside] for i in at]
        index[axis] = place[inside]
        row[inside] = image[tuple(index)]
    return around
