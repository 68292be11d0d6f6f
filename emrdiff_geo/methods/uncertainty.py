"""How far the fused image may be off: a standard deviation for every pixel and band.

The samples of the chain differ by a few per cent of the actual error only: the network has learned
the mean of what is possible, and the noise hardly moves it. So the chain's spread is one of six
terms, all in the image's units, whose squares are added:

    sigma^2 = sum_i (w_i term_i)^2

========== ======================================================================================
spread     standard deviation between the samples of the chain
deviation  what the network has changed, |result - start of the chain|
detail     what the prior has injected, |start of the chain - interpolated HSI|
process    posterior standard deviation of the Gaussian process that the prior is
local      around each HSI pixel, standard deviation of what the MSI's regression does not explain
level      the same in the whole scene, one number a band
========== ======================================================================================

The six weights are constants of the network's weights, fitted where the error is known, see
`emrdiff_geo.training.calibrate`. A common factor comes from the pair itself: one ratio lower the
HSI is the reference, and tells by how much the actual error exceeds the predicted one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import MethodError
from ..grids.windows import within
from ..scene.statistics import SceneStatistics
from .gaussian_process import posterior_deviation
from .local_regression import window_mean
from .options import MethodOptions
from .regression import regressed
from .state import ChainState

log = logging.getLogger(__name__)

TERMS = ("spread", "deviation", "detail", "process", "local", "level")
#: For universal weights that nobody has calibrated: those of the shipped ones. The factor at full
#: resolution is expected to be ``factor * (factor one ratio lower) ** power``.
DEFAULT = {
    "spread": 1.007,
    "deviation": 3.065,
    "detail": 0.046,
    "process": 1.643,
    "local": 1.071,
    "level": 0.434,
    "factor": 1.483,
    "power": 0.246,
}
#: Bounds of the common factor: a small scene must not spoil everything.
FACTORS = (0.2, 5.0)


def check_sampling(options: MethodOptions, method: str, has_chain: bool) -> None:
    """Refuse what cannot be sampled, before any image is read.

    Raises
    ------
    MethodError
        If there are no samples to take, or too few to tell a spread.
    """
    if options.samples < 1:
        raise MethodError(f"{options.samples} samples are none: use --samples 1 or more")
    if not has_chain and (options.uncertainty or options.samples > 1):
        raise MethodError(
            f"{method} has no chain to draw samples from, so it knows no uncertainty: use --method "
            "emrdiff, or leave out --samples and --uncertainty"
        )
    if options.uncertainty and options.samples < 2:
        raise MethodError("one sample shows no spread: use --samples 4 or more with --uncertainty")


def constants_of(config, name: str) -> Mapping[str, float]:
    """Weights of the terms for a network, and how to transfer what a lower ratio tells.

    Raises
    ------
    MethodError
        If a published network has none: its terms mean something else than those of the default.
    """
    if config.uncertainty:
        return config.uncertainty
    cure = f"python -m emrdiff_geo.training.calibrate DATA... --weights {name}"
    if config.variant != "universal":
        raise MethodError(
            f"nobody has measured how far {name} is off: run {cure} --srf NAME --ratio R "
            "--psf NAME with the sensors that it was trained for, or leave out --uncertainty"
        )
    log.info("The uncertainty of %s is not calibrated, defaults are used: see %s", name, cure)
    return DEFAULT


def weights_of(constants: Mapping[str, float]) -> tuple[float, ...]:
    """Weights in the order of `TERMS`."""
    return tuple(float(constants[name]) for name in TERMS)


def scaled(constants: Mapping[str, float], lower: float) -> tuple[float, ...]:
    """Weights of the terms, times the factor that a scene's own lower ratio suggests.

    Parameters
    ----------
    constants : mapping
        From `constants_of`.
    lower : float
        RMS error over RMS predicted deviation, one ratio lower.
    """
    factor = np.clip(constants["factor"] * lower ** constants["power"], *FACTORS)
    return tuple(round(float(factor) * weight, 4) for weight in weights_of(constants))


def mean_and_spread(
    ends: Iterator[np.ndarray], count: int, to_bands: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean of samples of the chain, and their standard deviation in the bands.

    Parameters
    ----------
    ends : iterator of ndarray
        Ends of the chain ``(C, H, W)``.
    count : int
        Number of samples.
    to_bands : ndarray or None
        ``(L, n)`` from the first channels to the bands; None where no spread is wanted.

    Returns
    -------
    mean : ndarray
        ``(C, H, W)``; of a single sample the sample itself, bit for bit.
    spread : ndarray or None
        ``(L, H, W)``.
    """
    first = next(ends)
    # Differences from the first sample: they are small, so that their squares lose no digits.
    total, squares = np.zeros_like(first), None
    for _ in range(count - 1):
        difference = next(ends) - first
        total += difference
        if to_bands is not None:
            banded = np.tensordot(to_bands, difference[: to_bands.shape[1]], axes=1)
            banded *= banded
            squares = banded if squares is None else np.add(squares, banded, out=squares)
    mean = first if count == 1 else first + total / np.float32(count)
    if to_bands is None or squares is None:
        return mean, None
    shift = np.tensordot(to_bands, total[: to_bands.shape[1]], axes=1)
    squares -= shift * shift / np.float32(count)
    return mean, np.sqrt(np.maximum(squares, 0) / np.float32(count - 1))


def error_terms(
    state: ChainState,
    x0: np.ndarray,
    spread: np.ndarray,
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int] = (0, 0),
) -> Iterator[np.ndarray]:
    """Yield the terms in the order of `TERMS`, ``(L, H, W)`` float32 or what broadcasts to it.

    Parameters
    ----------
    state : ChainState
        Of the tile; the terms are those of the part on which its chain runs.
    x0, spread : ndarray
        From `mean_and_spread`.
    lr, hr, statistics, origin
        As for the tile's state.
    """
    degradation = statistics.degradation
    yield spread
    yield state.change(x0)
    yield state.start[:, *within(state.part, state.frame)] - degradation.up(lr)[:, *state.part]
    yield posterior_deviation(lr, hr, statistics, origin, state.part)
    local = _local_deviation(_unexplained(lr, hr, statistics))
    yield degradation.up(local, "linear")[:, *state.part]
    level = np.sqrt(np.maximum(np.diag(statistics.residual_covariance), 0))
    yield level.astype(np.float32)[:, None, None]


def predicted_deviation(terms: Iterator[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    """Standard deviation ``(L, H, W)`` float32 from the terms, one of them held at a time.

    The first has that shape, the others broadcast to it.
    """
    squares = (np.square(np.float32(w) * term) for term, w in zip(terms, weights, strict=True))
    variance = next(squares)
    for square in squares:
        variance += square
    return np.sqrt(variance)


def _unexplained(lr: np.ndarray, hr: np.ndarray, statistics: SceneStatistics) -> np.ndarray:
    """What the global regression on the MSI leaves of the HSI, ``(L, h, w)``."""
    return lr - regressed(statistics.degradation.down(hr), statistics)


def _local_deviation(image: np.ndarray) -> np.ndarray:
    """Standard deviation in the local regression's window around each pixel."""
    image = image.astype(np.float64)
    variance = window_mean(image**2) - window_mean(image) ** 2
    return np.sqrt(np.maximum(variance, 0)).astype(np.float32)
