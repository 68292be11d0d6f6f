"""Tiles: which window of the scene is read for which part of the result.

All windows live on the *frame*: the MSI grid padded to whole LR pixels, so that frame pixel
``ratio * i`` is the first row of LR row ``i``. The *target* is the part of the frame that the
user gets. A tile owns a *core* of the target (a chunk of the output) and reads a *window*: the
core plus a halo, snapped to LR pixels. Windows have one size; at the scene's end they shift back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MethodError

if TYPE_CHECKING:
    from .pair import Pair


@dataclass(frozen=True)
class Span:
    """Half-open interval of rows or columns."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def as_slice(self) -> slice:
        """The interval as a slice."""
        return slice(self.start, self.stop)

    def within(self, origin: int) -> slice:
        """The interval as a slice into something that starts at ``origin``."""
        return slice(self.start - origin, self.stop - origin)


@dataclass(frozen=True)
class Tile:
    """One unit of work.

    Attributes
    ----------
    index : (int, int)
        Row and column of the tile; also the index of its output chunk.
    core : (Span, Span)
        Rows and columns of the target that this tile writes.
    window : (Span, Span)
        Rows and columns of the frame that this tile reads; multiples of the ratio.
    inner : (slice, slice)
        Where the core lies in the window.
    """

    index: tuple[int, int]
    core: tuple[Span, Span]
    window: tuple[Span, Span]
    inner: tuple[slice, slice]

    @property
    def origin(self) -> tuple[int, int]:
        """Frame row and column of the window's first pixel."""
        return self.window[0].start, self.window[1].start


@dataclass(frozen=True)
class TilePlan:
    """A grid of tiles over the target.

    Parameters
    ----------
    target : (int, int)
        Height and width of the result in pixels.
    offset : (int, int)
        Frame row and column of the result's first pixel.
    frame : (int, int)
        Height and width of the frame; multiples of ``ratio``.
    ratio : int
        HR pixels per LR pixel.
    tile, halo : int
        Core size and the least margin read around it, in HR pixels.
    """

    target: tuple[int, int]
    offset: tuple[int, int]
    frame: tuple[int, int]
    ratio: int
    tile: int
    halo: int

    def __post_init__(self) -> None:
        if self.tile < 16 or self.halo < 0:
            raise MethodError(
                f"tiles of {self.tile} pixels with an overlap of {self.halo} cannot be used: "
                "choose a tile of at least 16 and an overlap of at least 0"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Number of tile rows and columns."""
        return math.ceil(self.target[0] / self.tile), math.ceil(self.target[1] / self.tile)

    @property
    def chunks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Heights and widths of the cores, as dask writes chunks."""
        return _chunks(self.target[0], self.tile), _chunks(self.target[1], self.tile)

    @property
    def window_shape(self) -> tuple[int, int]:
        """Height and width of every window."""
        return self._window_size(0), self._window_size(1)

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    def __iter__(self) -> Iterator[Tile]:
        rows, cols = self.grid
        for i in range(rows):
            for j in range(cols):
                yield self[i, j]

    def __getitem__(self, index: tuple[int, int]) -> Tile:
        spans = [self._spans(axis, i) for axis, i in enumerate(index)]
        (core_y, window_y, inner_y), (core_x, window_x, inner_x) = spans
        return Tile(index, (core_y, core_x), (window_y, window_x), (inner_y, inner_x))

    def _window_size(self, axis: int) -> int:
        # One LR pixel more than core and halos need, since the core may start inside an LR pixel.
        size = (math.ceil((self.tile + 2 * self.halo) / self.ratio) + 1) * self.ratio
        return min(size, self.frame[axis])

    def _spans(self, axis: int, i: int) -> tuple[Span, Span, slice]:
        core = Span(i * self.tile, min((i + 1) * self.tile, self.target[axis]))
        size, shift = self._window_size(axis), self.offset[axis]
        wanted = (core.start + shift - self.halo) // self.ratio * self.ratio
        start = max(0, min(wanted, self.frame[axis] - size))
        in_frame = Span(core.start + shift, core.stop + shift)
        return core, Span(start, start + size), in_frame.within(start)


def _chunks(size: int, tile: int) -> tuple[int, ...]:
    full, rest = divmod(size, tile)
    return (tile,) * full + ((rest,) if rest else ())


def plan_tiles(pair: Pair, halo: int, tile: int) -> TilePlan:
    """Lay tiles over a pair's target.

    Raises
    ------
    MethodError
        If the tile or the halo is too small.
    """
    return TilePlan(pair.shape, pair.offset, pair.hr_shape, pair.ratio, tile, halo)
