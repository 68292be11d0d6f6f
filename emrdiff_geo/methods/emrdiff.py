"""EMR-Diff as a fusion method: build the state of a tile, run the chain, read off the image."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import MethodError, WeightsError
from ..noise import pixel_noise
from ..statistics import SceneStatistics
from ..weightfiles import digest, weights_path
from .options import Lower, MethodOptions
from .state import ChainState, build_state, deviation, node_basis, universal_state

log = logging.getLogger(__name__)

#: Weight of keeping all of the residual, against what the self-check measures.
KEEP_ALL = 0.3

# torch is imported where it is used: listing methods, planning and the classical methods do not
# need it, and it takes seconds to load.


def resolve_device(device: str) -> str:
    """Torch device for a user's choice: ``auto`` is CUDA where there is one.

    Raises
    ------
    MethodError
        If the device does not exist here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MethodError("there is no CUDA device here: use --device cpu, or install CUDA's torch")
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise MethodError(f"there is no device '{device}': use auto, cpu or cuda") from None


def prepare_emrdiff(
    options: MethodOptions, statistics: SceneStatistics, lower: Lower
) -> MethodOptions:
    """Check weights against the scene, once before the tiles; pins path, digest and steps.

    With universal weights it also decides how much of the residual is kept, see `kept_share`.

    Raises
    ------
    WeightsError, MethodError
        If the weights cannot serve this scene.
    """
    from ..model.weights import read_config

    path = weights_path(options.weights)
    config = read_config(path)
    if options.variant not in (None, config.variant):
        raise WeightsError(
            f"{path.name} holds a {config.variant} model, not a {options.variant} one: drop "
            f"--variant or name other weights"
        )
    if config.variant == "universal":
        node_basis(statistics)
    else:
        _check_bands(config, path.name, int(statistics.good.sum()), statistics.n_msi)
    if options.steps is not None and options.steps < 2:
        raise MethodError("the chain needs at least 2 steps: use --steps 2 or more")
    options = replace(
        options,
        weights=str(path),
        digest=digest(path),
        steps=options.steps or config.steps,
        device=resolve_device(options.device),
    )
    if config.variant == "universal" and options.self_check:
        options = replace(options, kept=_self_check(options, lower))
    return options


def _self_check(options: MethodOptions, lower: Lower) -> tuple[float, ...]:
    """Fuse the pair one ratio lower, where the HSI is the reference, and fit what to keep."""
    from ..model.weights import load_model

    found = lower()
    if found is None:
        log.info("The scene is too small for the self-check: all of the residual is kept.")
        return ()
    pair, valid = found
    model, config = load_model(options.weights, options.digest, options.device)
    state = universal_state(pair.lr, pair.hr, pair.statistics)
    reached = run_chain(model, config, state, options, (0, 0))[: state.n_hsi]
    if not np.isfinite(reached).all():
        raise WeightsError(
            f"{Path(options.weights).name} gives values that are no numbers: train or adapt again"
        )
    wanted = deviation(state, pair)
    covered = state.mask[: state.n_hsi] > 0
    kept = kept_share(reached[:, valid], wanted[:, valid]) * covered
    log.info(
        "Self-check at %d times coarser pixels: %.0f %% of the network's residual is kept.",
        pair.statistics.ratio,
        100 * np.mean(kept[covered]),
    )
    return tuple(round(float(k), 3) for k in kept)


def kept_share(reached: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of a residual to keep on every node: least squares, between 0 and 1.

    Parameters
    ----------
    reached, wanted : ndarray
        ``(K, n)`` residual of the network and of a perfect one, same units.

    Returns
    -------
    ndarray
        ``(K,)``. It is drawn towards 1, since a coarser and smaller scene tells only so much: on 30
        pairs of held-out training scenes keeping all gave 0.39 dB on the mean and -0.36 dB at
        worst, plain least squares drawn to the mean of all nodes 0.29 and -0.02, this 0.33 and
        -0.03 (with the residual known, 0.48 and 0.00).
    """
    power, product = np.sum(reached**2, axis=1), np.sum(reached * wanted, axis=1)
    # Bounded by what is wanted: of a residual far too large next to nothing may be kept.
    pull = KEEP_ALL * min(power.mean(), np.sum(wanted**2, axis=1).mean())
    pull = max(float(pull), np.finfo(np.float32).tiny)
    return np.clip((product + pull) / (power + pull), 0, 1)


def _check_bands(config, name: str, n_hsi: int, n_msi: int) -> None:
    """The published variant serves one number of bands; a checkpoint may tell their sum only."""
    known = bool(config.n_hsi)
    fits = (n_hsi, n_msi) == (config.n_hsi, config.n_msi) if known else True
    if not fits or n_hsi + n_msi != config.network.guide_channels:
        trained = f"{config.n_hsi} + {config.n_msi}" if known else config.network.guide_channels
        raise WeightsError(
            f"{name} was trained for {trained} HSI and MSI bands and the pair has {n_hsi} + "
            f"{n_msi}: use --weights universal"
        )


def fuse_emrdiff(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    origin: tuple[int, int],
) -> np.ndarray:
    """Fuse a tile with the residual diffusion chain.

    The noise belongs to absolute pixels, and the network's grid of strided convolutions is laid
    out from the scene's origin, so that neighbouring tiles agree where they overlap.
    """
    from ..model.weights import load_model

    model, config = load_model(options.weights, options.digest, options.device)
    state = build_state(config.variant, lr, hr, statistics, config.residual)
    if options.kept:
        state = replace(state, to_bands=state.to_bands * np.array(options.kept, np.float32))
    return state.result(run_chain(model, config, state, options, origin))


def run_chain(
    model, config, state: ChainState, options: MethodOptions, origin: tuple[int, int]
) -> np.ndarray:
    """End of the chain ``(C, H, W)`` float32 for one tile's state."""
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

    def noise(step: int) -> torch.Tensor:
        at = origin[0] - top, origin[1] - left
        size = height + top + bottom, width + left + right
        values = pixel_noise(options.seed, step, at, size, len(state.a0))
        return torch.from_numpy(values)[None].to(options.device)

    a0 = tensor(state.a0)
    edge = tensor(state.edge[None]) if config.noise == "edge-aware" else None
    scalars = (
        torch.from_numpy(state.scalars)[None].to(options.device) if state.scalars.size else None
    )
    schedule = config.schedule(options.steps)
    with torch.inference_mode():
        guide = model.encode_guide(tensor(state.guide))
        mask = torch.from_numpy(state.mask).to(options.device)[:, None, None]
        filters = state.low_pass and [
            torch.from_numpy(m).to(options.device) for m in state.low_pass
        ]

        def predict(x_t: torch.Tensor, t: int) -> torch.Tensor:
            x0 = estimate(model, x_t, a0, t, edge, guide, scalars, schedule)[0] * mask
            if filters:
                x0[inner] = remove_visible(x0[inner], *filters)
            return x0

        x0 = sample(predict, a0, edge, schedule, noise)
        return x0[0][inner].float().cpu().numpy()


def _alignment(origin: int, size: int, multiple: int) -> tuple[int, int]:
    """Margins that put both ends of an axis on multiples of the network's coarsest cell."""
    before = origin % multiple
    return before, -(before + size) % multiple
