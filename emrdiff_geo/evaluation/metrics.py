"""Quality of a fused image against a reference, streamed in bounded memory.

With x the reference and p the result, both divided by the reference's maximum over valid pixels
(those finite in every band of both):

- RMSE: root mean square of p - x over bands and valid pixels, in the units of the input.
- PSNR: 10 log10(1 / MSE) in dB; mPSNR: the mean over bands of 10 log10(1 / MSE_b).
- SAM: mean angle between the spectra of a pixel, in degrees, pixels without a spectrum left out
  (Kruse et al., Remote Sensing of Environment 44, 1993).
- ERGAS: 100 / R sqrt(mean_b MSE_b / mean_b^2), R the ratio of the pixel sizes, R > 1
  (Wald, Fusion of Earth Data, 2000).
- SSIM: structural similarity, Gaussian window 11 x 11 of sigma 1.5, K1 = 0.01, K2 = 0.03, mean over
  bands and over the pixels with a whole window (Wang et al., IEEE TIP 13, 2004).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ..grids.sources import ArraySource
from ..grids.windows import Window, blocks, grow
from ..reading.readers import as_image

Array = NDArray[np.floating]

_SSIM_RADIUS = 5
_SSIM_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
# Below this product of norms (relative to the squared peak) a pixel has no direction.
_NO_SPECTRUM = 1e-12
# Samples of one image in a block: with float64 copies of two images about 130 MB.
_BLOCK_SAMPLES = 4_000_000


def as_readable(image: Any) -> Any:
    """An image as something with ``shape`` and ``read``; Sources pass through unchanged."""
    return image if callable(getattr(image, "read", None)) else ArraySource(as_image(image))


def block_side(image: Any, block: int | None = None, samples: int = _BLOCK_SAMPLES) -> tuple:
    """Rows and columns of a block: as given, or of about `samples` values and whole chunks."""
    if block is not None:
        if block < 1:
            raise InputError(f"The block is {block} pixels; give 1 or more.")
        return block, block
    side = max(int(math.sqrt(samples / image.shape[0])), 16)
    chunks = getattr(image, "chunks", None) or (1, 1)
    return tuple(max(side // chunk, 1) * chunk for chunk in chunks)


class PairMoments:
    """Per-band moments of two images, merged block by block without cancellation.

    The merging formulas are those of Chan, Golub and LeVeque (1979).
    """

    def __init__(self, n_bands: int) -> None:
        self.n = 0
        self.mean = np.zeros((2, n_bands))
        self.scatter = np.zeros((3, n_bands))  # aa, bb, ab about the means
        self.squared_error = np.zeros(n_bands)

    def update(self, a: Array, b: Array) -> None:
        """Add the samples `a` and `b`, both (band, n) and finite."""
        n = a.shape[1]
        if n == 0:
            return
        mean, scatter = np.empty_like(self.mean), np.empty_like(self.scatter)
        for band, (u, v) in enumerate(zip(a, b, strict=True)):  # one at a time: no large copies
            u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
            mean[:, band] = u.mean(), v.mean()
            self.squared_error[band] += ((u - v) ** 2).sum()
            u, v = u - mean[0, band], v - mean[1, band]
            scatter[:, band] = (u * u).sum(), (v * v).sum(), (u * v).sum()
        step = mean - self.mean
        shift = np.stack([step[0] ** 2, step[1] ** 2, step[0] * step[1]])
        total = self.n + n
        self.scatter += scatter + shift * (self.n * n / total)
        self.mean += step * (n / total)
        self.n = total

    @property
    def rmse(self) -> Array:
        """(band,) root mean square difference."""
        return np.sqrt(self.squared_error / max(self.n, 1))

    @property
    def correlation(self) -> Array:
        """(band,) Pearson correlation; NaN for a band without variance."""
        aa, bb, ab = self.scatter
        # The squares of rounding errors in a constant band are no variance.
        floor = self.n * (1e-12 * np.abs(self.mean)) ** 2
        varies = (aa > floor[0]) & (bb > floor[1])
        return np.where(varies, ab / np.sqrt(np.where(varies, aa * bb, 1)), np.nan)


def spectral_angle(a: Array, b: Array, smallest: float = 0.0) -> Array:
    """Angle between spectra in degrees, float64; NaN where there is none.

    Parameters
    ----------
    a, b : (band, ...)
    smallest : product of the two norms up to which a pixel counts as without a spectrum.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    aa, bb, ab = (np.einsum("b...,b...->...", u, v) for u, v in ((a, a), (b, b), (a, b)))
    norms = np.sqrt(aa) * np.sqrt(bb)
    some = norms > smallest
    cosine = ab / np.where(some, norms, 1)
    return np.where(some, np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.nan)


