"""Wavelengths, bandwidths and the overlap of bands: numbers only, no files and no sensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpectralError

Floats = NDArray[np.float64]

# Water vapour absorbs nearly all light here (nm): no sensor sees the ground.
WATER_BANDS = ((1340.0, 1450.0), (1790.0, 1960.0))

# A band counts as seen when at least this share of its response falls on the other sensor's bands.
MIN_COVERAGE = 0.5

_OPTICAL_NM = (200.0, 20_000.0)
_SIGMA_PER_FWHM = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))
# No band centre lies below 100 nm, none beyond 100 um: magnitude alone tells the two units apart.
_MICROMETRE_LIMIT = 100.0
_UNITS = {
    1.0: {"nm", "nanometer", "nanometers", "nanometre", "nanometres"},
    1e3: {"um", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"},
    1e9: {"m", "meter", "meters", "metre", "metres"},
    0.1: {"angstrom", "angstroms", "å"},
}
_UNKNOWN_UNITS = {"", "unknown", "none", "index", "1"}


def unit_factor(units: str | None) -> float | None:
    """Give the factor that takes a length unit to nanometres.

    Parameters
    ----------
    units : str or None
        For instance ``"nm"``, ``"Micrometers"``, ``"µm"``.

    Returns
    -------
    float or None
        None where the text says nothing ("Unknown", "Index", empty).

    Raises
    ------
    SpectralError
        When the text names something that is not a length, such as a wavenumber.
    """
    # Two code points look like mu: the micro sign and the Greek letter.
    text = (units or "").strip().lower().replace("µ", "u").replace("μ", "u")
    if text in _UNKNOWN_UNITS:
        return None
    for factor, names in _UNITS.items():
        if text in names:
            return factor
    raise SpectralError(
        f"The wavelength unit {units!r} is not known: pass wavelengths= in nanometres."
    )


def wavelengths_nm(values: ArrayLike, units: str | None = None) -> Floats:
    """Convert wavelengths to nanometres, whichever unit they came in.

    Parameters
    ----------
    values : array_like, (n,)
        Band centres; zero, negative and NaN mean "not known".
    units : str, optional
        Unit text; without one, nanometres and micrometres are told apart by magnitude.

    Returns
    -------
    ndarray, (n,) float64
        Nanometres; NaN where not known.

    Raises
    ------
    SpectralError
        When no value is known, or values are not optical wavelengths (0.2 to 20 um) but, say, the
        numbers of the bands.
    """
    array = _vector(values, "wavelengths")
    array[~(array > 0)] = np.nan
    if not np.isfinite(array).any():
        raise SpectralError("No band has a wavelength: pass wavelengths= with one value per band.")
    factor = unit_factor(units)
    if factor is None:
        if array.size > 2 and np.array_equal(array, np.arange(1, array.size + 1)):
            raise SpectralError(
                f"Wavelengths 1, 2, ... {array.size} without a unit are the numbers of the bands: "
                "pass wavelengths= in nanometres."
            )
        factor = 1e3 if np.nanmedian(array) < _MICROMETRE_LIMIT else 1.0
    array = array * factor
    low, high = np.nanmin(array), np.nanmax(array)
    if low < _OPTICAL_NM[0] or high > _OPTICAL_NM[1]:
        raise SpectralError(
            f"Wavelengths from {low:g} to {high:g} nm are not those of an optical sensor: check "
            f"their unit ({units or 'not stated'}) or pass wavelengths= in nanometres."
        )
    return array


def fwhm_nm(values: ArrayLike, centers_nm: ArrayLike, units: str | None = None) -> Floats:
    """Convert bandwidths to nanometres.

    Without a unit, the one that gives plausible bands at these centres is taken: files exist whose
    centres are in micrometres and whose widths are in nanometres.

    Parameters
    ----------
    values : array_like, (n,)
        Full widths at half maximum; zero, negative and NaN mean "not known".
    centers_nm : array_like, (n,)
        Band centres, nm.
    units : str, optional
        Unit text of `values`.

    Returns
    -------
    ndarray, (n,) float64
        Nanometres; NaN where not known.
    """
    array = _vector(values, "FWHM")
    array[~(array > 0)] = np.nan
    if not np.isfinite(array).any():
        return array
    centers = _vector(centers_nm, "wavelengths")
    factor = unit_factor(units) or 1.0
    relative = np.nanmedian(array) * factor / np.nanmedian(centers)
    if relative > 0.5:  # wider than any band: the figures were nanometres already
        factor = 1.0
    elif relative < 1e-4:  # thinner than any band: the figures are micrometres
        factor *= 1e3
    return array * factor


def fwhm_from_centers(centers_nm: ArrayLike) -> Floats:
    """Estimate bandwidths by the distance to the nearest neighbour, when nothing else is known.

    Parameters
    ----------
    centers_nm : array_like, (n,)
        Band centres, nm, in any order; NaN stays NaN.

    Returns
    -------
    ndarray, (n,) float64

    Raises
    ------
    SpectralError
        With fewer than two different centres.
    """
    centers = _vector(centers_nm, "wavelengths")
    unique = np.unique(centers[np.isfinite(centers)])
    if unique.size < 2:
        raise SpectralError(
            "The width of a single band cannot be told from its centre: pass fwhm= with its width."
        )
    gaps = np.diff(unique)
    nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    width = np.full(centers.shape, np.nan)
    known = np.isfinite(centers)
    width[known] = nearest[np.searchsorted(unique, centers[known])]
    return width


def complete_fwhm(centers_nm: ArrayLike, fwhm: ArrayLike | None) -> Floats:
    """Fill unknown bandwidths by `fwhm_from_centers`; (n,) float64, nm."""
    centers = _vector(centers_nm, "wavelengths")
    width = np.full(centers.shape, np.nan) if fwhm is None else _vector(fwhm, "FWHM")
    if width.shape != centers.shape:
        raise SpectralError(
            f"There are {centers.size} wavelengths but {width.size} FWHM values: pass one per band."
        )
    width[~(width > 0)] = np.nan
    if np.isnan(width[np.isfinite(centers)]).any():
        width = np.where(np.isnan(width), fwhm_from_centers(centers), width)
    return width


def cell_widths(centers_nm: ArrayLike, fwhm: ArrayLike) -> Floats:
    """Stretch of spectrum that each band stands for in a sum over bands.

    It is half the distance between the two neighbours, so that where two spectrometers overlap
    the bands are not counted twice; at most two bandwidths, so that nothing stands for a gap.

    Parameters
    ----------
    centers_nm, fwhm : array_like, (n,)
        nm; bands with an unknown centre get zero.

    Returns
    -------
    ndarray, (n,) float64
    """
    centers, width = _vector(centers_nm, "wavelengths"), _vector(fwhm, "FWHM")
    cells = np.zeros(centers.shape)
    order = np.argsort(centers, kind="stable")
    order = order[np.isfinite(centers[order])]
    if order.size == 1:
        cells[order] = width[order]
    elif order.size > 1:
        gaps = np.diff(centers[order])
        cells[order] = (np.insert(gaps, 0, gaps[0]) + np.append(gaps, gaps[-1])) / 2.0
    return np.minimum(cells, 2.0 * np.nan_to_num(width))


def gaussian_response(
    centers_nm: ArrayLike,
    fwhm: ArrayLike,
    band_centers_nm: ArrayLike,
    band_fwhm_nm: ArrayLike | None = None,
) -> Floats:
    """Response of Gaussian multispectral bands on Gaussian hyperspectral bands.

    The integral of the product of two Gaussians is a Gaussian of their distance whose variance is
    the sum of both; each is weighted by the stretch of spectrum that its band stands for.

    Parameters
    ----------
    centers_nm, fwhm : array_like, (s,)
        The multispectral bands, nm.
    band_centers_nm : array_like, (L,)
        The hyperspectral bands, nm; a band with an unknown (NaN) centre gets weight zero.
    band_fwhm_nm : array_like, (L,), optional
        Their widths, nm; by default the distance to the nearest neighbour.

    Returns
    -------
    ndarray, (s, L) float64
        Rows sum to 1.

    Raises
    ------
    SpectralError
        When a multispectral band lies outside the hyperspectral range.
    """
    weights, coverage = gaussian_weights(centers_nm, fwhm, band_centers_nm, band_fwhm_nm)
    bad = np.flatnonzero(coverage < MIN_COVERAGE)
    if bad.size:
        names = [f"{c:.0f} nm" for c in _vector(centers_nm, "wavelengths")[bad]]
        raise uncovered_error(names, band_centers_nm)
    return weights / weights.sum(axis=1, keepdims=True)


def gaussian_weights(
    centers_nm: ArrayLike,
    fwhm: ArrayLike,
    band_centers_nm: ArrayLike,
    band_fwhm_nm: ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """As `gaussian_response`, not normalised: (s, L) weights, and the covered share of each row."""
    centers, width = _vector(centers_nm, "wavelengths"), complete_fwhm(centers_nm, fwhm)
    bands = _vector(band_centers_nm, "wavelengths")
    band_width = complete_fwhm(bands, band_fwhm_nm)
    variance = (width[:, None] ** 2 + np.nan_to_num(band_width) ** 2) * _SIGMA_PER_FWHM**2
    distance = centers[:, None] - bands
    density = np.exp(-0.5 * distance**2 / variance) / np.sqrt(2.0 * np.pi * variance)
    weights = np.nan_to_num(density) * cell_widths(bands, band_width)
    return weights, weights.sum(axis=1)


def uncovered_error(names: Sequence[str], band_centers_nm: ArrayLike) -> SpectralError:
    """Name the multispectral bands that the hyperspectral bands do not cover."""
    bands = _vector(band_centers_nm, "wavelengths")
    return SpectralError(
        f"The hyperspectral bands ({np.nanmin(bands):.0f}-{np.nanmax(bands):.0f} nm) do not cover "
        f"{', '.join(names)}: select the bands that they cover, or check the wavelengths."
    )


def wavelengths_by_rank(
    n: int,
    range_nm: tuple[float, float] = (400.0, 2500.0),
    skip: Sequence[tuple[float, float]] = WATER_BANDS,
) -> Floats:
    """Spread bands of unknown wavelength evenly over a range.

    Parameters
    ----------
    n : int
        Number of bands.
    range_nm : (float, float)
        First and last wavelength, nm.
    skip : sequence of (float, float)
        Intervals that hold no band, nm: by default the water bands, which most products leave out.

    Returns
    -------
    ndarray, (n,) float64
        Increasing, nm.
    """
    low, high = (float(v) for v in range_nm)
    if n < 1 or not low < high:
        raise SpectralError("Wavelengths by rank need at least one band and an increasing range.")
    inside = sorted((max(a, low), min(b, high)) for a, b in skip if a < high and b > low)
    rank = np.linspace(0.0, 1.0, n) if n > 1 else np.array([0.5])
    values = low + rank * (high - low - sum(b - a for a, b in inside))
    for start, end in inside:  # from short to long: each gap shifts all that follows it
        values = np.where(values > start, values + (end - start), values)
    return values


def _vector(values: ArrayLike, what: str) -> Floats:
    """Copy to (n,) float64."""
    try:
        return np.array(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise SpectralError(f"The {what} must be numbers, one per band.") from error
