"""What is written beside the pixels: provenance, band tags, CF and Zarr convention attributes.

Nothing here depends on the clock, the user or the machine's folders: the same run with the same
seed has to give the same bytes, and a file that is handed on must not tell where it was made.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata as importlib_metadata
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from odc.geo.geobox import GeoBox

from .system.json_values import plain

DISTRIBUTION = "emrdiff-geo"
# The libraries whose version can change a pixel or the form of the file.
LIBRARIES = ("numpy", "scipy", "torch", "rasterio", "zarr")
#: Attribute of Datasets and Zarr groups, and in capitals tag of GeoTIFFs: the provenance as JSON.
PROVENANCE = "emrdiff_provenance"

_WAVELENGTH_ATTRS = {
    "units": "nm",
    "standard_name": "radiation_wavelength",
    "long_name": "centre wavelength",
}
_FWHM_ATTRS = {"units": "nm", "long_name": "full width at half maximum of the band's response"}
_GOOD_BAND_ATTRS = {"long_name": "band is usable (false: marked bad in the source)"}
_BAND_ATTRS = {"long_name": "band number, counted from 1"}

_SPATIAL_CONVENTION = {
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial:",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json"
    ),
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    "description": "Spatial coordinate information",
}
_PROJ_CONVENTION = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json"
    ),
    "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
    "description": "Coordinate reference system information for geospatial data",
}


class Bands(Protocol):
    """What a sink wants to know of the bands; `spectra.bands.BandInfo` is one."""

    @property
    def wavelength_nm(self) -> NDArray[Any] | None:
        """Centre wavelengths in nm, (band,), or None when unknown."""

    @property
    def fwhm_nm(self) -> NDArray[Any] | None:
        """Full widths at half maximum in nm, (band,), or None when unknown."""

    @property
    def good(self) -> NDArray[Any] | None:
        """True for usable bands, (band,) bool, or None when unknown."""


@dataclass(frozen=True)
class Provenance:
    """How a result was made; equal runs have equal provenance.

    Parameters
    ----------
    method : str
        Name of the fusion method.
    weights_name, weights_digest : str, optional
        Name of the network's weights and the digest of their file.
    parameters : mapping, optional
        Options of the run that change the result. Paths are reduced to file names.
    seed : int, optional
        Seed of the noise.
    inputs : sequence of str, optional
        Names of the input files; folders are removed.
    ratio : float, optional
        Pixel size of the hyperspectral over that of the multispectral image.
    notes : sequence of str, optional
        What was done to the inputs (resampling, dropped bands, ...).
    software, version : str
        Name and version of the program.
    libraries : mapping, optional
        Versions of the libraries that can change the result.
    created : str, optional
        ISO 8601 time. Absent unless given: it would make equal runs differ.
    """

    method: str
    weights_name: str | None = None
    weights_digest: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: tuple[str, ...] = ()
    ratio: float | None = None
    notes: tuple[str, ...] = ()
    software: str = DISTRIBUTION
    version: str = field(default_factory=lambda: _version(DISTRIBUTION) or "unknown")
    libraries: Mapping[str, str] = field(default_factory=lambda: library_versions())
    created: str | None = None

    def __post_init__(self) -> None:
        clean = {
            "inputs": tuple(file_name(name) for name in self.inputs),
            "parameters": _plain(self.parameters),
            "seed": _plain(self.seed),
            "ratio": _plain(self.ratio),
            "notes": tuple(str(note) for note in self.notes),
            "libraries": dict(self.libraries),
            "weights_name": None if self.weights_name is None else file_name(self.weights_name),
        }
        for name, value in clean.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the entries that are known, as plain JSON types."""
        entries = _plain(asdict(self))
        return {key: value for key, value in entries.items() if value not in (None, [], {})}

    def to_json(self) -> str:
        """Return compact JSON with sorted keys: equal provenance, equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read what `to_json` wrote; keys that this version does not know are ignored."""
        entries = {k: v for k, v in json.loads(text).items() if k in cls.__dataclass_fields__}
        for key in ("version", "software"):
            entries.setdefault(key, "unknown")
        return cls(**{"method": "unknown", "libraries": {}, **entries})


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of the installed ones among `names`, without importing them."""
    return {name: version for name in names if (version := _version(name)) is not None}


def file_name(source: str | PurePath) -> str:
    """Return the last part of a path, a URL or a GDAL subdataset name such as ``HDF5:"f.h5"://x``.

    Both kinds of slashes separate, whatever system this runs on.
    """
    text = str(source)
    if quoted := re.search(r'"([^"]+)"', text):
        text = quoted.group(1)
    elif subdataset := re.match(r"[A-Z][A-Z0-9_]+:(.*[\\/][^:]*):[^\\/]*$", text):
        text = subdataset.group(1)
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def band_coords(count: int, bands: Bands) -> dict[str, tuple[str, NDArray[Any], dict[str, str]]]:
    """Return the coordinates along the bands of an image, those that are known, for xarray.

    Parameters
    ----------
    count : int
        Number of bands.
    bands : Bands
    """
    known = {
        "band": (np.arange(1, count + 1), _BAND_ATTRS),
        "wavelength": (bands.wavelength_nm, _WAVELENGTH_ATTRS),
        "fwhm": (bands.fwhm_nm, _FWHM_ATTRS),
        "good_band": (bands.good, _GOOD_BAND_ATTRS),
    }
    return {
        name: ("band", values, dict(attrs))
        for name, (values, attrs) in known.items()
        if values is not None
    }


def band_descriptions(wavelength_nm: ArrayLike | None, count: int | None = None) -> list[str]:
    """Return one description a band: ``"645.0 nm"``, or ``"band 3"`` where it is not known.

    Parameters
    ----------
    wavelength_nm : (band,) array_like or None
        Centre wavelengths in nanometres, NaN where unknown.
    count : int, optional
        Number of bands; needed when `wavelength_nm` is None.
    """
    values = _per_band(wavelength_nm, count)
    return [f"{v:.1f} nm" if v is not None else f"band {i}" for i, v in enumerate(values, 1)]


def band_tags(
    wavelength_nm: ArrayLike | None,
    fwhm_nm: ArrayLike | None = None,
    good: ArrayLike | None = None,
    count: int | None = None,
) -> list[dict[str, str]]:
    """Return the GeoTIFF tags of each band's default domain.

    ``wavelength`` and ``fwhm`` in nanometres with ``wavelength_units``, and ``bbl`` ("1" good, "0"
    bad), the name under which ENVI headers and the programs that follow them keep bad bands.
    """
    count = _count(count, wavelength_nm, fwhm_nm, good)
    tags: list[dict[str, str]] = []
    for centre, width in zip(
        _per_band(wavelength_nm, count), _per_band(fwhm_nm, count), strict=True
    ):
        entry = {}
        if centre is not None:
            entry["wavelength"] = _number(centre)
        if width is not None:
            entry["fwhm"] = _number(width)
        if entry:
            entry["wavelength_units"] = "nm"
        tags.append(entry)
    if good is not None:
        for entry, is_good in zip(tags, np.asarray(good, dtype=bool), strict=True):
            entry["bbl"] = str(int(is_good))
    return tags


def imagery_tags(
    wavelength_nm: ArrayLike | None, fwhm_nm: ArrayLike | None = None, count: int | None = None
) -> list[dict[str, str]]:
    """Return each band's tags of GDAL's IMAGERY domain, which are in micrometres."""
    count = _count(count, wavelength_nm, fwhm_nm)
    tags = []
    for centre, width in zip(
        _per_band(wavelength_nm, count), _per_band(fwhm_nm, count), strict=True
    ):
        entry = {}
        if centre is not None:
            entry["CENTRAL_WAVELENGTH_UM"] = _number(centre / 1000)
        if width is not None:
            entry["FWHM_UM"] = _number(width / 1000)
        tags.append(entry)
    return tags


def axis_attrs(geobox: GeoBox) -> dict[str, dict[str, str]]:
    """Return CF attributes for the coordinates y and x of an unrotated grid.

    A rotated grid has no projection coordinates along its axes, so it gets none.
    """
    if geobox.crs is None or not geobox.axis_aligned:
        return {}
    if geobox.crs.geographic:
        names = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}
        return {
            dim: {"standard_name": name, "units": units, "axis": dim.upper()}
            for dim, (name, units) in names.items()
        }
    return {
        dim: {"standard_name": f"projection_{dim}_coordinate", "axis": dim.upper()} for dim in "yx"
    }


def zarr_convention_attrs(geobox: GeoBox | None, shape: Sequence[int]) -> dict[str, Any]:
    """Return group attributes of the Zarr conventions ``proj:`` and ``spatial:`` (version 1).

    Parameters
    ----------
    geobox : GeoBox or None
        Grid of the image; None when it has no georeference.
    shape : (height, width)
        Size of the image in pixels.
    """
    attrs: dict[str, Any] = {
        "zarr_conventions": [_SPATIAL_CONVENTION],
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [int(n) for n in shape],
    }
    if geobox is None:
        return attrs
    box = geobox.boundingbox
    attrs["spatial:transform_type"] = "affine"
    attrs["spatial:transform"] = [float(v) for v in tuple(geobox.affine)[:6]]
    attrs["spatial:bbox"] = [float(v) for v in (box.left, box.bottom, box.right, box.top)]
    attrs["spatial:registration"] = "pixel"
    if geobox.crs is not None:
        attrs["zarr_conventions"] = [_PROJ_CONVENTION, _SPATIAL_CONVENTION]
        # Only an exact match may be named by code: a near miss would lose the difference.
        authority = geobox.crs.proj.to_authority(min_confidence=100)
        if authority is not None and re.fullmatch(r"[A-Z]+:[0-9]+", ":".join(authority)):
            attrs["proj:code"] = ":".join(authority)
        attrs["proj:wkt2"] = geobox.crs.proj.to_wkt("WKT2_2019")
    return attrs


def _version(distribution: str) -> str | None:
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return None


def _count(count: int | None, *arrays: ArrayLike | None) -> int:
    if count is not None:
        return count
    return next((len(np.atleast_1d(np.asarray(a))) for a in arrays if a is not None), 0)


def _per_band(values: ArrayLike | None, count: int | None) -> list[float | None]:
    if values is None:
        return [None] * (count or 0)
    return [
        float(v) if math.isfinite(v) else None
        for v in np.atleast_1d(np.asarray(values, dtype=float))
    ]


def _number(value: float) -> str:
    """Shortest text of a wavelength: seven decimals hide the float's tail, not the instrument."""
    return repr(round(value, 7))


def _plain(value: Any) -> Any:
    """Turn `value` into JSON types; paths lose their folders."""
    return plain(value, _without_folder)


def _without_folder(value: Any) -> str:
    text = value.name if isinstance(value, PurePath) else str(value)
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return file_name(text) if absolute else text
