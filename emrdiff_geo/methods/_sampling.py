"""Samples of the chain: one encoding of the guide, and noise of its own for each sample."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from .noise import pixel_noise, sample_seed
from .options import MethodOptions
from .state import ChainState

_GPU = threading.Lock()


def run_chain(
    model, config, state: ChainState, options: MethodOptions, origin: tuple[int, int]
) -> np.ndarray:
    """End of the chain ``(C, H, W)`` float32 for one tile's state, the first of its samples."""
    return next(chain_samples(model, config, state, options, origin))


def chain_samples(
    model, config, state: ChainState, options: MethodOptions, origin: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Ends of the chain ``(C, H, W)`` float32, sample after sample, without end.

    The noise belongs to absolute pixels, and the network's grid of strided convolutions is laid
    out from the scene's origin, so that neighbouring tiles agree where they overlap. What does not
    depend on the noise is computed once for all samples.

    Parameters
    ----------
    model, config
        From `load_model`.
    state : ChainState
        Of the tile.
    options : MethodOptions
        Seed, steps and device.
    origin : (int, int)
        Of the tile in the scene's fine grid.
    """
    import torch

    from ..model.diffusion import sample
    from ..model.estimate import estimate, remove_visible

    height, width = state.edge.shape
    pads = [_alignment(o, n, model.multiple) for o, n in zip(origin, (height, width), strict=True)]
    (top, bottom), (left, right) = pads
    inner = (..., slice(top, top + height), slice(left, left + width))

    def tensor(image: np.ndarray) -> torch.Tensor:
        padded = np.pad(image, ((0, 0), (top, bottom), (left, right)), mode="edge")
        batch = torch.from_numpy(padded)[None].to(options.device)
        return batch.contiguous(memory_format=torch.channels_last)

    def noise(seed: int, step: int) -> torch.Tensor:
        at = origin[0] - top, origin[1] - left
        size = height + top + bottom, width + left + right
        values = pixel_noise(seed, step, at, size, len(state.a0))
        return torch.from_numpy(values)[None].to(options.device)

    a0 = tensor(state.a0)
    edge = tensor(state.edge[None]) if config.noise == "edge-aware" else None
    scalars = (
        torch.from_numpy(state.scalars)[None].to(options.device) if state.scalars.size else None
    )
    schedule = config.schedule(options.steps)
    with _alone(options.device), torch.inference_mode():
        guide = model.encode_guide(tensor(state.guide))
    mask = torch.from_numpy(state.mask).to(options.device)[:, None, None]
    low_pass = [
        tuple(torch.tensor(matrix, device=options.device) for matrix in both)
        for both in state.low_pass or ()
    ]

    def predict(x_t: torch.Tensor, t: int) -> torch.Tensor:
        x0 = estimate(model, x_t, a0, t, edge, guide, scalars, schedule)[0] * mask
        if low_pass:
            x0[inner] = remove_visible(x0[inner], low_pass)
        return x0

    number = 0
    while True:
        seed = sample_seed(options.seed, number)
        # Entered anew for each sample: between two of them this thread is the caller's.
        with _alone(options.device), torch.inference_mode():
            x0 = sample(predict, a0, edge, schedule, lambda step, seed=seed: noise(seed, step))
            end = x0[0][inner].float().cpu().numpy()
        yield end
        number += 1


def _alone(device: str) -> AbstractContextManager:
    """Keep other tiles off a GPU.

    Its memory might not hold those of all threads, and it waits for them most of the time anyway.
    """
    return nullcontext() if device == "cpu" else _GPU


def _alignment(origin: int, size: int, multiple: int) -> tuple[int, int]:
    """Margins that put both ends of an axis on multiples of the network's coarsest cell."""
    before = origin % multiple
    return before, -(before + size) % multiple
