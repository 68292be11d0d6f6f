"""The flow: pair -> statistics -> plan -> fuse tiles. Everything a tile task needs is here.

A `Run` is small and picklable: sources that read windows, statistics, options, a tile plan. Any
process that has it can compute any tile, alone and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..alignment.measuring import measure_pair
from ..alignment.optics import AUTO
from ..alignment.wald import LARGEST, one_ratio_lower
from ..errors import InputError
from ..grids.pair import Pair
from ..grids.tiling import Span, TilePlan, plan_tiles
from ..grids.windows import Window, coarser, within
from ..methods import MethodOptions, Place, get_method
from ..methods.regression import filled_hsi
from ..scene.nodata import fill_invalid
from ..scene.statistics import Over, SceneStatistics
from ..scene.wald_pair import WaldPair
from ..system.room import Room
from ..system.threads import one_blas_thread


@dataclass(frozen=True)
class Run:
    """One fusion, ready to compute its tiles.

    Attributes
    ----------
    pair : Pair
        Both images on nested grids.
    statistics : SceneStatistics
        Of the whole scene.
    plan : TilePlan
        Tiles over the target.
    method : str
        Name in the registry.
    options : MethodOptions
        As prepared for this scene.
    pixels : (str, str)
        Digests of all pixels of the HSI and of the MSI.
    fill_gaps : bool
        Whether gaps of single bands stay filled in the result.
    room : Room
        Entered by whatever computes tiles: how many at once the memory of a process is meant for.
    """

    pair: Pair
    statistics: SceneStatistics
    plan: TilePlan
    method: str
    options: MethodOptions
    pixels: tuple[str, str] = ("", "")
    fill_gaps: bool = False
    room: Room = field(default_factory=Room)

    @one_blas_thread()
    def tile(self, row: int, col: int) -> np.ndarray:
        """Fuse one tile.

        Returns
        -------
        ndarray
            ``(L, h, w)`` float32 in the HSI's units, NaN where either image has no data, in bands
            that have none, and where single bands have none; with uncertainty ``(2 L, h, w)``, the
            image and then the standard deviation of its error.
        """
        tile = self.plan[row, col]
        rows, cols = tile.window
        hr, hr_valid = fill_invalid(self.pair.msi.read(rows.as_slice(), cols.as_slice()))
        window, good = (self._coarse(rows), self._coarse(cols)), self.statistics.good
        lr, lr_valid = fill_invalid(self.pair.hsi.read(*window)[good])
        whole, shown = lr, lr_valid
        if self.pair.whole is not None:
            whole, shown = fill_invalid(self.pair.whole.read(*window)[good])
        valid = hr_valid & self._fine(shown)
        parts = 2 if self.options.uncertainty else 1
        shape = (parts * self.pair.n_hsi, len(tile.core[0]), len(tile.core[1]))
        out = np.full(shape, np.nan, np.float32)
        valid = valid[tile.inner]
        if valid.any():
            lr = filled_hsi(lr, lr_valid, hr, hr_valid, self.statistics)
            images = self._fuse(lr, hr, Place(tile.origin, tile.inner))
            if (shown & ~lr_valid).any():
                apart = np.where(shown & ~lr_valid, whole - lr, 0)
                images = self._with_contradiction(images, apart, tile.inner)
            for image, part in zip(images, np.split(out, parts), strict=True):
                part[good] = np.where(valid, image, np.nan)
            if self.pair.broken is not None:
                lost = np.isnan(self.pair.broken.read(*window))
                self._leave_gaps(out, self._fine(lost)[:, *tile.inner])
        return out

    def _leave_gaps(self, out: np.ndarray, lost: np.ndarray) -> None:
        """Gaps of single bands ``(L, h, w)`` in what a tile computed; in place."""
        image, sigma = np.split(out, [len(lost)])
        if not self.fill_gaps:
            image[lost] = np.nan
        if len(sigma):
            sigma[lost] = np.nan

    def _fine(self, mask: np.ndarray) -> np.ndarray:
        """A mask of HSI pixels ``(..., h, w)`` on those of the MSI."""
        return mask.repeat(self.plan.ratio, axis=-2).repeat(self.plan.ratio, axis=-1)

    def _fuse(self, lr: np.ndarray, hr: np.ndarray, place: Place) -> tuple[np.ndarray, ...]:
        method = get_method(self.method)
        known = lr, hr, self.statistics, self.options, place
        if self.options.uncertainty and method.with_uncertainty is not None:
            return method.with_uncertainty(*known)
        return (method.fuse_tile(*known),)

    def _with_contradiction(
        self, images: tuple[np.ndarray, ...], apart: np.ndarray, inner: Window
    ) -> tuple[np.ndarray, ...]:
        """Fused images ``(L, y, x)`` with what the HSI alone shows, ``(L, h, w)``.

        How the MSI's detail there is to be taken nobody knows: the error may be as large as what
        the images differ by, or the scene's contrast.
        """
        image, *sigma = images
        image = image + self._between(apart, inner)
        contrast = np.sqrt(np.diag(self.statistics.covariance)[self.statistics.n_msi :])
        unsure = np.minimum(np.abs(apart), contrast[:, None, None].astype(np.float32))
        return image, *(np.hypot(s, self._between(unsure, inner)) for s in sigma)

    def _between(self, image: np.ndarray, inner: Window) -> np.ndarray:
        """An image ``(L, h, w)`` on straight lines between its pixels, a part in HR pixels."""
        ratio = self.plan.ratio
        shape = [n * ratio for n in image.shape[1:]]
        around = Place(inner=inner).around(shape, ratio, ratio)
        fine = self.statistics.degradation.up(image[:, *coarser(around, ratio)], "linear")
        return fine[:, *within(inner, around)]

    def _coarse(self, span: Span) -> slice:
        return slice(span.start // self.plan.ratio, span.stop // self.plan.ratio)


@one_blas_thread()
def prepare_run(
    pair: Pair,
    method: str,
    options: MethodOptions,
    *,
    psf: str = AUTO,
    normalise: bool = True,
    fill_gaps: bool = False,
    tile: int = 256,
    overlap: int | None = None,
    check_edge: int = LARGEST,
    over: Over = map,
    room: Room | None = None,
) -> Run:
    """Measure the scene and make a run ready, see `measure_pair`.

    Parameters
    ----------
    pair : Pair
        From `pair_scenes`.
    method : str
        Name in the registry.
    options : MethodOptions
        The user's choices.
    psf, normalise
        See `measure_pair`.
    fill_gaps : bool
        See `Run`.
    tile, overlap : int
        Core size and least margin of the tiles in HR pixels.
    check_edge : int
        Largest edge of the part of the scene that is fused one ratio lower, HSI pixels.
    over : callable
        Where the scene is measured, see `statistics.Over`.
    room : Room, optional
        See `Run`; by default tiles are computed side by side without a limit.

    Raises
    ------
    EmrdiffError
        If method, options or images do not go together.
    """
    chosen = get_method(method)
    plan = plan_tiles(pair, chosen.halo(pair.ratio) if overlap is None else overlap, tile)
    pair, measured = measure_pair(pair, psf=psf, normalise=normalise, over=over)
    statistics = measured.statistics
    if chosen.prepare is not None:
        lower = partial(_lower, pair, statistics, check_edge)
        options = chosen.prepare(options, statistics, lower)
    known = pair, statistics, plan, method, options, measured.pixels
    return Run(*known, fill_gaps, room or Room())


def _lower(
    pair: Pair, statistics: SceneStatistics, largest: int
) -> tuple[WaldPair, np.ndarray] | None:
    try:
        return one_ratio_lower(pair, statistics.degradation, statistics.good, largest)
    except InputError:
        return None
