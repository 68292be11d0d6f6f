"""Which bands of an HSI can be used: those that have data, and more than one value."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..scene.moments import Extent

#: Share of the best-filled band's pixels under which a band counts as empty.
EMPTY_BAND = 0.5
#: Edge of a block in which bands are counted, HSI pixels.
COUNTED = 128


def filled_bands(found: Extent, flagged: np.ndarray) -> np.ndarray:
    """Bands ``(L,)`` bool, not flagged bad, with data in at least half of the best one's pixels.

    Parameters
    ----------
    found : Extent
        Of the whole scene.
    flagged : ndarray
        ``(L,)`` bool: bands that are not bad.

    Raises
    ------
    InputError
        If there are none, or none has more than one value.
    """
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
    return good
