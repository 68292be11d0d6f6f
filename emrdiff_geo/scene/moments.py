"""Moments of samples that come block by block.

Those of two blocks merge exactly up to rounding (Chan, Golub, LeVeque, "Updating formulae and a
pairwise algorithm for computing sample variances", 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import named

#: Share of the bands that a pixel must have to count for one that lacks the others.
FEWEST = 0.25


@dataclass(frozen=True)
class Moments:
    """Count, mean ``(n,)`` and sum of squared deviations ``(n, n)`` of vectors, float64."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, samples: np.ndarray) -> Moments:
        """Moments of ``samples``, ``(n, count)``."""
        samples = samples.astype(np.float64)
        count = samples.shape[1]
        mean = samples.mean(axis=1) if count else np.zeros(samples.shape[0])
        centred = samples - mean[:, None]
        return cls(count, mean, centred @ centred.T)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of samples together."""
        count = self.count + other.count
        if not other.count or not self.count:
            return self if not other.count else other
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        scatter = self.scatter + other.scatter
        scatter = scatter + np.outer(delta, delta) * (self.count * other.count / count)
        return Moments(count, mean, scatter)

    def __getstate__(self) -> tuple[int, np.ndarray, np.ndarray]:
        # The scatter is symmetric: half of it travels.
        return self.count, self.mean, self.scatter[np.triu_indices(len(self.mean))]

    def __setstate__(self, state: tuple[int, np.ndarray, np.ndarray]) -> None:
        count, mean, upper = state
        scatter = np.empty((len(mean), len(mean)))
        rows, cols = np.triu_indices(len(mean))
        scatter[rows, cols] = scatter[cols, rows] = upper
        for name, value in (("count", count), ("mean", mean), ("scatter", scatter)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Extent:
    """How many values each band has, and the least and largest of them, NaN where there are none.

    Attributes
    ----------
    count, lost, least, largest : ndarray
        ``(L,)``; lost are those of pixels that have `FEWEST` of the bands.
    """

    count: np.ndarray
    lost: np.ndarray
    least: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, good: np.ndarray) -> Extent:
        """Extent of an image ``(L, y, x)`` with NaN for nodata, of whose bands some are good."""
        values = image.reshape(len(image), -1)
        there = np.isfinite(values)
        # Bands that are empty anyway are not what a pixel lacks.
        counting = there[good & there.any(axis=1)]
        lost = ~there[:, counting.mean(axis=0) >= FEWEST] if len(counting) else there[:, :0]
        least, largest = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
        return cls(there.sum(axis=1), lost.sum(axis=1), least, largest)

    def merge(self, other: Extent) -> Extent:
        """Extent of both."""
        return Extent(
            self.count + other.count,
            self.lost + other.lost,
            np.fmin(self.least, other.least),
            np.fmax(self.largest, other.largest),
        )

    @property
    def constant(self) -> np.ndarray:
        """``(L,)`` bool: bands without contrast, but for the rounding of resampled values."""
        return self.largest - self.least <= 1e-6 * np.abs(self.largest)


@dataclass(frozen=True)
class BlockSums:
    """What one block, or several, add to the statistics of a scene.

    Attributes
    ----------
    moments : Moments
        Joint moments of the degraded MSI (first ``n_msi``) and the good HSI bands.
    n_msi : int
    peak : float
        Largest HSI value.
    edges : (float, float)
        Least and largest edge magnitude of the MSI.
    cells : ndarray
        ``(n, s, s)`` covariances of the MSI's noise in sampled cells, see `noise_level`.
    filled : ndarray
        ``(s,)`` bool: MSI bands that have data anywhere.
    """

    moments: Moments
    n_msi: int
    peak: float
    edges: tuple[float, float]
    cells: np.ndarray
    filled: np.ndarray

    def merge(self, other: BlockSums) -> BlockSums:
        """Sums of both together."""
        (low, high), (least, most) = self.edges, other.edges
        return BlockSums(
            self.moments.merge(other.moments),
            self.n_msi,
            max(self.peak, other.peak),
            (min(low, least), max(high, most)),
            np.concatenate([self.cells, other.cells]),
            self.filled | other.filled,
        )

    @property
    def nothing_valid(self) -> str:
        """Why no pixel counts: an MSI band without any data leaves none that is valid in all."""
        empty = np.flatnonzero(~self.filled) + 1
        if 0 < empty.size < self.filled.size:
            return (
                f"of the {self.filled.size} MSI bands that are used, {named('band', empty)} "
                f"{'has' if empty.size == 1 else 'have'} no data where the images overlap: leave "
                "out such bands (gdal_translate -b), or mark them as bad (bbl = 0)"
            )
        return (
            "fewer than three HSI pixels are valid in both images: check the nodata values and "
            "that the images show the same place"
        )
