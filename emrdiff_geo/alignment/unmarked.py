"""Nodata that nobody declared: the corners of a rotated image, filled with zeros.

A file without a nodata value shows ground of no light there, with a hard edge that no method
follows. What is 0 in every band at a corner stands for nodata, and so do all bodies of such pixels
in that image; single ones may be black.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..grids.pair import Pair
from ..grids.sources import Altered, Source
from ..grids.windows import grow

log = logging.getLogger(__name__)

#: Edge of a corner that has to be filled, and of bodies elsewhere, pixels: hundreds of bands are
#: seldom 0 by themselves.
HSI_CORNER, MSI_CORNER = 3, 16
#: How far off a body the pixels of its ragged rim may lie, bodies' edges.
RIM = 2


@dataclass(frozen=True, eq=False)
class MarkedSource(Altered):
    """An image that is nodata where all its bands have one value, in bodies of such pixels.

    Parameters
    ----------
    source : Source
    value : float
    body : int
        Edge of the least body, pixels.
    """

    value: float
    body: int

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        rim = RIM * self.body
        around, inner = grow((rows, cols), self.body + rim, self.shape[1:])
        image = self.source.read(*around)
        filled = _is_filled(image, self.value)
        if filled.any():
            body = ndimage.binary_opening(filled, np.ones((self.body, self.body)))
            wide = np.ones((3, 3))
            image[:, ndimage.binary_dilation(body, wide, iterations=rim, mask=filled)] = np.nan
        return image[:, *inner]


def marked(pair: Pair) -> Pair:
    """The pair with what stands for nodata in its images as nodata; told in a note, and logged.

    Parameters
    ----------
    pair : Pair
        From `pair_scenes`. The corners of both images are read.
    """
    found = {}
    for name, size in (("hsi", HSI_CORNER), ("msi", MSI_CORNER)):
        image = getattr(pair, name)
        value = _filling(_innermost(image), size)
        if value is not None:
            note = (
                f"The {name.upper()} has {value:g} in every band at a corner and names no nodata "
                "value for that: such pixels are taken as nodata."
            )
            log.warning(note)
            found[name] = _marked(image, value, size)
            found["notes"] = (*found.get("notes", pair.notes), note)
    return replace(pair, **found) if found else pair


def _innermost(source: Source) -> Source:
    while hasattr(source, "source"):
        source = source.source
    return source


def _marked(source: Source, value: float, body: int) -> Source:
    """A source whose innermost one is marked."""
    if not hasattr(source, "source"):
        return MarkedSource(source, value, body)
    return replace(source, source=_marked(source.source, value, body))


def _filling(source: Source, size: int) -> float | None:
    """What a corner is filled with, 0 or less; None where none is."""
    height, width = source.shape[1:]
    if min(height, width) < 4 * size:
        return None
    for rows in (slice(0, size), slice(height - size, height)):
        for cols in (slice(0, size), slice(width - size, width)):
            corner = source.read(rows, cols)
            value = float(np.nanmin(corner, initial=np.inf))
            if value <= 0 and _is_filled(corner, value).all():
                return value
    return None


def _is_filled(image: np.ndarray, value: float) -> np.ndarray:
    """Pixels ``(h, w)`` of which every band that has data has a value."""
    same = image == np.float32(value)
    return (same | np.isnan(image)).all(axis=0) & same.any(axis=0)
