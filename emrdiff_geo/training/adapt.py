"""Adaptation of universal weights to one pair, self-supervised (Wald's protocol).

Both images are degraded once more, so that the HSI itself is the reference; the network learns
for minutes on that scene and is applied at full resolution. What helps on a degraded scene may do
harm on finer pixels, and no part of it that is held out tells: so it is rehearsed. The network
learns on the scene degraded once more again, and is judged on the one that is degraded once; only
where that helps it learns on the latter. Else the weights stay as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..alignment.coregister import registered_pair
from ..alignment.measuring import measure_pair
from ..alignment.optics import AUTO
from ..alignment.wald import LEAST, degraded_again, one_ratio_lower
from ..degradation.degrade import Degradation
from ..errors import InputError, MethodError, OutputError, WeightsError
from ..fusion import ImageOrPath, open_images
from ..methods.emrdiff import check_channels, resolve_device, run_chain
from ..methods.options import MethodOptions
from ..methods.state import universal_state
from ..model.bafunet import BAFUNet
from ..model.weights import ModelConfig, load_state, read_config, save_weights
from ..run.sharpening import sharpened
from ..run.workers import Threads
from ..scene.wald_pair import WaldPair
from ..system.machine import cores
from ..weightfiles import digest, weights_path
from ..writing.output import check_no_input
from .batches import batches
from .draws import DrawConfig, Patches, patches_of, state_and_target
from .trainer import Progress, TrainConfig, Trainer
from .validate import psnr

#: How much coarser the scene is on which adaptation is rehearsed.
COARSER = 2
#: Largest quotient of the pair's ratio and the one that it is learned at. What helps at ratio 2 may
#: do harm at 8, see docs/training.
FARTHEST = 2.0
#: Gain of the rehearsal from which the network is adapted, dB.
LEAST_GAIN = 0.02

Judge = Callable[[BAFUNet], dict[str, float]]


class AdaptDataset(torch.utils.data.Dataset):
    """Patches of one degraded pair, whose state is the same for all of them; see `DrawDataset`."""

    def __init__(self, draw: WaldPair, usable: np.ndarray, config: DrawConfig, seed: int) -> None:
        self.state, self.x0 = state_and_target(draw, config)
        self.usable, self.config, self.seed = usable, config, seed

    def __getitem__(self, index: int) -> Patches:
        rng = np.random.default_rng((self.seed, index))
        return patches_of(self.state, self.x0, rng, self.config, self.usable)


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
    coregister: bool = False,
    force: bool = False,
    normalise: bool = True,
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
        When to stop: minutes in all, or steps of the rehearsal and of the run after it.
    learning_rate : float
        Peak rate of AdamW.
    seed : int
        Of patches and noise.
    device, psf, ratio, wavelengths, coregister, force, normalise
        As for `fuse`: name those with which the weights will be used.
    overwrite : bool
        Replace existing weights.
    progress : callable, optional
        ``(step, total, loss, metrics or None)``.

    Returns
    -------
    dict
        ``weights`` (path), ``adapted`` (bool: False where the weights stayed as they were),
        ``before`` and ``after`` (PSNR of the degraded scene in dB, after the rehearsal), ``steps``
        of the last run.

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
    hsi, msi, _ = open_images(hsi, msi, wavelengths)
    pair = registered_pair(hsi, msi, ratio=ratio, coregister=coregister, force=force)
    if normalise:
        pair = sharpened(pair, Threads(cores()))
    pair, measured = measure_pair(pair, psf=psf, normalise=normalise)
    statistics = measured.statistics
    lower, valid = one_ratio_lower(pair, statistics.degradation, statistics.good)
    _check_ratio(pair.ratio, lower)
    if lower.statistics.wavelength_nm is None:
        raise MethodError("adaptation needs the HSI's wavelengths: name a range with wavelengths")
    device = resolve_device(device)
    settings = TrainConfig(
        steps=steps,
        max_minutes=None if steps else max_minutes / 2,
        learning_rate=learning_rate,
        ema=0.98,
        seed=seed,
        validate_every=100,
    )
    judge = _judge(lower, valid, config, device)
    before = judge(_model(path, config, device).eval())["psnr"]
    learned = _learned(path, *_coarser(lower, valid), settings, device, judge, progress)
    after = learned.metrics.get("psnr", before)
    better = after > before + LEAST_GAIN
    if better:
        settings = replace(settings, steps=learned.step, max_minutes=None)
        learned = _learned(path, lower, valid, settings, device, None, progress)
    card = learned.card() if better else config
    told = {"adapted": better, "before": round(before, 3), "after": round(after, 3)}
    card = replace(card, training={**card.training, "adaptation": {"from": digest(path), **told}})
    save_weights(out, learned.ema if better else load_state(path), card, torch.float16)
    return {"weights": str(out), "steps": learned.step, **told}


def _model(path: Path, config: ModelConfig, device: str) -> BAFUNet:
    model = BAFUNet(config.network)
    model.load_state_dict(load_state(path))
    return model.to(device, memory_format=torch.channels_last)


def _learned(
    path: Path,
    draw: WaldPair,
    usable: np.ndarray,
    settings: TrainConfig,
    device: str,
    judge: Judge | None,
    progress: Progress | None,
) -> Trainer:
    """Weights that learned on a pair; those of the averaged network are the trainer's `ema`."""
    config = read_config(path)
    dataset = AdaptDataset(draw, usable, _patches(usable), settings.seed)
    model = _model(path, config, device)
    trainer = Trainer(model, config, settings, validate=judge, progress=progress)
    # One process: a scene this small is prepared faster than a second one starts.
    options = {"workers": 0, "device": device, "seed": settings.seed, "turn": True}
    trainer.run(lambda step: batches(dataset, step, **options))
    return trainer


