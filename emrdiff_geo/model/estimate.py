"""From the network's output to the estimate of x_0, published or preconditioned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .bafunet import BAFUNet, Guide
from .diffusion import Step, precondition
from .schedule import Schedule

#: Noise of a state, in units of the deviation, below which it is the estimate itself: of what the
#: network could add, `out` would leave less than that. So the chain's last step costs nothing.
NEGLIGIBLE = 1e-3
#: Factor on the learned gate: it has to come from 0 to 1 within some hundred small steps.
GATE_RATE = 10.0


def estimate(
    model: BAFUNet,
    x_t: Tensor,
    a0: Tensor,
    t: Step,
    edge: Tensor | None,
    guide: Guide,
    scalars: Tensor | None,
    schedule: Schedule,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Estimate x_0 from a state of the chain.

    Published: ``x0_hat = A_0 + f``. With a gate ``x0_hat = A_0 + gate * (skip (x_t - A_0) +
    out f)``, see `precondition`: late in the chain the state all but is x_0, and a network that
    must pass it on unchanged would have to spend most of its training on learning to copy.

    Parameters
    ----------
    model : BAFUNet
    x_t, a0 : Tensor, shape (n, C, h, w)
        State and anchor.
    t : int or Tensor of int64, shape (n,)
    edge : Tensor, shape (n, 1, h, w), or None
    guide, scalars
        As for the network.
    schedule : Schedule

    Returns
    -------
    x0_hat : Tensor, shape (n, C, h, w)
    coarse : tuple of Tensor
        The network's outputs at the lower scales.
    """
    if model.gate is None:
        full, *coarse = model(x_t, t, guide, scalars)
        return full + a0, tuple(coarse)
    weight = torch.ones_like(x_t[:, :1]) if edge is None else edge
    skip, out = precondition(t, weight, schedule)
    gate = GATE_RATE * model.gate[:, None, None]
    if isinstance(t, int) and schedule.noise[t] < NEGLIGIBLE:
        return a0 + gate * skip * (x_t - a0), ()
    full, *coarse = model(x_t, t, guide, scalars)
    return a0 + gate * (skip * (x_t - a0) + out * full), tuple(coarse)


def remove_visible(deviation: Tensor, low_pass: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Take out of a deviation from the prior what the HSI would have seen.

    The prior agrees with the HSI already: degrading the deviation has to leave nothing.

    Parameters
    ----------
    deviation : Tensor, shape (..., h, w)
    low_pass : sequence of (Tensor, Tensor)
        Matrices along y and x, one pair after the other: degrading, then interpolating again. As
        two pairs they cost a fraction of their product.

    Returns
    -------
    Tensor, shape (..., h, w)
    """
    visible = deviation
    for along_y, along_x in low_pass:
        visible = along_y @ visible @ along_x.transpose(-1, -2)
    return deviation - visible
