"""Gaps of single bands in the HSI.

Everything that is measured and learned takes whole spectra, and a pixel that lacks one band would
be a gap in all of them. So spectra are made whole first; in the result what was lacking is nodata
again, in those bands alone.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace

import numpy as np

from ..errors import named
from ..grids.pair import Pair
from ..grids.sources import Altered, ResampledSource
from ..scene.moments import Extent
from ..scene.whole_spectra import WholeSpectra
from ..system.threads import one_blas_thread
from .own_pixels import OwnPixels
from .shift import scattered_windows

log = logging.getLogger(__name__)

#: Edge of a window in which bands are compared, own pixels, and windows that are enough.
EDGE, ENOUGH = 40, 9


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


def mended(pair: Pair, extent: Extent, good: np.ndarray) -> Pair:
    """The pair with whole spectra, where only some of its HSI's bands have gaps.

    Parameters
    ----------
    pair : Pair
        As it was read.
    extent : Extent
        Of the whole HSI.
    good : ndarray
        ``(L,)`` bool: bands to use.
    """
    if not extent.lost[good].any():
        return pair
    own = OwnPixels.of(pair)
    source = MendedSource(own.source, good, _known(own, good))
    resampled = isinstance(pair.hsi, ResampledSource)
    hsi = replace(pair.hsi, source=source) if resampled else source
    note = _described(extent, good)
    log.warning(note)
    return replace(pair, hsi=hsi, broken=pair.hsi, notes=(*pair.notes, note))


def _described(extent: Extent, good: np.ndarray) -> str:
    lost = np.where(good, extent.lost, 0)
    most = [band + 1 for band in np.argsort(-lost, kind="stable")[:5] if lost[band]]
    share = lost.max() / (extent.count + extent.lost)[good].max()
    return (
        f"Single bands of the HSI have gaps, mostly {named('band', most)}, up to "
        f"{100 * share:.2g} % of the pixels: the result has them in these bands alone, or "
        "estimates with --fill-gaps."
    )


@one_blas_thread()
def _known(own: OwnPixels, good: np.ndarray) -> WholeSpectra:
    windows = itertools.islice(scattered_windows(own.shape, EDGE), ENOUGH)
    images = [own.read(*window)[good].reshape(good.sum(), -1) for window in windows]
    return WholeSpectra.of(np.concatenate(images, axis=1))
