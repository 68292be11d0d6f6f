"""Validation: whole pairs through the whole chain, as `fuse` would run it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..methods.emrdiff import run_chain
from ..methods.options import MethodOptions
from ..model.bafunet import BAFUNet
from ..model.weights import ModelConfig
from ..scene.wald_pair import WaldPair
from .draws import DrawConfig, draw_pair, state_and_target
from .scenes import SceneFile, load_scene


def psnr(fused: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, both divided by the reference's maximum."""
    error = np.mean(np.square(fused.astype(np.float64) - reference))
    return float(10 * np.log10(float(reference.max()) ** 2 / max(error, 1e-20)))


def validation_pairs(
    files: list[SceneFile], config: DrawConfig, seed: int, count: int = 1
) -> list[WaldPair]:
    """Pairs of the held-out scenes, the same in every run."""
    pairs = []
    for number, file in enumerate(files):
        for repeat in range(count):
            rng = np.random.default_rng((seed, 1 << 40, number, repeat))
            pairs.append(draw_pair(load_scene(file), rng, config))
    return pairs


def validator(
    pairs: list[WaldPair], draw: DrawConfig, config: ModelConfig
) -> Callable[[BAFUNet], dict[str, float]]:
    """Function that measures a model on pairs.

    Returns
    -------
    callable
        ``(model) -> {"psnr", "gain"}``: mean PSNR in dB, and its mean gain over the start of the
        chain (the Gaussian process, or interpolation for the published variant).
    """
    states = [state_and_target(pair, draw)[0] for pair in pairs]

    def measure(model: BAFUNet) -> dict[str, float]:
        device = str(next(model.parameters()).device)
        options = MethodOptions(steps=config.steps, device=device)
        scores, gains = [], []
        for pair, state in zip(pairs, states, strict=True):
            with torch.inference_mode():
                x0 = run_chain(model, config, state, options, (0, 0))
            scores.append(psnr(state.result(x0), pair.reference))
            gains.append(scores[-1] - psnr(state.result(state.a0), pair.reference))
        return {"psnr": float(np.mean(scores)), "gain": float(np.mean(gains))}

    return measure
