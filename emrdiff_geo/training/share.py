r"""How much the published chain and the Gaussian process each tell of a scene.

    python -m emrdiff_geo.training.share HELD_OUT... --train SCENE... --weights PATH \
        --srf NAME --ratio R

The chain knows what the spectra of its training scenes look like, the process what the pair itself
shows; where one is wrong the other need not be. The weight of their mean is found by least squares
on scenes that the network was not trained on, and goes into the JSON beside the weights, with the
focus of the cameras of the training scenes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..degradation.degrade import PSFS
from ..errors import EmrdiffError, InputError
from ..methods._sampling import run_chain
from ..methods.emrdiff import finished, resolve_device
from ..methods.options import MethodOptions
from ..methods.state import build_state
from ..model.weights import ModelConfig, load_model, read_config
from ..scene.wald_pair import WaldPair
from ..spectra.sensors import load_response
from ..weightfiles import digest, weights_path
from .draws import DrawConfig
from .focus import fit_focus
from .scenes import SceneFile
from .validate import psnr, validation_pairs

log = logging.getLogger(__name__)

#: Edge of the pieces, HR pixels.
PIECE = 256


def fit_share(
    pairs: Sequence[WaldPair], model, config: ModelConfig, options: MethodOptions
) -> float:
    """Share of the chain in the mean of both, between 0 and 1.

    Parameters
    ----------
    pairs : sequence of WaldPair
        Of scenes that the network was not trained on; each counts alike, relative to the error of
        the process.
    model, config
        From `load_model`; published.
    options : MethodOptions
        Of the chain.
    """
    product = power = 0.0
    for pair in pairs:
        process, chain = (
            _finished(pair, model, replace(config, share=share), options) for share in (0.0, 1.0)
        )
        error, change = pair.reference - process, chain - process
        weight = 1 / max(float(np.mean(np.square(error, dtype=np.float64))), 1e-30)
        product += weight * float(np.mean(change * error, dtype=np.float64))
        power += weight * float(np.mean(np.square(change, dtype=np.float64)))
        log.info(
            "process %.2f dB, chain %.2f dB", *(psnr(i, pair.reference) for i in (process, chain))
        )
    return round(float(np.clip(product / max(power, 1e-30), 0, 1)), 3)


def _finished(pair: WaldPair, model, config: ModelConfig, options: MethodOptions) -> np.ndarray:
    """Result of a whole pair, as a fusion would give it."""
    known = pair.lr, pair.hr, pair.statistics
    state = build_state(config, *known)
    x0 = run_chain(model, config, state, options, (0, 0)) if config.share else state.a0
    return finished(state, x0, *known)


def share(
    held_out: Sequence[str],
    scenes: Sequence[str],
    weights: str,
    draw: DrawConfig,
    *,
    pairs: int = 4,
    seed: int = 0,
    device: str = "auto",
) -> ModelConfig:
    """Fit the share and the focus of published weights and write both into their JSON.

    Parameters
    ----------
    held_out, scenes : sequence of str
        Scenes that the network was not trained on, and those that it was: ``PATH`` or
        ``PATH@FROM-TO``.
    weights : str
        Name of shipped weights or path.
    draw : DrawConfig
        The pair of sensors; whatever else may be drawn is not.
    pairs : int
        Pairs drawn from a held-out scene.
    seed : int
        Of the draws and of the noise.
    device : str
        As for `fuse`.

    Returns
    -------
    ModelConfig
        What was written.

    Raises
    ------
    EmrdiffError
        If scenes or weights cannot be used.
    """
    path = weights_path(weights)
    config = read_config(path)
    if config.variant != "published":
        raise InputError(f"{path.name} has its prior built in: name published weights")
    device = resolve_device(device)
    draw = replace(draw, augment=False, variant="published", piece=PIECE)
    focus = fit_focus(SceneFile.parse_all(scenes), draw, seed)
    config = replace(config, focus=focus)
    drawn = validation_pairs(SceneFile.parse_all(held_out), draw, seed, pairs)
    options = MethodOptions(steps=config.steps, seed=seed, device=device)
    model, _ = load_model(path, digest(path), device)
    config = replace(config, share=fit_share(drawn, model, config, options))
    path.with_suffix(".json").write_text(config.to_json(), encoding="utf-8")
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m emrdiff_geo.training.share")
    parser.add_argument("held_out", nargs="+", metavar="HELD_OUT", help="PATH, or PATH@400-2500")
    parser.add_argument("--train", nargs="+", required=True, metavar="SCENE", help="for the focus")
    parser.add_argument("--weights", required=True, metavar="NAME|PATH")
    parser.add_argument("--srf", required=True, metavar="NAME|CSV", help="response of the MSI")
    parser.add_argument("--ratio", required=True, type=int, metavar="R")
    parser.add_argument("--psf", choices=PSFS, default="paper", help="of the HSI (paper)")
    parser.add_argument("--pairs", type=int, default=4, metavar="N", help="drawn from a scene (4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = {n: getattr(args, n) for n in ("pairs", "seed", "device")}
    try:
        draw = DrawConfig(ratios=(args.ratio,), psf=args.psf, response=load_response(args.srf))
        config = share(args.held_out, args.train, args.weights, draw, **chosen)
    except EmrdiffError as error:
        print(f"share: {error}", file=sys.stderr)
        return 2
    print(f"share of the chain {config.share:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
