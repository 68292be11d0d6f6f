"""The residual diffusion chain as pure functions of tensors.

Every chain runs between an image x_0 and its *anchor* A_0, the degraded image at which the
chain starts. The three residual modes of the paper differ in these two only, so that one set of
formulas serves them all:

============  ====================  ==========  ===========================================
mode          state x_0             anchor A_0  meaning
============  ====================  ==========  ===========================================
multimodal    [X, pseudo-MSI of X]  [Y, Z]      the residuals of both images ride the chain
unimodal      X                     Y           the residual of the HSI alone
none          [X, pseudo-MSI of X]  0           no residual: the chain starts from noise
============  ====================  ==========  ===========================================

X is the image sought (L bands), Y the upsampled LR-HSI (L), Z the HR-MSI (s). The network
predicts x_0 - A_0 in every mode; with A_0 = 0 that is x_0 itself. The edge weight W scales the
noise, N* = W N; None stands for W = 1 (the ablation "pure").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import MethodError
from .schedule import Schedule

Residual = Literal["multimodal", "unimodal", "none"]
PseudoBands = Literal["first", "last", "spread"]
Step = int | Tensor  # one step for the whole batch, or int64 (n,): one for each image


def pseudo_msi_bands(n_hsi: int, n_msi: int, placement: PseudoBands = "first") -> np.ndarray:
    """Choose the HSI bands that are copied into the state as counterparts of the MSI bands.

    Parameters
    ----------
    n_hsi, n_msi : int
        Number of HSI bands L and of MSI bands s.
    placement : {"first", "last", "spread"}
        The first s bands (published), the last s, or s bands spread evenly from end to end.
        With s > L, "first" and "last" use bands repeatedly.

    Returns
    -------
    ndarray, shape (s,), int64
        Indices into the HSI bands.
    """
    order = np.arange(n_msi)
    if placement == "first":
        return order % n_hsi
    if placement == "last":
        return (order + n_hsi - n_msi) % n_hsi
    if placement == "spread":
        return np.rint(np.linspace(0, n_hsi - 1, n_msi)).astype(np.int64)
    raise _unknown("pseudo-MSI placement", placement, get_args(PseudoBands))


def state_channels(n_hsi: int, n_msi: int, residual: Residual = "multimodal") -> int:
    """Return the number of channels of the state: L + s, or L for the unimodal residual."""
    _check_residual(residual)
    return n_hsi if residual == "unimodal" else n_hsi + n_msi


def anchor(hsi_up: Tensor, msi: Tensor, residual: Residual = "multimodal") -> Tensor:
    """Build the anchor A_0, at which the chain starts, from both observations.

    Parameters
    ----------
    hsi_up : Tensor, shape (n, L, h, w)
        Y, the LR-HSI upsampled to the grid of the MSI.
    msi : Tensor, shape (n, s, h, w)
        Z, the HR-MSI.
    residual : {"multimodal", "unimodal", "none"}
        Residual mode.

    Returns
    -------
    Tensor, shape of the state
    """
    _check_residual(residual)
    if residual == "unimodal":
        return hsi_up
    both = torch.cat([hsi_up, msi], dim=1)
    return both if residual == "multimodal" else torch.zeros_like(both)


def forward(
    x0: Tensor, a0: Tensor, t: Step, noise: Tensor, edge: Tensor | None, schedule: Schedule
) -> Tensor:
    """Draw x_t from x_0: x_t = x_0 + eta_t (A_0 - x_0) + kappa sqrt(eta_t) W N.

    Parameters
    ----------
    x0, a0, noise : Tensor, shape (n, C, h, w)
        State, anchor and standard normal noise N.
    t : int or Tensor of int64, shape (n,)
        Step, 0 .. T-1.
    edge : Tensor, shape (n, 1, h, w), or None
        Edge weights W within 0..1; None for 1.
    schedule : Schedule
        eta and kappa.

    Returns
    -------
    Tensor, shape (n, C, h, w)
    """
    eta = _at(schedule.eta, t, x0)
    spread = _at(schedule.kappa * np.sqrt(schedule.eta), t, x0)
    return x0 + eta * (a0 - x0) + spread * _weighted(noise, edge)


def start(a0: Tensor, noise: Tensor, edge: Tensor | None, schedule: Schedule) -> Tensor:
    """Draw the first state of the reverse chain: x_T = A_0 + kappa sqrt(eta_T) W N."""
    spread = float(schedule.kappa * np.sqrt(schedule.eta[-1]))
    return a0 + spread * _weighted(noise, edge)


def reverse_step(
    x_t: Tensor,
    x0_hat: Tensor,
    t: Step,
    noise: Tensor | None,
    edge: Tensor | None,
    schedule: Schedule,
) -> Tensor:
    """Draw x_{t-1} from x_t and the predicted x_0, by the posterior of the forward chain.

    x_{t-1} = (eta_{t-1} / eta_t) x_t + (alpha_t / eta_t) x0_hat
    + kappa sqrt(eta_{t-1} alpha_t / eta_t) W N. At t = 0 the noise has the factor 0 and the
    result is x0_hat.

    Parameters
    ----------
    x_t, x0_hat : Tensor, shape (n, C, h, w)
        State and predicted image state.
    t : int or Tensor of int64, shape (n,)
        Step, 0 .. T-1.
    noise : Tensor, shape (n, C, h, w), or None
        Standard normal noise; None adds none (the mean of the posterior).
    edge : Tensor, shape (n, 1, h, w), or None
        Edge weights W; None for 1.
    schedule : Schedule
        The chain's coefficients.

    Returns
    -------
    Tensor, shape (n, C, h, w)
    """
    mean = _at(schedule.posterior_state, t, x_t) * x_t
    mean = mean + _at(schedule.posterior_image, t, x_t) * x0_hat
    if noise is None:
        return mean
    return mean + _at(np.sqrt(schedule.posterior_variance), t, x_t) * _weighted(noise, edge)


def precondition(
    t: Step, edge: Tensor, schedule: Schedule, variance: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Weights of the state and of the network in a preconditioned estimate of the deviation.

    Where the state is known to be a deviation d_t = x_t - A_0 of about unit variance, the best
    linear estimate of d_0 from d_t alone is skip * d_t, and its error has the standard deviation
    out: the estimate skip * d_t + out * network then asks the network only for what d_t does not
    tell (Karras et al., "Elucidating the design space of diffusion-based generative models",
    NeurIPS 2022, section 5, here for d_t = (1 - eta_t) d_0 + kappa sqrt(eta_t) W N, so that both
    weights differ from pixel to pixel). At t = T-1 the chain starts from noise alone: skip is 0.

    Parameters
    ----------
    t : int or Tensor of int64, shape (n,)
        Step, 0 .. T-1.
    edge : Tensor, shape (n, 1, h, w)
        Edge weights W.
    schedule : Schedule
        The chain's coefficients.
    variance : float
        Variance of d_0.

    Returns
    -------
    skip, out : Tensor, shape (n, 1, h, w)
    """
    last = schedule.steps - 1
    signal = _at(1 - schedule.eta, t, edge)
    noise = _at(schedule.kappa**2 * schedule.eta, t, edge) * edge**2
    total = signal**2 * variance + noise
    first = _at((np.arange(schedule.steps) == last).astype(float), t, edge)
    skip = (1 - first) * signal * variance / total
    return skip, (1 - first) * torch.sqrt(variance * noise / total) + first * variance**0.5


