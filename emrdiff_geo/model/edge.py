"""Edge weights: how much noise each pixel gets, from the gradient of the MSI."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from emrdiff_geo.errors import InputError

Padding = Literal["replicate", "zeros"]
Bound = float | Tensor

_SMOOTH, _DERIVE = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)


def sobel_magnitude(msi: Tensor, padding: Padding = "replicate") -> Tensor:
    """Return the gradient magnitude of the mean band, M = sqrt(Gx^2 + Gy^2 + 1e-8).

    Parameters
    ----------
    msi : Tensor, shape (n, s, h, w)
        MSI without NaN. A tile needs one pixel beyond what is kept of the result.
    padding : {"replicate", "zeros"}
        What lies outside the image. Zeros (published) draw a false frame around it.

    Returns
    -------
    Tensor, shape (n, 1, h, w)
    """
    if padding not in ("replicate", "zeros"):
        raise InputError(f"There is no padding {padding!r}; choose replicate or zeros.")
    mode = "replicate" if padding == "replicate" else "constant"
    pan = functional.pad(msi.mean(1, keepdim=True), (1, 1, 1, 1), mode=mode)
    gx = _separable(pan, rows=_SMOOTH, cols=_DERIVE)
    gy = _separable(pan, rows=_DERIVE, cols=_SMOOTH)
    return torch.sqrt(gx**2 + gy**2 + 1e-8)


def edge_weights(
    msi: Tensor,
    lo: Bound | None = None,
    hi: Bound | None = None,
    padding: Padding = "replicate",
) -> Tensor:
    """Scale the gradient magnitude to 0..1: W = (M - lo) / (hi - lo).

    Parameters
    ----------
    msi : Tensor, shape (n, s, h, w)
        MSI without NaN.
    lo, hi : float or Tensor broadcastable to (n, 1, h, w), optional
        Minimum and maximum of the magnitude over the scene, so that all tiles agree; what lies
        outside is clipped. Both absent (published): those of each patch.
    padding : {"replicate", "zeros"}
        See `sobel_magnitude`.

    Returns
    -------
    Tensor, shape (n, 1, h, w)
        Zero everywhere where nothing varies (hi = lo).

    Raises
    ------
    InputError
        When only one of `lo` and `hi` is given.
    """
    if (lo is None) != (hi is None):
        raise InputError("Give both lo and hi of the scene's gradient magnitude, or neither.")
    magnitude = sobel_magnitude(msi, padding)
    low = magnitude.amin((1, 2, 3), keepdim=True) if lo is None else torch.as_tensor(lo)
    high = magnitude.amax((1, 2, 3), keepdim=True) if hi is None else torch.as_tensor(hi)
    low, high = low.to(magnitude), high.to(magnitude)
    span = high - low
    safe = torch.where(span > 0, span, torch.ones_like(span))
    return torch.where(span > 0, (magnitude - low) / safe, 0.0).clamp(0, 1)


def _separable(padded: Tensor, rows: tuple[float, ...], cols: tuple[float, ...]) -> Tensor:
    """Correlate with the outer product of two kernels of three, without padding."""
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    down = sum(k * padded[..., i : i + height, :] for i, k in enumerate(rows) if k)
    return sum(k * down[..., i : i + width] for i, k in enumerate(cols) if k)  # type: ignore
