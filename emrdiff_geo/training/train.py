"""Training from scene files to a weights file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..methods.emrdiff import resolve_device
from ..methods.state import SCALARS, universal_channels
from ..model.bafunet import BAFUNet, network_config
from ..model.diffusion import state_channels
from ..model.weights import ModelConfig, load_state, read_config, save_weights
from ..scene.focus import Focus
from ..spectra.nodes import NODES_NM
from ..spectra.sensors import load_response
from ..weightfiles import weights_path
from .batches import batches
from .checkpoint import check_there
from .draws import DrawConfig
from .focus import fit_focus
from .scenes import DrawDataset, SceneFile, load_scene
from .trainer import CHECKPOINT, Progress, TrainConfig, Trainer
from .validate import validation_pairs, validator

#: In a run's folder.
FOCUS = "focus.json"
WIDTH = 48
#: Of the universal network: two more, as the paper has them, gained nothing on top of the prior.
LEVELS = 3
#: Options that only one variant has.
_OF_VARIANT = {"residual": "published", "pseudo_bands": "published", "width": "universal"}
#: Two encoders with plain residual blocks: in the same time on a CPU they learn more than MSGABs.
UNIVERSAL_NETWORK = "b-unet"
#: Noise level of the universal chain, in units of the deviation; the paper's 2 is for images.
KAPPA = 0.5
#: Patches in a batch: many small steps learn faster than few large ones, measured on CPUs.
BATCH = 4
#: Edge of a patch in HR pixels; the published network's attention pools over all of it.
PATCH = {"universal": 64, "published": 128}
#: What that is a multiple of: five levels halve it four times.
MULTIPLE = 16
#: Patches of 64 x 64 pixels of a draw; with fewer the network waits for the draws.
PATCHES = 16
#: Steps T of the chain: the paper's five, and as many as serve deviations from a prior.
STEPS = {"universal": 2, "published": 5}
#: Share of samples at the chain's first step; the published network has to learn the others too.
LAST_STEP = {"universal": 0.75, "published": 0.5}
#: Share of draws that see a scene coarser: the published network's camera never does.
COARSENED = {"universal": 0.2, "published": 0.0}
LEARNING_RATE = {"universal": 2.5e-3, "published": 1e-3}


def train(
    data: Sequence[str],
    out: str | Path,
    *,
    variant: str = "universal",
    init: str | None = None,
    val: Sequence[str] = (),
    steps: int | None = None,
    max_minutes: float | None = None,
    width: int | None = None,
    resume: bool = False,
    seed: int = 0,
    library: str | None = None,
    srf: str | None = None,
    ratio: int | None = None,
    psf: str | None = None,
    network: str | None = None,
    residual: str | None = None,
    noise: str = "edge-aware",
    pseudo_bands: str | None = None,
    chain_steps: int | None = None,
    device: str = "auto",
    workers: int = 1,
    batch: int = BATCH,
    reuse: int = 1,
    patch: int | None = None,
    learning_rate: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a model on simulated pairs of hyperspectral scenes.

    Parameters
    ----------
    data : sequence of str
        Files that `open_hsi` opens; ``PATH@400-2500`` spreads bands of unknown wavelength over a
        range in nm. Or packs of scenes, see `pack`.
    out : path-like
        Folder for ``weights.safetensors``, ``weights.json``, ``log.csv`` and the checkpoint.
    variant : str
        ``"universal"``, or ``"published"`` for one fixed sensor pair; the latter needs `srf` and
        `ratio`.
    init : str, optional
        Weights to begin with, a name or path; by default random ones.
    val : sequence of str
        Scenes to validate on; without them the last of `data` is held out where there are three.
    steps, max_minutes
        When to stop; at least one of them. With minutes alone the steps that fit are measured.
    width : int, optional
        Channels of the universal network; those of the published one follow from its bands.
    resume : bool
        Continue the run in `out`, to the step.
    seed : int
        Of everything random.
    library : str, optional
        ENVI spectral library (``.sli``); a part of the draws then has its materials over the
        textures of `data`, see `compose`.
    srf : str, optional
        Response of all draws (a name or a CSV); by default every draw has its own.
    ratio, psf : optional
        Ratio and PSF of all draws; by default every draw has its own.
    network : str, optional
        One of the paper's networks, see `network_config`; by default the published variant has
        ``"baf-unet"`` and the universal one `UNIVERSAL_NETWORK`.
    noise : str
        ``"edge-aware"`` or ``"pure"``, see `diffusion`.
    residual, pseudo_bands : str, optional
        Ablations of the paper, for the published variant alone, see `diffusion`; by default
        ``"multimodal"`` and ``"first"``.
    chain_steps : int, optional
        Steps T of the chain; by default those of `STEPS`.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    workers : int
        Processes that prepare the draws.
    batch, reuse : int
        Patches in a batch, and how often a patch is used, see `batches`: more of both for a GPU.
    patch : int, optional
        Edge of a patch in HR pixels, a multiple of 16; by default that of `PATCH`.
    learning_rate : float, optional
        Peak rate of AdamW.
    progress : callable, optional
        ``(step, total, loss, metrics or None)``.

    Returns
    -------
    dict
        ``weights`` (path), ``steps``, and the last validation's ``psnr`` and ``gain`` in dB.

    Raises
    ------
    EmrdiffError
        If a scene cannot be used or options contradict each other.
    """
    _check_variant(variant, residual=residual, pseudo_bands=pseudo_bands, width=width)
    files, held_out = _split(SceneFile.parse_all(data), SceneFile.parse_all(val))
    draw = _draw_config(variant, srf, ratio, psf, residual, pseudo_bands, patch)
    device = resolve_device(device)
    steps_of_chain = chain_steps or STEPS[variant]
    config = _model_config(variant, files, draw, width, network, noise, steps_of_chain)
    about: dict[str, Any] = {
        "data": [f.name for f in files],
        "held_out": [f.name for f in held_out],
        "init": init,
        "library": Path(library).name if library else None,
        "seed": seed,
        "device": device,
        "batch": batch,
        "reuse": reuse,
        "patch": draw.patch,
    }
    config = replace(config, training=about)
    out = Path(out)
    chosen = TrainConfig(
        steps=steps,
        max_minutes=max_minutes,
        learning_rate=learning_rate or LEARNING_RATE[variant],
        last_step_share=LAST_STEP[variant],
        seed=seed,
    )
    chosen.check_end()
    _check_folder(out, resume)
    if variant == "universal":
        draw = replace(draw, focus=_focus(files, draw, seed, out, resume))
        config = replace(config, focus=draw.focus)
    torch.manual_seed(seed)
    model = _network(config, init).to(device, memory_format=torch.channels_last)
    whole = replace(draw, augment=False, piece=160, msi_bands=(4, 6))
    pairs = validation_pairs(held_out, whole, seed)
    trainer = Trainer(
        model,
        config,
        chosen,
        out,
        validator(pairs, whole, config),
        progress,
    )
    if resume:
        trainer.resume()
    dataset = DrawDataset(files, draw, seed, library)
    feed = partial(
        batches, dataset, batch=batch, workers=workers, device=device, seed=seed, reuse=reuse
    )
    metrics = trainer.run(feed)
    weights = out / "weights.safetensors"
    save_weights(weights, trainer.ema, trainer.card(), torch.float16)
    return {"weights": str(weights), "steps": trainer.step, **metrics}


