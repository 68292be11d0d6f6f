"""The form of a result: its size, type, grid and bands, and values as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox

from ..errors import OutputError
from ..metadata import Bands, Provenance

#: How values are stored: arguments of `sinks.open_sink` that a user can choose.
STORED = ("dtype", "scale", "offset")
_NODATA = {"float32": np.nan, "int16": -32768}


@dataclass(frozen=True, eq=False)
class RasterLayout:
    """Everything that is known of a result before its first pixel.

    Parameters
    ----------
    shape : (band, height, width)
    chunks : (height, width) of the regions that are written and stored as one
    dtype : "float32" or "int16"
    nodata : value that stands for NaN
    scale, offset : stored value = (value - offset) / scale; 1 and 0 for float32
    geobox : grid, or None
    wavelength_nm, fwhm_nm, good : (band,) or None
    provenance : how it is made, or None
    """

    shape: tuple[int, int, int]
    chunks: tuple[int, int]
    dtype: str = "float32"
    nodata: float = np.nan
    scale: float = 1.0
    offset: float = 0.0
    geobox: GeoBox | None = None
    wavelength_nm: NDArray[np.float64] | None = None
    fwhm_nm: NDArray[np.float64] | None = None
    good: NDArray[np.bool_] | None = None
    provenance: Provenance | None = None

    @property
    def scaled(self) -> bool:
        """Whether stored numbers have to be scaled to give values."""
        return (self.scale, self.offset) != (1.0, 0.0)

    @property
    def chunk_shape(self) -> tuple[int, int, int]:
        """Chunks as stored: all bands of one region, never larger than the image."""
        bands, height, width = self.shape
        return (bands, min(self.chunks[0], height), min(self.chunks[1], width))


def raster_layout(
    shape: tuple[int, int, int],
    geobox: GeoBox | None,
    chunks: int | tuple[int, int],
    bands: Bands | None,
    dtype: str,
    nodata: float | None,
    scale: float | None,
    offset: float,
    provenance: Provenance | None,
) -> RasterLayout:
    """Check the arguments of `sinks.open_sink`, which documents them, and fill in the defaults."""
    if len(shape) != 3 or min(shape) < 1:
        raise OutputError(f"an image of shape {tuple(shape)} cannot be written: give (band, y, x)")
    if geobox is not None and tuple(geobox.shape) != tuple(shape[1:]):
        raise OutputError(
            f"the grid has {tuple(geobox.shape)} pixels and the image {tuple(shape[1:])}: "
            "give the grid of the image"
        )
    size = (chunks, chunks) if isinstance(chunks, int) else tuple(chunks)
    if len(size) != 2 or min(size) < 1:
        raise OutputError(f"chunks of {chunks} pixels are impossible: give a positive size")
    return RasterLayout(
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        chunks=(int(size[0]), int(size[1])),
        dtype=dtype,
        nodata=_checked_nodata(dtype, nodata),
        scale=_checked_scale(dtype, scale, offset),
        offset=float(offset),
        geobox=geobox,
        provenance=provenance,
        wavelength_nm=_per_band(bands, "wavelength_nm", shape[0], np.float64),
        fwhm_nm=_per_band(bands, "fwhm_nm", shape[0], np.float64),
        good=_per_band(bands, "good", shape[0], np.bool_),
    )


def encode(block: ArrayLike, layout: RasterLayout) -> tuple[NDArray[Any], bool]:
    """Return `block` as it is stored, and whether values had to be clipped for it."""
    values = np.asarray(block, dtype=np.float32)
    missing = np.isnan(values)
    if layout.dtype == "float32":
        if np.isnan(layout.nodata) or not missing.any():
            return values, False
        return np.where(missing, np.float32(layout.nodata), values), False
    limits = np.iinfo(np.int16)
    numbers = np.rint((values.astype(np.float64) - layout.offset) / layout.scale)
    clipped = bool(np.any((numbers < limits.min) | (numbers > limits.max)))
    nodata = int(layout.nodata)
    stored = np.clip(np.where(missing, nodata, numbers), limits.min, limits.max).astype(np.int16)
    # A value that falls on the code for nodata moves by one step rather than vanish.
    stored[(stored == nodata) & ~missing] += 1 if nodata < limits.max else -1
    return stored, clipped


def check_stored(dtype: str = "float32", scale: float | None = None, offset: float = 0.0) -> None:
    """Refuse a way to store values that cannot be, before any work is done for it.

    Raises
    ------
    OutputError
        See `sinks.open_sink`.
    """
    _checked_nodata(dtype, None)
    _checked_scale(dtype, scale, offset)


def _checked_nodata(dtype: str, nodata: float | None) -> float:
    if dtype not in _NODATA:
        raise OutputError(f"results cannot be stored as {dtype}: choose float32 or int16")
    if nodata is None:
        return _NODATA[dtype]
    limits = np.iinfo(np.int16)
    fits = limits.min <= nodata <= limits.max and nodata == np.rint(nodata)
    if dtype == "int16" and not fits:
        raise OutputError(
            f"{nodata} is no value of int16: choose a whole number from {limits.min} to "
            f"{limits.max} for nodata"
        )
    return float(nodata)


def _checked_scale(dtype: str, scale: float | None, offset: float) -> float:
    if dtype == "float32":
        if scale not in (None, 1.0) or offset != 0.0:
            raise OutputError("scale and offset are for int16 only: leave them out for float32")
        return 1.0
    if scale is None:
        raise OutputError(
            "int16 needs a scale: 0.0001 for reflectance from 0 to 1, 1 for values that are "
            "scaled to integers already"
        )
    if not (np.isfinite(scale) and scale > 0 and np.isfinite(offset)):
        raise OutputError(f"a scale of {scale} is impossible: give a positive number")
    return float(scale)


def _per_band(bands: Bands | None, name: str, count: int, dtype: Any) -> NDArray[Any] | None:
    values = getattr(bands, name, None)
    if values is None:
        return None
    array = np.asarray(values, dtype=dtype)
    if array.shape != (count,):
        raise OutputError(
            f"{name} has {array.size} entries for {count} bands: give one a band or none"
        )
    return array
