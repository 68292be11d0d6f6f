"""Adaptation of universal weights to one pair, self-supervised (Wald's protocol).

Both images are degraded once more, so that the HSI itself is the reference; the network learns
for minutes on that scene and is applied at full resolution. Part of the degraded scene is held
out: where adaptation does not help there, the weights stay as they were.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._output import check_no_input
from ..errors import InputError, MethodError, OutputError, WeightsError
from ..fusion import ImageOrPath, open_pair
from ..measuring import measure_pair
from ..methods.emrdiff import check_channels, resolve_device, run_chain
from ..methods.options import MethodOptions
from ..model.bafunet import BAFUNet
from ..model.weights import ModelConfig, load_state, read_config, save_weights
from ..optics import AUTO
from ..wald import LEAST, one_ratio_lower
from ..wald_pair import WaldPair
from ..weightfiles import digest, weights_path
from .batches import batches
from .draws import DrawConfig, Patches, patches_of, state_and_target
from .trainer import Progress, TrainConfig, Trainer
from .validate import psnr

#: Share of the degraded scene that is held out.
HELD_OUT = 0.25
#: Largest quotient of the pair's ratio and the one that it is learned at. What helps at ratio 2 may
#: do harm at 8, see docs/training.
FARTHEST = 2.0
#: Gain on the held-out part from which adapted weights are kept, dB.
LEAST_GAIN = 0.02


class AdaptDataset(torch.utils.data.Dataset):
    """Patches of one degraded pair, whose state is the same for all of them; see `DrawDataset`."""

    def __init__(self, draw: WaldPair, usable: np.ndarray, config: DrawConfig, seed: int) -> None:
        self.state, self.x0 = state_and_target(draw, config)
        self.usable, self.config, self.seed = usable, config, seed

    def __getitem__(self, index: int) -> Patches:
        rng = np.random.default_rng((self.seed, index))
        return patches_of(self.state, self.x0, rng, self.config, self.usable)


def _held_out(shape: tuple[int, int]) -> np.ndarray:
    """The last quarter of the scene along its longer axis, bool ``(h, w)``."""
    held = np.zeros(shape, bool)
    if shape[0] >= shape[1]:
        held[round((1 - HELD_OUT) * shape[0]) :] = True
    else:
        held[:, round((1 - HELD_OUT) * shape[1]) :] = True
    return held


def adapt(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    out: str | Path,
    *,
    weights: str = "universal",
    max_minutes: float = 5.0,
    steps: int | None = None,
    learning_rate: float = 2e-4,
    seed: int = 0,
    device: str = "auto",
    psf: str = AUTO,
    ratio: int | None = None,
    wavelengths: tuple[float, float] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Adapt universal weights to a pair.

    Parameters
    ----------
    hsi, msi : xr.Dataset, xr.DataArray or path
        As for `fuse`.
    out : path-like
        ``.safetensors`` file to write; a ``.json`` of the same name goes beside it.
    weights : str
        Weights to start from.
    max_minutes, steps
        When to stop.
    learning_rate : float
        Peak rate of AdamW.
    seed : int
        Of patches and noise.
    device, psf, ratio, wavelengths
        As for `fuse`.
    overwrite : bool
        Replace existing weights.
    progress : callable, optional
        ``(step, total, loss, metrics or None)``.

    Returns
    -------
    dict
        ``weights`` (path), ``adapted`` (bool: False where the weights stayed as they were),
        ``before`` and ``after`` (PSNR on the held-out part in dB), ``steps``.

    Raises
    ------
    EmrdiffError
        If the pair or the weights cannot be used.
    """
    path = weights_path(weights)
    out = _checked_out(Path(out), overwrite, path)
    config = read_config(path)
    if config.variant != "universal":
        raise WeightsError(f"{path.name} is no universal model: adapt --weights universal")
    check_channels(config, path.name)
    pair = open_pair(hsi, msi, ratio, wavelengths)[0]
    pair, measured = measure_pair(pair, psf=psf)
    statistics = measured.statistics
    draw, valid = one_ratio_lower(pair, statistics.degradation, statistics.good)
    _check_ratio(pair.ratio, draw)
    if draw.statistics.wavelength_nm is None:
        raise MethodError("adaptation needs the HSI's wavelengths: name a range with wavelengths")
    device = resolve_device(device)
    model = BAFUNet(config.network)
    model.load_state_dict(load_state(path))
    model.to(device, memory_format=torch.channels_last)
    held = _held_out(valid.shape)
    dataset, measure = _task(draw, valid, held, config, seed, device)
    before = measure(model.eval())["psnr"]
    trainer = Trainer(
        model,
        config,
        TrainConfig(
            steps=steps,
            max_minutes=None if steps else max_minutes,
            learning_rate=learning_rate,
            ema=0.98,
            seed=seed,
            validate_every=100,
        ),
        validate=measure,
        progress=progress,
    )
    # One process: a scene this small is prepared faster than a second one starts.
    options = {"workers": 0, "device": device, "seed": seed, "turn": True}
    metrics = trainer.run(lambda step: batches(dataset, step, **options))
    after = metrics.get("psnr", before)
    better = after > before + LEAST_GAIN
    card = trainer.card() if better else config
    told = {"adapted": better, "before": round(before, 3), "after": round(after, 3)}
    card = replace(card, training={**card.training, "adaptation": {"from": digest(path), **told}})
    save_weights(out, trainer.ema if better else load_state(path), card, torch.float16)
    return {"weights": str(out), "steps": trainer.step, **told}


def _check_ratio(ratio: int, draw: WaldPair) -> None:
    lower, (height, width) = draw.statistics.ratio, draw.reference.shape[1:]
    if ratio > FARTHEST * lower:
        needed = LEAST * math.ceil(ratio / FARTHEST)
        raise InputError(
            f"the HSI's {height} x {width} pixels allow to learn at ratio {lower} only, too far "
            f"from the pair's {ratio}: adaptation needs {needed} x {needed}, fuse with the "
            "unadapted weights"
        )


def _checked_out(out: Path, overwrite: bool, weights: Path) -> Path:
    if out.suffix != ".safetensors":
        raise OutputError(f"weights are written as .safetensors: name {out.stem}.safetensors")
    check_no_input(out, weights)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists: add --overwrite, or name another file")
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist: create it first")
    return out


def _task(
    draw: WaldPair, valid: np.ndarray, held: np.ndarray, config: ModelConfig, seed: int, device: str
):
    """Dataset of the part to learn from, and the measure on the part held out."""
    usable = valid & ~held
    patch = 64
    while patch > 16 and not _has_patch(usable, patch):
        patch -= 16
    if not _has_patch(usable, patch) or not (valid & held).any():
        raise InputError(
            "nodata leaves no 16 x 16 HSI pixels in one piece to learn from: fuse with the "
            "unadapted weights"
        )
    dataset = AdaptDataset(draw, usable, DrawConfig(patch=patch, patches=8), seed)
    state = dataset.state
    judged = valid & held
    floor = psnr(state.start[:, judged], draw.reference[:, judged])

    def measure(model: BAFUNet) -> dict[str, float]:
        options = MethodOptions(steps=config.steps, device=device)
        fused = state.result(run_chain(model, config, state, options, (0, 0)))
        score = psnr(fused[:, judged], draw.reference[:, judged])
        return {"psnr": score, "gain": score - floor}

    return dataset, measure


def _has_patch(usable: np.ndarray, patch: int) -> bool:
    if min(usable.shape) < patch:
        return False
    views = np.lib.stride_tricks.sliding_window_view(usable, (patch, patch))
    return bool(views.all(axis=(2, 3)).any())
