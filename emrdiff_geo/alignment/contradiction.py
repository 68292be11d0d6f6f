"""Where one image shows what the other does not: clouds and their shadows, floods, new buildings.

The statistics of a scene, and what a window learns from the pixels in it, go wrong far beyond such
a place: with clouds over a tenth of one of the two images the process was 5 to 15 dB worse where
both are clear. So HSI pixels that the MSI contradicts are gaps in the HSI for all that is measured
and learned, and are filled as gaps are. What they differ by from the filling is added to the
result, smoothly: there it shows what the HSI saw.

The pixels of a cloud are not repaired: where the HSI has it the result shows it, and where the MSI
has it, what the HSI shows of the ground, with the MSI's detail of the cloud.

A pixel is contradicted where the response of the MSI's bands, as the HSI explains them, is far off
what the MSI shows: in units of what is usual for the pair, and by a factor that no haze or other
sun explains, which `light` deals with. What is usual, and the response itself, are those of the
pixels that agree best: a least trimmed squares regression (Rousseeuw and Van Driessen, "Computing
LTS regression for large data sets", Data Mining and Knowledge Discovery 12, 2006) on some windows.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from ..grids.pair import Pair
from ..grids.sources import Altered, ResampledSource, Source
from ..grids.windows import Window, blocks, grow
from ..scene.statistics import SceneStatistics
from ..system.threads import one_blas_thread
from .own_pixels import OwnPixels, plain_hsi
from .seen import Kernels, kernels_of
from .shift import scattered_windows

log = logging.getLogger(__name__)

#: Edge of a window, HSI pixels, and windows that are enough; fewest pixels that can tell what is
#: usual, and about as many as are asked.
EDGE, ENOUGH, LEAST, MOST = 64, 9, 100, 8192
#: Principal components of the HSI that explain the MSI, beside as many as that has bands.
MORE = 4
#: Share of the pixels that are taken to agree, and rounds until they are found.
AGREEING, ROUNDS = 0.6, 12
#: Deviation from which on a pixel is contradicted, relative to what is usual, and the part of the
#: MSI's standard deviation that is usual anyway. It has to be by a factor, too: one image is
#: brighter than the other lets expect, by more than this share of the darker of the two. On four
#: scenes with clouds (`benchmarks.clouds`) shares of 0.3, 0.5 and 0.8 gain 9.1, 9.1 and 8.9 dB
#: (local regression); on five with haze, other sun, changes and distortions
#: (`benchmarks.disagreement`) 0.3 loses 0.1 dB once, 0.5 and 0.8 nothing; without a factor haze and
#: changes lost 1 to 3 dB.
GROSS, USUAL, FACTOR = 5.0, 0.1, 0.5
#: What a line through all pixels must leave of those that do not agree, in standard deviations of
#: the MSI, and times what is usual. Of 90 drawn pairs without clouds, of 28 scenes, two had been
#: taken for clouded, which lost 2 to 7 dB: 0.04 and 0.11; those with clouds have 0.2 to 1.2.
OTHERS, FURTHER = 0.15, 3.0
#: Edge of the least body of such pixels: distortions, which leave lines along edges, lost 1.8 dB.
#: With 3 instead of 2, clouds of some 20 pixels were missed, which cost 1.4 dB on the mean.
BODY = 2
#: Clouds have no sharp edge: around a body others are contradicted from this deviation on, for
#: which so much is usual anyway, and in any case those next to it.
SLIGHT, LITTLE, AROUND = 1.5, 0.03, 6
#: Shares of contradicted pixels, with those around them, that are worth the trouble, and that leave
#: too little to go by.
FEW, MANY = 0.002, 0.4
#: Standard deviation of a band under which it is rounding, relative to its largest value.
ROUNDING = 1e-6
NOTE = (
    "The images contradict each other in places, as where a cloud is in one of them: there the "
    "result follows the HSI; mark such places as nodata to have them left out."
)
TOO_MANY = (
    "The images contradict each other in a large part of the scene: mark clouds as nodata, or take "
    "images of the same state of the ground."
)


@dataclass(frozen=True)
class Expectation:
    """What the HSI lets expect of the MSI where the two agree.

    Attributes
    ----------
    response, offset : ndarray
        ``(s, L)`` and ``(s,)``: the MSI's bands from the HSI's.
    spread, contrast : ndarray
        ``(s,)`` standard deviations of what that leaves, and of the MSI; its units. Infinite for a
        band of one value, which says nothing.
    usual_msi, usual_hsi : ndarray
        ``(s,)`` and ``(L,)`` medians of the pixels that agree best.
    """

    response: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    contrast: np.ndarray
    usual_msi: np.ndarray
    usual_hsi: np.ndarray

    @classmethod
    def of(cls, msi: np.ndarray, hsi: np.ndarray) -> Expectation:
        """Least trimmed squares on pixels ``(s, n)`` and ``(L, n)``, float64; float32."""
        mean, axes, known = _components(hsi, len(msi) + MORE)
        unit = _contrast(msi)[:, None]
        ranks = _rank(msi), _rank(hsi)
        # Clouds are bright and shadows dark in one of the images: others to begin with.
        starts = np.abs(np.subtract(*ranks)), np.maximum(*ranks), -np.minimum(*ranks)
        line, kept = min((_trimmed(msi, unit, known, s) for s in starts), key=lambda f: f[0])[1:]
        left = msi - line @ known
        response = line[:, 1:] @ axes
        found = cls(
            response=response,
            offset=line[:, 0] - response @ mean[:, 0],
            # Of a normal distribution from the median of its sizes.
            spread=1.4826 * np.median(np.abs(left), axis=1),
            contrast=_contrast(msi[:, kept]),
            usual_msi=np.median(msi[:, kept], axis=1),
            usual_hsi=np.median(hsi[:, kept], axis=1),
        )
        return cls(*(getattr(found, field.name).astype(np.float32) for field in fields(cls)))

    def is_needed(self, msi: np.ndarray, hsi: np.ndarray) -> bool:
        """Whether no line through all pixels ``(s, n)`` and ``(L, n)`` serves all of them.

        Where most of a scene is dark, say, those that agree best may know nothing of its colours.
        """
        known = _components(hsi, len(msi) + MORE)[-1]
        left = msi - self.response @ hsi - self.offset[:, None]
        agreeing = self._apart(left[:, None], USUAL)[0] < 1
        through_all = msi - np.linalg.lstsq(known.T, msi.T, rcond=1e-9)[0].T @ known
        unit = _contrast(msi)[:, None]
        usual, others = (
            float(np.sqrt(np.square((rest / unit)[:, part]).mean())) if part.any() else 0.0
            for rest, part in ((left, agreeing), (through_all, ~agreeing))
        )
        return others > max(OTHERS, FURTHER * usual)

    def contradicted(self, msi: np.ndarray, hsi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the pixels ``(s, h, w)`` and ``(L, h, w)`` are, grossly and at least slightly.

        NaN contradicts nothing.
        """
        expected = np.tensordot(self.response, hsi, axes=1) + self.offset[:, None, None]
        left, darker = np.abs(msi - expected), np.minimum(np.abs(msi), np.abs(expected))
        unknown, unit = np.isnan(left).any(axis=0), self._usual(1)
        by_factor = (left / unit).sum(axis=0) > FACTOR * (darker / unit).sum(axis=0)
        # Of spectra unlike all that agree the response knows nothing; their brightness tells.
        bright = _brightness(msi, self.usual_msi), _brightness(hsi, self.usual_hsi)
        by_factor |= np.maximum(*bright) > (1 + FACTOR) * np.abs(np.minimum(*bright))
        gross = (self._apart(left, USUAL) > GROSS**2) & by_factor
        # What is not known is not in the way of a body.
        gross &= ndimage.binary_opening(gross | unknown, np.ones((BODY, BODY)))
        return gross, self._apart(left, LITTLE) > SLIGHT**2

    def _apart(self, left: np.ndarray, part: float) -> np.ndarray:
        """Mean square over the bands that tell something, in units of what is usual."""
        told = max(int(np.isfinite(self.contrast).sum()), 1)
        return np.square(left / self._usual(part)).sum(axis=0) / told

    def _usual(self, part: float) -> np.ndarray:
        """``(s, 1, 1)`` deviations that are usual where pixels agree."""
        return _positive(np.hypot(self.spread, part * self.contrast))[:, None, None]


