"""Images that the user already holds in xarray, brought to one form."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the accessor .odc)
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import CRS

from ..errors import InputError
from ..metadata import band_coords
from ..spectra.bands import BandInfo
from ..spectra.wavelengths import (
    FWHM_NAMES,
    GOOD_NAMES,
    WAVELENGTH_NAMES,
    Place,
    band_table,
    place_of_names,
)
from .raster import chunk_shape, decode

logger = logging.getLogger(__name__)

IMAGE = "image"
Y_NAMES = ("y", "lat", "latitude", "northing", "row", "rows", "line", "lines", "downtrack")
X_NAMES = (
    *("x", "lon", "longitude", "easting", "col", "cols", "column", "columns"),
    *("sample", "samples", "crosstrack"),
)
BAND_NAMES = ("band", "bands", "spectral", "channel", "channels", "wavelength", "wavelengths", "wl")
_DEGREES = {"lat", "latitude", "lon", "longitude"}


def normalise(
    obj: xr.Dataset | xr.DataArray | np.ndarray | da.Array,
    *,
    variable: str | None = None,
    wavelengths: Any = None,
    fwhm: Any = None,
    chunks: Any = None,
    lazy: bool = False,
    name: str = "The image",
    prefix: str = "",
) -> xr.DataArray:
    """Work behind `emrdiff_geo.reading.readers.as_image`; `lazy` chunks what is not in memory yet.

    `prefix` with a variable's name behind it is what the command line calls that variable.
    """
    cube = _cube(obj, variable, name, prefix)
    rows, cols, band = _dims(cube, name)
    if band is None:
        band = "band"
        cube = cube.expand_dims(band)
    place, good = _band_facts(obj, cube, band)
    table = band_table(cube.sizes[band], place, good, wavelengths, fwhm, name)
    cube = cube.transpose(band, rows, cols)
    data = _decoded(_chunked(cube, chunks) if lazy else cube.variable.data, cube.attrs, name)
    coords = _grid_coords(cube, rows, cols)
    return make_image(data, table, coords)


def make_image(
    data: Any, bands: BandInfo, coords: Mapping[Hashable, Any] | None = None
) -> xr.DataArray:
    """Put pixels, bands and grid together.

    Parameters
    ----------
    data : array, (band, y, x) float32
    bands : BandInfo
        Wavelengths, widths and quality of the bands.
    coords : mapping, optional
        Coordinates ``y``, ``x`` and, with a CRS, ``spatial_ref``; by default pixel indices.

    Returns
    -------
    xr.DataArray named "image"
    """
    count, height, width = data.shape
    all_coords: dict[Hashable, Any] = {**band_coords(count, bands)}
    all_coords |= dict(coords or {"y": np.arange(height), "x": np.arange(width)})
    image = xr.DataArray(data, coords=all_coords, dims=("band", "y", "x"), name=IMAGE)
    if "spatial_ref" in all_coords:
        image.attrs["grid_mapping"] = "spatial_ref"
    return image


def grid_coords(geobox: GeoBox) -> dict[Hashable, Any]:
    """Coordinates from which ``.odc.geobox`` and ``.rio`` give the grid back, rotated or not."""
    # Geographic grids, too, get the dimensions (y, x): one form for all that follows.
    return dict(xr_coords(geobox, dims=("y", "x")))


def on_earth(crs: Any) -> bool:
    """Whether a CRS is projected or geographic; others, as ENVI's "Arbitrary", locate nothing."""
    known = CRS.from_user_input(crs)
    return known.is_projected or known.is_geographic


def _cube(obj: Any, variable: str | None, name: str, prefix: str) -> xr.DataArray:
    if isinstance(obj, np.ndarray | da.Array):
        if obj.ndim != 3:
            raise InputError(f"{name} has the shape {obj.shape}: it has to be (band, y, x).")
        return xr.DataArray(obj, dims=("band", "y", "x"))
    if isinstance(obj, xr.DataArray):
        return _without_singletons(obj, name)
    if not isinstance(obj, xr.Dataset):
        raise InputError(
            f"{name} is a {type(obj).__name__}: give an xarray Dataset or DataArray, for example "
            "from open_hsi(path), or an array (band, y, x)."
        )
    if variable is not None:
        if variable not in obj:
            raise InputError(
                f"{name} has no variable {variable!r}: choose from {_names(obj.data_vars)}."
            )
        return _without_singletons(obj[variable], name)
    if IMAGE in obj.data_vars and obj[IMAGE].ndim == 3:
        return obj[IMAGE]
    return _only_cube(obj, name, prefix)


