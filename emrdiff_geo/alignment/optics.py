"""How the HSI's sensor sees the MSI's grid: the PSF between the images, measured on the pair.

The HSI predicts, by regression, what the MSI looks like once it is degraded as the HSI's sensor
degrades the ground. Among all kernels that are sums of a few basis kernels, a separable product of
one along y and one along x, the one is sought that leaves the least of the degraded MSI
unexplained. All it takes is one degraded MSI for every pair of basis kernels: the variances of any
sum of them are quadratic forms. Some of the basis kernels lie off the centre, so that an HSI that
is a fraction of its pixel off is degraded as it lies. Only detail is looked at, what a mean over
the neighbouring HSI pixels leaves: haze and the sun's angle, which change slowly over the ground,
are no matter of optics.

A wrong PSF costs far more than any method gains: pairs at x4 and x8 that were made with the mean
over a pixel, the paper's kernel or a narrower Gaussian and fused with the default Gaussian lose 4
to 20 dB; with the measured kernel they come within 0.2 dB of the true one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..degradation.degrade import PSFS, Degradation, cubic
from ..errors import InputError
from ..grids.pair import Pair
from ..system.threads import one_blas_thread
from .own_pixels import OwnPixels
from .seen import Kernels, seen_at, window_around
from .shift import scattered_windows

#: Name of the PSF that is measured.
AUTO = "auto"
#: Widths of the Gaussian basis kernels at half maximum, and of those off the centre, HSI pixels.
WIDTHS, OFF_WIDTHS, OFF = (0.3, 0.5, 0.75, 1.0, 1.4, 1.8), (0.5, 1.1), 0.3
#: Edge of a window: at most so many HSI pixels and MSI pixels, but at least so many HSI pixels.
LARGEST, LARGEST_FINE, LEAST = 48, 768, 12
#: Windows that are enough.
ENOUGH = 5
#: HSI pixels for each component that stands for the HSI's bands, and their range of numbers.
PER_COMPONENT, COMPONENTS = 40, (4, 30)
#: Least number of HSI pixels to measure a kernel on, and to tell the named ones apart: on 13 scenes
#: at x8, with 3 or 10 MSI bands, with and without noise (30 dB), each of these was found in 16
#: pixels, and in 25, 36 and 64.
PIXELS, FEW = 80, 16
#: Share of the MSI that may be left unexplained for the measurement to count.
UNEXPLAINED = 0.5
#: Least gain over the named PSFs for another one to be used, beside chance, as a logarithm. What
#: else the images disagree about leaves the right one 1.0 to 1.5 times what the best kernel leaves;
#: a Gaussian 5 % too narrow or off by 0.03 HSI pixels leaves 2 to 30 times that, with noise (30 dB)
#: 1.2 to 2. On four scenes under haze or another sun, or with changes, seen through each of the
#: named PSFs, 0.03, 0.2, 0.4 and 0.7 gave 42.9, 43.3, 44.8 and 44.7 dB.
GAIN = 0.4
#: Least gain of another named PSF over the default, as a logarithm.
ALIKE = 0.03
#: Width of the mean that is taken off, standard deviation in HSI pixels.
SMOOTH = 1.5
#: Largest sum of a kernel's absolute weights and largest offset in HSI pixels that are believed. It
#: is 1.18 for MATLAB's bicubic reduction, and at most that where pairs are clean, hazy or noisy;
#: where they are distorted or the MSI has much texture of its own, the best kernels of four scenes
#: have 1.2 to 6, and fuse up to 9 dB worse than a named one.
WEIGHTS, OFFSET = 1.22, 0.6


def resolve_psf(pair: Pair, psf: str) -> Degradation:
    """Degradation between the grids of a pair.

    Parameters
    ----------
    pair : Pair
        From `pair_scenes`.
    psf : str
        Of `Degradation`, or ``"auto"``: measured on the pair, and where that fails the default
        Gaussian.

    Raises
    ------
    InputError
        If there is no such PSF.
    """
    if psf != AUTO:
        if psf not in PSFS:
            raise InputError(f"There is no PSF {psf!r}; use one of {', '.join((AUTO, *PSFS))}.")
        return named_psf(pair, psf)
    return measure_psf(pair) or named_psf(pair, PSFS[0])


def named_psf(pair: Pair, psf: str) -> Degradation:
    """A named PSF of the HSI's own pixels, on the low-resolution grid."""
    if pair.scale == (1, 1):
        return Degradation(pair.ratio, psf)
    if psf == "gaussian":
        # The modulation at the grid's Nyquist frequency of a Gaussian that is wider by the scale.
        high, wide = (Degradation(pair.ratio).mtf ** (s * s) for s in pair.scale)
        return Degradation(pair.ratio, psf, mtf=(high, wide))
    named = PSFS.index(psf)
    return Degradation(pair.ratio, tuple(k[named] for k in basis_kernels(pair.ratio, pair.scale)))