@dataclass(frozen=True, eq=False)
class AgreeingSource(Altered):
    """An HSI on its own grid where its MSI does not contradict it; NaN elsewhere.

    Parameters
    ----------
    source : Source
        The HSI on its own grid.
    msi : Source
        On the frame.
    own : OwnPixels
        Where the HSI's pixels lie on that.
    kernels : (ndarray, ndarray)
        From `kernels_of`.
    good : ndarray
        ``(L,)`` bool: bands that are used.
    expectation : Expectation
    """

    msi: Source
    own: OwnPixels
    kernels: Kernels
    good: np.ndarray
    expectation: Expectation

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        wider, inner = grow((rows, cols), AROUND + BODY, self.shape[1:])
        hsi = self.source.read(*wider)
        msi = self.own.see(self.msi, *self.own.counted(wider), self.kernels)
        gross, slight = self.expectation.contradicted(msi, hsi[self.good])
        beside, around = (
            ndimage.binary_dilation(gross, np.ones((2 * n + 1,) * 2)) for n in (1, AROUND)
        )
        found = hsi[:, *inner].copy()
        found[:, (beside | around & slight)[inner]] = np.nan
        return found


def reconciled(pair: Pair, statistics: SceneStatistics) -> Pair:
    """The pair with the pixels set aside in which its images contradict each other, if there are.

    Parameters
    ----------
    pair : Pair
    statistics : SceneStatistics
        Of the pair.
    """
    if statistics.agree:
        return pair
    found = _looked_at(pair, statistics)
    if found is pair:
        return pair
    log.info(NOTE)
    return replace(found, notes=(*pair.notes, NOTE))


