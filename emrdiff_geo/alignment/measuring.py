"""The pass over a pair before any tile is fused, by whatever computes the tiles.

Each task reads its blocks of both images itself and returns sums of a few hundred kilobytes. Their
order decides nothing: results come back in the order of the blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import TypeVar

import numpy as np

from ..degradation.degrade import Degradation
from ..errors import named
from ..grids.pair import Pair
from ..grids.windows import Window, blocks
from ..scene.moments import BlockSums, Extent
from ..scene.statistics import BLOCK, Over, SceneStatistics, block_sums, concluded
from ..system.threads import one_blas_thread
from .band_gaps import mended
from .contradiction import reconciled, reconciled_again
from .denoise import denoised
from .filled_bands import COUNTED, filled_bands
from .gamma import made_linear
from .light import in_same_light
from .optics import AUTO, resolve_psf
from .own_pixels import guided
from .placing import NOTE, placed, placed_again
from .spectrometers import aligned
from .witness import Witness

log = logging.getLogger(__name__)

#: How often the displacement of the HSI's pixels is measured on what the last one left.
ROUNDS = 3

_Digests = dict[tuple[int, ...], bytes]
#: What changes a pair by what was measured of it, or returns it as it is.
Change = Callable[[Pair, SceneStatistics], Pair]
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


@dataclass(frozen=True)
class _Seen:
    """A pair with how its pixels see each other, and what was measured of it."""

    pair: Pair
    optics: Degradation
    statistics: SceneStatistics
    msi_digest: str

    @classmethod
    def of(cls, pair: Pair, psf: str, good: np.ndarray, over: Over) -> _Seen:
        """Measure a pair, its HSI guided by the MSI where it has to be."""
        optics = resolve_psf(pair, psf)
        pair = guided(pair, optics, good)
        return cls(pair, optics, *measure_scene(pair, optics, good, over))

    def after(self, change: Change, psf: str, over: Over, times: int = 1) -> _Seen:
        """The same once the pair was changed, as often as there is something to change."""
        seen = self
        for _ in range(times):
            changed = change(seen.pair, seen.statistics)
            if changed is seen.pair:
                break
            seen = seen.of(changed, psf, seen.statistics.good, over)
        return seen


def measure_pair(
    pair: Pair, *, psf: str = AUTO, normalise: bool = True, over: Over = map
) -> tuple[Pair, Measured]:
    """Measure a pair: its optics, its statistics, and what its two images disagree about.

    Reads the MSI once and the HSI three times; where the two disagree, both once more to look at
    the light and twice to look for displacements; and both again after each change.

    Parameters
    ----------
    pair : Pair
    psf : str
        PSF between the grids, see `resolve_psf`.
    normalise : bool
        Whether to replace values of single bands that nothing explains, see `band_gaps`; to bring
        two spectrometers' bands to one place, see `spectrometers`; and,
        where the images disagree, to make the MSI linear, see `gamma`, to set aside what
        the two contradict each other in, see `contradiction`, to take the HSI's pixels where they
        lie, see `placing`, and to bring the MSI to the light of the HSI, see `light`; and to filter
        its noise, see `denoise`, where there is much.
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
    good, extent, hsi_digest = usable_bands(pair, over)
    pair = mended(pair, extent, good, sift=normalise, over=over)
    pair = aligned(pair, good) if normalise else pair
    seen = _Seen.of(pair, psf, good, over)
    msi_digest = seen.msi_digest
    if normalise:
        put, put_again = partial(placed, over=over), partial(placed_again, over=over)
        lit = partial(in_same_light, over=over)
        for change in made_linear, reconciled, put, reconciled_again, lit, put_again, denoised:
            seen = seen.after(change, psf, over, ROUNDS if change in (put, put_again) else 1)
    for note in (n for n in seen.pair.notes if n.startswith(NOTE)):
        log.info(note)
    return seen.pair, Measured(seen.statistics, (hsi_digest, msi_digest))


def located(pair: Pair, psf: str = AUTO) -> tuple[Pair, Degradation]:
    """A pair with its HSI's pixels where they lie, and their PSF: `spectrometers`, `placing`."""
    pair, good = with_whole_spectra(pair)
    pair = aligned(pair, good)
    seen = _Seen.of(pair, psf, good, map).after(placed, psf, map, ROUNDS)
    return seen.pair, seen.optics


def with_whole_spectra(pair: Pair) -> tuple[Pair, np.ndarray]:
    """A pair whose HSI has whole spectra, see `band_gaps`, and which of its bands these have."""
    good, extent, _ = usable_bands(pair)
    return mended(pair, extent, good), good


def usable_bands(pair: Pair, over: Over = map) -> tuple[np.ndarray, Extent, str]:
    """HSI bands ``(L,)`` bool that are good and have data; what all have, and a digest of that."""
    flagged, hsi = pair.hsi_bands.good, Witness(pair.hsi.read)
    counted = over(partial(_counted, pair), blocks(pair.lr_shape, COUNTED))
    extent = reduce(Extent.merge, _heard(hsi, counted))
    good = filled_bands(extent, flagged)
    if good.sum() < flagged.sum():
        log.info(
            "Without data, and left so: %s.", named("band", np.flatnonzero(flagged & ~good) + 1)
        )
    return good, extent, hsi.digest


def _counted(pair: Pair, block: Window) -> tuple[Extent, _Digests]:
    """What a block of the HSI has of every band, and digests of its pixels."""
    hsi = Witness(pair.hsi.read)
    return Extent.of(hsi(*block), pair.hsi_bands.good), hsi.seen


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


def _heard(witness: Witness, blocks: Iterable[tuple[T, _Digests]]) -> Iterator[T]:
    """What was found in blocks, while a witness hears what pixels they had."""
    for found, seen in blocks:
        witness.hear(seen)
        yield found


@one_blas_thread()
def _watched(
    pair: Pair, degradation: Degradation, good: np.ndarray, block: Window
) -> tuple[BlockSums, _Digests]:
    """Sums of a block, and digests of the MSI's pixels that went into them."""
    msi = Witness(pair.msi.read)
    return block_sums(pair.hsi.read, msi, pair.lr_shape, degradation, good, block), msi.seen
