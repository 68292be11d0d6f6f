"""Blurring, decimation and upsampling: how a fine image becomes a coarse one and back.

Every operator here is linear and separable, ``low = D_y @ image @ D_x.T``, and local: each output
sample is a short weighted sum of input samples. It is kept in that form (positions and weights),
made into a small dense matrix where that serves, and applied block by block along long axes, so
that the same numbers serve numpy, torch, tiles and whole scenes.

Coarse pixel ``i`` covers the fine pixels ``i * ratio ... (i + 1) * ratio - 1``: grids share their
outer edges, and no operator shifts the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..errors import InputError
from .taps import Taps, multiply

_TRUNCATE = 4.0  # half width of a Gaussian in sigmas
#: Coarse pixels around a fine one that :meth:`Degradation.up` looks at, to each side.
REACH_UP = 2
#: Names of PSFs; the first is the default.
PSFS = ("gaussian", "paper", "area")


def cubic(x: ArrayLike, a: float = -0.5) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel (IEEE TASSP 29, 1981), free parameter `a`."""
    t = np.abs(np.asarray(x, float))
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _gaussian_3(sigma: float = 2.0) -> NDArray[np.float64]:
    """The paper's blur along one axis: a Gaussian of `sigma` fine pixels cut at one pixel, sum 1.

    Along both it equals MATLAB's ``fspecial('gaussian', 3, sigma)``.
    """
    taps = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def _fold(index: NDArray[np.int64], n: int, border: str) -> NDArray[np.int64]:
    """Positions outside ``0..n-1`` to the inside ones that padding would have copied there."""
    if border == "replicate":
        return np.clip(index, 0, n - 1)
    if border == "mirror":  # about the centre of the edge pixel: c b | a b c
        period = max(2 * (n - 1), 1)
        index = np.mod(index, period)
        return np.where(index < n, index, period - index)
    index = np.mod(index, 2 * n)  # symmetric, about the edge itself: b a | a b c
    return np.where(index < n, index, 2 * n - 1 - index)


def _folded(
    positions: NDArray[np.int64], weights: NDArray[np.float64], n: int, border: str
) -> Taps:
    weights = weights / weights.sum(axis=1, keepdims=True)
    return Taps(_fold(positions, n, border), weights, n)