def reconciled_again(pair: Pair, statistics: SceneStatistics) -> Pair:
    """The same by what was measured on what agrees, if the PSF or the pixels' places are others."""
    if pair.whole is None:
        return pair
    before = OwnPixels.of(pair).source
    same = all(map(np.array_equal, before.kernels, kernels_of(statistics.degradation)))
    if same and before.own.moved is pair.moved:
        return pair
    found = _looked_at(pair, statistics)
    if found.whole is not None:
        return found
    log.info("Seen through the PSF that was measured since, they do not contradict each other.")
    return replace(found, notes=tuple(note for note in found.notes if note != NOTE))


def _looked_at(pair: Pair, statistics: SceneStatistics) -> Pair:
    given = pair if pair.whole is None else replace(pair, hsi=pair.whole, whole=None)
    own, kernels, good = OwnPixels.of(given), kernels_of(statistics.degradation), statistics.good
    msi, hsi = _samples(given, own, kernels, good)
    if msi.shape[1] < LEAST:
        return given
    expectation = Expectation.of(msi, hsi)
    if not expectation.is_needed(msi, hsi):
        return given
    agreeing = AgreeingSource(own.source, given.msi, own, kernels, good, expectation)
    missing = _missing(agreeing)
    if missing > MANY:
        log.warning(TOO_MANY)
    if not FEW <= missing <= MANY:
        return given
    plain = plain_hsi(given)
    if not isinstance(plain, ResampledSource):
        return replace(given, hsi=agreeing, whole=given.hsi)
    return replace(given, hsi=replace(plain, source=agreeing), whole=plain)


def _windows(own: OwnPixels) -> Iterator[Window]:
    """Windows on a lattice over the scene; all of a small one, where those would overlap."""
    if math.prod(own.shape) <= ENOUGH * EDGE**2:
        return blocks(own.shape, EDGE)
    return itertools.islice(scattered_windows(own.shape, EDGE), ENOUGH)


@one_blas_thread()
def _samples(
    pair: Pair, own: OwnPixels, kernels: Kernels, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What own pixels see of the MSI and what they show, ``(s, n)`` and ``(L, n)`` float64."""
    found = []
    step = -(-min(math.prod(own.shape), ENOUGH * EDGE**2) // MOST)
    for window in _windows(own):
        found.append(own.samples(pair.msi, window, kernels, good)[:, ::step])
    both = np.concatenate(found, axis=1).astype(np.float64)
    return both[: pair.n_msi], both[pair.n_msi :]


@one_blas_thread()
def _missing(agreeing: AgreeingSource) -> float:
    """Share of the HSI's pixels that are contradicted, on some windows."""
    own, part = agreeing.own, replace(agreeing.own, source=agreeing)
    counts = np.zeros(2)
    for window in _windows(own):
        there = [np.isfinite(o.read(*window)).any(axis=0).sum() for o in (own, part)]
        counts += there
    return 1 - counts[1] / max(counts[0], 1)


def _trimmed(
    wanted: np.ndarray, unit: np.ndarray, known: np.ndarray, apart: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Least trimmed squares ``(s, k)`` of ``(s, n)``, in units ``(s, 1)``, on ``(k, n)``.

    Before it comes the mean square of what it leaves of the pixels that are kept, after it which
    these are; `apart` ``(n,)`` is least for those to begin with.
    """
    count = max(int(AGREEING * wanted.shape[1]), len(known) + 1)
    for number in range(ROUNDS):
        # A few that do not agree, once they are in, draw the line to them: so begin with fewer.
        kept = np.argsort(apart, kind="stable")[: count if number else max(count // 3, len(known))]
        line = np.linalg.lstsq(known[:, kept].T, wanted[:, kept].T, rcond=1e-9)[0].T
        apart = np.square((wanted - line @ known) / unit).mean(axis=0)
    return float(np.sort(apart)[:count].mean()), line, kept


def _components(hsi: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean ``(L, 1)`` and axes ``(k, L)`` of ``(L, n)``; ones and its components ``(1 + k, n)``."""
    mean = hsi.mean(axis=1, keepdims=True)
    axes = np.linalg.eigh((hsi - mean) @ (hsi - mean).T)[1][:, ::-1][:, :count].T
    return mean, axes, np.concatenate([np.ones((1, hsi.shape[1])), axes @ (hsi - mean)])


def _rank(image: np.ndarray) -> np.ndarray:
    """Rank ``(n,)`` of the brightness of pixels ``(b, n)``, all bands alike."""
    return rankdata((image / _contrast(image)[:, None]).mean(axis=0))


def _contrast(image: np.ndarray) -> np.ndarray:
    """Standard deviation ``(b,)`` of pixels ``(b, n)``; infinite where it is rounding."""
    deviation, size = image.std(axis=1), np.abs(image).max(axis=1)
    return np.where(deviation > ROUNDING * size, deviation, np.inf)


def _brightness(image: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Mean of bands ``(b, h, w)`` relative to positive medians; NaN where there are none."""
    positive = usual > 0
    if not positive.any():
        return np.full(image.shape[1:], np.nan)
    return (image[positive] / usual[positive, None, None]).mean(axis=0)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, np.finfo(np.float32).tiny)
