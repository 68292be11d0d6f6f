"""Lazy windows of any raster that GDAL opens, as float32 with NaN for nodata."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from ..errors import InputError

CHUNK_BYTES = 48 * 2**20
# A file may have been written as one huge block: above this, reading part of a block twice is
# the smaller evil.
_MAX_CHUNK_BYTES = 128 * 2**20

_open_lock = threading.Lock()


@contextmanager
def opened(path: str) -> Iterator[rasterio.DatasetReader]:
    """Open a raster for reading; whatever GDAL says on failure becomes one `InputError`."""
    try:
        # Cubes without CRS are normal here. The warning filters are the process's: hence the lock.
        with _open_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path)
    except RasterioError as error:
        raise unreadable(path, error) from error
    with source:
        yield source


def unreadable(path: str, error: BaseException) -> InputError:
    """Say in one sentence that a file cannot be read, and why GDAL thinks so."""
    cause = error.__cause__ or error
    reason = " ".join(str(cause).split()).rstrip(".").replace(path, Path(path).name)
    reason = reason.removeprefix(f"{Path(path).name}: ")
    return InputError(
        f"{Path(path).name} cannot be read ({reason}): check that the file is complete and of a "
        "format that GDAL or xarray opens."
    )


@dataclass(frozen=True)
class RasterArray:
    """A raster file as an array-like that reads a window when it is indexed.

    It holds no open file, so it can be pickled, shared by threads and survive a fork; each read
    opens the file anew, which costs milliseconds.

    Parameters
    ----------
    path : str
        What `rasterio.open` takes.
    bands : tuple of int, (B,)
        GDAL band numbers, from 1.
    size : (int, int)
        Rows and columns.
    nodata : tuple of (float or None), (B,)
        Compared in the file's own data type, before scaling.
    scale, offset : tuple of float, (B,)
        value = stored * scale + offset.
    masked : bool
        Whether the file has a mask besides nodata values.
    stamp : tuple of int
        Size and time of the file, so that dask does not confuse two versions of it.
    alpha : int or None
        GDAL number of the alpha band: where it is 0 there is no data.
    """

    path: str
    bands: tuple[int, ...]
    size: tuple[int, int]
    nodata: tuple[float | None, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    masked: bool
    stamp: tuple[int, ...] = ()
    alpha: int | None = None

    dtype = np.dtype(np.float32)
    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return len(self.bands), *self.size

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read (band, y, x) by basic indices, or by one list on one axis (as dask does)."""
        key = key if isinstance(key, tuple) else (key,)
        key += (slice(None),) * (3 - len(key))
        bands = np.arange(len(self.bands))[key[0]]
        row0, rows, row_key = _span(key[1], self.size[0])
        col0, cols, col_key = _span(key[2], self.size[1])
        window = Window(col0, row0, cols, rows)  # type: ignore[call-arg]
        data = self._read(np.atleast_1d(bands), window)
        # From the last axis to the first: an integer index drops its axis.
        data = data[:, :, col_key]
        data = data[:, row_key]
        return data[0] if bands.ndim == 0 else data

    def _read(self, bands: np.ndarray, window: Window) -> np.ndarray:
        if min(bands.size, window.height, window.width) == 0:
            return np.empty((bands.size, int(window.height), int(window.width)), np.float32)
        with opened(self.path) as source:
            try:
                raw = source.read([self.bands[b] for b in bands], window=window)
                masks = self._masks(source, window)
            except RasterioError as error:
                raise unreadable(self.path, error) from error
        out = np.empty(raw.shape, np.float32)
        for i, band in enumerate(bands):  # band by band: the temporary arrays stay small
            out[i] = decode(raw[i], [self.nodata[band]], self.scale[band], self.offset[band])
            for mask in masks:
                out[i][mask == 0] = np.nan
        return out

    def _masks(self, source: rasterio.DatasetReader, window: Window) -> list[np.ndarray]:
        masks = [source.dataset_mask(window=window)] if self.masked else []
        # GDAL masks by alpha only in images of few bands, of two data types and without nodata.
        return masks if self.alpha is None else [*masks, source.read(self.alpha, window=window)]


def _is_int(key: Any) -> bool:
    return isinstance(key, (int, np.integer))


def _span(key: Any, size: int) -> tuple[int, int, Any]:
    """First pixel, number of pixels, and the index of the wanted ones within these."""
    index = np.arange(size)[key]
    if index.ndim == 0:
        return int(index), 1, 0
    if index.size == 0:
        return 0, 0, slice(None)
    first, last = int(index.min()), int(index.max())
    if np.array_equal(index, np.arange(first, last + 1)):
        return first, index.size, slice(None)
    return first, last - first + 1, index - first


def decode(
    raw: np.ndarray, fills: Sequence[float | None], scale: float, offset: float
) -> np.ndarray:
    """Stored values as float32: nodata compared before scaling, in the stored type."""
    values = raw
    if (scale, offset) != (1.0, 0.0):
        values = raw.astype(np.float64) * scale + offset
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    for fill in fills:
        missing = nodata_mask(raw, fill)
        if missing is not None:
            values[missing] = np.nan
    return values


