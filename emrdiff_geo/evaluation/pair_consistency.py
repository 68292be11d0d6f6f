"""Consistency of a result with the pair that it was made from, on whatever grids these lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..alignment.measuring import located, with_whole_spectra
from ..alignment.optics import AUTO, resolve_psf
from ..alignment.own_pixels import OwnPixels, SeenSource, plain_hsi
from ..alignment.seen import kernels_of
from ..degradation.degrade import Degradation
from ..grids.pair import Pair
from ..grids.sources import ArraySource, BandsSource, WindowSource
from .consistency import WHOLE, Consistency, consistency, fit_response

#: Fine bands on which a PSF is measured.
FEW_BANDS = 12


def as_seen(pair: Pair, psf: str | Degradation) -> tuple[Pair, Degradation]:
    """A pair with its HSI's pixels where they lie, and their PSF, see `measuring.located`.

    Measured on some of the fine bands: a result that stands for the MSI may have hundreds of them.
    A named or given PSF is taken as it is, and so are the pixels' places then. What single bands of
    the HSI lack is estimated.
    """
    if isinstance(psf, Degradation):
        return with_whole_spectra(pair)[0], psf
    if psf != AUTO:
        return with_whole_spectra(pair)[0], resolve_psf(pair, psf)
    some = np.unique(np.linspace(0, pair.n_msi - 1, FEW_BANDS).round().astype(int))
    found, optics = located(replace(pair, msi=BandsSource(pair.msi, some)), psf)
    return replace(pair, hsi=plain_hsi(found), moved=found.moved, notes=found.notes), optics


def pair_consistency(
    fused: xr.DataArray,
    pair: Pair,
    used: NDArray[np.intp],
    with_msi: bool,
    response: NDArray[Any] | None,
    psf: Degradation,
    block: int | None,
) -> Consistency:
    """Compare a result with its pair, see `consistency`.

    Parameters
    ----------
    fused : xr.DataArray
        ``(band, y, x)`` on the pair's target.
    pair : Pair
    used : ndarray
        Indices of the HSI's bands to compare.
    with_msi : bool
        Whether the pair's MSI is one, and not the result itself.
    response, psf, block
        As for `consistency`; the response is that on the bands used.
    """
    known = {"response": response, "offset": pair.offset, "block": block}
    msi = pair.msi if with_msi else None
    if not pair.resampled and pair.moved is None:
        hsi = BandsSource(pair.hsi, used)
        return consistency(fused[used], pair.ratio, hsi=hsi, msi=msi, psf=psf, **known)
    # The HSI's own pixels, wherever these lie.
    own, kernels = OwnPixels.of(pair), kernels_of(psf)
    hsi = BandsSource(WindowSource(own.source, *own.first, own.shape), used)
    row, col = pair.offset
    framed = WindowSource(ArraySource(fused[used]), -row, -col, pair.hr_shape)
    spectral = consistency(SeenSource(framed, own, kernels, least=WHOLE), 1, hsi=hsi)
    if msi is None:
        return spectral
    if response is None:
        seen = SeenSource(msi, own, kernels, least=WHOLE)
        known["response"] = fit_response(hsi, seen, Degradation(1, "area"))
    spatial = consistency(fused[used], pair.ratio, msi=msi, **known)
    per_band = {**spatial.per_band, **spectral.per_band}
    return Consistency(spectral.spectral, spatial.spatial, per_band, known["response"])
