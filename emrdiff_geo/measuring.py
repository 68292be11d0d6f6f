"""The pass over a pair before any tile is fused, by whatever computes the tiles.

Each task reads its blocks of both images itself and returns sums of a few hundred kilobytes. Their
order decides nothing: results come back in the order of the blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ._threads import one_blas_thread
from .degrade import Degradation
from .fingerprint import Witness
from .grid import Pair
from .moments import BlockSums
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


def measure_scene(pair: Pair, degradation: Degradation, over: Over = map) -> Measured:
    """Measure a pair; reads the MSI once and the HSI twice.

    Parameters
    ----------
    pair : Pair
    degradation : Degradation
        Relates the two grids.
    over : callable
        Where it is done, see `statistics.Over`.

    Raises
    ------
    InputError
        If there are no bands, or no pixels, to measure.
    """
    bands = pair.hsi_bands
    good = good_bands(pair.hsi.read, pair.lr_shape, bands.good, over)
    if good.sum() < bands.good.sum():
        log.info("%d bands without data stay without data", bands.good.sum() - good.sum())
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