def _resize_taps(n_out: int, n_in: int, a: float | None, border: str) -> Taps:
    """Resize by interpolation, widened against aliasing when it shrinks; `a` None is linear."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    radius = (1.0 if a is None else 2.0) * stretch
    centre = (np.arange(n_out) + 0.5) * scale - 0.5
    first = np.ceil(centre - radius - 1e-9).astype(np.int64)
    positions = first[:, None] + np.arange(math.floor(2 * radius) + 1)
    distance = (positions - centre[:, None]) / stretch
    kernel = np.maximum(1 - np.abs(distance), 0) if a is None else cubic(distance, a)
    return _folded(positions, kernel, n_in, border)


def _blur_taps(n: int, kernel: NDArray[np.float64], border: str) -> Taps:
    half = kernel.size // 2
    positions = np.arange(n)[:, None] + np.arange(-half, half + 1)
    return _folded(positions, np.tile(kernel, (n, 1)), n, border)


def _decimate_taps(n_lr: int, ratio: int, kernel: NDArray[np.float64]) -> Taps:
    """Sample a kernel whose centre is put on the centre of each coarse pixel."""
    # A kernel with as many taps modulo 2 as the ratio falls on whole fine pixels.
    start = (ratio - kernel.size) // 2
    positions = np.arange(n_lr)[:, None] * ratio + start + np.arange(kernel.size)
    return _folded(positions, np.tile(kernel, (n_lr, 1)), n_lr * ratio, "symmetric")


def _as_float(x: ArrayLike) -> NDArray[np.floating]:
    x = np.asarray(x)
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)


def bicubic_up(x: ArrayLike, ratio: int, a: float = -0.75) -> NDArray[np.floating]:
    """Bicubic enlargement of the last two axes, centres aligned, borders replicated.

    The default `a` is the one of the published model's input (that of torch and OpenCV);
    :meth:`Degradation.up` takes -0.5, which is exact for second-degree polynomials.
    """
    x = _as_float(x)
    for axis in (-2, -1):
        n = x.shape[axis]
        x = _resize_taps(n * ratio, n, a, "replicate").apply(x, axis)
    return x


@dataclass(frozen=True)
class Degradation:
    """The optics and the sampling between a fine grid and one `ratio` times coarser.

    Parameters
    ----------
    ratio : whole number of fine pixels per coarse pixel, along each axis.
    psf : ``"gaussian"``, a Gaussian by `mtf` or `fwhm`; ``"area"``, the mean over the coarse
        pixel; ``"paper"``, 3 x 3 Gaussian of sigma 2 and then antialiased bicubic; or 1-D weights
        on fine pixels centred on the coarse pixel (an odd number of them for an odd ratio, an even
        one for an even ratio), or a pair of such lists for y and x.
    mtf : modulation transfer at the coarse grid's Nyquist frequency, 0..1, one value or (y, x).
    fwhm : full width at half maximum in coarse pixels, one value or (y, x); overrides `mtf`.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Notes
    -----
    ``MTF(f) = exp(-2 pi^2 sigma^2 f^2)``, so ``sigma = ratio * sqrt(-2 ln mtf) / pi`` fine pixels.
    Borders are padded symmetrically; all rows of all matrices sum to 1.
    """

    ratio: int
    psf: str | tuple = "gaussian"
    mtf: float | tuple[float, float] = 0.3
    fwhm: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if int(self.ratio) != self.ratio or self.ratio < 1:
            raise InputError(f"The ratio is {self.ratio}; give a whole number of 1 or more.")
        object.__setattr__(self, "ratio", int(self.ratio))
        if not isinstance(self.psf, str):
            both = self.psf if np.ndim(self.psf[0]) == 1 else (self.psf, self.psf)
            object.__setattr__(self, "psf", tuple(_checked_kernel(k, self.ratio) for k in both))
        elif self.psf not in PSFS:
            raise InputError(f"There is no PSF {self.psf!r}; use one of {', '.join(PSFS)}.")
        object.__setattr__(self, "mtf", _one_or_two(self.mtf, "MTF", 1.0))
        if self.fwhm is not None:
            object.__setattr__(self, "fwhm", _one_or_two(self.fwhm, "FWHM", math.inf))

    @property
    def sigma(self) -> tuple[float, float]:
        """Sigma (y, x) of the Gaussian PSF in fine pixels."""
        sigma = np.sqrt(-2 * np.log(self.mtf)) / math.pi
        if self.fwhm is not None:
            sigma = np.asarray(self.fwhm) / math.sqrt(8 * math.log(2))
        y, x = np.broadcast_to(self.ratio * sigma, 2)
        return float(y), float(x)

    @property
    def reach_down(self) -> int:
        """How many coarse pixels around a coarse pixel :meth:`down` looks at."""
        n = 64
        reach = 0
        for axis in (0, 1):
            taps = _down_taps(self, n, axis)
            used = np.where(taps.weight[n // 2] != 0, taps.index[n // 2] // self.ratio, n // 2)
            reach = max(reach, int(np.abs(used - n // 2).max()))
        return reach

    @property
    def reach(self) -> int:
        """Halo in coarse pixels with which both :meth:`down` and :meth:`up` are exact."""
        return max(self.reach_down, REACH_UP)

    def matrix_down(
        self, n_lr: int, axis: int = 0, dtype: DTypeLike = np.float64
    ) -> NDArray[np.floating]:
        """Read-only ``(n_lr, n_lr * ratio)`` matrix along `axis` (0: y, 1: x), rows sum to 1."""
        return _dense(self, "down", n_lr, axis, np.dtype(dtype).name)

    def matrix_up(self, n_lr: int, dtype: DTypeLike = np.float64) -> NDArray[np.floating]:
        """Read-only ``(n_lr * ratio, n_lr)`` bicubic matrix (a = -0.5), rows sum to 1."""
        return _dense(self, "cubic", n_lr, 0, np.dtype(dtype).name)

    def down(self, x: ArrayLike) -> NDArray[np.floating]:
        """Degrade: ``(..., H, W)`` to ``(..., H / ratio, W / ratio)``; NaN spreads, dtype stays.

        Raises
        ------
        InputError
            If H or W is no multiple of the ratio.
        """
        x = _as_float(x)
        for axis in (0, 1):
            n_lr = _coarse_length(x.shape[axis - 2], self.ratio)
            x = _apply(self, "down", n_lr, axis, x)
        return x

    def up(self, x: ArrayLike, kernel: str = "cubic") -> NDArray[np.floating]:
        """Interpolate ``(..., h, w)`` to the fine grid, `kernel` "cubic" or "linear"."""
        x = _as_float(x)
        for axis in (1, 0):
            x = _apply(self, kernel, x.shape[axis - 2], axis, x)
        return x

    def seen_again(self, x: ArrayLike) -> NDArray[np.floating]:
        """What :meth:`down` sees of :meth:`up`, ``(..., h, w)`` to the same shape.

        Found on the coarse grid: the two operators are one there.
        """
        x = _as_float(x)
        for axis in (0, 1):
            x = _apply(self, "again", x.shape[axis - 2], axis, x)
        return x

    def down_masked(
        self, x: ArrayLike, valid: NDArray[np.bool_] | None = None, min_weight: float = 0.5
    ) -> NDArray[np.floating]:
        """:meth:`down` over valid pixels only; NaN where they weigh less than `min_weight`.

        Parameters
        ----------
        x : (..., H, W)
        valid : (H, W) or the shape of `x`; where `x` is finite if not given.
        min_weight : share of the PSF that has to fall on valid pixels, 0..1.
        """
        x = _as_float(x)
        valid = np.isfinite(x) if valid is None else valid & np.isfinite(x)
        if valid.ndim == 3 and (valid == valid[:1]).all():
            valid = valid[0]  # nodata shared by all bands, as nearly always: one weight map
        weight = self.down(valid.astype(x.dtype))
        total = self.down(np.where(valid, x, x.dtype.type(0)))
        # Rounding may leave 0.49999994 of a half.
        enough = weight >= max(min_weight - 1e-6, 1e-3)
        return np.where(enough, total / np.where(enough, weight, 1), np.nan).astype(x.dtype)


def _one_or_two(value: ArrayLike, name: str, limit: float) -> float | tuple[float, float]:
    values = np.asarray(value, float)
    if values.shape not in ((), (2,)) or not ((values > 0) & (values < limit)).all():
        raise InputError(f"The {name} is {value}; give one or two values between 0 and {limit}.")
    return tuple(values.tolist()) if values.ndim else float(values)


def _checked_kernel(kernel: ArrayLike, ratio: int) -> tuple[float, ...]:
    taps = np.asarray(kernel, float)
    if taps.ndim != 1 or not np.isfinite(taps).all() or abs(taps.sum()) < 1e-12:
        raise InputError("The PSF is no list of finite weights with a sum; give 1-D weights.")
    if (taps.size - ratio) % 2:
        kind = "even" if ratio % 2 == 0 else "odd"
        raise InputError(
            f"The PSF has {taps.size} weights; give an {kind} number of them for ratio {ratio}."
        )
    return tuple(float(t) for t in taps)


def _coarse_length(n: int, ratio: int) -> int:
    if n % ratio or n == 0:
        raise InputError(
            f"An axis of {n} pixels is no multiple of the ratio {ratio}; crop or pad it first."
        )
    return n // ratio


@lru_cache(maxsize=256)
def _down_taps(degradation: Degradation, n_lr: int, axis: int) -> Taps:
    ratio, n_hr = degradation.ratio, n_lr * degradation.ratio
    if degradation.psf == "paper":
        reduce = _resize_taps(n_lr, n_hr, -0.5, "symmetric")
        return reduce.after(_blur_taps(n_hr, _gaussian_3(), "mirror"))
    if degradation.psf == "area":
        return _decimate_taps(n_lr, ratio, np.ones(ratio))
    if degradation.psf == "gaussian":
        sigma = degradation.sigma[axis]
        half = max(math.ceil(_TRUNCATE * sigma), 1)
        offset = np.arange(-half, half + 1) if ratio % 2 else np.arange(-half, half) + 0.5
        # Shifted by the nearest sample so that a very narrow PSF does not underflow to all zeros.
        exponent = -(offset**2) / (2 * sigma**2)
        return _decimate_taps(n_lr, ratio, np.exp(exponent - exponent.max()))
    return _decimate_taps(n_lr, ratio, np.asarray(degradation.psf[axis]))


@lru_cache(maxsize=256)
def _up_taps(ratio: int, n_lr: int, kernel: str) -> Taps:
    if kernel not in ("cubic", "linear"):
        raise InputError(f"There is no interpolation {kernel!r}; use cubic or linear.")
    return _resize_taps(n_lr * ratio, n_lr, -0.5 if kernel == "cubic" else None, "symmetric")


@lru_cache(maxsize=256)
def _again_taps(degradation: Degradation, n_lr: int, axis: int) -> Taps:
    return _down_taps(degradation, n_lr, axis).after(_up_taps(degradation.ratio, n_lr, "cubic"))


def _axis_taps(degradation: Degradation, what: str, n_lr: int, axis: int) -> Taps:
    if what == "down":
        return _down_taps(degradation, n_lr, axis)
    if what == "again":
        return _again_taps(degradation, n_lr, axis)
    return _up_taps(degradation.ratio, n_lr, what)


@lru_cache(maxsize=128)
def _dense(degradation: Degradation, what: str, n_lr: int, axis: int, dtype: str) -> NDArray:
    matrix = _axis_taps(degradation, what, n_lr, axis).dense(dtype)
    matrix.flags.writeable = False
    return matrix


def _apply(degradation: Degradation, what: str, n_lr: int, axis: int, x: NDArray) -> NDArray:
    taps = _axis_taps(degradation, what, n_lr, axis)
    if taps.short:
        return multiply(_dense(degradation, what, n_lr, axis, x.dtype.name), x, axis - 2)
    return taps.apply(x, axis - 2)
