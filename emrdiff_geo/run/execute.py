"""From a run to a file: which tiles are computed, in what order, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from ..grids.tiling import Tile
from ..writing.sinks import Sink
from .pipeline import Run
from .workers import Job, Scheduler, computed, corner

#: Stages whose units are tiles that are recorded.
TILED = ("sharpen", "fuse")


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run stands.

    Attributes
    ----------
    stage : str
        ``"statistics"``, ``"sharpen"`` (coarse MSI bands, see `sharpening`), ``"fuse"`` or
        ``"write"``.
    done, total : int
        Units of this stage: passes, tiles, files. A run that is continued does not start at 0.
    message : str
        For people; may be empty.
    pixels : int
        Pixels of the result that are done, while tiles are fused.
    """

    stage: str
    done: int
    total: int
    message: str = ""
    pixels: int = 0


Progress = Callable[[ProgressEvent], None]


def fuse_tiles(run: Run, sink: Sink, tell: Progress, scheduler: Scheduler = None) -> None:
    """Compute the tiles that the sink does not have yet.

    A tile is recorded before `tell` hears of it: what `tell` raises loses nothing.

    Parameters
    ----------
    run : Run
    sink : Sink
        Opened by this process.
    tell : callable
        Told the number of finished tiles, also before the first and after the last.
    scheduler : optional
        See `workers.Scheduler`.
    """
    todo = [tile for tile in run.plan if corner(tile) not in sink.finished]
    total, height, width = len(run.plan), *run.plan.target
    pixels = height * width - sum(map(_pixels, todo))
    tell(ProgressEvent("fuse", total - len(todo), total, pixels=pixels))
    with closing(computed(Job(run, sink), todo, scheduler)) as tiles:
        for done, tile in enumerate(tiles, total - len(todo) + 1):
            sink.record(*corner(tile))
            pixels += _pixels(tile)
            tell(ProgressEvent("fuse", done, total, pixels=pixels))


def _pixels(tile: Tile) -> int:
    return len(tile.core[0]) * len(tile.core[1])
