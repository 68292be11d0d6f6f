"""The multi-scale loss: the network's outputs against the residual at each scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError

Alignment = Literal["aligned", "topleft"]


def multiscale_loss(
    outputs: Sequence[Tensor],
    anchors: Tensor | Sequence[Tensor],
    x0: Tensor,
    alignment: Alignment = "aligned",
    weights: Tensor | None = None,
) -> Tensor:
    """Sum over scales of mean |O_k + A_0,k - x_0,k|.

    The scale of each output follows from its size. For the ablation without multi-scale loss
    give the first output alone (or build the network with ``scales=(1,)``).

    Parameters
    ----------
    outputs : sequence of Tensor, shapes (n, C, h / scale, w / scale)
        Predicted residuals, full size first.
    anchors : Tensor or sequence of Tensor
        A_0 at full size, from which the smaller ones are made by `decimate`; or A_0 at the size
        of every output (see `anchor_pyramid`).
    x0 : Tensor, shape (n, C, h, w)
        The state sought.
    alignment : {"aligned", "topleft"}
        How x_0 (and a single A_0) is decimated, see `decimate`.
    weights : Tensor, shape (n, C, 1, 1) or broadcastable, optional
        Weight of each channel, 0 for one that does not count (outside a sensor's range); the
        mean is the weighted one. Channels without weight may hold anything finite.

    Returns
    -------
    Tensor, shape ()

    Raises
    ------
    InputError
        When the number or size of the anchors does not match the outputs.
    """
    scales = [_scale_of(output, x0) for output in outputs]
    if isinstance(anchors, Tensor):
        anchors = [decimate(anchors, scale, alignment) for scale in scales]
    if [a.shape for a in anchors] != [o.shape for o in outputs]:
        raise InputError("Give A_0 at full size, or one A_0 of the same shape for each output.")
    losses = [
        _weighted_mean((output + a0 - decimate(x0, scale, alignment)).abs(), weights)
        for output, a0, scale in zip(outputs, anchors, scales, strict=True)
    ]
    return torch.stack(losses).sum()


def decimate(x: Tensor, scale: int, alignment: Alignment = "aligned") -> Tensor:
    """Reduce an image by a whole number.

    Parameters
    ----------
    x : Tensor, shape (n, C, h, w)
        Image; h and w are multiples of `scale`.
    scale : int
        Factor of reduction.
    alignment : {"aligned", "topleft"}
        "aligned" averages each cell, so that its value belongs to the cell's centre. "topleft"
        (published) takes the cell's first pixel, (scale - 1) / 2 pixels off that centre.

    Returns
    -------
    Tensor, shape (n, C, h / scale, w / scale)
    """
    if alignment not in get_args(Alignment):
        raise InputError(f"There is no alignment {alignment!r}; choose aligned or topleft.")
    if scale == 1:
        return x
    if alignment == "topleft":
        return x[..., ::scale, ::scale]
    return functional.avg_pool2d(x, scale)


def anchor_pyramid(
    hsi_lr: Tensor,
    msi: Tensor,
    scales: Sequence[int] = (1, 2, 4, 8),
    alignment: Alignment = "aligned",
) -> list[Tensor]:
    """Make [Y, Z] at every scale: Y by bicubic from the LR-HSI itself, Z decimated.

    Parameters
    ----------
    hsi_lr : Tensor, shape (n, L, h / ratio, w / ratio)
        LR-HSI on its own grid.
    msi : Tensor, shape (n, s, h, w)
        HR-MSI.
    scales : sequence of int
        Scales of the network's outputs.
    alignment : {"aligned", "topleft"}
        How the MSI is decimated, see `decimate`.

    Returns
    -------
    list of Tensor, shapes (n, L + s, h / scale, w / scale)
        For other residual modes take the first L channels ("unimodal") or zeros ("none").
    """
    pyramid = []
    for scale in scales:
        z = decimate(msi, scale, alignment)
        pyramid.append(torch.cat([_bicubic(hsi_lr, z.shape[-2:]), z], dim=1))
    return pyramid


def _bicubic(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    # Enlarging must not antialias: torch then has another kernel (a = -0.5, published: -0.75).
    shrinks = size[-1] < image.shape[-1]
    return functional.interpolate(image, tuple(size), mode="bicubic", antialias=shrinks)


def _scale_of(output: Tensor, x0: Tensor) -> int:
    scale = x0.shape[-1] // output.shape[-1]
    if (output.shape[-2] * scale, output.shape[-1] * scale) != tuple(x0.shape[-2:]):
        raise InputError(
            f"An output of {tuple(output.shape[-2:])} pixels is no whole fraction of the image "
            f"of {tuple(x0.shape[-2:])} pixels."
        )
    return scale


def _weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values.mean()
    weights = weights.to(values).expand_as(values)
    total = weights.sum()
    return (values * weights).sum() / total.where(total > 0, torch.ones_like(total))