def nodata_mask(raw: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Where stored values equal nodata, compared in their own type; None where none can."""
    if nodata is None or np.isnan(nodata):
        return None
    if raw.dtype.kind in "iu":
        limits = np.iinfo(raw.dtype)
        if not (float(nodata).is_integer() and limits.min <= nodata <= limits.max):
            return None
        return raw == raw.dtype.type(int(nodata))
    with np.errstate(over="ignore"):  # float32 files with a float64 nodata value
        return raw == raw.dtype.type(nodata)


def lazy_array(source: rasterio.DatasetReader, path: str, chunks: Any, divisor: float) -> da.Array:
    """Make the dask array of an opened raster.

    Parameters
    ----------
    source : rasterio dataset
        Read for its header only.
    path : str
        What to open again at each read.
    chunks : None, int, (int, int) or dict
        Rows and columns of a chunk; see `chunk_shape`.
    divisor : float
        Stored values are also divided by this (the reflectance scale of an ENVI header).

    Returns
    -------
    dask array, (band, y, x) float32
        One task per chunk; dask moves a window of it into the read.
    """
    bands = image_bands(source)
    flags = [source.mask_flag_enums[b - 1] for b in bands]
    array = RasterArray(
        path=path,
        bands=bands,
        size=source.shape,
        nodata=tuple(source.nodatavals[b - 1] for b in bands),
        scale=tuple(source.scales[b - 1] / divisor for b in bands),
        offset=tuple(source.offsets[b - 1] / divisor for b in bands),
        masked=any(MaskFlags.per_dataset in f and MaskFlags.alpha not in f for f in flags),
        stamp=_stamp(path),
        alpha=next((i for i in source.indexes if i not in bands), None),
    )
    shape = chunk_shape(array.shape, source.block_shapes[0], chunks)
    # `fancy=True` (the default): dask fuses slices only into getters that may take lists.
    return da.from_array(
        array, chunks=shape, asarray=False, lock=False, meta=np.empty((0, 0, 0), np.float32)
    )


def image_bands(source: rasterio.DatasetReader) -> tuple[int, ...]:
    """GDAL numbers of the bands that are image, not alpha."""
    pairs = zip(source.indexes, source.colorinterp, strict=True)
    return tuple(i for i, meaning in pairs if meaning != ColorInterp.alpha)


def chunk_shape(
    shape: tuple[int, int, int], block: tuple[int, int], chunks: Any
) -> tuple[int, int, int]:
    """Choose chunks of all bands, some 48 MB, made of whole blocks of the file.

    Parameters
    ----------
    shape : (int, int, int)
        Bands, rows and columns.
    block : (int, int)
        Rows and columns of the file's blocks.
    chunks : None, int, (int, int) or dict
        The user's choice: rows and columns, one number for both, or ``{"y": ..., "x": ...}``.
    """
    count, height, width = shape
    if chunks is not None:
        return count, *_chosen(chunks, (height, width))
    rows, cols = min(block[0], height), min(block[1], width)
    pixel = 4 * max(count, 1)
    while rows * cols * pixel > _MAX_CHUNK_BYTES:
        rows, cols = (-(-rows // 2), cols) if rows >= cols else (rows, -(-cols // 2))
    room = max(1, CHUNK_BYTES // (rows * cols * pixel))
    across = min(-(-width // cols), max(1, round(np.sqrt(room * rows / cols))))
    down = min(-(-height // rows), max(1, room // across))
    return count, min(rows * down, height), min(cols * across, width)


def _chosen(chunks: Any, size: tuple[int, int]) -> tuple[int, int]:
    pair: list[Any]
    if isinstance(chunks, dict):
        pair = [chunks.get("y"), chunks.get("x")]
    else:
        pair = [chunks, chunks] if _is_int(chunks) else list(chunks)
    pair = [n if c in (-1, None) else c for c, n in zip(pair, size, strict=False)] + pair[2:]
    if len(pair) != 2 or not all(_is_int(c) and c > 0 for c in pair):
        raise InputError(
            "chunks= must be a number of pixels, (rows, columns) or {'y': .., 'x': ..}."
        )
    return min(pair[0], size[0]), min(pair[1], size[1])


def _stamp(path: str) -> tuple[int, ...]:
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):  # not a plain local file
        return ()
    return stat.st_size, stat.st_mtime_ns


def probe(source: rasterio.DatasetReader, path: str) -> None:
    """Fail now for a file that was cut off, and not after minutes of work.

    A TIFF whose tail is missing often still has its header; GDAL fills what a raw ENVI file lacks
    with zeros, without a word.
    """
    if source.driver == "ENVI":
        _probe_envi(source, path)
    elif source.driver in {"GTiff", "COG"}:
        corner = Window(source.width - 1, source.height - 1, 1, 1)  # type: ignore[call-arg]
        try:
            source.read(source.count, window=corner)
        except RasterioIOError as error:
            raise unreadable(path, error) from error


def _probe_envi(source: rasterio.DatasetReader, path: str) -> None:
    header, stamp = source.tags(ns="ENVI"), _stamp(path)
    if not stamp or header.get("file_compression", "0").strip() not in {"", "0"}:
        return
    pixels = source.count * source.height * source.width
    needed = int(header.get("header_offset", 0)) + pixels * np.dtype(source.dtypes[0]).itemsize
    if stamp[0] < needed:
        raise InputError(
            f"{Path(path).name} holds {stamp[0]} of the {needed} bytes that its ENVI header "
            "promises: copy or download it again."
        )
