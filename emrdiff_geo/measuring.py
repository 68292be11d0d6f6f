"""The pass over a pair before any tile is fused, by whatever computes the tiles.

Each task reads its blocks of both images itself and returns sums of a few hundred kilobytes. Their
order decides nothing: results come back in the order of the blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ._bands import named
from ._threads import one_blas_thread
from .degrade import Degradation
from .fingerprint import Witness
from .gamma import made_linear
from .grid import Pair
from .light import LEAST, disagreement, in_same_light
from .moments import BlockSums
from .optics import AUTO, describe, resolve_psf
from .own_pixels import guided
from .statistics import (
    BLOCK,
    Block,
    Over,
    SceneStatistics,
    block_sums,
    blocks,
    concluded,
    good_bands,
)

log = logging.getLogger(__name__)

_Seen = dict[tuple[int, ...], bytes]


@dataclass(frozen=True)
class Measured:
    """What the pass found.

    Attributes
    ----------
    statistics : SceneStatistics
    pixels : (str, str)
        Digests of all pixels of the HSI and of the MSI.
    """

    statistics: SceneStatistics
    pixels: tuple[str, str]


def measure_pair(
    pair: Pair, *, psf: str = AUTO, normalise: bool = True, over: Over = map
) -> tuple[Pair, Measured]:
    """Measure a pair: its optics, its statistics, and whether both images show the same light.

    Reads the MSI once and the HSI twice; where the HSI is resampled both once more, where the light
    differs two times more, and where the MSI is not linear once more.

    Parameters
    ----------
    pair : Pair
    psf : str
        PSF between the grids, see `resolve_psf`.
    normalise : bool
        Whether to make the MSI linear, see `gamma`, and to bring it to the light of the HSI, see
        `light`, where they disagree.
    over : callable
        Where it is done, see `statistics.Over`.

    Returns
    -------
    pair : Pair
        As given, or with an MSI that agrees better with its HSI, and an HSI whose resampling the
        MSI guided, see `GuidedSource`.
    measured : Measured
        Of that pair; the digests are of the images as they were given.

    Raises
    ------
    InputError
        If there is no such PSF; if there are no bands, or no pixels, to measure.
    """
    optics = resolve_psf(pair, psf)
    good = usable_bands(pair, over)
    measured = measure_scene(pair, optics, good, over)
    if pair.resampled:
        pair = guided(pair, measured.statistics)
        measured = replace(measure_scene(pair, optics, good, over), pixels=measured.pixels)
    for change in (made_linear, partial(in_same_light, over=over)) if normalise else ():
        if disagreement(measured.statistics) < LEAST:
            break
        changed = change(pair, measured.statistics)
        if changed is not pair:
            pair, optics = changed, resolve_psf(changed, psf)
            measured = replace(measure_scene(pair, optics, good, over), pixels=measured.pixels)
    if psf == AUTO:
        log.info("PSF between the images: %s.", describe(optics))
    return pair, measured


def usable_bands(pair: Pair, over: Over = map) -> np.ndarray:
    """HSI bands ``(L,)`` bool that are good and have data."""
    flagged = pair.hsi_bands.good
    good = good_bands(pair.hsi.read, pair.lr_shape, flagged, over)
    if good.sum() < flagged.sum():
        log.info(
            "Without data, and left so: %s.", named("band", np.flatnonzero(flagged & ~good) + 1)
        )
    return good


def measure_scene(
    pair: Pair, degradation: Degradation, good: np.ndarray, over: Over = map
) -> Measured:
    """Measure a pair in one pass.

    Parameters
    ----------
    pair : Pair
    degradation : Degradation
        Relates the two grids.
    good : ndarray
        ``(L,)`` bool: HSI bands to use.
    over : callable
        Where it is done, see `statistics.Over`.

    Raises
    ------
    InputError
        If there are no pixels to measure.
    """
    bands = pair.hsi_bands
    hsi, msi = Witness(pair.hsi.read), Witness(pair.msi.read)

    def sums() -> Iterator[BlockSums]:
        measure = partial(_watched, pair, degradation, good)
        for found, *seen in over(measure, blocks(pair.lr_shape, BLOCK)):
            for witness, part in zip((hsi, msi), seen, strict=True):
                witness.hear(part)
            yield found

    statistics = concluded(sums(), degradation, good, bands.wavelength_nm, bands.fwhm_nm)
    return Measured(statistics, (hsi.digest, msi.digest))


@one_blas_thread()
def _watched(
    pair: Pair, degradation: Degradation, good: np.ndarray, block: Block
) -> tuple[BlockSums, _Seen, _Seen]:
    """Sums of a block, and digests of the pixels that went into them."""
    hsi, msi = Witness(pair.hsi.read), Witness(pair.msi.read)
    return block_sums(hsi, msi, pair.lr_shape, degradation, good, block), hsi.seen, msi.seen