def _split(files: list[SceneFile], val: list[SceneFile]) -> tuple[list[SceneFile], list[SceneFile]]:
    if not files:
        raise InputError("training needs at least one hyperspectral scene: name its file")
    if val:
        return files, val
    return (files[:-1], files[-1:]) if len(files) >= 3 else (files, files)


def _check_folder(out: Path, resume: bool) -> None:
    if resume:
        check_there(out / CHECKPOINT)
    elif (out / CHECKPOINT).exists():
        raise InputError(f"{out} holds an earlier run: add --resume, or name another folder")
    if out.exists() and not (out.is_dir() and os.access(out, os.W_OK)):
        raise InputError(f"{out} is no folder that can be written: name another one")


def _network(config: ModelConfig, init: str | None) -> BAFUNet:
    """The network with random weights, or those of a file."""
    model = BAFUNet(config.network)
    if init is not None:
        path = weights_path(init)
        if read_config(path).network != config.network:
            raise InputError(
                f"{path.name} holds another network: drop --init, or set --width to its"
            )
        model.load_state_dict(load_state(path))
    return model


def _focus(files: list[SceneFile], draw: DrawConfig, seed: int, out: Path, resume: bool) -> Focus:
    """Focus of the training scenes' cameras; it takes a minute, so a resumed run keeps its own."""
    kept = out / FOCUS
    if resume and kept.exists():
        return Focus.from_dict(json.loads(kept.read_text(encoding="utf-8")))
    focus = fit_focus(files, draw, seed)
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(focus)) + "\n", encoding="utf-8")
    return focus


