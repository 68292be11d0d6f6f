"""Random spectral responses of an MSI: bands of real sensors, or Gaussian ones."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..errors import SpectralError
from ..spectra.sensors import SpectralResponse, load_response, sensor_names
from ..spectra.spectral import gaussian_weights

#: Of the sensors the one that no draw may have.
PAPERS_CAMERA = "nikon_d700"


def draw_response(
    wavelength: np.ndarray,
    fwhm: np.ndarray,
    rng: np.random.Generator,
    counts: tuple[int, int],
    real: float,
) -> np.ndarray:
    """Bands of a real sensor, or Gaussian ones anywhere in the range.

    Parameters
    ----------
    wavelength, fwhm : ndarray
        ``(L,)`` of the HSI, nm.
    rng : Generator
    counts : (int, int)
        Least and largest number of bands.
    real : float
        Share of the draws with a real sensor, where one fits.

    Returns
    -------
    ndarray
        ``(s, L)`` float32 weights of the HSI's bands.
    """
    if rng.random() < real:
        response = _real_response(wavelength, fwhm, rng, counts)
        if response is not None:
            return response
    return _gaussian_response(wavelength, fwhm, rng, counts)


def _real_response(
    wavelength: np.ndarray, fwhm: np.ndarray, rng: np.random.Generator, counts: tuple[int, int]
) -> np.ndarray | None:
    """Some or all bands of a real sensor; None if the one drawn does not see enough of the range.

    The camera of the paper's protocol is never drawn: it is what the weights are measured with.
    """
    names = [name for name in sensor_names() if name != PAPERS_CAMERA]
    sensor = _sensor(names[int(rng.integers(len(names)))])
    try:
        response, _ = sensor.on_bands(wavelength, fwhm, drop_uncovered=True)
    except SpectralError:
        return None
    least, most = counts
    if len(response) < least:
        return None
    if len(response) > most or rng.random() < 0.4:
        count = int(rng.integers(least, min(len(response), most) + 1))
        response = response[np.sort(rng.choice(len(response), count, replace=False))]
    return response.astype(np.float32)


@cache
def _sensor(name: str) -> SpectralResponse:
    return load_response(name)


def _gaussian_response(
    wavelength: np.ndarray, fwhm: np.ndarray, rng: np.random.Generator, counts: tuple[int, int]
) -> np.ndarray:
    """Gaussian bands anywhere in the range, now and then with a broad panchromatic one."""
    least, most = counts
    count = least + int((most - least + 1) * rng.random() ** 2)
    low, high = float(wavelength.min()), float(wavelength.max())
    span = high - low
    if rng.random() < 0.5:
        centers = low + span * (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
    else:
        # As most MSI: crowded towards the short end.
        centers = low + span * np.sort(rng.beta(1.0, 2.5, count))
    widths = np.exp(rng.uniform(np.log(15), np.log(max(0.25 * span, 40)), count))
    if rng.random() < 0.15:
        widths[0] = 0.5 * span
    # A centre between two distant bands would see neither.
    centers = wavelength[np.abs(wavelength[:, None] - centers).argmin(axis=0)]
    weights, _ = gaussian_weights(centers, widths, wavelength, fwhm)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
