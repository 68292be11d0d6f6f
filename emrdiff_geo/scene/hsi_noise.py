"""Noise of the HSI, and what of it is signal.

Neighbouring bands of a spectrum tell the same story: what a regression on them leaves of a band is
mostly noise (Bioucas-Dias and Nascimento, "Hyperspectral subspace identification", IEEE TGRS 46,
2008). Back-projection would put that noise, spread over a whole HSI pixel, into the fused image. So
what the fused image still lacks of the HSI passes a Wiener filter over the bands first.
"""

from __future__ import annotations

import numpy as np

#: Bands on either side, together, that a band is regressed on.
NEIGHBOURS = 24
#: Pixels that each of them needs, and least number of them.
PIXELS, LEAST = 5, 10
#: Least noise, relative to the mean variance of the bands and to a band's own power: rounding
#: errors of what follows, and of the values themselves. A band of one value has no more than the
#: latter where it was resampled; taken for a signal without noise, back-projection wrote them into
#: all other bands: -12 dB instead of 43.
ROUNDING, ROUNDING_OF_VALUES = 1e-14, 1e-10
#: Of these regressions, relative to the same.
RIDGE = 1e-10


def band_noise(covariance: np.ndarray, mean: np.ndarray, count: int) -> np.ndarray:
    """Variance of the noise of every band.

    Parameters
    ----------
    covariance : ndarray
        ``(L, L)`` of the HSI, its bands in the order of their wavelengths.
    mean : ndarray
        ``(L,)`` of the HSI.
    count : int
        Pixels it was measured on.

    Returns
    -------
    ndarray
        ``(L,)``; zeros where bands or pixels are too few to tell.
    """
    bands = len(covariance)
    near = min(bands - 1, NEIGHBOURS, count // PIXELS)
    if near < LEAST:
        return np.zeros(bands)
    variance = np.diag(covariance)
    ridged = covariance + RIDGE * variance.mean() * np.eye(bands)
    noise = np.empty(bands)
    for band in range(bands):
        first = min(max(band - near // 2, 0), bands - near - 1)
        others = np.delete(np.arange(first, first + near + 1), band - first)
        cross = covariance[others, band]
        explained = cross @ np.linalg.solve(ridged[np.ix_(others, others)], cross)
        noise[band] = variance[band] - explained
    least = ROUNDING * variance.mean() + ROUNDING_OF_VALUES * (variance + mean**2)
    return np.maximum(noise * (count / (count - near)), least)


def signal_filter(covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Wiener filter over the bands.

    Parameters
    ----------
    covariance : ndarray
        ``(L, L)`` of what is filtered, noise included.
    noise : ndarray
        ``(L,)`` variance of the noise, which is independent in every band.

    Returns
    -------
    ndarray
        ``(L, L)`` float32; the identity where there is no noise.
    """
    if not (noise > 0).all():
        return np.eye(len(noise), dtype=np.float32)
    deviation = np.sqrt(noise)
    values, vectors = np.linalg.eigh(covariance / deviation[:, None] / deviation)
    gain = np.maximum(1 - 1 / np.maximum(values, np.finfo(float).tiny), 0)
    whole = (deviation[:, None] * vectors * gain) @ (vectors.T / deviation)
    return whole.astype(np.float32)
