"""A pair whose reference is known, as Wald's protocol and simulations give it: arrays alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..grids.windows import finer
from .statistics import SceneStatistics


@dataclass(frozen=True)
class WaldPair:
    """A pair with its reference, in memory and without nodata.

    Attributes
    ----------
    lr, hr, reference : ndarray
        ``(L, h, w)``, ``(s, r h, r w)`` and ``(L, r h, r w)`` float32.
    statistics : SceneStatistics
        Of the pair.
    """

    lr: np.ndarray
    hr: np.ndarray
    reference: np.ndarray
    statistics: SceneStatistics


def central_part(pair: WaldPair, valid: np.ndarray, largest: int) -> tuple[WaldPair, np.ndarray]:
    """The middle of a pair and of its valid pixels, of at most `largest` pixels a side.

    The statistics stay those of the whole.
    """
    r = pair.statistics.ratio
    coarse = tuple(central(n, max(largest // r, 1)) for n in pair.lr.shape[1:])
    fine = finer(coarse, r)
    part = WaldPair(
        pair.lr[:, *coarse], pair.hr[:, *fine], pair.reference[:, *fine], pair.statistics
    )
    return part, valid[fine]


def central(size: int, largest: int) -> slice:
    """The middle pixels of an axis, at most so many."""
    length = min(size, largest)
    start = (size - length) // 2
    return slice(start, start + length)