def describe(degradation: Degradation, scale: tuple[float, float] = (1.0, 1.0)) -> str:
    """Its PSF in words: a name, or width and centre of a measured one; `scale` as in `Pair`."""
    if isinstance(degradation.psf, str):
        return degradation.psf
    kernels = np.array(degradation.psf)
    x = _positions(kernels.shape[1], degradation.ratio)
    # Adding 0 makes -0 a 0.
    down, right = np.round(kernels @ x / scale, 2) + 0.0
    high, wide = (_half_width(x / s, kernel) for s, kernel in zip(scale, kernels, strict=True))
    return (
        f"{wide:.2f} x {high:.2f} HSI pixels wide at half maximum, centre {right:+.2f} HSI pixels "
        f"to the right and {down:+.2f} down"
    )


def at_ratio(degradation: Degradation, ratio: int) -> Degradation:
    """The same optics, in coarse pixels, for another ratio."""
    if isinstance(degradation.psf, str) or ratio == degradation.ratio:
        return replace(degradation, ratio=ratio)
    kernels = np.array(degradation.psf)
    n = _length(ratio)
    known, wanted = _positions(kernels.shape[1], degradation.ratio), _positions(n, ratio)
    finer = np.array([np.interp(wanted, known, kernel, left=0, right=0) for kernel in kernels])
    finer /= finer.sum(axis=1, keepdims=True)
    return Degradation(ratio, tuple(finer))


def _length(ratio: int, scale: float = 1.0) -> int:
    """Weights of a kernel that reaches two coarse pixels and a bit, on whole fine pixels."""
    return 4 * math.ceil(ratio * scale) + (4 if ratio % 2 == 0 else 3)


def _positions(n: int, ratio: int) -> np.ndarray:
    """Where the weights of a kernel lie, coarse pixels off the middle."""
    return (np.arange(n) - (n - 1) / 2) / ratio


def _half_width(x: np.ndarray, kernel: np.ndarray) -> float:
    """Full width at half maximum."""
    fine = np.linspace(x[0], x[-1], 2001)
    above = fine[np.interp(fine, x, kernel) >= 0.5 * kernel.max()]
    return float(above[-1] - above[0])


