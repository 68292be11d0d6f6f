"""The flow: pair -> statistics -> plan -> fuse tiles. Everything a tile task needs is here.

A `Run` is small and picklable: sources that read windows, statistics, options, a tile plan. Any
process that has it can compute any tile, alone and in any order.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from ._threads import one_blas_thread
from .agreement import agree_with_hsi
from .degrade import Degradation
from .errors import InputError
from .fingerprint import Witness
from .grid import Pair
from .methods import Method, MethodOptions, get_method
from .statistics import (
    SceneStatistics,
    WaldPair,
    fill_invalid,
    good_bands,
    scene_statistics,
)
from .tiling import Span, TilePlan
from .wald import one_ratio_lower

log = logging.getLogger(__name__)

#: Largest amplification of a tile's bytes while it is fused, measured on the methods' peaks.
WORKING_COPIES = 6


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
    """

    pair: Pair
    statistics: SceneStatistics
    plan: TilePlan
    method: str
    options: MethodOptions
    pixels: tuple[str, str] = ("", "")

    @one_blas_thread()
    def tile(self, row: int, col: int) -> np.ndarray:
        """Fuse one tile.

        Returns
        -------
        ndarray
            ``(L, h, w)`` float32 in the HSI's units, NaN where either image has no data, and in
            bands that have none; with uncertainty ``(2 L, h, w)``, the image and then the standard
            deviation of its error.
        """
        tile = self.plan[row, col]
        rows, cols = tile.window
        hr, hr_valid = fill_invalid(self.pair.msi.read(rows.as_slice(), cols.as_slice()))
        lr = self.pair.hsi.read(self._coarse(rows), self._coarse(cols))
        lr, lr_valid = fill_invalid(lr[self.statistics.good])
        ratio = self.plan.ratio
        valid = hr_valid & lr_valid.repeat(ratio, axis=0).repeat(ratio, axis=1)
        parts = 2 if self.options.uncertainty else 1
        shape = (parts * self.pair.n_hsi, len(tile.core[0]), len(tile.core[1]))
        out = np.full(shape, np.nan, np.float32)
        valid = valid[tile.inner]
        if valid.any():
            fused, *deviation = self._fuse(lr, hr, tile.origin)
            window = rows.as_slice(), cols.as_slice()
            fused = agree_with_hsi(fused, self.pair, *window, self.statistics.good)
            for image, part in zip((fused, *deviation), np.split(out, parts), strict=True):
                part[self.statistics.good] = np.where(valid, image[:, *tile.inner], np.nan)
        return out

    def _fuse(
        self, lr: np.ndarray, hr: np.ndarray, origin: tuple[int, int]
    ) -> tuple[np.ndarray, ...]:
        method = get_method(self.method)
        known = lr, hr, self.statistics, self.options, origin
        if self.options.uncertainty and method.with_uncertainty is not None:
            return method.with_uncertainty(*known)
        return (method.fuse_tile(*known),)

    def _coarse(self, span: Span) -> slice:
        return slice(span.start // self.plan.ratio, span.stop // self.plan.ratio)


def plan_tiles(pair: Pair, method: Method, tile: int, overlap: int | None) -> TilePlan:
    """Lay tiles over a pair's target; the overlap defaults to what the method needs.

    Raises
    ------
    MethodError
        If the tile or the overlap is too small.
    """
    halo = method.halo(pair.ratio) if overlap is None else overlap
    return TilePlan(pair.shape, pair.offset, pair.hr_shape, pair.ratio, tile, halo)


@one_blas_thread()
def prepare_run(
    pair: Pair,
    method: str,
    options: MethodOptions,
    *,
    psf: str = "gaussian",
    tile: int = 256,
    overlap: int | None = None,
) -> Run:
    """Measure the scene and make a run ready; reads the MSI once and the HSI twice.

    Parameters
    ----------
    pair : Pair
        From `pair_scenes`.
    method : str
        Name in the registry.
    options : MethodOptions
        The user's choices.
    psf : str
        PSF between the grids, see `Degradation`.
    tile, overlap : int
        Core size and least margin of the tiles in HR pixels.

    Raises
    ------
    EmrdiffError
        If method, options or images do not go together.
    """
    chosen = get_method(method)
    plan = plan_tiles(pair, chosen, tile, overlap)
    degradation = Degradation(pair.ratio, psf)
    bands = pair.hsi_bands
    good = good_bands(pair.hsi.read, pair.lr_shape, bands.good)
    if good.sum() < bands.good.sum():
        log.info("%d bands without data stay without data", bands.good.sum() - good.sum())
    hsi, msi = Witness(pair.hsi.read), Witness(pair.msi.read)
    statistics = scene_statistics(
        hsi,
        msi,
        pair.lr_shape,
        degradation,
        good=good,
        wavelength_nm=bands.wavelength_nm,
        fwhm_nm=bands.fwhm_nm,
    )
    if chosen.prepare is not None:
        options = chosen.prepare(options, statistics, lambda: _lower(pair, psf, good))
    return Run(pair, statistics, plan, method, options, (hsi.digest, msi.digest))


def _lower(pair: Pair, psf: str, good: np.ndarray) -> tuple[WaldPair, np.ndarray] | None:
    try:
        return one_ratio_lower(pair, psf, good)
    except InputError:
        return None


def working_memory(pair: Pair, plan: TilePlan) -> int:
    """Bytes that one tile needs while it is fused, estimated from the shapes alone."""
    height, width = plan.window_shape
    return 4 * height * width * (WORKING_COPIES * pair.n_hsi + pair.n_msi)


def describe_plan(pair: Pair, plan: TilePlan, method: str) -> dict[str, object]:
    """Grids, ratio, tiles and memory of a run, JSON-able, from headers alone."""
    height, width = pair.shape
    return {
        "method": method,
        "hsi": {"bands": pair.n_hsi, "shape": list(pair.lr_shape), "resampled": pair.resampled},
        "msi": {"bands": pair.n_msi, "shape": list(pair.hr_shape)},
        "ratio": pair.ratio,
        "result": {
            "bands": pair.n_hsi,
            "shape": [height, width],
            "crs": None if pair.target is None else str(pair.target.crs),
            "transform": None if pair.target is None else list(pair.target.affine[:6]),
            "gibibytes": round(4 * pair.n_hsi * height * width / 2**30, 3),
        },
        "tiles": {"count": len(plan), "core": plan.tile, "window": list(plan.window_shape)},
        "memory_per_tile_mib": math.ceil(working_memory(pair, plan) / 2**20),
        "notes": list(pair.notes),
    }
