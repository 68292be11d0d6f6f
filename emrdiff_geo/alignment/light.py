"""The same light in both images: the MSI follows the HSI where the two differ slowly.

Two images of a place are seldom taken at one time, by one sun and through the same air, and no two
calibrations agree. What changes slowly over the ground by such causes is no detail, but the
statistics take it for noise of the MSI, and methods for structure. So it is taken out first, a
relative radiometric normalisation that needs no invariant pixels: the response of the MSI's bands,
as the HSI explains them over the whole scene, tells what each cell of some HSI pixels should show;
the quotient of that and of what it shows, interpolated between the cells, is a gain on the MSI.

No band of the HSI is touched: its radiometry is the result's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..degradation.degrade import Degradation
from ..grids.pair import Pair
from ..grids.sources import Altered
from ..grids.windows import Window
from ..scene.nodata import fill_invalid
from ..scene.statistics import Over, SceneStatistics, degraded_block
from ..system.threads import one_blas_thread
from .cells import cell_edge, scene_sums, summed

log = logging.getLogger(__name__)

#: What is added to both sides of the quotient, relative to the band's mean: dark cells tell little.
DARK = 0.02
#: Least mean of a band of which a gain makes sense, relative to its standard deviation.
BRIGHT = 0.3
#: Least share of a cell's pixels that both images must show; else the nearest cell stands for it.
SHOWN = 0.25
#: Largest gain, and the inverse of the least.
LARGEST = 2.0
#: Deviation of all gains from 1 below which the MSI stays as it is: noise makes the images differ
#: too, but not slowly over the ground.
SLIGHT = 0.005


@dataclass(frozen=True, eq=False)
class LitSource(Altered):
    """An MSI in the light of its HSI.

    Parameters
    ----------
    source : Source
        The MSI on the pair's fine grid.
    gains : ndarray
        ``(s, n, m)`` float32, one for each cell.
    edge : int
        Of a cell, MSI pixels.
    """

    gains: np.ndarray
    edge: int

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        values = self.source.read(rows, cols)
        values *= _between(_between(self.gains, rows, self.edge, 1), cols, self.edge, 2)
        return values


def _between(gains: np.ndarray, span: slice, edge: int, axis: int) -> np.ndarray:
    """Interpolate gains linearly along an axis, at the pixels of a span."""
    last = gains.shape[axis] - 1
    place = np.clip((np.arange(span.start, span.stop) + 0.5) / edge - 0.5, 0, last)
    before = np.minimum(place.astype(int), max(last - 1, 0))
    share = np.expand_dims((place - before).astype(np.float32), 0 if axis == 2 else (0, 2))
    first, second = (np.take(gains, i, axis) for i in (before, np.minimum(before + 1, last)))
    # In place: for a window of the MSI these are as large as itself.
    second -= first
    second *= share
    second += first
    return second


def in_same_light(pair: Pair, statistics: SceneStatistics, over: Over = map) -> Pair:
    """The pair with its MSI in the light of its HSI.

    Parameters
    ----------
    pair : Pair
    statistics : SceneStatistics
        Of the pair.
    over : callable
        Where it is measured, see `statistics.Over`; both images are read once.
    """
    if statistics.agree:
        return pair
    gains = measure_gains(pair, statistics, over)
    if np.abs(gains - 1).max() < SLIGHT:
        return pair
    note = (
        "The MSI was brought to the light of the HSI: by "
        f"{100 * np.sqrt(np.mean(np.square(gains - 1))):.1f} % on the mean, between the factors "
        f"{gains.min():.2f} and {gains.max():.2f}."
    )
    log.info(note)
    lit = LitSource(pair.msi, gains, cell_edge(pair.lr_shape) * pair.ratio)
    return replace(pair, msi=lit, notes=(*pair.notes, note))


def measure_gains(pair: Pair, statistics: SceneStatistics, over: Over = map) -> np.ndarray:
    """Gains ``(s, n, m)`` float32 of cells of `cell_edge` HSI pixels a side.

    They are of what the HSI's PSF makes of the MSI; means of its own pixels lose 0.5 dB where the
    images agree. A second round gains 0.5 dB on scenes with haze or another sun and loses 0.1 dB
    with patches that changed.
    """
    edge = cell_edge(pair.lr_shape)
    measure = partial(_cells, pair, _Expectation.of(statistics), edge)
    found = scene_sums(pair.lr_shape, edge, measure, over)
    sums, counts = found[:-1].reshape(2, pair.n_msi, *found.shape[1:]), found[-1]
    sums += DARK * np.abs(statistics.msi_mean)[:, None, None] * np.maximum(counts, 1)
    expected, seen = sums
    contrast = np.sqrt(np.diag(statistics.msi_covariance))
    bright = (statistics.msi_mean > BRIGHT * contrast)[:, None, None] & (seen > 0)
    gains = np.divide(expected, seen, out=np.ones_like(seen), where=bright)
    gains = np.clip(gains, 1 / LARGEST, LARGEST).astype(np.float32)
    gains[:, counts < SHOWN * edge**2] = np.nan
    if np.isnan(gains).all():
        return np.ones_like(gains)
    return fill_invalid(gains)[0]


@dataclass(frozen=True)
class _Expectation:
    """What the HSI lets expect of the degraded MSI: all that a block needs of the statistics."""

    degradation: Degradation
    good: np.ndarray
    response: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, statistics: SceneStatistics) -> _Expectation:
        response = statistics.msi_response.astype(np.float32)
        offset = statistics.msi_offset.astype(np.float32)[:, None, None]
        return cls(statistics.degradation, statistics.good, response, offset)


@one_blas_thread()
def _cells(pair: Pair, known: _Expectation, edge: int, block: Window) -> np.ndarray:
    """Sums ``(2 s + 1, n, m)`` over the cells of a block.

    What the bands should show, what they show, and the number of pixels.
    """
    seen, valid, *_ = degraded_block(pair.msi.read, *block, pair.lr_shape, known.degradation)
    hsi = pair.hsi.read(*block)[known.good]
    valid &= np.isfinite(hsi).all(axis=0)
    expected = np.tensordot(known.response, hsi, axes=1) + known.offset
    values = np.concatenate([np.maximum(expected, 0), seen])
    return summed(np.concatenate([np.where(valid, values, 0), valid[None]]), edge, block)
