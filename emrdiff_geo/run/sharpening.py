"""A fusion before the fusion: MSI bands of coarser pixels, sharpened by the finer ones.

What `alignment.coarse_bands` finds is an HSI of few bands on a grid of its own, and the other bands
are its MSI: a pair like any other, fused by the Gaussian process, which needs no wavelengths.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..alignment.coarse_bands import CoarseBands, coarse_bands, fine_bands, sentence
from ..grids.pair import Pair
from ..grids.sources import Altered, ArraySource, BandsSource, MeansSource, Source, WindowSource
from ..methods import MethodOptions
from ..spectra.bands import BandInfo
from ..system.machine import cores
from ..system.room import Room
from ..writing.sinks import Sink
from .execute import Progress, fuse_tiles
from .memory import Case, fit
from .pipeline import Run, prepare_run
from .workers import Threads, Workers, at_once, is_client, mapped

log = logging.getLogger(__name__)

METHOD = "gaussian_process"


class Store(Sink, Protocol):
    """A sink whose image can be read while it is open."""

    def source(self) -> Source:
        """The image, once all regions are written."""


#: Makes a store for the tiles of a run, the n-th of this fusion.
OpenStore = Callable[[Run, int], Store]


class HeldStore:
    """Keeps an image in the memory of this process."""

    finished: frozenset[tuple[int, int]] = frozenset()

    def __init__(self, run: Run, _: int = 0) -> None:
        self.chunks = run.plan.tile, run.plan.tile
        self._image = np.full((run.pair.n_hsi, *run.pair.shape), np.nan, np.float32)

    def write(self, block: np.ndarray, row: int, col: int) -> None:
        """See `Sink.write`."""
        height, width = block.shape[1:]
        self._image[:, row : row + height, col : col + width] = block

    def record(self, row: int, col: int) -> None:
        """Nothing is kept of a run that ends."""

    def source(self) -> Source:
        """See `Store.source`."""
        return ArraySource(self._image)


@dataclass(frozen=True, eq=False)
class SharpenedSource(Altered):
    """An MSI some of whose bands come from elsewhere, but for their gaps.

    Parameters
    ----------
    source : Source
    bands : tuple of int
    sharp : Source
        These bands, on the same grid.
    """

    bands: tuple[int, ...]
    sharp: Source

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        image = self.source.read(rows, cols)
        bands = list(self.bands)
        sharp = self.sharp.read(rows, cols)
        image[bands] = np.where(np.isfinite(image[bands]), sharp, np.nan)
        return image


def sharpened(
    pair: Pair,
    workers: Workers,
    open_store: OpenStore = HeldStore,
    *,
    tile: int | None = None,
    budget: int | None = None,
    tell: Progress = lambda event: None,
) -> Pair:
    """The pair with all bands of its MSI as fine as the finest; as it is where they are.

    Parameters
    ----------
    pair : Pair
    workers : Workers
        Where it is done.
    open_store : callable
        Where the sharpened bands are put; it has to stay open as long as the pair is read.
    tile : int, optional
        Edge of the tiles; by default what fits.
    budget : int, optional
        Bytes that may be allocated.
    tell : callable
        Told of every tile.
    """
    if open_store is HeldStore and is_client(workers):
        workers = Threads(cores())  # other processes do not reach this one's memory
    found = coarse_bands(pair)
    fine = fine_bands(pair, found)
    result = pair
    for number, kind in enumerate(found):
        note = sentence(kind, "sharpened by the other bands first")
        log.info(note)
        run, its = _run(_as_pair(pair, kind, fine), workers, tile, budget)
        store = open_store(run, number)
        fuse_tiles(run, store, lambda event: tell(replace(event, stage="sharpen")), its)
        sharp = SharpenedSource(result.msi, kind.bands, store.source())
        result = replace(result, msi=sharp, notes=(*result.notes, note))
    return result


def _as_pair(pair: Pair, kind: CoarseBands, fine: np.ndarray) -> Pair:
    """The coarse bands of an MSI as the HSI of a pair, the fine ones as its MSI."""
    ratio, shape = kind.factor, pair.hr_shape
    # Whole coarse pixels around the image; what is missing to them is nodata.
    before = [-phase % ratio for phase in kind.phase]
    size = tuple(-(-(n + b) // ratio) * ratio for n, b in zip(shape, before, strict=True))
    frame = WindowSource(pair.msi, -before[0], -before[1], (size[0], size[1]))
    bands = list(kind.bands)
    unknown = [BandInfo(None, None, np.ones(len(b), bool)) for b in (bands, fine)]
    return Pair(
        hsi=MeansSource(BandsSource(frame, np.array(bands)), ratio),
        msi=BandsSource(frame, fine),
        ratio=ratio,
        target=None,
        offset=(before[0], before[1]),
        shape=shape,
        hsi_bands=unknown[0],
        msi_bands=unknown[1],
    )


def _run(pair: Pair, workers: Workers, tile: int | None, budget: int | None) -> tuple[Run, Workers]:
    """The run that sharpens, and the workers that its memory allows."""
    options = MethodOptions()
    found = fit(
        pair,
        Case.of(pair, METHOD, options),
        budget,
        tile=tile,
        at_once=at_once(workers),
        here=not is_client(workers),
    )
    if isinstance(workers, Threads):
        workers = Threads(found.at_once)
    room = Room(found.at_once)
    # One instrument saw all bands in one light: nothing is to be made to agree.
    run = prepare_run(
        pair,
        METHOD,
        options,
        normalise=False,
        tile=found.tile,
        over=mapped(workers, room),
        room=room,
    )
    return run, workers
