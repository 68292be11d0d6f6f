"""Gaps of single bands in the HSI, and values of single bands that nothing explains.

Everything that is measured and learned takes whole spectra, and a pixel that lacks one band would
be a gap in all of them. So spectra are made whole first; in the result what was lacking is nodata
again, in those bands alone. Dead and hot detectors that nobody marked would spoil the bands around,
the pixels around and whatever is measured: their values are replaced in the same way, and those
are the result's.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import named
from ..grids.pair import Pair
from ..grids.sources import Altered, ResampledSource
from ..grids.windows import Window, blocks, grow
from ..scene.moments import FEWEST, Extent
from ..scene.plausible import MARGIN, Plausible
from ..scene.statistics import Over
from ..scene.whole_spectra import WholeSpectra
from ..system.threads import one_blas_thread
from .filled_bands import COUNTED
from .own_pixels import OwnPixels
from .shift import scattered_windows

log = logging.getLogger(__name__)

#: Edge of a window in which bands are compared, own pixels, and windows that are enough.
EDGE, ENOUGH = 40, 9
#: Share of implausible values from which on they are worth a warning.
MANY = 1e-4


@dataclass(frozen=True, eq=False)
class SiftedSource(Altered):
    """An HSI without its implausible values.

    Parameters
    ----------
    source : Source
    good : ndarray
        ``(L,)`` bool: bands that count; the others are left as they are.
    plausible : Plausible
        Of the good bands.
    """

    good: np.ndarray
    plausible: Plausible

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        return self.sifted(rows, cols)[0]

    @one_blas_thread()
    def sifted(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window, and how many of its values are implausible in every good band."""
        around, inner = grow((rows, cols), MARGIN, self.shape[1:])
        image = self.source.read(*around)
        lost = np.zeros(image.shape, bool)
        lost[self.good] = self.plausible.implausible(image[self.good])
        image[lost] = np.nan
        return image[:, *inner], lost[self.good][:, *inner].sum(axis=(1, 2))


@dataclass(frozen=True, eq=False)
class MendedSource(Altered):
    """An HSI whose spectra are whole, or lack so much that they stay gaps.

    Parameters
    ----------
    source : Source
    good : ndarray
        ``(L,)`` bool: bands that count; the others are left as they are.
    whole : WholeSpectra
        Of the good bands.
    """

    good: np.ndarray
    whole: WholeSpectra

    @one_blas_thread()
    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        image = self.source.read(rows, cols)
        spectra = image[self.good].reshape(self.good.sum(), -1)
        image[self.good] = self.whole.completed(spectra).reshape(-1, *image.shape[1:])
        return image


def mended(
    pair: Pair, extent: Extent, good: np.ndarray, *, sift: bool = True, over: Over = map
) -> Pair:
    """The pair with whole spectra, where single bands of its HSI have gaps or implausible values.

    Parameters
    ----------
    pair : Pair
        As it was read.
    extent : Extent
        Of the whole HSI.
    good : ndarray
        ``(L,)`` bool: bands to use.
    sift : bool
        Whether to look for implausible values.
    over : callable
        Where that is done, see `statistics.Over`.
    """
    own, notes = OwnPixels.of(pair), pair.notes
    if sift:
        own, found = _sifted(own, good, over)
        notes += found
    if extent.lost[good].any():
        note = _described(extent, good)
        log.warning(note)
        notes += (note,)
    if notes == pair.notes:
        return pair
    source = MendedSource(own.source, good, WholeSpectra.of(_samples(own, good)))
    resampled = isinstance(pair.hsi, ResampledSource)
    hsi = replace(pair.hsi, source=source) if resampled else source
    return replace(pair, hsi=hsi, broken=pair.hsi, notes=notes)


def _sifted(own: OwnPixels, good: np.ndarray, over: Over) -> tuple[OwnPixels, tuple[str, ...]]:
    """Own pixels without implausible values, and a sentence on these, if there are any."""
    source = SiftedSource(own.source, good, Plausible.of(_samples(own, good)))
    windows = (own.in_source(*block) for block in blocks(own.shape, COUNTED))
    lost = sum(over(partial(_counted, source), windows))
    if not lost.any():
        return own, ()
    everywhere = np.zeros(len(good), lost.dtype)
    everywhere[good] = lost
    share = lost.sum() / (good.sum() * own.shape[0] * own.shape[1])
    note = (
        f"{lost.sum()} values of the HSI, {100 * share:.2g} % of all, are what no other band and "
        f"pixel explains, mostly in {_mostly(everywhere)}: taken for dead or hot detectors, and "
        "replaced by what the other bands tell (--no-normalise: not)."
    )
    log.log(logging.WARNING if share >= MANY else logging.INFO, note)
    return replace(own, source=source), (note,)


def _counted(source: SiftedSource, window: Window) -> np.ndarray:
    return source.sifted(*window)[1]


def _described(extent: Extent, good: np.ndarray) -> str:
    lost = np.where(good, extent.lost, 0)
    share = lost.max() / (extent.count + extent.lost)[good].max()
    return (
        f"Single bands of the HSI have gaps, mostly {_mostly(lost)}, up to "
        f"{100 * share:.2g} % of the pixels: the result has them in these bands alone, or "
        "estimates with --fill-gaps."
    )


def _mostly(lost: np.ndarray) -> str:
    """The five bands with the largest counts ``(L,)``, those without any left out."""
    worst = np.argsort(-lost, kind="stable")[:5]
    return named("band", worst[lost[worst] > 0] + 1)


def _samples(own: OwnPixels, good: np.ndarray) -> np.ndarray:
    """Spectra ``(L, n)`` of some windows in the good bands, those that have no few of them."""
    found: list[np.ndarray] = []
    for window in _windows(own):
        spectra = own.read(*window)[good].reshape(good.sum(), -1)
        found.append(spectra[:, np.isfinite(spectra).mean(axis=0) >= FEWEST])
        if sum(s.shape[1] for s in found) >= ENOUGH * EDGE**2 / 4 and len(found) >= ENOUGH:
            break
    return np.concatenate(found, axis=1)


def _windows(own: OwnPixels) -> Iterator[Window]:
    """Windows on a lattice over the scene, and then all of it, where those have too little data."""
    if math.prod(own.shape) > ENOUGH * EDGE**2:
        yield from itertools.islice(scattered_windows(own.shape, EDGE), ENOUGH)
    yield from blocks(own.shape, EDGE)
