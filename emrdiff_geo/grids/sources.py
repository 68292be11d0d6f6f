"""Pixel sources: windows of an image on a given grid, read when they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from ..errors import InputError
from .resample import PixelMap, overlap, weighted_mean
from .windows import finer

#: Size from which a value is what some format fills gaps with, although no nodata value says so:
#: 1e20 (CF conventions), 9.97e36 (NetCDF), 3.4e38 (GDAL). Its square would not fit a float32.
FILL = 1e19
_BLOCK_CELLS = 1_000_000  # pairs of target and source pixel weighed at a time: some 100 MB


@runtime_checkable
class Source(Protocol):
    """Something that windows of an image can be read from.

    An implementation is

    - thread-safe: ``read`` may be called by many threads at once;
    - picklable: a worker process can be given the source;
    - deterministic: a pixel has the same value through whatever window it is read, to the bit, or
      to rounding where its neighbours go into it.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        ...

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window of all bands.

        Parameters
        ----------
        rows, cols : slice
            Pixel indices without a step. They may be negative or beyond the last pixel: unlike
            in Python, that is outside the raster, and NaN there. None is the raster's edge.

        Returns
        -------
        (B, rows, cols) float32
            An array of the caller's own; NaN is nodata.
        """
        ...


def _span(window: slice, size: int) -> tuple[int, int]:
    if window.step not in (None, 1):
        raise InputError("A window of a source has no step: slice the array that it returns.")
    start = 0 if window.start is None else int(window.start)
    stop = size if window.stop is None else int(window.stop)
    return start, max(start, stop)


def _without_fill(values: np.ndarray) -> np.ndarray:
    """Replace what no sensor measures by NaN, in place."""
    for filled in (values >= FILL, values <= -FILL):
        values[filled] = np.nan
    return values


class Windowed(ABC):
    """A source that reads any window by reading what of it lies within the raster: `_inside`."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window, see `Source.read`."""
        bands, height, width = self.shape
        (r0, r1), (c0, c1) = _span(rows, height), _span(cols, width)
        top, bottom = max(r0, 0), min(r1, height)
        left, right = max(c0, 0), min(c1, width)
        whole = (r0, r1, c0, c1) == (top, bottom, left, right)
        if whole and r1 > r0 and c1 > c0:
            return self._inside(slice(r0, r1), slice(c0, c1))
        out = np.full((bands, r1 - r0, c1 - c0), np.nan, np.float32)
        if bottom > top and right > left:
            part = self._inside(slice(top, bottom), slice(left, right))
            out[:, top - r0 : bottom - r0, left - c0 : right - c0] = part
        return out

    @abstractmethod
    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window that lies within the raster and is not empty."""


@dataclass(frozen=True, eq=False)
class Altered(Windowed):
    """Another source with other values, on the same grid and bands; a subclass says which.

    Parameters
    ----------
    source : Source
    """

    source: Source

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return self.source.shape


@dataclass(frozen=True, eq=False)
class ArraySource(Windowed):
    """Windows of an array in memory, of a dask array, or of a file that xarray opened lazily.

    Parameters
    ----------
    array : xr.DataArray or ndarray, (band, y, x)
        NaN is nodata. Of a dask array only the chunks under a window are computed, in the calling
        thread: who reads decides how many threads there are.
    """

    array: Any
    _variable: xr.Variable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(self.array, "ndim", None) != 3:
            raise InputError("A source needs an array with the dimensions (band, y, x).")
        is_xarray = isinstance(self.array, xr.DataArray)
        variable = self.array.variable if is_xarray else xr.Variable(("band", "y", "x"), self.array)
        object.__setattr__(self, "_variable", variable)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        bands, height, width = self._variable.shape
        return bands, height, width

    @property
    def chunks(self) -> tuple[int, int] | None:
        """Rows and columns of the largest chunk of a dask array."""
        chunks = self._variable.chunks
        return None if chunks is None else (max(chunks[1]), max(chunks[2]))

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        part = self._variable[:, rows, cols]
        if part.chunks is not None:
            return _without_fill(np.array(part.data.compute(scheduler="synchronous"), np.float32))
        return _without_fill(np.array(part.values, np.float32))


@dataclass(frozen=True, eq=False)
class WindowSource(Windowed):
    """Another source cropped, shifted or padded by whole pixels.

    Parameters
    ----------
    source : Source
    row0, col0 : int
        Where this source's first pixel lies in ``source``; negative pads with NaN.
    size : (int, int)
        Rows and columns. Outside of them all is NaN, also where ``source`` goes on.
    """

    source: Source
    row0: int
    col0: int
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return self.source.shape[0], *self.size

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        return self.source.read(
            slice(rows.start + self.row0, rows.stop + self.row0),
            slice(cols.start + self.col0, cols.stop + self.col0),
        )


@dataclass(frozen=True, eq=False)
class ResampledSource(Windowed):
    """Another source resampled by area onto another grid, window by window.

    A target pixel is the mean of the source pixels it covers, weighted with the overlap areas:
    exact for any two grids, parallel, rotated or in different CRSs (there the sides of a target
    pixel are straight lines between its projected corners). Each band is taken by itself: its
    mean is over its valid pixels, and it is NaN where these cover less than half of the target
    pixel.

    Parameters
    ----------
    source : Source
    source_geobox : GeoBox
        Grid of ``source``, with a CRS.
    target_geobox : GeoBox
        Grid to resample onto, with a CRS.
    edge : float, optional
        Target pixels of which at least this part lies inside the source's raster are judged by
        that part alone: half of it must be valid. By default half of the whole pixel must be.

    Raises
    ------
    GridError
        If no transformation between the two CRSs is known.
    """

    source: Source
    source_geobox: GeoBox
    target_geobox: GeoBox
    edge: float = 1.0
    _map: PixelMap = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if tuple(self.source_geobox.shape) != tuple(self.source.shape[1:]):
            raise InputError("The grid of a source must have the source's rows and columns.")
        object.__setattr__(self, "_map", PixelMap.between(self.target_geobox, self.source_geobox))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        height, width = self.target_geobox.shape
        return self.source.shape[0], height, width

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        size = (rows.stop - rows.start, cols.stop - cols.start)
        out = np.full((self.shape[0], *size), np.nan, np.float32)
        for r, c in self._blocks(size):
            part = self._block(rows.start + r.start, cols.start + c.start, out[:, r, c].shape[1:])
            if part is not None:
                out[:, r, c] = part
        return out

    def _blocks(self, size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
        """Squares and not strips: the reach of a strip on a rotated grid is a whole scene."""
        height, width = self.target_geobox.shape
        spans = np.abs(self._map.jacobian(width / 2, height / 2)).sum(1)
        cells = np.prod(np.ceil(spans) + 1) if np.isfinite(spans).all() else 1e3
        side = int(np.clip(np.sqrt(_BLOCK_CELLS / cells), 1, 256))
        for r in range(0, size[0], side):
            for c in range(0, size[1], side):
                yield slice(r, min(r + side, size[0])), slice(c, min(c + side, size[1]))

    def _block(self, row: int, col: int, size: tuple[int, int]) -> np.ndarray | None:
        y, x = np.meshgrid(
            row + np.arange(size[0] + 1.0), col + np.arange(size[1] + 1.0), indexing="ij"
        )
        found = overlap(*self._map(x, y), (self.source.shape[1], self.source.shape[2]))
        if found is None:
            return None
        r0, c0, (h, w) = found.row, found.col, found.shape
        values = self.source.read(slice(r0, r0 + h), slice(c0, c0 + w))
        inside = found.weights @ np.ones(h * w)
        covered = np.where(inside > self.edge - 1e-6, 0.5 * inside, 0.5)
        mean = weighted_mean(values.reshape(len(values), -1), found.weights, covered)
        return mean.reshape(-1, *size)


@dataclass(frozen=True, eq=False)
class BandsSource:
    """Some bands of another source.

    Parameters
    ----------
    source : Source
    bands : ndarray
        Indices of the bands, or a mask.
    """

    source: Source
    bands: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return len(np.arange(self.source.shape[0])[self.bands]), *self.source.shape[1:]

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window, see `Source.read`."""
        return self.source.read(rows, cols)[self.bands]


@dataclass(frozen=True, eq=False)
class MeansSource(Windowed):
    """Means of ``factor`` x ``factor`` pixels of another source.

    A mean is over the pixels that have data.

    Parameters
    ----------
    source : Source
        Rows and columns are multiples of the factor.
    factor : int
    """

    source: Source
    factor: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        bands, height, width = self.source.shape
        return bands, height // self.factor, width // self.factor

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        image = self.source.read(*finer((rows, cols), self.factor))
        size = rows.stop - rows.start, self.factor, cols.stop - cols.start, self.factor
        pixels = image.reshape(len(image), *size)
        seen = np.isfinite(pixels)
        count = seen.sum(axis=(2, 4))
        total = np.where(seen, pixels, 0).sum(axis=(2, 4), dtype=np.float64)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return mean.astype(np.float32)