def _check_variant(variant: str, **given: object) -> None:
    """Refuse options that the other variant has: left alone they would seem to make no difference.

    Raises
    ------
    InputError
        If there is no such variant, or one of the options is not its own.
    """
    if variant not in ("universal", "published"):
        raise InputError(f"there is no variant '{variant}': choose universal or published")
    for name, value in given.items():
        if value is not None and variant != _OF_VARIANT[name]:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is for the {_OF_VARIANT[name]} variant alone: leave it out, or add "
                f"--variant {_OF_VARIANT[name]}"
            )


def _draw_config(
    variant: str,
    srf: str | None,
    ratio: int | None,
    psf: str | None,
    residual: str | None,
    pseudo_bands: str | None,
    patch: int | None = None,
) -> DrawConfig:
    if variant == "published" and (srf is None or ratio is None):
        raise InputError(
            "the published variant belongs to one pair of sensors: name its response and ratio, "
            "as in --srf nikon_d700 --ratio 8"
        )
    edge = patch or PATCH[variant]
    if edge % MULTIPLE:
        raise InputError(
            f"a patch of {edge} pixels does not suit the network: use a multiple of 16"
        )
    draw = DrawConfig(
        variant=variant,
        psf=psf or ("paper" if variant == "published" else None),
        response=None if srf is None else load_response(srf),
        residual=residual or "multimodal",
        pseudo_bands=pseudo_bands or "first",
        patch=edge,
        patches=max(1, PATCHES * PATCH["universal"] ** 2 // edge**2),
    )
    draw = replace(draw, piece=max(draw.piece, 2 * edge), coarsened=COARSENED[variant])
    return draw if ratio is None else replace(draw, ratios=(ratio,))


def _model_config(
    variant: str,
    files: list[SceneFile],
    draw: DrawConfig,
    width: int | None,
    network: str | None,
    noise: str,
    steps: int,
) -> ModelConfig:
    if variant == "universal":
        channels, guide = universal_channels()
        shape = replace(
            network_config(network or UNIVERSAL_NETWORK, width or WIDTH, guide),
            in_channels=channels,
            out_channels=channels,
            pool="none",
            levels=LEVELS,
            scales=(1, 2, 4),
            head=True,
            gate=True,
            time_scalars=SCALARS,
        )
        return ModelConfig(variant, shape, steps, KAPPA, nodes_nm=NODES_NM, noise=noise)
    counts = {len(load_scene(f).cube) for f in files}
    if len(counts) > 1 or draw.response is None:
        raise InputError(
            f"the published variant has one number of bands and the scenes have {sorted(counts)}: "
            "train on scenes of one sensor"
        )
    n_hsi, n_msi = counts.pop(), len(draw.response.band_names)
    channels = state_channels(n_hsi, n_msi, draw.residual)
    return ModelConfig(
        variant,
        network_config(network or "baf-unet", channels, n_hsi + n_msi),
        steps,
        n_hsi=n_hsi,
        n_msi=n_msi,
        residual=draw.residual,
        noise=noise,
        pseudo_bands=draw.pseudo_bands,
    )