def _only_cube(obj: xr.Dataset, name: str, prefix: str) -> xr.DataArray:
    """Take the only 3-D variable, or stack the 2-D ones (one variable per band)."""
    images = {}
    for key, array in obj.data_vars.items():
        array = _without_singletons(array, name)
        if array.ndim in (2, 3) and _find(array.dims, Y_NAMES) and _find(array.dims, X_NAMES):
            images[key] = array
    cubes = [k for k, v in images.items() if v.ndim == 3]
    if len(cubes) == 1:
        return images[cubes[0]]
    if cubes:
        named = f"on the command line as {prefix}{cubes[0]}" if prefix else "with dataset[name]"
        raise InputError(
            f"{name} has several cubes ({_names(cubes)}): choose one with variable=, or {named}."
        )
    if not images:
        raise InputError(
            f"{name} has no variable with rows and columns ({_names(obj.data_vars)}): rename its "
            "dimensions to band, y and x with .rename(...)."
        )
    return _stacked(images, name)


def _stacked(images: dict[Hashable, xr.DataArray], name: str) -> xr.DataArray:
    first = next(iter(images.values()))
    if any(v.sizes != first.sizes for v in images.values()):
        raise InputError(
            f"The variables of {name} ({_names(images)}) differ in size: choose those of one grid "
            "with dataset[[name, ...]]."
        )
    decoded = [
        v.transpose(*first.dims).copy(data=_decoded(v.transpose(*first.dims).data, v.attrs, name))
        for v in images.values()
    ]
    stacked = xr.concat(decoded, dim="band", coords="minimal", compat="override", join="override")
    described = [str(v.attrs.get("long_name", k)) for k, v in images.items()]
    stacked.attrs = {"long_name": described}
    for key in ("wavelength", "wavelength_units", "fwhm"):
        values = [v.attrs.get(key) for v in images.values()]
        if any(v is not None for v in values):
            stacked.attrs[key] = values
    stacked.encoding = dict(first.encoding)
    if "grid_mapping" in first.attrs:
        stacked.attrs["grid_mapping"] = first.attrs["grid_mapping"]
    return stacked


def _without_singletons(array: xr.DataArray, name: str) -> xr.DataArray:
    """Drop dimensions of length one that are no image dimensions (a single time step, mostly)."""
    known = (*Y_NAMES, *X_NAMES, *BAND_NAMES)
    extra = [d for d in array.dims if str(d).lower() not in known]
    array = array.squeeze([d for d in extra if array.sizes[d] == 1], drop=True)
    if array.ndim > 3:
        one = next((d for d in extra if d in array.dims), array.dims[0])
        raise InputError(
            f"{name} has the dimensions {_names(array.dims)}: select one step first, for example "
            f"with .isel({one}=0)."
        )
    return array


def _dims(cube: xr.DataArray, name: str) -> tuple[Hashable, Hashable, Hashable | None]:
    """Names of the row, column and band dimensions; None for a single band."""
    rows, cols = _find(cube.dims, Y_NAMES), _find(cube.dims, X_NAMES)
    rest = [d for d in cube.dims if d not in (rows, cols)]
    if rows is None or cols is None or cube.ndim not in (2, 3):
        raise InputError(
            f"{name} has the dimensions ({_names(cube.dims)}): rename them to band, y and x with "
            ".rename(...)."
        )
    return rows, cols, rest[0] if rest else None


def _find(dims: tuple[Hashable, ...], names: tuple[str, ...]) -> Hashable | None:
    return next((d for d in dims if str(d).lower() in names), None)


def _names(items: Any) -> str:
    return ", ".join(str(i) for i in items) or "none"


