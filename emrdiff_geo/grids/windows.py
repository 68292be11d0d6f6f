"""Rectangles of an image, one after the other, and what lies around them."""

from __future__ import annotations

from collections.abc import Iterator

#: Rows and columns.
Window = tuple[slice, slice]


def blocks(shape: tuple[int, int], side: int | tuple[int, int]) -> Iterator[Window]:
    """Windows of at most `side` that cover a plane of `shape` without overlap, row by row."""
    height, width = (side, side) if isinstance(side, int) else side
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            bottom, right = min(top + height, shape[0]), min(left + width, shape[1])
            yield slice(top, bottom), slice(left, right)


def grow(window: Window, margin: int, shape: tuple[int, int]) -> tuple[Window, Window]:
    """A window with up to `margin` pixels around it, and where the window lies inside that."""
    (rows, row), (cols, col) = (
        _grown(span, margin, length) for span, length in zip(window, shape, strict=True)
    )
    return (rows, cols), (row, col)


def within(part: Window, frame: Window) -> Window:
    """A part of an image, counted from the first pixel of another one that holds it."""
    rows, cols = (
        slice((p.start or 0) - (f.start or 0), None if p.stop is None else p.stop - (f.start or 0))
        for p, f in zip(part, frame, strict=True)
    )
    return rows, cols


def coarser(part: Window, ratio: int) -> Window:
    """The LR pixels of a part in HR pixels, of whole LR pixels."""
    rows, cols = (slice(s.start // ratio, s.stop // ratio) for s in part)
    return rows, cols


def finer(part: Window, ratio: int) -> Window:
    """The HR pixels of a part in LR pixels."""
    rows, cols = (slice(s.start * ratio, s.stop * ratio) for s in part)
    return rows, cols


def _grown(span: slice, margin: int, length: int) -> tuple[slice, slice]:
    grown = slice(max(span.start - margin, 0), min(span.stop + margin, length))
    return grown, slice(span.start - grown.start, span.stop - grown.start)
