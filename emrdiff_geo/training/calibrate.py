"""Weights of the terms of the uncertainty, fitted where the error is known.

    python -m emrdiff_geo.training.calibrate SCENE... [--weights NAME|PATH]

draws simulated pairs from scenes that the network was not trained on, fuses them, and chooses the
weights under which the errors are most likely, were they normal with the predicted deviation. Where
a pair is large enough it is also degraded and fused once more, to see how the factor between actual
and predicted errors carries over from there. The constants go into the JSON beside the weights; how
they do on scenes that were left out of the fit is printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy.optimize import minimize
from scipy.stats import spearmanr

from ..alignment.wald import one_ratio_lower
from ..degradation.degrade import PSFS
from ..errors import EmrdiffError, InputError
from ..grids.pair import Pair, pair_scenes
from ..methods._sampling import chain_samples
from ..methods.emrdiff import finished, resolve_device
from ..methods.options import MethodOptions
from ..methods.state import build_state
from ..methods.uncertainty import TERMS, error_terms, mean_and_spread, scaled, weights_of
from ..model.weights import load_model, read_config
from ..scene.wald_pair import WaldPair
from ..spectra.sensors import load_response
from ..weightfiles import digest, weights_path
from .draws import DrawConfig, draw_pair
from .scenes import SceneFile, load_scene

log = logging.getLogger(__name__)

#: Values of a pair that are used, a random choice.
VALUES = 20_000
#: Least deviation, relative to the RMS error of a pair: no error is expected to be none.
LEAST = 1e-3
#: Share of normal errors within two standard deviations.
WITHIN_TWO = 0.9545
#: Largest squared error that counts, in units of its predicted variance.
OUTLIER = 50.0
#: Range of the weights.
_LOW, _HIGH = 1e-3, 20.0
#: Ratios that are drawn: smaller than in training, so that many pairs are large enough for that.
RATIOS = (2, 3, 4, 4, 6, 8)
#: From this number of pairs on that were also fused one ratio lower, that is made use of.
LEAST_PAIRS = 6


@dataclass(frozen=True)
class Errors:
    """Terms and actual errors of one pair, divided by its RMS error.

    Attributes
    ----------
    scene : str
    terms : ndarray
        ``(terms, n)``.
    error : ndarray
        ``(n,)``.
    lower : Errors or None
        Of the same pair one ratio lower; None where it is too small for that.
    """

    scene: str
    terms: np.ndarray
    error: np.ndarray
    lower: Errors | None = None

    def deviation(self, weights: Sequence[float]) -> np.ndarray:
        """Predicted deviation of each error."""
        return np.sqrt(np.square(weights) @ self.terms**2 + LEAST**2)

    def factor(self, weights: Sequence[float]) -> float:
        """RMS error over RMS predicted deviation."""
        predicted = self.deviation(weights) ** 2
        return float(np.sqrt(np.mean(self.error**2) / np.mean(predicted)))


def measure_errors(
    pair: WaldPair, model, config, options: MethodOptions, rng: np.random.Generator, scene: str = ""
) -> Errors:
    """Fuse a pair whose reference is known, and the same one ratio lower."""
    found = _measure(pair, model, config, options, rng, scene)
    try:
        known = pair.statistics
        lower = one_ratio_lower(_in_memory(pair), known.degradation, known.good)[0]
    except InputError:
        return found
    return replace(found, lower=_measure(lower, model, config, options, rng, scene))


def _in_memory(pair: WaldPair) -> Pair:
    dims = ("band", "y", "x")
    hsi, msi = (xr.DataArray(image, dims=dims) for image in (pair.lr, pair.hr))
    if pair.statistics.wavelength_nm is not None:
        hsi = hsi.assign_coords(wavelength=("band", pair.statistics.wavelength_nm))
    return pair_scenes(hsi, msi)


def _measure(
    pair: WaldPair, model, config, options: MethodOptions, rng: np.random.Generator, scene: str
) -> Errors:
    known = pair.lr, pair.hr, pair.statistics
    state = build_state(config, *known)
    ends = chain_samples(model, config, state, options, (0, 0))
    x0, spread = mean_and_spread(ends, options.samples, state.to_bands)
    assert spread is not None
    fused = finished(state, x0, *known)
    error = (fused - pair.reference).astype(np.float64)
    chosen = rng.choice(error.size, min(VALUES, error.size), replace=False)
    scale = max(float(np.sqrt(np.mean(error**2))), np.finfo(np.float32).tiny)
    terms = [
        np.broadcast_to(term, error.shape).reshape(-1)[chosen]
        for term in error_terms(state, x0, spread, *known)
    ]
    return Errors(scene, np.stack(terms).astype(np.float64) / scale, error.ravel()[chosen] / scale)


def fit_weights(measured: Sequence[Errors]) -> tuple[float, ...]:
    """Weights of greatest likelihood; every pair counts alike.

    Returns
    -------
    tuple of float
        In the order of `TERMS`.
    """

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        squared = np.exp(2 * logs)
        value, slope = 0.0, np.zeros_like(logs)
        for m in measured:
            powers = m.terms**2
            variance = squared @ powers + LEAST**2
            misfit = np.minimum(m.error**2 / variance, OUTLIER)
            value += float(np.mean(np.log(variance) + misfit))
            inner = np.where(misfit < OUTLIER, 1 - misfit, 1) / variance
            slope += 2 * squared * np.mean(powers * inner, axis=1)
        return value / len(measured), slope / len(measured)

    bounds = [(np.log(_LOW), np.log(_HIGH))] * len(TERMS)
    found = minimize(objective, np.zeros(len(TERMS)), jac=True, method="L-BFGS-B", bounds=bounds)
    return tuple(round(float(w), 3) for w in np.exp(found.x))


def judge(measured: Errors, weights: Sequence[float]) -> tuple[float, float]:
    """Rank correlation of deviation and error, and share of errors within two deviations."""
    sigma = measured.deviation(weights)
    size = np.abs(measured.error)
    return float(spearmanr(sigma, size).statistic), float(np.mean(size <= 2 * sigma))


def fit_constants(measured: Sequence[Errors]) -> dict[str, float]:
    """Constants of the uncertainty, see `methods.uncertainty.DEFAULT`."""
    weights = fit_weights(measured)
    pairs = [m for m in measured if m.lower is not None]
    factor, power = 1.0, 0.0
    if len(pairs) >= LEAST_PAIRS:
        low = np.array([m.lower.factor(weights) for m in pairs if m.lower is not None])
        full = np.array([m.factor(weights) for m in pairs])
        power = float(np.clip(np.polyfit(np.log(low), np.log(full), 1)[0], 0, 1))
        # The mean of the logarithms would leave every other pair with too small a deviation.
        ratios = [
            np.abs(m.error) / (f**power * m.deviation(weights))
            for m, f in zip(pairs, low, strict=True)
        ]
        factor = float(np.quantile(np.concatenate(ratios), WITHIN_TWO) / 2)
    fitted = dict(zip(TERMS, weights, strict=True))
    return {**fitted, "factor": round(factor, 3), "power": round(power, 3)}


def left_out(measured: Sequence[Errors]) -> dict[str, tuple[float, float]]:
    """What `judge` finds for each scene with constants of the others; means over its pairs."""
    found = {}
    for scene in dict.fromkeys(m.scene for m in measured):
        others = [m for m in measured if m.scene != scene]
        if others:
            constants = fit_constants(others)
            marks = [judge(m, _as_fused(m, constants)) for m in measured if m.scene == scene]
            correlation, share = (float(v) for v in np.mean(marks, axis=0))
            found[scene] = correlation, share
    return found


def _as_fused(measured: Errors, constants: Mapping[str, float]) -> tuple[float, ...]:
    weights = weights_of(constants)
    if measured.lower is None:
        return weights
    return scaled(constants, measured.lower.factor(weights))


def calibrate(
    scenes: Sequence[str],
    weights: str = "universal",
    *,
    samples: int = 4,
    pairs: int = 5,
    seed: int = 0,
    device: str = "auto",
    draw: DrawConfig | None = None,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Fit the constants of a weights file and write them into its JSON.

    Parameters
    ----------
    scenes : sequence of str
        ``PATH`` or ``PATH@FROM-TO``, as for training.
    weights : str
        Name of shipped weights or path.
    samples : int
        Samples of the chain.
    pairs : int
        Pairs drawn from a scene.
    seed : int
        Of the draws and of the noise.
    device : str
        As for `fuse`.
    draw : DrawConfig, optional
        What may be drawn; by default anything, from pieces of 192 pixels.

    Returns
    -------
    constants : dict
        See `methods.uncertainty.DEFAULT`.
    check : dict
        See `left_out`.

    Raises
    ------
    EmrdiffError
        If scenes or weights cannot be used.
    """
    path = weights_path(weights)
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise InputError(f"{path.name} has no {beside.name} beside it to hold the constants")
    device = resolve_device(device)
    model, config = load_model(path, digest(path), device)
    draw = replace(
        draw or DrawConfig(piece=192, ratios=RATIOS),
        augment=False,
        variant=config.variant,
        residual=config.residual,
        pseudo_bands=config.pseudo_bands,
    )
    options = MethodOptions(steps=config.steps, seed=seed, samples=samples, device=device)
    measured = []
    for number, file in enumerate(SceneFile.parse_all(scenes)):
        scene = load_scene(file)
        for repeat in range(pairs):
            rng = np.random.default_rng((seed, number, repeat))
            pair = draw_pair(scene, rng, draw)
            measured.append(measure_errors(pair, model, config, options, rng, scene.name))
        log.info("%s: %d pairs", scene.name, pairs)
    constants = fit_constants(measured)
    log.info("%d pairs also one ratio lower", sum(m.lower is not None for m in measured))
    card = replace(read_config(path), uncertainty=constants)
    beside.write_text(card.to_json(), encoding="utf-8")
    return constants, left_out(measured)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m emrdiff_geo.training.calibrate")
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="PATH, or PATH@400-2500")
    parser.add_argument("--weights", default="universal", metavar="NAME|PATH")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="of the chain (4)")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="drawn from a scene (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    parser.add_argument("--srf", metavar="NAME|CSV", help="response of all pairs (drawn)")
    parser.add_argument("--ratio", type=int, metavar="R", help="ratio of all pairs (drawn)")
    parser.add_argument("--psf", choices=PSFS, help="of all pairs (drawn)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    draw = DrawConfig(
        piece=192,
        ratios=RATIOS if args.ratio is None else (args.ratio,),
        psf=args.psf,
        response=None if args.srf is None else load_response(args.srf),
    )
    chosen = {n: getattr(args, n) for n in ("samples", "pairs", "seed", "device")}
    try:
        constants, check = calibrate(args.scenes, args.weights, draw=draw, **chosen)
    except EmrdiffError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    print(*(f"{name} {value:g}" for name, value in constants.items()), sep=", ")
    for scene, (correlation, share) in check.items():
        print(f"{scene}, left out: rank correlation {correlation:.2f}, within 2 sigma {share:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
