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

from ._threads import one_blas_thread
from .degrade import Degradation
from .fingerprint import Witness
from .grid import Pair
from .light import in_same_light
from .moments import BlockSums
from .optics import AUTO, describe, resolve_psf
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

    Reads the MSI once and the HSI twice; where the light differs, both two times more.

    Parameters
    ----------
    pair : Pair
    psf : str
        PSF between the grids, see `resolve_psf`.
    normalise : bool
        Whether to bring the MSI to the light of the HSI where they differ, see `light`.
    over : callable
        Where it is done, see `statistics.Over`.

    Returns
    -------
    pair : Pair
        As given, or with its MSI in the light of its HSI.
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
    lit = in_same_light(pair, measured.statistics, over) if normalise else pair
    if lit is not pair:
        optics = resolve_psf(lit, psf)
        measured = replace(measure_scene(lit, optics, good, over), pixels=measured.pixels)
    if psf == AUTO:
        log.info("PSF between the images: %s.", describe(optics))
    return lit, measured


def usable_bands(pair: Pair, over: Over = map) -> np.ndarray:
    """HSI bands ``(L,)`` bool that are good and have data."""
    flagged = pair.hsi_bands.good
    good = good_bands(pair.hsi.read, pair.lr_shape, flagged, over)
    if good.sum() < flagged.sum():
        log.info("%d bands without data stay without data", flagged.sum() - good.sum())
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