def _band_facts(
    obj: xr.Dataset | xr.DataArray, cube: xr.DataArray, band: Hashable
) -> tuple[list[Place], list[Any] | None]:
    """What coordinates, 1-D variables and attributes say about the bands."""
    count = cube.sizes[band]
    vectors = {str(k).lower(): v for k, v in cube.coords.items() if v.dims == (band,)}
    if isinstance(obj, xr.Dataset):
        vectors |= {str(k).lower(): v for k, v in obj.data_vars.items() if v.dims == (band,)}
    if "band" in vectors and vectors["band"].dtype.kind == "f":
        vectors.setdefault("wavelength", vectors["band"])  # bands labelled by their wavelength
    none: list[Any] = [None] * count

    def vector(names: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
        found = next((vectors[n] for n in names if n in vectors), None)
        if found is not None and found.dtype.kind in "iufb":
            units = found.attrs.get("units", found.attrs.get("unit"))
            return list(found.values), [units] * count
        values = next((v for v in (_attribute(cube, n, count) for n in names) if v), none)
        return values, _attribute(cube, "wavelength_units", count) or (
            [cube.attrs.get("wavelength_units")] * count
        )

    (wavelength, units), (fwhm, fwhm_units) = vector(WAVELENGTH_NAMES), vector(FWHM_NAMES)
    places = [Place(wavelength, units, fwhm, fwhm_units)]
    labels = vectors.get("band")
    texts = [labels.values] if labels is not None and labels.dtype.kind in "UOT" else []
    texts.append(_attribute(cube, "long_name", count) or none)
    places += [place_of_names([t if isinstance(t, str) else None for t in ts]) for ts in texts]
    good = next((vectors[n] for n in GOOD_NAMES if n in vectors), None)
    return places, None if good is None else list(good.values)


def _attribute(cube: xr.DataArray, key: str, count: int) -> list[Any] | None:
    """Give an attribute that has one value per band."""
    value = cube.attrs.get(key)
    if isinstance(value, str) and count == 1:
        return [value]
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) == count:
        return list(value)
    return None


def _chunked(cube: xr.DataArray, chunks: Any) -> Any:
    """Chunk what xarray has opened but not read, all bands of an area together."""
    preferred = cube.encoding.get("preferred_chunks") or {}
    rows, cols = ((preferred.get(d) or 256) for d in cube.dims[1:])
    count, height, width = cube.shape
    shape = chunk_shape((count, height, width), (rows, cols), chunks)
    return cube.chunk(dict(zip(cube.dims, shape, strict=True))).data


def _decoded(data: Any, attrs: Mapping[str, Any], name: str) -> Any:
    """Apply nodata, scale and offset that are still attributes: if decoded, they are encoding."""
    if data.dtype.kind not in "iufb":
        raise InputError(f"{name} holds {data.dtype} values: an image needs real numbers.")
    fills = [attrs[k] for k in ("_FillValue", "nodata", "missing_value") if k in attrs]
    fills = [float(f) for f in fills if isinstance(f, (int, float, np.number))]
    factors = (float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0)))
    if data.dtype == np.float32 and not fills and factors == (1.0, 0.0):
        return data
    if isinstance(data, da.Array):
        meta = np.empty((0,) * data.ndim, np.float32)
        return da.map_blocks(decode, data, fills, *factors, dtype=np.float32, meta=meta)
    return decode(data, fills, *factors)


def _grid_coords(cube: xr.DataArray, rows: Hashable, cols: Hashable) -> dict[Hashable, Any] | None:
    """Find the grid; without a CRS the user's own y and x are kept."""
    names = {old: new for old, new in ((rows, "y"), (cols, "x")) if old != new}
    cube = cube.drop_vars([n for n in names.values() if n in cube.coords]).rename(names)
    crs, box = cube.odc.crs, cube.odc.geobox
    if crs is not None and not on_earth(crs):
        logger.info("a CRS that is neither projected nor geographic is taken as none")
        crs, cube = None, cube.drop_vars([k for k, v in cube.coords.items() if _is_crs(v)])
    if crs is None and {str(rows).lower(), str(cols).lower()} <= _DEGREES:
        logger.info("latitude and longitude without a CRS are taken as WGS 84 (EPSG:4326)")
        crs = "EPSG:4326"
        box = cube.odc.assign_crs(crs).odc.geobox
    if crs is not None and isinstance(box, GeoBox):
        return grid_coords(box)
    own: dict[Hashable, Any] = {d: cube.coords[d] for d in ("y", "x") if d in cube.coords}
    if crs is not None:  # no regular grid: whoever needs one says so
        reference = next((v for k, v in cube.coords.items() if v.ndim == 0 and _is_crs(v)), None)
        if reference is not None:
            own["spatial_ref"] = reference.drop_vars(list(reference.coords))
    return own if {"y", "x"} <= own.keys() else None


def _is_crs(coord: xr.DataArray) -> bool:
    return bool({"crs_wkt", "spatial_ref", "grid_mapping_name"} & coord.attrs.keys())
