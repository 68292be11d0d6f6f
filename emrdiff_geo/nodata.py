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
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return image[:, nearest[0], nearest[1]], valid
