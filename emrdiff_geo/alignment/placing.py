"""Where the HSI's pixels lie: registration that varies over the scene.

Terrain, attitude and orthorectification leave two images apart by some tenths of an HSI pixel, in
another direction here than there, and a tenth costs more than any choice of a method. What the HSI
lets expect of the MSI, less what its pixels see of it, is to first order the MSI's gradient times
the displacement (Lucas and Kanade, "An iterative image registration technique", IJCAI 1981). Least
squares over all bands, whitened by how far the images disagree anyway, give it in cells: for the
whole scene first, then for smaller and smaller surroundings, each held near to the one before as
far as the ground shows little. What is slowly different, such as light, has no part in it.

Nothing is resampled: the HSI's pixels keep their values, and what they see of the MSI is what lies
where they are (`own_pixels`). The result has the geometry of the MSI.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import ndimage

from ..degradation.degrade import Degradation
from ..grids.displacement import Displacement
from ..grids.pair import Pair
from ..grids.windows import Window, finer, grow
from ..scene.nodata import fill_invalid
from ..scene.statistics import SEEN, Over, SceneStatistics
from ..system.threads import one_blas_thread
from .cells import cell_edge, scene_sums, summed

#: Widths of the surroundings, standard deviations in cells; before them comes the whole scene. On
#: four scenes distorted by 0.35 HSI pixels RMS, 6 of these wide, the least of 2, 1 and 0.6 gave
#: 36.9, 42.5 and 43.0 dB, on three where it was 3 pixels wide 39.6, 43.4 and 45.3 dB.
WIDTHS = (4.0, 2.0, 1.0, 0.6)
#: Standard deviation of the displacement in surroundings from that in the larger ones, HSI pixels.
VARIES = 0.2
#: Observations that count as one, since what the images differ by is correlated.
CORRELATED = 4.0
#: Principal components of the HSI that tell what to expect of the MSI, beyond one for each of its
#: bands: more of them would take up what a displacement makes the images differ by. On four scenes
#: of `benchmarks.disagreement`, distorted by 0.35 HSI pixels, 12 in all gave 38.5, not 39.7 dB.
MORE = 2
#: Least variance of what is left of a band, relative to the MSI's.
TRACE = 1e-6
#: Share of what the images differ by that a displacement must explain to be believed, and that one
#: must which is left when some was found. On the scenes of `benchmarks.disagreement` distortions
#: explain 0.22 to 0.61 (0.03 where the scene has 12 x 12 HSI pixels), haze, another sun, changes
#: and noise 0.06 at most.
LEAST, NEXT = 0.1, 0.02
#: The same for a single band, which any displacement explains the better: four scenes under haze,
#: noise and with 60 grey levels have 0.24 at most, distortions 0.40 to 0.73, one of eight 0.22. Two
#: bands need half of it.
OF_ONE_BAND = 0.25
#: How much of what is found is applied. The HSI tells less of the MSI where it is displaced, so
#: that too little is found: with 1 it takes five rounds instead of three to come as far.
RELAXED = 1.5
#: Displacement that is not worth the trouble, HSI pixels.
SLIGHT = 0.005
#: Largest displacement that is believed at once, and in all, HSI pixels: true ones of 0.5 RMS come
#: to 1.5 at most, changes of the ground taken for them went on to 4.4.
LARGEST, FARTHEST = 1.0, 2.0
NOTE = "The HSI's pixels were found to lie"


def placed(pair: Pair, statistics: SceneStatistics, over: Over = map) -> Pair:
    """The pair with the HSI's pixels where the MSI shows what they see, or as it is.

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
    found, share = measure_displacement(pair, statistics, over)
    by_chance = 2 * CORRELATED / statistics.moments.count
    slight = np.sqrt(np.square(found.nodes).sum(axis=0).mean()) < SLIGHT * pair.ratio
    least = max(LEAST, OF_ONE_BAND / pair.n_msi) if pair.moved is None else NEXT
    if share < least + by_chance or slight:
        return pair
    moved = found if pair.moved is None else pair.moved.then(found)
    off = np.hypot(*moved.nodes) / pair.ratio
    if off.max() > FARTHEST:
        return pair
    note = (
        f"{NOTE} {np.sqrt(np.mean(np.square(off))):.2f} HSI pixels off their grid on the mean, "
        f"{off.max():.2f} at most: they are taken where they lie."
    )
    notes = (n for n in pair.notes if not n.startswith(NOTE))
    return replace(pair, moved=moved, notes=(*notes, note))


def placed_again(pair: Pair, statistics: SceneStatistics, over: Over = map) -> Pair:
    """The same once the light has been taken out, which hides displacements; if there are any.

    In that light alone some are seen where there are none: five scenes, with haze, lost 0.3 dB.
    """
    return pair if pair.moved is None else placed(pair, statistics, over)


