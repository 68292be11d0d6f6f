"""Scenes in: files and xarray objects as lazily read images with wavelengths and a grid."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import ArrayLike
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from rasterio.errors import CRSError

from ..errors import InputError, named
from ..spectra.bands import BandInfo
from ..spectra.wavelengths import band_table, good_bands_of_raster, places_of_raster
from .cubes import open_cube
from .locations import locate
from .normalise import IMAGE, grid_coords, make_image, normalise, on_earth
from .product import place_of_product
from .raster import image_bands, lazy_array, opened, probe, unreadable

logger = logging.getLogger(__name__)

_CUBES = {".npy", ".npz", ".mat"}
_NETCDF = {".nc", ".nc4", ".cdf"}
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")
_MIN_HSI_BANDS = 4


def open_hsi(
    path: str | os.PathLike[str],
    *,
    wavelengths: ArrayLike | None = None,
    fwhm: ArrayLike | None = None,
    variable: str | None = None,
    chunks: Any = None,
) -> xr.Dataset:
    """Open a hyperspectral image.

    Pixels are read when they are needed, window by window.

    Parameters
    ----------
    path : str or path
        GeoTIFF, ENVI (data or header file), EnMAP and DESIS products (``SPECTRAL_IMAGE.TIF`` or
        ``METADATA.XML``), NetCDF or HDF5 and whatever else GDAL opens; a Zarr group; ``.npz`` or
        ``.mat`` with a cube H x W x B, ``.npy`` with B x H x W.
    wavelengths, fwhm : array_like, (B,), optional
        Band centres and widths in nm or um, instead of those of the file.
    variable : str, optional
        Which cube, in files with several; `path` may name it, too, as GDAL does:
        ``NETCDF:"a.nc":refl``.
    chunks : int, (int, int) or dict, optional
        Rows and columns of a chunk; by default some 48 MB of whole blocks of the file.

    Returns
    -------
    xr.Dataset
        Variable ``image`` (band, y, x) float32, NaN where there is no data, scale and offset
        applied. Coordinates ``wavelength(band)`` and ``fwhm(band)`` in nm where the file has them,
        ``good_band(band)``, false where the file says so and, if it has wavelengths, for bands
        without one; with a CRS ``spatial_ref`` and the coordinates of ``y`` and ``x``,
        without one pixel indices.

    Raises
    ------
    InputError
        When the file is missing, damaged, no image, or has fewer than four bands.
    SpectralError
        When `wavelengths` are not those of an optical sensor; such figures of the file are ignored,
        with a warning.
    """
    scene = _open(path, wavelengths, fwhm, variable, chunks)
    if scene.sizes["band"] < _MIN_HSI_BANDS:
        raise InputError(
            f"{scene.attrs['source']} has {scene.sizes['band']} bands, too few for a hyperspectral "
            "image: give the hyperspectral file first and the multispectral one second."
        )
    good = BandInfo.of_spectrum(scene[IMAGE]).good
    nameless = np.flatnonzero(scene["good_band"].values & ~good) + 1
    if nameless.size:
        logger.warning(
            "%s: no wavelength for %s, left out", scene.attrs["source"], named("band", nameless)
        )
    return scene.assign_coords(good_band=("band", good))


def open_msi(
    path: str | os.PathLike[str],
    *,
    wavelengths: ArrayLike | None = None,
    fwhm: ArrayLike | None = None,
    variable: str | None = None,
    chunks: Any = None,
) -> xr.Dataset:
    """Open a multispectral image: as `open_hsi`, with any number of bands and wavelengths."""
    return _open(path, wavelengths, fwhm, variable, chunks)


def as_image(ds_or_da: Any, *, variable: str | None = None) -> xr.DataArray:
    """Bring an xarray object from anywhere to the form of `open_hsi`.

    Parameters
    ----------
    ds_or_da : xr.Dataset, xr.DataArray or array
        From `open_hsi`, rioxarray, odc-stac, xarray; an array is (band, y, x). A Dataset has one
        cube, or one 2-D variable per band. Dimensions may have any order and the usual names (band,
        wavelength, channel; y, lat, northing, row; x, lon, easting, column); extra dimensions of
        length one are dropped.
        Nodata, scale and offset are applied where they are attributes still. Wavelengths come from
        coordinates, from attributes, or from band names such as "645.0 nm".
    variable : str, optional
        Which cube, in a Dataset with several.

    Returns
    -------
    xr.DataArray
        ``image`` (band, y, x) float32, NaN where there is no data; lazy if the input was dask.
        Coordinates as in `open_hsi`.

    Raises
    ------
    InputError
        When the object is not one image.
    """
    return normalise(ds_or_da, variable=variable)


def _open(
    path: str | os.PathLike[str],
    wavelengths: ArrayLike | None,
    fwhm: ArrayLike | None,
    variable: str | None,
    chunks: Any,
) -> xr.Dataset:
    text, variable, local = locate(os.fspath(path), variable)
    file = Path(text)
    dataset, driver = _by_xarray(text)
    if dataset is not None:
        image = normalise(
            dataset,
            variable=variable,
            wavelengths=wavelengths,
            fwhm=fwhm,
            chunks=chunks,
            lazy=True,
            name=file.name,
            prefix=f"{driver}:{text}:",
        )
    elif local and file.is_dir():
        raise InputError(f"{file.name} is a folder and no Zarr group: give the path of an image.")
    elif local and file.suffix.lower() in _CUBES:
        data, place = open_cube(file, variable, chunks)
        places = [place] if place else []
        table = band_table(data.shape[0], places, None, wavelengths, fwhm, file.name)
        image = make_image(data, table)
    else:
        image = _open_raster(text, variable, wavelengths, fwhm, chunks)
    scene = image.to_dataset(name=IMAGE)
    scene.attrs["source"] = file.name
    # As xarray notes it: a result must not replace its input.
    scene.encoding["source"] = scene[IMAGE].encoding["source"] = text
    return scene


def _open_raster(
    path: str, variable: str | None, wavelengths: Any, fwhm: Any, chunks: Any
) -> xr.DataArray:
    path = _subdataset(path, variable)
    name = Path(path).name
    with opened(path) as source:
        if source.count == 0:
            raise InputError(f"{name} has no bands that GDAL can read: convert it to GeoTIFF.")
        if any(t.startswith("complex") for t in source.dtypes):
            raise InputError(f"{name} holds complex numbers: an image needs real ones.")
        probe(source, path)
        table = _raster_bands(source, wavelengths, fwhm, name)
        _refuse_transposed(source, table, name)
        divisor = _reflectance_scale(source)
        return make_image(lazy_array(source, path, chunks, divisor), table, _raster_grid(source))


def _subdataset(path: str, variable: str | None) -> str:
    """Address one cube of a file with several (HDF5, NetCDF)."""
    with opened(path) as source:
        found = [str(s) for s in source.subdatasets]
        if source.count and not found:
            return path
    names = [s.rpartition(":")[2].strip("/") for s in found]
    if not names:
        return path
    mine = [s for s, n in zip(found, names, strict=True) if variable in (n, n.rpartition("/")[2])]
    if variable is not None and len(mine) == 1:
        return mine[0]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    problem = f"has no single variable {variable!r}" if variable else "holds several variables"
    raise InputError(
        f"{Path(path).name} {problem} ({shown}): choose one with variable=, or on the command line "
        f"as {found[0]}."
    )


def _raster_bands(
    source: rasterio.DatasetReader, wavelengths: Any, fwhm: Any, name: str
) -> BandInfo:
    bands = image_bands(source)
    dataset_tags, envi_tags = source.tags(), source.tags(ns="ENVI")
    band_tags = [source.tags(b) for b in bands]
    imagery_tags = [source.tags(b, ns="IMAGERY") for b in bands]
    descriptions = [source.descriptions[b - 1] for b in bands]
    places = places_of_raster(
        len(bands), dataset_tags, envi_tags, band_tags, imagery_tags, descriptions
    )
    beside = place_of_product(source.name, len(bands))
    places += [] if beside is None else [beside]
    good = good_bands_of_raster(len(bands), (envi_tags, dataset_tags), band_tags)
    return band_table(len(bands), places, good, wavelengths, fwhm, name)


def _reflectance_scale(source: rasterio.DatasetReader) -> float:
    """Divisor that an ENVI header names and GDAL does not apply."""
    text = source.tags(ns="ENVI").get("reflectance_scale_factor", "1")
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if value > 0 else 1.0


def _raster_grid(source: rasterio.DatasetReader) -> dict | None:
    try:
        if source.crs is not None and on_earth(source.crs):
            return grid_coords(GeoBox.from_rio(source))
        problem = "a CRS that is neither projected nor geographic"
        if source.crs is None:
            problem = "" if source.transform.is_identity else "a transform but no CRS"
        if problem:
            logger.warning(
                "%s has %s, which is taken as no georeferencing: assign one (gdal_edit.py -a_srs "
                "EPSG:...)",
                Path(source.name).name,
                problem,
            )
        return None
    except (CRSError, ProjError) as error:
        raise InputError(
            f"The CRS of {Path(source.name).name} cannot be understood ({error}): unset PROJ_LIB "
            "and PROJ_DATA, which may point at another PROJ installation, or assign a valid CRS."
        ) from error


def _refuse_transposed(source: rasterio.DatasetReader, table: BandInfo, name: str) -> None:
    """Stop at HDF5 cubes whose bands are not the first dimension, which GDAL cannot tell."""
    unknown = source.crs is None and table.wavelength_nm is None
    if unknown and source.driver.startswith("HDF5") and source.count > min(source.shape):
        raise InputError(
            f"{name} seems to have another order of dimensions than bands x rows x columns "
            f"({source.count} x {source.height} x {source.width}): open it with xarray, name its "
            "dimensions band, y and x and pass that, or pass wavelengths= if the order is right."
        )


def _by_xarray(path: str) -> tuple[xr.Dataset | None, str]:
    """Open what xarray opens better than GDAL; also GDAL's name for the format."""
    file = Path(path)
    if file.suffix.lower() in _NETCDF:
        return _netcdf(path), "NETCDF"
    if file.suffix.lower() == ".zarr" or any((file / name).exists() for name in _ZARR_FILES):
        return _zarr(path), "ZARR"
    return None, ""


def _netcdf(path: str) -> xr.Dataset | None:
    """Open a NetCDF by xarray if it can: GDAL loses 1-D variables along the bands."""
    try:
        return xr.open_dataset(path, chunks=None, decode_coords="all")
    except Exception as error:  # no engine installed, or what that engine raises
        logger.info("xarray cannot open %s (%s): trying GDAL", Path(path).name, error)
        return None


def _zarr(path: str) -> xr.Dataset:
    # Only remote stores, which cannot be listed, need their metadata in one place.
    consolidated = None if "://" in path else False
    try:
        # Without "all" the CRS would stay a data variable that nothing refers to.
        return xr.open_zarr(path, chunks=None, decode_coords="all", consolidated=consolidated)
    except Exception as error:  # zarr raises errors of its own
        raise unreadable(path, error) from error