@one_blas_thread()
def measure_psf(pair: Pair) -> Degradation | None:
    """Measure the PSF between the grids of a pair, in up to `ENOUGH` windows over the scene.

    Returns
    -------
    Degradation or None
        None where it cannot be told: too few pixels, images that have too little in common. A named
        PSF where it fits about as well as the best kernel, or that is none a sensor could have.
    """
    kernels, own = basis_kernels(pair.ratio, pair.scale), OwnPixels.of(pair)
    k = len(kernels[0])
    total = np.zeros((2, k**2, k**2))
    pixels = samples = 0
    edge = max(LEAST, min(LARGEST, LARGEST_FINE // pair.ratio))
    windows = (_window_forms(pair, own, *at, kernels) for at in scattered_windows(own.shape, edge))
    for forms, n in itertools.islice((w for w in windows if w is not None), ENOUGH):
        total += forms
        pixels, samples = pixels + n, samples + n * pair.n_msi
    if pixels < FEW or not np.trace(total[1]) > 0:
        return None
    named, least = _best_named(total, samples)
    if pixels < PIXELS:
        return named_psf(pair, named) if least <= UNEXPLAINED else None
    weights, left = _least_unexplained(*total)
    if left > UNEXPLAINED:
        return None
    # A named one that is as good is preferred: it also knows what its borders were padded with.
    as_well = left * np.exp(GAIN + 4 * k / samples)
    both = np.stack([w @ kernel for w, kernel in zip(weights, kernels, strict=True)])
    centres = both @ _positions(both.shape[1], pair.ratio)
    doubtful = np.abs(both).sum(axis=1).max() > WEIGHTS or np.abs(centres).max() > OFFSET
    if least < as_well or doubtful:
        return named_psf(pair, named)
    return Degradation(pair.ratio, tuple(both))


def _best_named(total: np.ndarray, samples: int) -> tuple[str, float]:
    """Named PSF that leaves the least unexplained, and what it leaves; the default if it can be."""
    one_by_one = np.eye(round(len(total[0]) ** 0.5))
    left = [_unexplained(*total, one_by_one[[n, n]]) for n in range(len(PSFS))]
    best = int(np.argmin(left))
    if left[0] < left[best] * np.exp(ALIKE + 4 / samples):
        best = 0
    return PSFS[best], left[best]


def basis_kernels(ratio: int, scale: tuple[float, float] = (1.0, 1.0)) -> Kernels:
    """Basis kernels of sum 1 on fine pixels, ``(k, n)`` along each axis; first the default."""
    n = _length(ratio, max(1.0, *scale))
    along_y, along_x = (_basis(ratio, n, s) for s in scale)
    return along_y, along_x


def _basis(ratio: int, n: int, scale: float) -> np.ndarray:
    """Basis kernels ``(k, n)`` for HSI pixels of `scale` times the grid's."""
    x = _positions(n, ratio) / scale
    known = _length(ratio)
    shapes_of_names = [_middle(Degradation(ratio, psf), known) for psf in PSFS]
    at = _positions(known, ratio)
    named = [np.interp(x, at, kernel, left=0, right=0) for kernel in shapes_of_names]
    sigma = np.sqrt(8 * np.log(2))
    shapes = [(width, 0.0) for width in WIDTHS]
    shapes += [(width, side * OFF) for width in OFF_WIDTHS for side in (-1, 1)]
    gaussians = [np.exp(-0.5 * ((x - centre) * sigma / width) ** 2) for width, centre in shapes]
    kernels = np.array([*named, *gaussians, cubic(x)])
    return kernels / kernels.sum(axis=1, keepdims=True)


def _middle(degradation: Degradation, n: int) -> np.ndarray:
    """The `n` weights around the middle of a coarse pixel far from any border."""
    row = degradation.matrix_down(9)[4]
    first = (row.size - n) // 2
    return row[first : first + n]


def _window_forms(
    pair: Pair, own: OwnPixels, rows: slice, cols: slice, kernels: Kernels
) -> tuple[np.ndarray, int] | None:
    """Quadratic forms of a window and its number of HSI pixels; None with too few of them.

    The forms ``(2, k k, k k)`` give, for the weights of products of two kernels, the variance of
    the degraded MSI that the HSI leaves unexplained, and all of it, summed over pixels and bands.
    """
    found = seen_window(pair, own, rows, cols, kernels)
    if found is None:
        return None
    n, k = int(found.whole.sum()), len(kernels[0])
    axes = principal_axes(_detail(found.hsi.astype(np.float64), found.whole))
    forms = np.zeros((2, k**2, k**2))
    degraded = seen_at(_standardised(found.msi, found.seen), found.y, found.x, kernels)
    for band in degraded.astype(np.float64):
        images = band.reshape(*found.whole.shape, k * k).transpose(2, 0, 1)
        values = _detail(images, found.whole)
        values -= values.mean(axis=1, keepdims=True)
        rest = values - (values @ axes.T) @ axes
        forms += np.stack([rest @ rest.T, values @ values.T])
    return forms, n


@dataclass(frozen=True)
class SeenWindow:
    """Both images of a window of the HSI's own pixels.

    Attributes
    ----------
    hsi : ndarray
        ``(L, h, w)`` bands that are not empty here.
    msi : ndarray
        ``(s, H, W)`` the fine pixels that these see.
    y, x : ndarray
        ``(h w,)`` where in the MSI the HSI pixels' centres lie.
    seen, whole : ndarray
        ``(H, W)`` and ``(h, w)`` bool: where the MSI has data, and of which HSI pixels both images
        show all that a kernel reaches.
    """

    hsi: np.ndarray
    msi: np.ndarray
    y: np.ndarray
    x: np.ndarray
    seen: np.ndarray
    whole: np.ndarray


def seen_window(
    pair: Pair, own: OwnPixels, rows: slice, cols: slice, kernels: Kernels
) -> SeenWindow | None:
    """Read a window of HSI pixels; None with too few of them to measure on."""
    hsi = own.read(rows, cols)[pair.hsi_bands.good]
    counts = np.isfinite(hsi).sum(axis=(1, 2))
    if not counts.any():
        return None
    hsi = hsi[counts >= 0.5 * counts.max()]
    v, u = own.centres(rows, cols)
    window, y, x = window_around(v.ravel(), u.ravel(), kernels)
    msi = pair.msi.read(*window)
    seen = np.isfinite(msi).all(axis=0)
    whole = np.isfinite(hsi).all(axis=0)
    if not seen.all():
        reached = np.ones((1, kernels[0].shape[1]))
        missing = seen_at(~seen[None], y, x, (reached, reached))[0, :, 0, 0]
        whole &= (missing == 0).reshape(v.shape)
    return SeenWindow(hsi, msi, y, x, seen, whole) if whole.sum() >= FEW else None


def _detail(images: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What the mean over its neighbours leaves of every pixel of ``(..., h, w)`` in a mask."""

    def smooth(values: np.ndarray) -> np.ndarray:
        widths = (0,) * (values.ndim - 2) + (SMOOTH, SMOOTH)
        return ndimage.gaussian_filter(values, widths, mode="constant")

    mean = smooth(np.where(whole, images, 0))[..., whole] / smooth(whole.astype(float))[whole]
    return images[..., whole] - mean


def principal_axes(pixels: np.ndarray) -> np.ndarray:
    """Orthonormal ``(q, n)`` images that stand for the HSI ``(L, n)``."""
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    least, most = COMPONENTS
    q = min(most, max(least, pixels.shape[1] // PER_COMPONENT), len(pixels))
    values, vectors = np.linalg.eigh(pixels @ pixels.T)
    kept = np.flatnonzero(values > 1e-10 * max(values[-1], 1e-300))[-q:]
    return (vectors[:, kept] / np.sqrt(values[kept])).T @ pixels


def _standardised(msi: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Bands of mean 0 and variance 1 where they are seen, 0 elsewhere."""
    values = msi[:, seen]
    mean, spread = values.mean(axis=1), values.std(axis=1)
    scaled = (msi - mean[:, None, None]) / np.maximum(spread, 1e-30)[:, None, None]
    return np.where(seen, scaled, 0).astype(np.float32)


def _unexplained(rest: np.ndarray, all_of_it: np.ndarray, weights: np.ndarray) -> float:
    """Share that is left unexplained with kernels of these weights ``(2, k)`` along y and x."""
    product = np.outer(*weights).ravel()
    return float((product @ rest @ product + 1e-12) / max(product @ all_of_it @ product, 1e-300))


def _least_unexplained(rest: np.ndarray, all_of_it: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights ``(2, k)`` with the sum 1 along each axis, and what they leave unexplained."""
    # Takes a tenth of a second to load, and workers never measure.
    from scipy.optimize import minimize

    scale = np.trace(all_of_it) / len(all_of_it)
    rest, all_of_it = rest / scale, all_of_it / scale
    k = round(len(rest) ** 0.5)

    def cost(raw: np.ndarray) -> tuple[float, np.ndarray]:
        raw = raw.reshape(2, k)
        sums = raw.sum(axis=1, keepdims=True)
        weights = raw / sums
        product = np.outer(*weights).ravel()
        by_rest, by_all = rest @ product, all_of_it @ product
        left, whole = product @ by_rest + 1e-12, product @ by_all
        slope = (2 * by_rest / left - 2 * by_all / whole).reshape(k, k)
        along = np.stack([slope @ weights[1], weights[0] @ slope])
        along = (along - (along * weights).sum(axis=1, keepdims=True)) / sums
        # A touch of smallness: the basis kernels are nearly dependent.
        return float(np.log(left / whole) + 1e-5 * (raw**2).sum()), (along + 2e-5 * raw).ravel()

    starts = [np.tile(row, 2) for row in np.eye(k)]
    begin = min(starts, key=lambda raw: cost(raw)[0])
    raw = minimize(cost, begin, jac=True, method="BFGS", options={"maxiter": 500}).x.reshape(2, k)
    weights = raw / raw.sum(axis=1, keepdims=True)
    return weights, _unexplained(rest, all_of_it, weights)
