"""Spectral responses of multispectral sensors.

Where the figures come from:

- ``nikon_d700`` (package data): the camera response of the published evaluation protocol, 400 to
  700 nm every 10 nm, rows summing to 1.
- ``planetscope_superdove`` (package data): Gaussians between the half-maximum limits that Planet
  publishes for its eight bands.
- Sentinel-2, Landsat, MODIS, ASTER, RapidEye, SPOT 5: the tables of the agencies, through the
  package `pyrsr`. It is a regular dependency and not an extra, so that one name means one response
  on every machine; a name is never quietly replaced by an approximation.
- anything else: a CSV of the user's, or `SpectralResponse.gaussian`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpectralError
from .spectral import (
    MIN_COVERAGE,
    cell_widths,
    complete_fwhm,
    uncovered_error,
    unit_factor,
    wavelengths_nm,
)

Floats = NDArray[np.float64]
_SIGMA_PER_FWHM = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))

# name: (satellite, sensor, bands as pyrsr calls them, panchromatic bands, form of our band names).
# Thermal bands are left out: no reflectance can be simulated there.
_AGENCY: dict[str, tuple[str, str, str, str, str]] = {
    "sentinel2a": ("Sentinel-2A", "MSI", "1 2 3 4 5 6 7 8 8A 9 10 11 12", "", "B{:0>2}"),
    "sentinel2b": ("Sentinel-2B", "MSI", "1 2 3 4 5 6 7 8 8A 9 10 11 12", "", "B{:0>2}"),
    "landsat4": ("Landsat-4", "TM", "1 2 3 4 5 7", "", "B{}"),
    "landsat5": ("Landsat-5", "TM", "1 2 3 4 5 7", "", "B{}"),
    "landsat7": ("Landsat-7", "ETM+", "1 2 3 4 5 7 8", "8", "B{}"),
    "landsat8": ("Landsat-8", "OLI_TIRS", "1 2 3 4 5 6 7 8 9", "8", "B{}"),
    "landsat9": ("Landsat-9", "OLI_TIRS", "1 2 3 4 5 6 7 8 9", "8", "B{}"),
    "aster": ("Terra", "ASTER", "1 2 3N 4 5 6 7 8 9", "", "B{}"),
    "modis_terra": ("Terra", "MODIS", "1 2 3 4 5 6 7", "", "B{}"),
    "modis_aqua": ("Aqua", "MODIS", "1 2 3 4 5 6 7", "", "B{}"),
    "rapideye": ("RapidEye-1", "MSI", "1 2 3 4 5", "", "B{}"),
    "spot5": ("SPOT-5", "HRG1", "1 2 3 4 5", "5", "B{}"),
}


@dataclass(frozen=True, eq=False)
class SpectralResponse:
    """Relative response of a sensor's bands over wavelength.

    Attributes
    ----------
    name : str
        Sensor or file name.
    band_names : tuple of str, (s,)
        One name per band.
    wavelength_nm : ndarray, (n,) float64
        Where the response is tabulated, nm, increasing; between, it is linear, beyond, zero.
    response : ndarray, (s, n) float64
        Relative response, >= 0, in any scale.
    """

    name: str
    band_names: tuple[str, ...]
    wavelength_nm: Floats
    response: Floats

    def __post_init__(self) -> None:
        """Check the table and put it in order of wavelength."""
        wavelength = np.array(self.wavelength_nm, dtype=np.float64)
        # Some agency tables hold slightly negative noise, which no response can be.
        response = np.clip(np.array(self.response, dtype=np.float64), 0.0, None)
        if wavelength.ndim != 1 or response.shape != (len(self.band_names), wavelength.size):
            raise SpectralError(
                f"The response table of {self.name} needs one row per band and one column per "
                "wavelength."
            )
        order = np.argsort(wavelength)
        wavelength, response = wavelength[order], response[:, order]
        if not (np.isfinite(response).all() and (np.diff(wavelength) > 0).all()):
            raise SpectralError(
                f"The response table of {self.name} must hold finite numbers, one row per "
                "wavelength."
            )
        empty = [n for n, row in zip(self.band_names, response, strict=True) if not row.any()]
        if empty or wavelength.size < 2:
            raise SpectralError(
                f"The response table of {self.name} is empty ({', '.join(empty) or 'one row'}): "
                "give two wavelengths or more, and a response above zero in each band."
            )
        for array in (wavelength, response):
            array.setflags(write=False)
        object.__setattr__(self, "wavelength_nm", wavelength)
        object.__setattr__(self, "response", response)

    @classmethod
    def gaussian(
        cls,
        centers: ArrayLike,
        fwhm: ArrayLike,
        band_names: Sequence[str] | None = None,
        name: str = "gaussian",
    ) -> SpectralResponse:
        """Make Gaussian bands.

        Parameters
        ----------
        centers, fwhm : array_like, (s,)
            Band centres and full widths at half maximum, nm (or both in micrometres).
        band_names : sequence of str, optional
            By default ``"665 nm"`` and the like.
        name : str
            Name of the sensor.
        """
        raw = np.array(centers, dtype=np.float64).reshape(-1)
        center = wavelengths_nm(raw)
        scale = center[0] / raw[0] if raw.size else 1.0
        width = np.broadcast_to(np.asarray(fwhm, dtype=np.float64) * scale, center.shape)
        if not (np.isfinite(center).all() and (width > 0).all()):
            raise SpectralError("Gaussian bands need a centre and a width above zero each.")
        # A tenth of the narrowest band: linear interpolation then errs by less than 0.5 %.
        step = min(1.0, float(width.min()) / 10.0)
        low, high = (center - 2 * width).min(), (center + 2 * width).max()
        grid = low + step * np.arange(int(np.ceil((high - low) / step)) + 1)
        sigma = width[:, None] * _SIGMA_PER_FWHM
        table = np.exp(-0.5 * ((grid - center[:, None]) / sigma) ** 2)
        return cls(name, tuple(band_names or (f"{c:g} nm" for c in center)), grid, table)

    @property
    def centers_nm(self) -> Floats:
        """Centre of gravity of each band, (s,) nm."""
        cells = np.gradient(self.wavelength_nm)
        return (self.response * cells) @ self.wavelength_nm / (self.response @ cells)

    @property
    def fwhm_nm(self) -> Floats:
        """Distance between the outermost half-maximum crossings of each band, (s,) nm."""
        return np.array([_half_width(self.wavelength_nm, row) for row in self.response])

    def select(self, names: Sequence[str]) -> SpectralResponse:
        """Keep some bands, in the order given; ``"B8"``, ``"b08"`` and ``"8"`` are one name."""
        known = {_band_key(n): i for i, n in enumerate(self.band_names)}
        missing = [n for n in names if _band_key(n) not in known]
        if missing or not names:
            raise SpectralError(
                f"{self.name} has no band {', '.join(missing) or 'for an empty list'}: "
                f"choose from {', '.join(self.band_names)}."
            )
        index = [known[_band_key(n)] for n in names]
        bands = tuple(self.band_names[i] for i in index)
        return SpectralResponse(self.name, bands, self.wavelength_nm, self.response[index])

    def on_bands(
        self,
        centers_nm: ArrayLike,
        fwhm_nm: ArrayLike | None = None,
        *,
        drop_uncovered: bool = False,
    ) -> Floats | tuple[Floats, NDArray[np.intp]]:
        """Weights that make this sensor's bands from hyperspectral bands.

        Each hyperspectral band is a Gaussian of unit area; its weight is the integral of the
        response over it, times the stretch of spectrum that it stands for. A table given at exactly
        the band centres (a camera response for a 31-band imager) already is one figure per
        band and is taken as it is.

        Parameters
        ----------
        centers_nm : array_like, (L,)
            Band centres, nm; a band with an unknown (NaN) centre gets weight zero.
        fwhm_nm : array_like, (L,), optional
            Their widths, nm; by default the distance to the nearest neighbour.
        drop_uncovered : bool
            Leave out bands of which less than half lies on the hyperspectral bands, instead of
            raising an error.

        Returns
        -------
        weights : ndarray, (s, L) float64
            Rows sum to 1.
        kept : ndarray, (s',) intp
            Indices of the bands kept, increasing; only with `drop_uncovered`.

        Raises
        ------
        SpectralError
            When a band (with `drop_uncovered`: every band) is not covered.
        """
        centers = np.array(centers_nm, dtype=np.float64).reshape(-1)
        weights, coverage = self._weights(centers, fwhm_nm)
        kept = np.flatnonzero(coverage >= MIN_COVERAGE)
        lost = [n for i, n in enumerate(self.band_names) if i not in kept]
        if lost and not (drop_uncovered and kept.size):
            raise uncovered_error([f"{self.name} {n}" for n in lost], centers)
        weights = weights[kept] / weights[kept].sum(axis=1, keepdims=True)
        return (weights, kept) if drop_uncovered else weights

    def _weights(self, centers: Floats, fwhm: ArrayLike | None) -> tuple[Floats, Floats]:
        """(s, L) weights, not normalised, and (s,) share of each response that they cover."""
        if not np.isfinite(centers).any():
            raise SpectralError("No band has a wavelength: pass wavelengths= with one per band.")
        direct = self._tabulated_at(centers)
        if direct is not None:
            return direct, direct.sum(axis=1) / self.response.sum(axis=1)
        width = complete_fwhm(centers, fwhm)
        grid = self._fine_grid(float(np.nanmin(width)))
        fine = np.stack([np.interp(grid, self.wavelength_nm, row) for row in self.response])
        sigma = np.nan_to_num(width, nan=1.0) * _SIGMA_PER_FWHM
        bands = np.exp(-0.5 * ((grid[:, None] - centers) / sigma) ** 2)
        bands *= cell_widths(centers, width) / (sigma * np.sqrt(2.0 * np.pi))
        step = grid[1] - grid[0]
        weights = fine @ np.nan_to_num(bands) * step
        return weights, weights.sum(axis=1) / (fine.sum(axis=1) * step)

    def _tabulated_at(self, centers: Floats) -> Floats | None:
        """Columns of the table, if within the range of the bands its wavelengths are the bands'."""
        if np.isnan(centers).any() or not (np.diff(centers) > 0).all():
            return None
        inside = (self.wavelength_nm > centers[0] - 0.1) & (self.wavelength_nm < centers[-1] + 0.1)
        here = self.wavelength_nm[inside]
        if here.shape == centers.shape and np.allclose(here, centers, rtol=0, atol=0.05):
            return self.response[:, inside]
        return None

    def _fine_grid(self, narrowest: float) -> Floats:
        low, high = self.wavelength_nm[[0, -1]]
        step = min(1.0, narrowest / 4.0, float(np.diff(self.wavelength_nm).min()))
        return np.linspace(low, high, int(np.ceil((high - low) / max(step, 0.05))) + 1)


def sensor_names() -> tuple[str, ...]:
    """Names that `load_response` knows, in alphabetical order."""
    return tuple(sorted({"nikon_d700", *_gaussian_tables(), *_AGENCY}))


def load_response(name_or_csv: str | Path) -> SpectralResponse:
    """Load a sensor's spectral response by name, or from a CSV file.

    Parameters
    ----------
    name_or_csv : str or Path
        A name of `sensor_names`, optionally with bands (``"sentinel2a:B02,B03,B04,B08"``); or a
        CSV file whose first column is the wavelength (nm or um, told apart by the header or by
        magnitude) and whose other columns are one band each, with a header line. Without
        bands, a name gives all reflective bands but the panchromatic one.

    Returns
    -------
    SpectralResponse

    Raises
    ------
    SpectralError
        When the name is not known or the file cannot be used.
    """
    path = Path(name_or_csv)
    if path.suffix.lower() in {".csv", ".txt", ".tsv"} or path.is_file():
        return _read_csv(path)
    name, _, bands = str(name_or_csv).partition(":")
    found = {_sensor_key(n): n for n in sensor_names()}.get(_sensor_key(name))
    if found is None:
        raise _unknown_sensor(name)
    chosen = [b.strip() for b in bands.split(",") if b.strip()]
    response = _load_named(found)
    if chosen:
        return response.select(chosen)
    pan = _AGENCY[found][3].split() if found in _AGENCY else []
    return response.select([b for b in response.band_names if b.lstrip("B") not in pan])


@cache
def _load_named(name: str) -> SpectralResponse:
    if name in _AGENCY:
        return _load_agency(name)
    if name in _gaussian_tables():
        rows = _gaussian_tables()[name]
        centers, widths = [float(r["center_nm"]) for r in rows], [float(r["fwhm_nm"]) for r in rows]
        return SpectralResponse.gaussian(centers, widths, [r["band"] for r in rows], name)
    return _parse_csv(_package_text(f"{name}.csv"), name)


def _load_agency(name: str) -> SpectralResponse:
    try:
        from pyrsr import RelativeSpectralResponse  # brings pandas: only when a table is wanted
    except ImportError as error:
        raise SpectralError(
            f"The response of {name} comes with the package pyrsr: install it (pip install pyrsr)."
        ) from error
    satellite, sensor, bands, _, form = _AGENCY[name]
    try:
        table = RelativeSpectralResponse(satellite, sensor, LayerBandsAssignment=bands.split())
    except Exception as error:  # it raises whatever its own reading raises
        raise SpectralError(
            f"The installed pyrsr has no table for {name}: update it (pip install -U pyrsr)."
        ) from error
    names = tuple(form.format(b) for b in bands.split())
    response = np.stack([table.rsrs_norm01[b] for b in table.bands])
    return SpectralResponse(name, names, np.asarray(table.rsrs_wvl), response)


@cache
def _gaussian_tables() -> dict[str, list[dict[str, str]]]:
    tables: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(_package_text("gaussian_bands.csv").splitlines()):
        tables.setdefault(row["sensor"], []).append(row)
    return tables


def _package_text(file: str) -> str:
    return (resources.files("emrdiff_geo") / "data" / "srf" / file).read_text(encoding="utf-8")


def _read_csv(path: Path) -> SpectralResponse:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpectralError(
            f"The response file {path} cannot be read: give the path of a CSV file, or one of the "
            f"names {', '.join(sensor_names())}."
        ) from error
    return _parse_csv(text, path.stem)


def _parse_csv(text: str, name: str) -> SpectralResponse:
    lines = [s for s in text.splitlines() if s.strip() and not s.lstrip().startswith("#")]
    separator = next((c for c in ",;\t" if lines and c in lines[0]), None)
    cells = [[c.strip() for c in line.split(separator)] for line in lines]
    try:
        header, table = cells[0], np.array([[float(c) for c in row] for row in cells[1:]])
        if table.ndim != 2 or table.shape[1] != len(header) or len(header) < 2:
            raise ValueError("not a table")
    except (ValueError, IndexError) as error:
        raise SpectralError(
            f"The response file {name} is not a table of numbers: its first column must be the "
            "wavelength, the others one band each, under one header line."
        ) from error
    wavelength = wavelengths_nm(table[:, 0], _header_units(header[0]))
    return SpectralResponse(name, tuple(header[1:]), wavelength, table[:, 1:].T)


def _header_units(header: str) -> str | None:
    """Unit text of a header such as ``wavelength_nm`` or ``Wavelength (µm)``."""
    words = "".join(c if c.isalpha() else " " for c in header).split()
    for word in reversed(words):
        try:
            if unit_factor(word) is not None:
                return word
        except SpectralError:
            continue
    return None


def _half_width(wavelength: Floats, row: Floats) -> float:
    half = row.max() / 2.0
    above = np.flatnonzero(row >= half)
    ends = []
    for inner, outer in ((above[0], above[0] - 1), (above[-1], above[-1] + 1)):
        if 0 <= outer < row.size:
            share = (row[inner] - half) / (row[inner] - row[outer])
            ends.append(wavelength[inner] + share * (wavelength[outer] - wavelength[inner]))
        else:
            ends.append(wavelength[inner])
    return float(ends[1] - ends[0])


def _band_key(name: str) -> str:
    return name.strip().lower().removeprefix("band").strip(" _").lstrip("b").lstrip("0")


def _sensor_key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _unknown_sensor(name: str) -> SpectralError:
    close = difflib.get_close_matches(name.lower(), sensor_names(), n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return SpectralError(
        f"The spectral response {name!r} is not known{hint}: give the path of a CSV file, or one "
        f"of {', '.join(sensor_names())}."
    )