def _coarser(pair: WaldPair, valid: np.ndarray) -> tuple[WaldPair, np.ndarray]:
    """A pair and its valid pixels, all pixels `COARSER` times larger."""
    cut = tuple(slice(n // COARSER * COARSER) for n in valid.shape)
    down = Degradation(COARSER, "area").down
    reference, msi = (down(image[:, *cut]) for image in (pair.reference, pair.hr))
    known = pair.statistics
    coarser = degraded_again(reference, msi, known.degradation, known.wavelength_nm, known.fwhm_nm)
    height, width = coarser.reference.shape[1:]
    cells = valid[: COARSER * height, : COARSER * width].reshape(height, COARSER, width, COARSER)
    return coarser, cells.all(axis=(1, 3))


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


def _patches(usable: np.ndarray) -> DrawConfig:
    """Patches as large as the usable pixels allow."""
    patch = 64
    while patch > 16 and not _has_patch(usable, patch):
        patch -= 16
    if not _has_patch(usable, patch):
        raise InputError(
            "nodata leaves no 32 x 32 HSI pixels in one piece to learn from: fuse with the "
            "unadapted weights"
        )
    return DrawConfig(patch=patch, patches=8)


def _judge(draw: WaldPair, valid: np.ndarray, config: ModelConfig, device: str) -> Judge:
    """Measure of a network on a pair whose reference is known."""
    state = universal_state(draw.lr, draw.hr, draw.statistics)
    floor = psnr(state.start[:, valid], draw.reference[:, valid])

    def judge(model: BAFUNet) -> dict[str, float]:
        options = MethodOptions(steps=config.steps, device=device)
        fused = state.result(run_chain(model, config, state, options, (0, 0)))
        score = psnr(fused[:, valid], draw.reference[:, valid])
        return {"psnr": score, "gain": score - floor}

    return judge


def _has_patch(usable: np.ndarray, patch: int) -> bool:
    if min(usable.shape) < patch:
        return False
    views = np.lib.stride_tricks.sliding_window_view(usable, (patch, patch))
    return bool(views.all(axis=(2, 3)).any())
