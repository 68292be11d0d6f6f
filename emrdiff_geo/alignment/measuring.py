"""The pass over a pair before any tile is fused, by whatever computes the tiles.

Each task reads its blocks of both images itself and returns sums of a few hundred kilobytes. Their
order decides nothing: results come back in the order of the blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from ..degradation.degrade import Degradation
from ..errors import named
from ..grids.pair import Pair
from ..grids.windows import Window, blocks
from ..scene.moments import BlockSums, Extent
from ..scene.statistics import BLOCK, Over, SceneStatistics, block_sums, concluded
from ..system.threads import one_blas_thread
from .contradiction import reconciled, reconciled_again
from .denoise import denoised
from .filled_bands import COUNTED, filled_bands
from .gamma import made_linear
from .light import in_same_light
from .optics import AUTO, describe, resolve_psf
from .own_pixels import guided
from .witness import Witness

log = logging.getLogger(__name__)

_Seen = dict[tuple[int, ...], bytes]
T = TypeVar("T")


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

    Reads the MSI once and the HSI twice, and both once more after each change of the MSI, and to
    look at the light where the two disagree.

    Parameters
    ----------
    pair : Pair
    psf : str
        PSF between the grids, see `resolve_psf`.
    normalise : bool
        Whether to make the MSI linear, see `gamma`, to set aside what the two contradict each other
        in, see `contradiction`, and to bring it to the light of the HSI, see `light`, where they
        disagree; and to filter its noise, see `denoise`, where there is much.
    over : callable
        Where it is done, see `statistics.Over`.

    Returns
    -------
    pair : Pair
        As given, or with images that agree better, and an HSI whose resampling the MSI guided, see
        `GuidedSource`.
    measured : Measured
        Of that pair; the digests are of the images as they were given.

    Raises
    ------
    InputError
        If there is no such PSF; if there are no bands, or no pixels, to measure.
    """
    optics = resolve_psf(pair, psf)
    good, hsi_digest = usable_bands(pair, over)
    pair = guided(pair, optics, good)
    statistics, msi_digest = measure_scene(pair, optics, good, over)
    lit = partial(in_same_light, over=over)
    changes = made_linear, reconciled, reconciled_again, lit, denoised
    for change in changes if normalise else ():
        changed = change(pair, statistics)
        if changed is not pair:
            optics = resolve_psf(changed, psf)
            pair = guided(changed, optics, good)
            statistics, _ = measure_scene(pair, optics, good, over)
    if psf == AUTO:
        log.info("PSF between the images: %s.", describe(optics, pair.scale))
    return pair, Measured(statistics, (hsi_digest, msi_digest))


def usable_bands(pair: Pair, over: Over = map) -> tuple[np.ndarray, str]:
    """HSI bands ``(L,)`` bool that are good and have data, and the digest of all their pixels."""
    flagged, hsi = pair.hsi_bands.good, Witness(pair.hsi.read)
    counted = over(partial(_counted, pair), blocks(pair.lr_shape, COUNTED))
    good = filled_bands(_heard(hsi, counted), flagged)
    if good.sum() < flagged.sum():
        log.info(
            "Without data, and left so: %s.", named("band", np.flatnonzero(flagged & ~good) + 1)
        )
    return good, hsi.digest


def _counted(pair: Pair, block: Window) -> tuple[Extent, _Seen]:
    """What a block of the HSI has of every band, and digests of its pixels."""
    hsi = Witness(pair.hsi.read)
    return Extent.of(hsi(*block)), hsi.seen


def measure_scene(
    pair: Pair, degradation: Degradation, good: np.ndarray, over: Over = map
) -> tuple[SceneStatistics, str]:
    """Measure a pair in one pass: its statistics, and the digest of all pixels of the MSI.

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
    msi = Witness(pair.msi.read)
    watched = over(partial(_watched, pair, degradation, good), blocks(pair.lr_shape, BLOCK))
    known = degradation, good, bands.wavelength_nm, bands.fwhm_nm
    return concluded(_heard(msi, watched), *known), msi.digest


def _heard(witness: Witness, blocks: Iterable[tuple[T, _Seen]]) -> Iterator[T]:
    """What was found in blocks, while a witness hears what pixels they had."""
    for found, seen in blocks:
        witness.hear(seen)
        yield found


@one_blas_thread()
def _watched(
    pair: Pair, degradation: Degradation, good: np.ndarray, block: Window
) -> tuple[BlockSums, _Seen]:
    """Sums of a block, and digests of the MSI's pixels that went into them."""
    msi = Witness(pair.msi.read)
    return block_sums(pair.hsi.read, msi, pair.lr_shape, degradation, good, block), msi.seen
