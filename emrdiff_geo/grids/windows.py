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


def _grown(span: slice, margin: int, length: int) -> tuple[slice, slice]:
    grown = slice(max(span.start - margin, 0), min(span.stop + margin, length))
    return grown, slice(span.start - grown.start, span.stop - grown.start)
