"""Which bands of an HSI can be used: those that have data, and more than one value."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import reduce

import numpy as np

from ..errors import InputError, named
from ..scene.moments import Extent

log = logging.getLogger(__name__)

#: Share of the best-filled band's pixels under which a band counts as empty.
EMPTY_BAND = 0.5
#: Share of the best band's pixels below which gaps of a band are told.
NEARLY_ALL = 0.98
#: Edge of a block in which bands are counted, HSI pixels.
COUNTED = 128


def filled_bands(extents: Iterable[Extent], flagged: np.ndarray) -> np.ndarray:
    """Bands ``(L,)`` bool, not flagged bad, with data in at least half of the best one's pixels.

    Parameters
    ----------
    extents : iterable of Extent
        What was counted in the blocks of a scene.
    flagged : ndarray
        ``(L,)`` bool: bands that are not bad.

    Raises
    ------
    InputError
        If there are none, or none has more than one value.
    """
    found = reduce(Extent.merge, extents)
    if not np.any(found.count[flagged]):
        raise InputError(
            "the HSI has no valid pixel inside the area both images share: check its nodata value "
            "and the extents of the two images"
        )
    good = flagged & (found.count >= EMPTY_BAND * found.count[flagged].max())
    if found.constant[good].all():
        raise InputError(
            f"the HSI has one value everywhere ({found.least[good][0]:g} in its first band): "
            "declare it as nodata if it stands for that, or take another image"
        )
    share = found.count / found.count[good].max()
    gappy = np.flatnonzero(good & (share < NEARLY_ALL)) + 1
    if gappy.size:
        log.warning(
            "Where one band has no data the result has none in any, here mostly %s, up to %.0f %% "
            "of the pixels: mark such bands as bad, or fill them, to keep the others.",
            named("band", gappy[np.argsort(share[gappy - 1])][:5]),
            100 * (1 - share[gappy - 1].min()),
        )
    return good
