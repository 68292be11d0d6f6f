"""From a gathered Zarr array to a cloud-optimised GeoTIFF, in bounded memory.

GDAL's COG driver interleaves by pixel only, which is unusable with hundreds of bands. The way that
works: a tiled GeoTIFF interleaved by band, overviews inside it, then a copy with
``COPY_SRC_OVERVIEWS``. The copy also compresses, and puts all blocks into one order, so the bytes
do not depend on the order in which the regions were computed. What it copies is not compressed:
overviews are built from blocks that are read many times, which took two thirds of the time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import ceil, lcm
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
import zarr
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from ..errors import WriteError
from ..metadata import PROVENANCE, band_descriptions, band_tags, imagery_tags
from ..system.machine import cores
from .layout import RasterLayout

BLOCK = 256
CACHE_BYTES = 128 * 2**20
WINDOW_BYTES = 128 * 2**20


@contextmanager
def gdal_writing() -> Iterator[None]:
    """Bound GDAL's block cache (by default 5 % of the machine) and silence the no-CRS warning."""
    settings = {
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK,
        # For compression only: the bytes do not depend on it (a test compares them).
        "GDAL_NUM_THREADS": _threads(),
    }
    with warnings.catch_warnings(), rasterio.Env(**settings):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def write_tiled(stage: zarr.Array[Any], layout: RasterLayout, path: Path) -> None:
    """Write `stage` with all its metadata and overviews to a tiled GeoTIFF at `path`."""
    _, height, width = layout.shape
    # One region is decompressed at a time: by default there would be ten in memory.
    with gdal_writing(), zarr.config.set({"async.concurrency": 1}):
        with rasterio.open(path, "w", **_profile(layout)) as dataset:
            for window in _windows(layout):
                rows, cols = window.toslices()
                dataset.write(stage[:, rows, cols], window=window)
            _write_metadata(dataset, layout)
        if levels := overview_levels(height, width):
            # Reopened, because overviews of a file still being written end up in another one.
            with rasterio.open(path, "r+") as dataset:
                dataset.build_overviews(levels, Resampling.average)


def copy_optimised(tiled: Path, layout: RasterLayout, path: Path) -> None:
    """Copy `tiled` to `path` with the directories first and the overviews before the image."""
    with gdal_writing():
        rasterio.shutil.copy(
            str(tiled),
            str(path),
            driver="GTiff",
            COPY_SRC_OVERVIEWS="YES",
            **_creation_options(**_compressed(layout)),
        )
        _check_complete(path, len(overview_levels(*layout.shape[1:])))


def values_in_blocks(height: int, width: int) -> int:
    """Values of a band and its overviews, with what fills their last blocks."""
    factors = (1, *overview_levels(height, width))
    return BLOCK**2 * sum(ceil(height / n / BLOCK) * ceil(width / n / BLOCK) for n in factors)


def overview_levels(height: int, width: int) -> list[int]:
    """Return powers of two down to the overview that fits into one block."""
    levels: list[int] = []
    while max(height, width) > BLOCK * 2 ** len(levels):
        levels.append(2 ** (len(levels) + 1))
    return levels


def _threads() -> int:
    return min(4, cores())


@cache
def compression() -> str:
    """Return ``ZSTD``, or ``DEFLATE`` where this build of GDAL has no ZSTD."""
    options = {"driver": "GTiff", "width": 16, "height": 16, "count": 1, "dtype": "uint8"}
    try:
        with warnings.catch_warnings(), MemoryFile() as memory:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**options, compress="ZSTD"):
                pass
            # Builds without it only warn and write the file uncompressed.
            with memory.open() as dataset:
                usable = str(dataset.profile.get("compress", "")).upper() == "ZSTD"
    except RasterioError:
        usable = False
    return "ZSTD" if usable else "DEFLATE"


def _creation_options(**options: Any) -> dict[str, Any]:
    return {
        "TILED": "YES",
        "BLOCKXSIZE": BLOCK,
        "BLOCKYSIZE": BLOCK,
        "INTERLEAVE": "BAND",
        **options,
    }


