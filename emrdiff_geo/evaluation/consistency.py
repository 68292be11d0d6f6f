"""Does a fused image agree with what it was made from? Needs no reference.

- *Spectral consistency*: the result, degraded to the grid of the LR-HSI, against the LR-HSI. This
  is the first of Wald's properties (Wald, Ranchin and Mangolini, PE&RS 63, 1997).
- *Spatial consistency*: the response of the MSI's bands to the result's spectra, against the MSI.
  Gain and offset are fitted per band, since two sensors rarely share their calibration.

Neither proves that a result is right, but a result that fails one of them is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..degradation.degrade import Degradation
from ..errors import InputError
from ..grids.sources import WindowSource
from ..grids.windows import Window, blocks
from ..scene.moments import Moments
from .metrics import PairMoments, as_readable, block_side, spectral_angle

Array = NDArray[np.floating]

# Coarse pixels that are partly nodata would be compared with wholes: they are left out.
WHOLE = 0.999
# Ridge of the fitted response, relative to the mean band variance: about the noise of a good HSI.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Consistency:
    """Agreement of a result with its inputs.

    Attributes
    ----------
    spectral : ``correlation`` (mean over bands), ``correlation_min``, ``relative_rmse`` (RMSE over
        the RMS of the LR-HSI), ``SAM`` in degrees, ``pixels`` compared; empty without an HSI.
    spatial : ``correlation``, ``correlation_min``, ``relative_rmse``, ``pixels``; empty without an
        MSI.
    per_band : ``hsi_correlation``, ``hsi_relative_rmse`` (L,); ``msi_correlation``,
        ``msi_relative_rmse`` (s,).
    response : (s, L) response that was used, given or fitted.
    """

    spectral: dict[str, float] = field(default_factory=dict)
    spatial: dict[str, float] = field(default_factory=dict)
    per_band: dict[str, Array] = field(default_factory=dict)
    response: Array | None = None


def _placed(
    image: Any, offset: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
) -> WindowSource:
    """An image at an offset in a frame of `size` pixels, NaN around it."""
    source = as_readable(image)
    return WindowSource(source, -offset[0], -offset[1], size or source.shape[1:])


def _fine(window: Window, ratio: int, halo: int) -> Window:
    rows, cols = (slice((p.start - halo) * ratio, (p.stop + halo) * ratio) for p in window)
    return rows, cols


def _degraded(fine: Array, operator: Degradation, halo: int) -> Array:
    coarse = operator.down_masked(fine, min_weight=WHOLE)
    return coarse[:, halo:-halo, halo:-halo] if halo else coarse


def _windows(fine: Any, coarse: tuple[int, int], ratio: int, block: int | None) -> Iterator[Window]:
    """Windows of a coarse plane whose counterparts in the fine image are of bounded size."""
    side = tuple(max(s // ratio, 1) for s in block_side(as_readable(fine), block))
    return blocks(coarse, side)


def fit_response(hsi: Any, msi: Any, operator: Degradation, block: int | None = None) -> Array:
    """Response of the MSI's bands on the HSI's by ridge regression at the coarse resolution.

    Parameters
    ----------
    hsi : (L, h, w) coarse image.
    msi : (s, h * ratio, w * ratio) fine image that starts at the same corner.
    operator : from the fine grid to the coarse one.
    block : side of the blocks in fine pixels.

    Returns
    -------
    (s, L) float64; without the offset, which the comparison fits per band.
    """
    hsi, msi = _placed(hsi), _placed(msi)
    n_bands, halo = hsi.shape[0], operator.reach_down
    moments = Moments.of(np.empty((n_bands + msi.shape[0], 0)))
    for window in _windows(msi, hsi.shape[1:], operator.ratio, block):
        fine = msi.read(*_fine(window, operator.ratio, halo))
        both = np.concatenate([hsi.read(*window), _degraded(fine, operator, halo)])
        moments = moments.merge(Moments.of(both[:, np.isfinite(both).all(0)]))
    if moments.count < 3:
        raise InputError(
            f"{moments.count} coarse pixels are valid in both HSI and MSI; use a pair that "
            "overlaps by 3 or more, or give the response."
        )
    covariance = moments.scatter / moments.count
    bands = covariance[:n_bands, :n_bands]
    ridge = _RIDGE * max(np.trace(bands) / n_bands, np.finfo(float).tiny)
    return np.linalg.solve(bands + ridge * np.eye(n_bands), covariance[:n_bands, n_bands:]).T


def consistency(
    fused: Any,
    ratio: int,
    *,
    hsi: Any = None,
    msi: Any = None,
    response: Array | None = None,
    offset: tuple[int, int] = (0, 0),
    psf: Degradation | None = None,
    block: int | None = None,
) -> Consistency:
    """Compare a fused image with its inputs, block by block.

    Parameters
    ----------
    fused : (L, y, x) on the fine grid.
    ratio : fine pixels per coarse pixel.
    hsi : (L, h, w) on the coarse grid.
    msi : (s, h * ratio, w * ratio) on the fine grid, from the same corner as `hsi`.
    response : (s, L) response of the MSI's bands; fitted on `hsi` and degraded `msi` if not given.
    offset : fine row and column of the first pixel of `fused`, counted from that corner.
    psf : from fine to coarse; the mean over each coarse pixel by default.
    block : side of the blocks in fine pixels.

    Raises
    ------
    InputError
        If the band counts differ or nothing can be compared.
    """
    if hsi is None and msi is None:
        raise InputError("There is nothing to compare with; give the HSI, the MSI or both.")
    operator = psf or Degradation(ratio, "area")
    hsi, msi = (None if image is None else _placed(image) for image in (hsi, msi))
    coarse = hsi.shape[1:] if hsi is not None else tuple(n // ratio for n in msi.shape[1:])
    windows = list(_windows(fused, coarse, ratio, block))
    fused = _placed(fused, offset, (coarse[0] * ratio, coarse[1] * ratio))
    _check_bands(fused, hsi, msi, response)
    if msi is not None and response is None:
        response = fit_response(hsi, msi, operator, block)
    spectral = _SpectralSums(fused.shape[0]) if hsi is not None else None
    spatial = PairMoments(msi.shape[0]) if msi is not None else None
    halo = operator.reach_down
    for window in windows:
        fine = fused.read(*_fine(window, ratio, halo))
        if not np.isfinite(fine).any():
            continue
        if spectral is not None:
            spectral.update(_degraded(fine, operator, halo), hsi.read(*window))
        if spatial is not None:
            margin = halo * ratio
            core = fine[:, margin:-margin, margin:-margin] if margin else fine
            _add_spatial(spatial, core, msi.read(*_fine(window, ratio, 0)), response)
    return _collect(spectral, spatial, response)


def _check_bands(
    fused: WindowSource, hsi: WindowSource | None, msi: WindowSource | None, response: Array | None
) -> None:
    if hsi is not None and hsi.shape[0] != fused.shape[0]:
        raise InputError(
            f"The result has {fused.shape[0]} bands and the HSI {hsi.shape[0]}; compare it with "
            "the HSI it was made from."
        )
    if msi is None:
        return
    if response is None and hsi is None:
        raise InputError("The MSI's response is unknown; give it, or the HSI to fit it on.")
    if response is not None and response.shape != (msi.shape[0], fused.shape[0]):
        raise InputError(
            f"The response has shape {response.shape}; it has to be (MSI bands, HSI bands) = "
            f"({msi.shape[0]}, {fused.shape[0]})."
        )


class _SpectralSums:
    def __init__(self, n_bands: int) -> None:
        self.bands = PairMoments(n_bands)
        self.angle_sum, self.angles = 0.0, 0

    def update(self, degraded: Array, hsi: Array) -> None:
        valid = np.isfinite(degraded).all(0) & np.isfinite(hsi).all(0)
        degraded, hsi = degraded[:, valid], hsi[:, valid]
        self.bands.update(degraded, hsi)
        angles = spectral_angle(degraded, hsi)
        self.angle_sum += float(np.nansum(angles))
        self.angles += int(np.isfinite(angles).sum())


def _add_spatial(sums: PairMoments, fused: Array, msi: Array, response: Array) -> None:
    valid = np.isfinite(fused).all(0) & np.isfinite(msi).all(0)
    sums.update(response @ fused[:, valid].astype(np.float64), msi[:, valid])


def _collect(
    spectral: _SpectralSums | None, spatial: PairMoments | None, response: Array | None
) -> Consistency:
    out: dict[str, dict[str, float]] = {"spectral": {}, "spatial": {}}
    per_band: dict[str, Array] = {}
    if spectral is not None:
        sums = _checked(spectral.bands, "HSI")
        out["spectral"] = _summary(sums, sums.rmse, per_band, "hsi")
        angle = spectral.angle_sum / spectral.angles if spectral.angles else math.nan
        out["spectral"]["SAM"] = angle
    if spatial is not None:
        sums = _checked(spatial, "MSI")
        explained = np.nan_to_num(sums.correlation) ** 2
        residual = np.sqrt(sums.scatter[1] / sums.n * (1 - np.minimum(explained, 1)))
        out["spatial"] = _summary(sums, residual, per_band, "msi")
    return Consistency(**out, per_band=per_band, response=response)


def _checked(sums: PairMoments, name: str) -> PairMoments:
    if sums.n == 0:
        raise InputError(
            f"No pixel is valid in every band of both the result and the {name}; check nodata and "
            "extents, and fuse with --fill-gaps if single bands of the HSI have gaps."
        )
    return sums


def _summary(
    sums: PairMoments, rmse: Array, per_band: dict[str, Array], name: str
) -> dict[str, float]:
    """Numbers over all bands; adds those per band to `per_band`. The second image is the norm."""
    power = sums.scatter[1] / sums.n + sums.mean[1] ** 2
    correlation = sums.correlation
    per_band[f"{name}_correlation"] = correlation
    per_band[f"{name}_relative_rmse"] = rmse / np.sqrt(np.where(power > 0, power, np.nan))
    known = correlation[np.isfinite(correlation)]
    total = float(power.sum())
    return {
        "correlation": float(known.mean()) if known.size else math.nan,
        "correlation_min": float(known.min()) if known.size else math.nan,
        "relative_rmse": math.sqrt((rmse**2).sum() / total) if total > 0 else math.nan,
        "pixels": int(sums.n),
    }
