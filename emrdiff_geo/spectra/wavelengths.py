"""Wavelengths, bandwidths and bad bands from all the places where files keep them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, SpectralError
from .bands import BandInfo
from .spectral import fwhm_nm, wavelengths_nm

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

WAVELENGTH_NAMES = (
    "wavelength",
    "wavelengths",
    "center_wavelength",
    "central_wavelength",
    "center_wavelengths",
    "wl",
    "netcdf_dim_wavelength",
    "netcdf_dim_wavelengths",
)
FWHM_NAMES = ("fwhm", "fwhms", "bandwidth")
GOOD_NAMES = ("good_band", "good_bands", "good_wavelengths", "bbl")
_UNIT_ENDINGS = ("_units", "_unit", "#units")

_NUMBER_AND_UNIT = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*"
    r"(?P<unit>nm|nanomet(?:er|re)s?|[uµμ]m|micromet(?:er|re)s?|microns?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """Figures of all bands from one place of a file: text or numbers, None where absent."""

    wavelength: Sequence[Any]
    units: Sequence[str | None]
    fwhm: Sequence[Any]
    fwhm_units: Sequence[str | None]


def band_table(
    count: int,
    places: Iterable[Place],
    good: Sequence[Any] | None = None,
    wavelengths: ArrayLike | None = None,
    fwhm: ArrayLike | None = None,
    name: str = "The image",
) -> BandInfo:
    """Merge what several places say: the first one that knows a band wins.

    Figures of the file that are no optical wavelengths are ignored, with a warning.

    Parameters
    ----------
    count : int
        Number of bands.
    places : iterable of Place
        In order of trust.
    good : sequence, (count,), optional
        Zero or false for bad bands.
    wavelengths, fwhm : array_like, (count,), optional
        The user's figures, nm or um, instead of those of the file.
    name : str
        File name, for messages.

    Raises
    ------
    InputError
        When the user gives another number of figures than there are bands.
    SpectralError
        When the user's figures are not optical wavelengths.
    """
    places = list(places)
    problems: list[str] = []
    usable = np.ones(count, bool) if good is None else np.array([bool(g) for g in good])
    if wavelengths is not None:
        centers = wavelengths_nm(_per_band(wavelengths, count, "wavelengths", name))
    else:
        centers = np.full(count, np.nan)
        for place in places:
            _fill(centers, _nanometres(place.wavelength, place.units, wavelengths_nm, problems))
    widths = np.full(count, np.nan)
    if np.isfinite(centers).any():
        widths = _widths(places, centers, fwhm, name, problems)
    for problem in dict.fromkeys(problems):  # several places may say the same
        logger.warning("%s: what it says of its bands is ignored. %s", name, problem)
    return BandInfo(_if_any(centers), _if_any(widths), usable)


def _if_any(values: Floats) -> Floats | None:
    return values if np.isfinite(values).any() else None


def _widths(
    places: Sequence[Place], centers: Floats, given: Any, name: str, problems: list[str]
) -> Floats:
    count = len(centers)
    if given is not None:
        given = np.asarray(given, dtype=float)
        given = np.full(count, given) if given.ndim == 0 else given
        return fwhm_nm(_per_band(given, count, "fwhm", name), centers)

    def to_nm(values: Floats, unit: str | None) -> Floats:
        return fwhm_nm(values, centers, unit)

    widths = np.full(count, np.nan)
    for place in places:
        _fill(widths, _nanometres(place.fwhm, place.fwhm_units, to_nm, problems))
    return widths


def places_of_raster(
    count: int,
    dataset_tags: Mapping[str, str],
    envi_tags: Mapping[str, str],
    band_tags: Sequence[Mapping[str, str]],
    imagery_tags: Sequence[Mapping[str, str]],
    descriptions: Sequence[str | None],
) -> list[Place]:
    """List the places of a GDAL dataset, the most precise first.

    GDAL rounds what it puts into the IMAGERY domain to 1 nm, so that domain comes after the lists
    and tags that hold the figures as they were written.
    """
    dataset, envi = _lower(dataset_tags), _lower(envi_tags)
    bands, imagery = [_lower(t) for t in band_tags], [_lower(t) for t in imagery_tags]
    unit = _unit(envi) or _unit(dataset)
    names = [d or dataset.get(f"band_{i + 1}") for i, d in enumerate(descriptions)]
    none: list[Any] = [None] * count
    micrometres = ["um"] * count
    units = [_unit(tags) or unit for tags in bands]
    return [
        *(
            Place(
                _listed(tags, WAVELENGTH_NAMES, count),
                [unit] * count,
                _listed(tags, FWHM_NAMES, count),
                [_unit(tags, FWHM_NAMES) or unit] * count,
            )
            for tags in (envi, dataset)
        ),
        Place(
            [_first(tags, WAVELENGTH_NAMES) for tags in bands],
            units,
            [_first(tags, FWHM_NAMES) for tags in bands],
            [_unit(t, FWHM_NAMES) or u for t, u in zip(bands, units, strict=True)],
        ),
        Place(
            [tags.get("central_wavelength_um") for tags in imagery],
            micrometres,
            [tags.get("fwhm_um") for tags in imagery],
            micrometres,
        ),
        place_of_names(names, none),
    ]


def place_of_names(names: Sequence[str | None], none: Sequence[Any] | None = None) -> Place:
    """Read wavelengths from band names such as ``"645.0 nm"`` or ``"B4 (0.645 Micrometers)"``."""
    found = [_NUMBER_AND_UNIT.search(n) if isinstance(n, str) else None for n in names]
    none = none or [None] * len(names)
    numbers = [float(m["number"]) if m else None for m in found]
    return Place(numbers, [m["unit"] if m else None for m in found], none, none)


def good_bands_of_raster(
    count: int, tag_sets: Sequence[Mapping[str, str]], band_tags: Sequence[Mapping[str, str]]
) -> list[bool] | None:
    """Bad band list of an ENVI header, of the dataset's tags or of the bands' tags."""
    lists = [_listed(_lower(tags), GOOD_NAMES, count) for tags in tag_sets]
    lists.append([_first(_lower(tags), GOOD_NAMES) for tags in band_tags])
    for values in lists:
        if any(v is not None for v in values):
            return [str(v).strip().lower() not in {"0", "0.0", "false"} for v in values]
    return None


def envi_list(text: str | None) -> list[str]:
    """Items of an ENVI header list, ``"{0.45, 0.55}"``."""
    items = (text or "").strip().strip("{}").split(",")
    return [item.strip() for item in items if item.strip()]


def _nanometres(
    values: Sequence[Any],
    units: Sequence[str | None],
    convert: Callable[[Floats, str | None], Floats],
    problems: list[str],
) -> Floats:
    """Convert unit by unit: where no unit is stated, magnitude is judged over all such bands.

    Files hold band numbers, wavenumbers and the pixel size in the place of wavelengths: these are
    problems to be told, and whoever needs wavelengths says so.
    """
    numbers, texts = np.full(len(values), np.nan), list(units)
    for i, value in enumerate(values):
        match = _NUMBER_AND_UNIT.search(value) if isinstance(value, str) else None
        if match:
            numbers[i], texts[i] = float(match["number"]), match["unit"]
        else:
            numbers[i] = _number(value)
    out = np.full(len(values), np.nan)
    for unit in set(texts):
        mine = np.array([t == unit for t in texts]) & (numbers > 0)
        if not mine.any():
            continue
        try:
            out = np.where(mine, convert(np.where(mine, numbers, np.nan), unit), out)
        except SpectralError as error:
            problems.append(str(error))
    return out


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _fill(target: Floats, values: Floats) -> None:
    missing = np.isnan(target)
    target[missing] = values[missing]


def _per_band(values: ArrayLike, count: int, what: str, name: str) -> Floats:
    try:
        array = np.array(values, dtype=float).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}= must be numbers, one per band.") from error
    if array.size != count:
        raise InputError(
            f"{name} has {count} bands but {what}= has {array.size} values: give one per band."
        )
    return array


def _lower(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items()}


def _first(tags: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((tags[n] for n in names if n in tags), None)


def _unit(tags: Mapping[str, str], names: Sequence[str] = WAVELENGTH_NAMES) -> str | None:
    return _first(tags, [n + ending for n in names for ending in _UNIT_ENDINGS])


def _listed(tags: Mapping[str, str], names: Sequence[str], count: int) -> Sequence[Any]:
    items = envi_list(_first(tags, names))
    if len(items) == count and count > 1:
        return items
    if len(items) > 1:
        logger.warning("a list of %d figures does not fit %d bands, ignored", len(items), count)
    return [None] * count