def _compressed(layout: RasterLayout) -> dict[str, Any]:
    method = compression()
    # The noise in the low bits does not compress: higher levels gain a hundredth, and take longer.
    level = {"ZSTD_LEVEL": 1} if method == "ZSTD" else {"ZLEVEL": 6}
    predictor = 3 if layout.dtype == "float32" else 2
    return {"COMPRESS": method, "PREDICTOR": predictor, "BIGTIFF": "IF_SAFER", **level}


def _profile(layout: RasterLayout) -> dict[str, Any]:
    bands, height, width = layout.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": layout.dtype,
        "nodata": layout.nodata,
        # Overviews that are added later count for no other choice.
        **_creation_options(BIGTIFF="YES"),
    }
    if layout.geobox is not None:
        profile["transform"] = Affine(*tuple(layout.geobox.affine)[:6])
        if layout.geobox.crs is not None:
            profile["crs"] = CRS.from_wkt(layout.geobox.crs.to_wkt())
    return profile


def window_shape(chunks: tuple[int, int], pixel_bytes: int) -> tuple[int, int]:
    """Height and width of the windows in which regions are brought into the file.

    Whole blocks, so that no block is compressed twice, and whole regions where that stays small,
    so that no region is decompressed twice.
    """
    whole = [lcm(chunk, BLOCK) for chunk in chunks]
    largest = max(WINDOW_BYTES, 4 * chunks[0] * chunks[1] * pixel_bytes)
    fits = whole[0] * whole[1] * pixel_bytes <= largest
    return (whole[0], whole[1]) if fits else (BLOCK, BLOCK)


def _windows(layout: RasterLayout) -> Iterator[Window]:
    bands, height, width = layout.shape
    itemsize = 4 if layout.dtype == "float32" else 2
    rows, cols = window_shape(layout.chunks, bands * itemsize)
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            yield Window(col, row, min(cols, width - col), min(rows, height - row))


def _write_metadata(dataset: Any, layout: RasterLayout) -> None:
    count = layout.shape[0]
    if layout.provenance is not None:
        dataset.update_tags(
            TIFFTAG_SOFTWARE=f"{layout.provenance.software} {layout.provenance.version}",
            **{PROVENANCE.upper(): layout.provenance.to_json()},
        )
    if layout.scaled:
        dataset.scales = [layout.scale] * count
        dataset.offsets = [layout.offset] * count
    dataset.descriptions = band_descriptions(layout.wavelength_nm, count)
    tags = band_tags(layout.wavelength_nm, layout.fwhm_nm, layout.good, count)
    imagery = imagery_tags(layout.wavelength_nm, layout.fwhm_nm, count)
    for band, (entry, imagery_entry) in enumerate(zip(tags, imagery, strict=True), 1):
        if entry:
            dataset.update_tags(band, **entry)
        if imagery_entry:
            dataset.update_tags(band, ns="IMAGERY", **imagery_entry)


def _check_complete(path: Path, overviews: int) -> None:
    """Make sure that every block lies inside the file.

    On a full disk the copy can end without an error when only the last blocks are cut off.
    """
    size = path.stat().st_size
    for level in range(-1, overviews):
        options = {} if level < 0 else {"overview_level": level}
        with rasterio.open(path, **options) as dataset:
            if _end_of_blocks(dataset) > size:
                raise WriteError(
                    f"{path.name} came out incomplete, probably because the disk is full: free "
                    "some space or choose another folder"
                )


def _end_of_blocks(dataset: Any) -> int:
    """Return the position after the last block, from the last row of blocks of every band.

    Blocks are written in order, so those of the last row are the last of their band.
    """
    end = 0
    rows = ceil(dataset.height / BLOCK)
    for band in dataset.indexes:
        for col in range(ceil(dataset.width / BLOCK)):
            key = f"{col}_{rows - 1}"
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{key}", "TIFF", band)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{key}", "TIFF", band)
            if offset is not None and length is not None:
                end = max(end, int(offset) + int(length))
    return end
