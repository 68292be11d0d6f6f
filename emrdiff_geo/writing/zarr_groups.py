"""Zarr stores: the plain one that a GeoTIFF is gathered in, and the CF one that is a result."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from odc.geo.xr import xr_coords
from zarr.codecs import BloscCodec, BloscShuffle

from ..metadata import PROVENANCE, axis_attrs, band_coords, zarr_convention_attrs
from .layout import RasterLayout

IMAGE = "image"
GRID_MAPPING = "spatial_ref"


def create_stage(path: Path, layout: RasterLayout) -> zarr.Array[Any]:
    """Make a bare array at `path`, filled with nodata, for a result that is assembled later.

    Every chunk is a file of its own that appears at once: regions can be written from any thread
    or process, in any order, twice, and a killed run leaves whole chunks.
    """
    return zarr.create_array(
        path,
        shape=layout.shape,
        chunks=layout.chunk_shape,
        dtype=layout.dtype,
        fill_value=layout.nodata,
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.bitshuffle)],
        zarr_format=3,
    )


def open_stage(path: Path) -> zarr.Array[Any] | None:
    """Open what `create_stage` made; None if it is not there as a whole."""
    try:
        return zarr.open_array(path, mode="r+", zarr_format=3)
    except (FileNotFoundError, KeyError, ValueError):
        return None


def open_result(path: Path) -> zarr.Array[Any] | None:
    """Open the image array of what `create_result` made; None if it is not there as a whole."""
    return open_stage(path / IMAGE)


def create_result(path: Path, layout: RasterLayout) -> zarr.Array[Any]:
    """Make a Zarr v3 group with coordinates and attributes at `path`; return its image array.

    ``xarray.open_zarr(path, decode_coords="all")`` gives variable ``image`` (band, y, x) with the
    coordinates of the library's datasets.
    """
    with warnings.catch_warnings():
        # The metadata is consolidated so that xarray opens it in one read; zarr-python warns that
        # others may ignore it, which does no harm.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification")
        _template(layout).to_zarr(
            path, mode="w", zarr_format=3, compute=False, encoding={IMAGE: _encoding(layout)}
        )
    array = zarr.open_group(path, mode="r+", use_consolidated=False)[IMAGE]
    assert isinstance(array, zarr.Array)
    return array


def _template(layout: RasterLayout) -> xr.Dataset:
    # Only the shape of this array is used, so one dask chunk keeps the graph at one task.
    import dask.array as da

    kind = np.float32 if layout.dtype == "int16" and layout.scaled else np.dtype(layout.dtype)
    pixels = da.zeros(layout.shape, chunks=layout.shape, dtype=kind)
    image = xr.Variable(("band", "y", "x"), pixels)
    dataset = xr.Dataset({IMAGE: image}, coords=_coords(layout), attrs=_attrs(layout))
    if GRID_MAPPING in dataset.coords:
        dataset[IMAGE].attrs["grid_mapping"] = GRID_MAPPING
    return dataset


def _encoding(layout: RasterLayout) -> dict[str, Any]:
    encoding: dict[str, Any] = {
        "chunks": layout.chunk_shape,
        "dtype": layout.dtype,
        # CF's _FillValue says what is nodata, Zarr's fill_value what chunks never written hold.
        "_FillValue": np.dtype(layout.dtype).type(layout.nodata),
        "fill_value": np.dtype(layout.dtype).type(layout.nodata),
        "compressors": [BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.bitshuffle)],
    }
    if layout.scaled:
        encoding["scale_factor"] = layout.scale
        # A needless offset would make xarray decode to float64.
        if layout.offset:
            encoding["add_offset"] = layout.offset
    return encoding


def _coords(layout: RasterLayout) -> dict[Any, Any]:
    bands, height, width = layout.shape
    coords: dict[Any, Any] = {**band_coords(bands, layout)}
    if layout.geobox is None:
        return coords | {"y": ("y", np.arange(height)), "x": ("x", np.arange(width))}
    grid = dict(xr_coords(layout.geobox, crs_coord_name=GRID_MAPPING, dims=("y", "x")))
    for dim, attrs in axis_attrs(layout.geobox).items():
        grid[dim].attrs.update(attrs)
    return coords | grid


def _attrs(layout: RasterLayout) -> dict[str, Any]:
    attrs = {"Conventions": "CF-1.11", **zarr_convention_attrs(layout.geobox, layout.shape[1:])}
    if layout.provenance is not None:
        # Text, not a nested object: netCDF attributes cannot nest, and users convert.
        attrs[PROVENANCE] = layout.provenance.to_json()
    return attrs
