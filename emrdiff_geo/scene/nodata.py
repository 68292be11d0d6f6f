"""Pixels without data: where they are, and what stands in for them in a filter."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def fill_invalid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace nodata by the nearest valid pixel, so that nothing invalid enters a filter.

    Parameters
    ----------
    image : ndarray
        ``(band, y, x)``, NaN where there is no data.

    Returns
    -------
    filled : ndarray
        As ``image`` without NaN; zeros where no pixel is valid at all.
    valid : ndarray
        ``(y, x)`` bool: pixels that are finite in every band.
    """
    valid = np.isfinite(image).all(axis=0)
    if valid.all():
        return image, valid
    if not valid.any():
        return np.zeros_like(image), valid
    return image[:, *_nearest(valid)], valid


def fill_explained(image: np.ndarray, valid: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """Replace nodata by what is explained there, and by what is not at the nearest valid pixel.

    Where an HSI has no data and its degraded MSI has some, or the filling of some, the nearest
    pixel's spectrum would contradict the MSI; that contradiction would be fused as if it were seen.

    Parameters
    ----------
    image : ndarray
        ``(band, y, x)``; of invalid pixels any value.
    valid : ndarray
        ``(y, x)`` bool.
    explained : ndarray
        As ``image``, finite: a prediction from what is known everywhere.
    """
    if valid.all():
        return image
    if not valid.any():
        return explained
    unexplained = (image - explained)[:, *_nearest(valid)]
    return np.where(valid, image, explained + unexplained)


def _nearest(valid: np.ndarray) -> np.ndarray:
    """Place ``(2, y, x)`` of the nearest valid pixel."""
    return ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