def sample(
    predict_x0: Callable[[Tensor, int], Tensor],
    a0: Tensor,
    edge: Tensor | None,
    schedule: Schedule,
    noise: Callable[[int], Tensor],
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Run the reverse chain from the anchor to the image state.

    Parameters
    ----------
    predict_x0 : callable (x_t, t) -> x0_hat
        The network's residual plus A_0; a correction of every estimate (back-projection, say)
        belongs in here too.
    a0 : Tensor, shape (n, C, h, w)
        Anchor.
    edge : Tensor, shape (n, 1, h, w), or None
        Edge weights W; None for 1.
    schedule : Schedule
        The chain's coefficients.
    noise : callable (t) -> Tensor, shape (n, C, h, w)
        Standard normal noise: ``noise(T)`` starts the chain, ``noise(t)`` belongs to the step
        from t to t-1, t = T-1 .. 1. The last step adds none and does not ask for it.
    callback : callable (t, x), optional
        Told each state after its step.

    Returns
    -------
    Tensor, shape (n, C, h, w)
        x_0; its first L channels are the fused image.
    """
    x = start(a0, noise(schedule.steps), edge, schedule)
    for t in reversed(range(schedule.steps)):
        x0_hat = predict_x0(x, t)
        x = reverse_step(x, x0_hat, t, noise(t) if t else None, edge, schedule)
        if callback is not None:
            callback(t, x)
    return x


def _weighted(noise: Tensor, edge: Tensor | None) -> Tensor:
    return noise if edge is None else edge * noise


def _at(values: np.ndarray, t: Step, like: Tensor) -> Tensor | float:
    """Pick a coefficient: a number for one step, (n, 1, 1, 1) for a step of each image."""
    if isinstance(t, int):
        return float(values[t])
    return torch.tensor(values, dtype=like.dtype, device=like.device)[t].view(-1, 1, 1, 1)


def _check_residual(residual: str) -> None:
    if residual not in get_args(Residual):
        raise _unknown("residual mode", residual, get_args(Residual))


def _unknown(what: str, name: object, known: tuple[str, ...]) -> MethodError:
    return MethodError(f"There is no {what} {name!r}; choose one of {', '.join(known)}.")
