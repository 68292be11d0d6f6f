"""From a run to a file: which tiles are computed, in what order, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .pipeline import Run
from .sinks import Sink
from .tiling import Tile


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run stands.

    Attributes
    ----------
    stage : str
        ``"statistics"``, ``"fuse"`` or ``"write"``.
    done, total : int
        Units of this stage: passes, tiles, files. A run that is continued does not start at 0.
    message : str
        For people; may be empty.
    """

    stage: str
    done: int
    total: int
    message: str = ""


Progress = Callable[[ProgressEvent], None]


def fuse_tiles(run: Run, sink: Sink, tell: Progress) -> None:
    """Compute the tiles that the sink does not have yet, one after the other.

    A tile is recorded before `tell` hears of it: what `tell` raises loses nothing.
    """
    todo = [tile for tile in run.plan if _corner(tile) not in sink.finished]
    total = len(run.plan)
    for done, tile in enumerate(todo, total - len(todo)):
        tell(ProgressEvent("fuse", done, total))
        corner = _corner(tile)
        sink.write(run.tile(*tile.index), *corner)
        sink.record(*corner)
    tell(ProgressEvent("fuse", total, total))


def _corner(tile: Tile) -> tuple[int, int]:
    return tile.core[0].start, tile.core[1].start