def measure_displacement(
    pair: Pair, statistics: SceneStatistics, over: Over = map
) -> tuple[Displacement, float]:
    """Displacement of the HSI in cells of the scene, and what share of the differences it explains.

    Parameters
    ----------
    pair, statistics, over
        See `placed`.
    """
    edge = cell_edge(pair.lr_shape)
    measure = partial(_cells, pair, _Known.of(statistics), edge)
    sums = scene_sums(pair.lr_shape, edge, measure, over)
    nodes, share = _solved(sums, pair.n_msi, pair.ratio)
    return Displacement(nodes.astype(np.float32), edge * pair.ratio), share


@dataclass(frozen=True)
class _Known:
    """All that a block needs of the statistics.

    Attributes
    ----------
    degradation : Degradation
    good : ndarray
        ``(L,)`` bool.
    response, offset, white : ndarray
        ``(s, L)``, ``(s, 1, 1)``: the MSI from the HSI; ``(s, s)`` what makes the difference white.
    """

    degradation: Degradation
    good: np.ndarray
    response: np.ndarray
    offset: np.ndarray
    white: np.ndarray

    @classmethod
    def of(cls, statistics: SceneStatistics) -> _Known:
        s, covariance = statistics.n_msi, statistics.covariance
        values, vectors = np.linalg.eigh(covariance[s:, s:])
        kept = np.flatnonzero(values > 1e-9 * values[-1])[-(s + MORE) :]
        cross = covariance[:s, s:] @ vectors[:, kept]
        response = (cross / values[kept]) @ vectors[:, kept].T
        unseen = covariance[:s, :s] - (cross / values[kept]) @ cross.T
        root = np.linalg.cholesky(unseen + TRACE * np.trace(covariance[:s, :s]) / s * np.eye(s))
        offset = statistics.msi_mean - response @ statistics.hsi_mean
        parts = response, offset[:, None, None], np.linalg.inv(root)
        return cls(statistics.degradation, statistics.good, *(a.astype(np.float32) for a in parts))


@one_blas_thread()
def _cells(pair: Pair, known: _Known, edge: int, block: Window) -> np.ndarray:
    """Sums ``(1 + 3 s + 9, n, m)`` over the cells of a block.

    Of three images, the gradient of the MSI down and to the right and the difference: the number of
    pixels, the images, and their products.
    """
    degradation = known.degradation
    around, inner = grow(block, degradation.reach_down + 1, pair.lr_shape)
    msi, seen = fill_invalid(pair.msi.read(*finer(around, degradation.ratio)))
    hsi = pair.hsi.read(*block)[known.good]
    valid = degradation.down(seen.astype(np.float32))[inner] > SEEN
    valid &= np.isfinite(hsi).all(axis=0)
    down, right = (degradation.down(np.gradient(msi, axis=axis))[:, *inner] for axis in (1, 2))
    apart = np.tensordot(known.response, hsi, axes=1) + known.offset
    apart -= degradation.down(msi)[:, *inner]
    both = np.stack([np.tensordot(known.white, a, axes=1) for a in (down, right, apart)])
    both = np.where(valid, both, 0)
    products = np.einsum("ashw,bshw->abhw", both, both)
    parts = valid[None], both.reshape(-1, *valid.shape), products.reshape(-1, *valid.shape)
    return np.concatenate([summed(part, edge, block) for part in parts])


def _solved(sums: np.ndarray, n_msi: int, ratio: int) -> tuple[np.ndarray, float]:
    """Displacements ``(2, n, m)`` in fine pixels, and the share that they explain."""
    shape = sums.shape[1:]
    certain = np.eye(2) / (VARIES * ratio) ** 2
    found = np.zeros((*shape, 2))
    for width in (None, *WIDTHS):
        normal = _centred(_around(sums, width), n_msi)
        known, wanted = normal[..., :2, :2] / CORRELATED, normal[..., :2, 2] / CORRELATED
        wanted = wanted - np.einsum("...ij,...j->...i", known, found)
        found = found + np.linalg.solve(known + certain, wanted[..., None])[..., 0]
    squares = np.einsum("...i,...ij,...j->...", found, normal[..., :2, :2], found)
    explained = 2 * np.einsum("...i,...i->...", found, normal[..., :2, 2]) - squares
    all_of_it = normal[..., 2, 2].sum()
    share = float(explained.sum() / all_of_it) if all_of_it > 0 else 0.0
    return np.clip(RELAXED * np.moveaxis(found, -1, 0), -LARGEST * ratio, LARGEST * ratio), share


def _around(sums: np.ndarray, width: float | None) -> np.ndarray:
    """Sums over the surroundings of every cell."""
    if width is None:
        return np.broadcast_to(sums.sum(axis=(1, 2), keepdims=True), sums.shape)
    weighted = ndimage.gaussian_filter(sums, (0, width, width), mode="constant")
    return weighted * (2 * np.pi * width**2)


def _centred(sums: np.ndarray, n_msi: int) -> np.ndarray:
    """Normal equations ``(n, m, 3, 3)`` of the three images less their means."""
    count, first, products = np.split(sums, [1, 1 + 3 * n_msi])
    shape = sums.shape[1:]
    first = first.reshape(3, n_msi, *shape)
    means = first / np.maximum(count, 1)
    centred = products.reshape(3, 3, *shape) - np.einsum("as...,bs...->ab...", first, means)
    return np.moveaxis(centred, (0, 1), (-2, -1))