def ssim_map(p: Array, x: Array) -> Array:
    """SSIM of two planes of data range 1 at the pixels that have a whole window around them."""

    def mean(a: Array) -> Array:
        r = _SSIM_RADIUS
        return ndimage.gaussian_filter(a, _SSIM_SIGMA, radius=r)[r:-r, r:-r]

    p, x = np.asarray(p, np.float64), np.asarray(x, np.float64)
    mp, mx = mean(p), mean(x)
    vp, vx, cov = mean(p * p) - mp**2, mean(x * x) - mx**2, mean(p * x) - mp * mx
    luminance = (2 * mp * mx + _C1) / (mp**2 + mx**2 + _C1)
    return luminance * (2 * cov + _C2) / (vp + vx + _C2)


class ReferenceMetrics:
    """Accumulates the metrics of this module over blocks, in any order.

    Parameters
    ----------
    n_bands : number of bands.
    ratio : pixel size of the LR-HSI over that of the result, for ERGAS.
    peak : maximum of the reference over valid pixels, from a first pass (:func:`find_peak`).
    ssim : whether to compute SSIM, which needs every pixel valid and blocks with a halo.
    """

    def __init__(self, n_bands: int, ratio: float, peak: float, ssim: bool = True) -> None:
        if not peak > 0:
            raise InputError(
                f"The reference's maximum is {peak}; it has to be above 0 for the metrics to exist."
            )
        self.ratio, self.peak, self._with_ssim = ratio, peak, ssim
        self.bands = PairMoments(n_bands)
        self._pixels = 0
        self._angle_sum, self._angles = 0.0, 0
        self._ssim_sum, self._ssims = 0.0, 0

    def update(self, fused: Array, reference: Array, core: Window | None = None) -> None:
        """Add one block.

        Parameters
        ----------
        fused, reference : (band, h, w), for SSIM with 5 pixels of neighbours around the core
            wherever the scene goes on.
        core : the pixels of the block to count, each of the scene in one block; all by default.
        """
        core = core or (slice(0, fused.shape[1]), slice(0, fused.shape[2]))
        p, x = (np.asarray(a[:, *core], np.float64) for a in (fused, reference))
        valid = np.isfinite(p).all(0) & np.isfinite(x).all(0)
        self._pixels += valid.size
        p, x = (a[:, valid] if not valid.all() else a.reshape(len(a), -1) for a in (p, x))
        self.bands.update(p, x)
        angles = spectral_angle(p, x, _NO_SPECTRUM * self.peak**2)
        self._angle_sum += float(np.nansum(angles))
        self._angles += int(np.isfinite(angles).sum())
        if self._with_ssim:
            self._add_ssim(fused, reference, core)

    def _add_ssim(self, fused: Array, reference: Array, core: Window) -> None:
        r = _SSIM_RADIUS
        if min(fused.shape[1:]) <= 2 * r:
            return
        keep = tuple(
            slice(max(part.start - r, 0), max(min(part.stop, size - r) - r, 0))
            for part, size in zip(core, fused.shape[1:], strict=True)
        )
        for p, x in zip(fused, reference, strict=True):
            values = ssim_map(p / self.peak, x / self.peak)[keep]
            self._ssim_sum += float(values.sum())
            self._ssims += values.size

    def result(self) -> dict[str, float]:
        """PSNR, mPSNR, SAM, ERGAS, RMSE, valid and, where it is defined, SSIM.

        ERGAS leaves out bands whose reference has mean zero. Without any error PSNR is infinite.
        """
        if self.bands.n == 0:
            raise InputError(
                "No pixel is valid in both images; check their nodata and their grids."
            )
        band_mse = (self.bands.rmse / self.peak) ** 2
        band_mean = self.bands.mean[1] / self.peak
        mse, has_mean = float(band_mse.mean()), band_mean != 0
        relative = band_mse[has_mean] / band_mean[has_mean] ** 2
        out = {
            "PSNR": -10 * math.log10(mse) if mse > 0 else math.inf,
            "mPSNR": float(np.mean(-10 * np.log10(np.maximum(band_mse, 1e-20)))),
            "SAM": self._angle_sum / self._angles if self._angles else math.nan,
            "ERGAS": 100 / self.ratio * math.sqrt(relative.mean()) if relative.size else math.nan,
            "RMSE": math.sqrt(mse) * self.peak,
            "valid": self.bands.n / self._pixels,
        }
        if self._ssims:
            out["SSIM"] = self._ssim_sum / self._ssims
        return out

    def per_band(self) -> dict[str, Array]:
        """(band,) float64 arrays ``rmse`` in input units, ``psnr`` in dB and ``correlation``."""
        rmse = self.bands.rmse
        psnr = -20 * np.log10(np.maximum(rmse / self.peak, 1e-10))
        return {"rmse": rmse, "psnr": psnr, "correlation": self.bands.correlation}


