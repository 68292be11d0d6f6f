"""EMR-Diff as a fusion method: build the state of a tile, run the chain, read off the image."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import MethodError, WeightsError
from ..grids.windows import coarser, within
from ..scene.statistics import SceneStatistics
from ..scene.wald_pair import central_part
from ..weightfiles import digest, weights_path
from ._sampling import chain_samples, run_chain
from .options import Lower, MethodOptions, Place
from .regression import agree_with_msi, back_project, covered
from .state import (
    ChainState,
    build_state,
    deviation,
    disagreement_on_nodes,
    node_basis,
    universal_channels,
    universal_state,
)
from .uncertainty import (
    constants_of,
    error_terms,
    mean_and_spread,
    predicted_deviation,
    scaled,
    weights_of,
)

log = logging.getLogger(__name__)

#: Weight of keeping all of the residual, against what the self-check measures, see `kept_share`.
KEEP_ALL = 0.6
#: Pixels beyond which a test tells the more, the more it has.
FEW = 1024
#: Share that is kept where a scene is too small for the self-check, of cameras of the visible range
#: and of others. On 18 and 48 pairs of held-out training scenes, of 10 to 20 HSI pixels a side,
#: 0.25, 0.5 and 1 gained 0.15, 0.27 and 0.38 dB on the former (at worst 0.0, 0.0 and -0.2 dB); on
#: the latter 0.01, -0.01 and -0.08 dB (-0.2, -0.4 and -1.2 dB).
UNCHECKED, UNCHECKED_OTHERS = 0.75, 0.25
#: Share of what the regression leaves, that the images disagree about, from which on nothing is
#: kept unchecked: on 35 pairs of five held-out and training scenes under haze, other sun, noise,
#: shifts or changes half of the residual was worth 0.05 dB at a share below 0.05, on remote sensing
#: it lost 0.5 dB on the mean and 2.3 dB at worst above.
DISAGREE = 0.1
#: Largest edge of the part of the pair one ratio lower on which errors are measured, pixels.
MEASURED = 192

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

    lower = cache(lower)
    path = weights_path(options.weights)
    config = read_config(path)
    if options.variant not in (None, config.variant):
        raise WeightsError(
            f"{path.name} holds a {config.variant} model, not a {options.variant} one: drop "
            f"--variant or name other weights"
        )
    camera = config.focus.serves(statistics)
    if config.variant == "universal":
        check_channels(config, path.name)
        node_basis(statistics)
        if camera:
            log.info("A camera of the visible range: its bands get the sharpness of such cameras.")
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
        options = replace(options, kept=_self_check(options, lower, statistics, camera))
    if options.uncertainty:
        options = replace(options, calibration=_calibration(options, config, path.name, lower))
    return options


def _self_check(
    options: MethodOptions, lower: Lower, statistics: SceneStatistics, camera: bool
) -> tuple[float, ...]:
    """Fuse the pair one ratio lower, where the HSI is the reference, and fit what to keep."""
    from ..model.weights import load_model

    found = lower()
    if found is None:
        kept = unchecked_share(statistics, camera)
        log.info(
            "The scene is too small for the self-check: %.0f %% of the network's residual is kept.",
            100 * np.mean(kept[node_basis(statistics).mask]),
        )
        return tuple(round(float(k), 3) for k in kept)
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
    # The farther the test's ratio is from the scene's, and the fewer its pixels, the less it tells.
    farther = statistics.ratio / pair.statistics.ratio
    keep_all = KEEP_ALL * farther**2 * FEW / max(valid.sum(), FEW)
    kept = kept_share(reached[:, valid], wanted[:, valid], keep_all) * covered
    log.info(
        "Self-check at %d times coarser pixels: %.0f %% of the network's residual is kept.",
        pair.statistics.ratio,
        100 * np.mean(kept[covered]),
    )
    return tuple(round(float(k), 3) for k in kept)


def _calibration(options: MethodOptions, config, name: str, lower: Lower) -> tuple[float, ...]:
    """Weights of the terms of the uncertainty, as the pair one ratio lower bears them out."""
    constants = constants_of(config, name)
    found = lower()
    if found is None:
        log.info("The scene is too small to measure its errors: the uncertainty is not scaled.")
        return weights_of(constants)
    # All bands of several images are held at once: a part of a large scene has to do.
    pair, valid = central_part(*found, MEASURED)
    options = replace(options, calibration=weights_of(constants))
    known = pair.lr, pair.hr, pair.statistics, options, Place()
    fused, sigma = fuse_with_uncertainty(*known)
    error, predicted = (
        float(np.sqrt(np.mean(np.square(image[:, valid], dtype=np.float64))))
        for image in (fused - pair.reference, sigma)
    )
    if not (error > 0 and predicted > 0):
        return weights_of(constants)
    log.info(
        "At %d times coarser pixels errors are %.2f times the predicted ones.",
        pair.statistics.ratio,
        error / predicted,
    )
    return scaled(constants, error / predicted)


def kept_share(reached: np.ndarray, wanted: np.ndarray, keep_all: float = KEEP_ALL) -> np.ndarray:
    """Share of a residual to keep on every node: least squares, between 0 and 1.

    Parameters
    ----------
    reached, wanted : ndarray
        ``(K, n)`` residual of the network and of a perfect one, same units.
    keep_all : float
        Weight of keeping all.

    Returns
    -------
    ndarray
        ``(K,)``. It is drawn towards 1, since a coarser and smaller scene tells only so much: on 13
        pairs of held-out training scenes weights of 0, 0.2, 0.4, 0.6 and 1 (times the square of the
        quotient of the ratios, over the number of pixels) gained 1.45, 1.64, 1.67, 1.68 and 1.68 dB
        over the process on the mean, at worst 0.00 and with 1 -0.01 dB; keeping all 1.60 and -0.25
        dB. With the HSI 0.12 of its pixels off the means are 0.80, 1.10, 1.19, 1.22 and 1.25 dB.
    """
    power, product = np.sum(reached**2, axis=1), np.sum(reached * wanted, axis=1)
    # Bounded by what is wanted: of a residual far too large next to nothing may be kept.
    pull = keep_all * min(power.mean(), np.sum(wanted**2, axis=1).mean())
    pull = max(float(pull), np.finfo(np.float32).tiny)
    return np.clip((product + pull) / (power + pull), 0, 1)


def unchecked_share(statistics: SceneStatistics, camera: bool) -> np.ndarray:
    """Share ``(K,)`` of the residual to keep where nothing can be measured: see `UNCHECKED`."""
    agreed = np.clip(1 - disagreement_on_nodes(statistics) / DISAGREE, 0, 1)
    share = UNCHECKED if camera else UNCHECKED_OTHERS
    return share * agreed * node_basis(statistics).mask


def check_channels(config, name: str) -> None:
    """Check that universal weights were trained with the state of this version.

    Raises
    ------
    WeightsError
    """
    network = config.network
    if (network.in_channels, network.guide_channels) != universal_channels():
        raise WeightsError(
            f"{name} was trained by an earlier version, whose network read other channels: train "
            "again, or use --weights universal"
        )


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
    place: Place,
) -> np.ndarray:
    """Fuse a tile with the residual diffusion chain; the mean of its samples."""
    state, ends = _chain(lr, hr, statistics, options, place)
    x0, _ = mean_and_spread(ends, options.samples, None)
    return place.cut(finished(state, x0, lr, hr, statistics), state.frame)


def finished(
    state: ChainState,
    x0: np.ndarray,
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
) -> np.ndarray:
    """Image of the state's frame, the end of the chain in agreement with both images.

    On five CAVE training scenes `published-cave31` gains 0.3 dB by agreeing with the HSI, 0.6 by
    agreeing with the MSI, and 0.9 dB by both. The universal chain starts from a prior that agrees
    with both, and what it adds is made invisible to the HSI: so where nothing is kept of it the
    result is the prior itself. Making the whole agree once more gained 0.03 dB on 30 pairs of the
    held-out scenes, but brought back what the prior knows for noise: on 51 of less than 400 HSI
    pixels it lost 0.08 dB, at worst 1.1 dB.
    """
    coarse = coarser(state.frame, statistics.ratio)
    everything = np.eye(len(lr), dtype=np.float32)
    if not state.low_pass:
        fused = agree_with_msi(state.result(x0), hr[:, *state.frame], statistics)
        # What a network lacks of the HSI may be anything, not just what a regression leaves.
        return back_project(fused, lr[:, *coarse], statistics, signal=everything)
    added = np.zeros_like(state.start)
    added[:, *within(state.part, state.frame)] = state.change(x0)
    nothing = np.zeros_like(lr[:, *coarse])
    sure = covered(coarse, lr, statistics.degradation)
    fused = back_project(added, nothing, statistics, signal=everything, sure=sure)
    fused += state.start
    return fused


def fuse_with_uncertainty(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    place: Place,
) -> tuple[np.ndarray, np.ndarray]:
    """As `fuse_emrdiff`, and the standard deviation of the error, of the same shape and units."""
    state, ends = _chain(lr, hr, statistics, options, place)
    x0, spread = mean_and_spread(ends, options.samples, state.to_bands)
    fused = finished(state, x0, lr, hr, statistics)
    terms = error_terms(state, x0, spread, lr, hr, statistics, place.origin)
    sigma = predicted_deviation(terms, options.calibration)
    return place.cut(fused, state.frame), place.cut(sigma, state.part)


def _chain(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    place: Place,
) -> tuple[ChainState, Iterator[np.ndarray]]:
    """State of a tile and the samples of its chain."""
    from ..model.weights import load_model

    model, config = load_model(options.weights, options.digest, options.device)
    state = build_state(config, lr, hr, statistics, place)
    if options.kept:
        state = replace(state, to_bands=state.to_bands * np.array(options.kept, np.float32))
    origin = tuple(first + s.start for first, s in zip(place.origin, state.part, strict=True))
    return state, chain_samples(model, config, state, options, origin)
