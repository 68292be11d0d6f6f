"""Edge weights: how much noise each pixel gets, from the gradient of the MSI."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

Padding = Literal["replicate", "zeros"]
_MODES = {"replicate": "nearest", "zeros": "constant"}


def edge_magnitude(msi: np.ndarray, padding: Padding = "replicate") -> np.ndarray:
    """Sobel gradient magnitude of the mean MSI band: sqrt(Gx^2 + Gy^2 + 1e-8).

    Parameters
    ----------
    msi : ndarray
        ``(s, y, x)`` without NaN, any units.
    padding : {"replicate", "zeros"}
        What lies outside the image. Zeros (published) draw a false frame around it.

    Returns
    -------
    ndarray
        ``(y, x)`` float32 in the MSI's units.
    """
    pan = msi.mean(axis=0, dtype=np.float32)
    gy, gx = (ndimage.sobel(pan, axis, mode=_MODES[padding]) for axis in (0, 1))
    return np.sqrt(gx * gx + gy * gy + np.float32(1e-8))


def edge_weights(
    msi: np.ndarray,
    edge_range: tuple[float, float] | None = None,
    padding: Padding = "replicate",
) -> np.ndarray:
    """Edge magnitude scaled to 0..1; zeros where nothing varies.

    Parameters
    ----------
    msi : ndarray
        ``(s, y, x)`` without NaN, any units.
    edge_range : (float, float), optional
        Least and largest magnitude in the scene, so that all tiles agree; what lies outside is
        clipped. Without it (published) those of this image.
    padding : {"replicate", "zeros"}
        See `edge_magnitude`.

    Returns
    -------
    ndarray
        ``(y, x)`` float32, 0..1.
    """
    magnitude = edge_magnitude(msi, padding)
    low, high = edge_range or (float(magnitude.min()), float(magnitude.max()))
    if not high > low:
        return np.zeros_like(magnitude)
    return np.clip((magnitude - low) / (high - low), 0, 1).astype(np.float32)