def find_peak(fused: Any, reference: Any, windows: list[Window]) -> tuple[float, bool]:
    """The reference's maximum over valid pixels, and whether every pixel is valid."""
    peak, complete = -math.inf, True
    for rows, cols in windows:
        x = np.asarray(reference.read(rows, cols))
        valid = np.isfinite(x).all(0) & np.isfinite(fused.read(rows, cols)).all(0)
        complete &= bool(valid.all())
        if valid.any():
            peak = max(peak, float(x[:, valid].max()))
    if peak == -math.inf:
        raise InputError("No pixel is valid in both images; check their nodata and their grids.")
    return peak, complete


def measure(
    fused: Any, reference: Any, ratio: float, border: int = 0, block: int | None = None
) -> ReferenceMetrics:
    """Stream two images through :class:`ReferenceMetrics`, in two passes over both.

    Parameters and errors are those of :func:`score`.
    """
    fused, reference = as_readable(fused), as_readable(reference)
    if tuple(fused.shape) != tuple(reference.shape):
        raise InputError(
            f"The fused image has shape {tuple(fused.shape)} and the reference "
            f"{tuple(reference.shape)}; bring them onto one grid with the same bands."
        )
    if not ratio > 0:
        raise InputError(f"The ratio is {ratio}; give that of the pixel sizes, above 1.")
    n_bands, height, width = fused.shape
    inside = (height - 2 * border, width - 2 * border)
    if border < 0 or min(inside) < 1:
        raise InputError(f"A border of {border} leaves nothing of {height} x {width} pixels.")
    source = fused if getattr(fused, "chunks", None) else reference
    side = block_side(source, block)

    def in_scene(window: Window) -> Window:
        rows, cols = window
        return (
            slice(rows.start + border, rows.stop + border),
            slice(cols.start + border, cols.stop + border),
        )

    windows = list(blocks(inside, side))
    peak, complete = find_peak(fused, reference, [in_scene(window) for window in windows])
    ssim = complete and min(inside) > 2 * _SSIM_RADIUS + 1
    metrics = ReferenceMetrics(n_bands, ratio, peak, ssim)
    for window in windows:
        outer, core = grow(window, _SSIM_RADIUS if ssim else 0, inside)
        where = in_scene(outer)
        metrics.update(fused.read(*where), reference.read(*where), core)
    return metrics


def score(
    fused: Any, reference: Any, ratio: float, border: int = 0, block: int | None = None
) -> dict[str, float]:
    """Compare a fused image with its reference.

    Parameters
    ----------
    fused, reference : (band, y, x) arrays, DataArrays, Datasets with ``image``, or Sources; NaN is
        nodata.
    ratio : pixel size of the LR-HSI over that of the result, for ERGAS.
    border : pixels left out at each edge.
    block : side of the blocks in pixels; chosen by the number of bands if not given.

    Returns
    -------
    dict
        PSNR and mPSNR in dB, SAM in degrees, ERGAS, RMSE in input units, ``valid`` as a share of
        the pixels; SSIM where every pixel is valid and the image is larger than 11 pixels.

    Raises
    ------
    InputError
        If the shapes differ, nothing is valid or the reference is nowhere above zero.
    """
    return measure(fused, reference, ratio, border, block).result()
