"""Registration of a pair: what is done about a shift between its images.

A shift that is the same everywhere is corrected by moving the HSI's grid, so that nothing is
resampled for it beyond the one resampling that fusion may need anyway.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..errors import GridError
from ..grids.pair import Pair, geobox_of, pair_scenes
from ..grids.resample import PixelMap
from ..reading.normalise import grid_coords
from ..reading.readers import as_image
from .shift import Shift, measure_shift
from .unmarked import marked

log = logging.getLogger(__name__)

#: Shift from which a pair is worth a warning, and beyond which it is refused, HSI pixels.
WARN, REFUSE = 0.25, 1.0
#: Shift that is not worth moving a grid for, MSI pixels.
NEGLIGIBLE = 0.05


def moved(hsi: xr.Dataset | xr.DataArray, pair: Pair, shift: Shift) -> xr.DataArray:
    """Correct a shift by moving the HSI's grid; no pixel is touched.

    An HSI that lies on the MSI's pixel lines is moved by whole MSI pixels: it still needs no
    resampling, and what is left is half an MSI pixel at most.

    Parameters
    ----------
    hsi : xr.Dataset or xr.DataArray
        What `pair` was made from; it has a CRS.
    pair : Pair
    shift : Shift
        As measured on `pair`.

    Returns
    -------
    xr.DataArray
    """
    image = as_image(hsi)
    box = geobox_of(image, "HSI")
    if box is None or pair.target is None:
        raise GridError("An HSI without a CRS has no grid to move: assign one to both images.")
    x, y = (shift.x, shift.y) if pair.resampled else (round(shift.x), round(shift.y))
    height, width = pair.target.shape
    onto = PixelMap.between(pair.target, box)
    step = onto.jacobian(width / 2, height / 2) @ [x, y]
    transform = box.affine * Affine.translation(-step[0], -step[1])
    free = image.drop_vars([name for name in ("y", "x", "spatial_ref") if name in image.coords])
    return free.assign_coords(grid_coords(GeoBox(box.shape, transform, box.crs)))


def registered_pair(
    hsi: xr.Dataset | xr.DataArray,
    msi: xr.Dataset | xr.DataArray,
    *,
    ratio: int | None = None,
    coregister: bool = False,
    force: bool = False,
) -> Pair:
    """Pair two images, see whether they lie on each other, and log all of it.

    Parameters
    ----------
    hsi, msi, ratio
        As for `pair_scenes`.
    coregister : bool
        Correct a shift that is the same everywhere, see `moved`.
    force : bool
        Accept any shift.

    Returns
    -------
    Pair
        Its notes tell what was measured and done. Without CRS nothing is measured.

    Raises
    ------
    GridError
        If the shift is certain and longer than an HSI pixel; as `pair_scenes`.
    """
    pair = pair_scenes(hsi, msi, ratio=ratio)
    for note in pair.notes:
        log.info(note)
    pair = marked(pair)
    if pair.target is None:
        if coregister:
            raise GridError(
                "Without a CRS there is no grid to move: assign a CRS and transform to both "
                "images, or leave out --coregister."
            )
        return pair
    shift = measure_shift(pair)
    notes: list[str] = []
    if coregister and shift is not None and _worth_moving(pair, shift):
        notes.append(f"The HSI lay {shift}; its grid was moved to correct that.")
        log.info(notes[-1])
        pair = marked(pair_scenes(moved(hsi, pair, shift), msi, ratio=ratio))
        # What is left is judged as if nobody had moved anything.
        shift = measure_shift(pair)
    level, note = _judged(shift, coregister, force)
    log.log(level, note)
    return replace(pair, notes=(*pair.notes, *notes, note))


def _worth_moving(pair: Pair, shift: Shift) -> bool:
    least = NEGLIGIBLE if pair.resampled else 0.5
    return shift.reliable and max(abs(shift.x), abs(shift.y)) > least


def _judged(shift: Shift | None, coregister: bool, force: bool) -> tuple[int, str]:
    """Level and sentence for a measured shift."""
    # Whoever asked for a correction has to learn that there was none.
    doubtful = logging.WARNING if coregister else logging.INFO
    if shift is None:
        return doubtful, (
            "The shift between HSI and MSI could not be measured: too few pixels, or too little "
            "structure that both show."
        )
    if shift.varies:
        return logging.WARNING, (
            f"The HSI lies {shift}, and the windows disagree too much for one shift: if the images "
            "are distorted against each other by more than half an HSI pixel, correct that first, "
            "for example with AROSICS."
        )
    if not shift.reliable:
        return doubtful, f"The HSI seems to lie {shift}, measured in too few windows to be sure."
    if shift.length <= WARN:
        return logging.INFO, f"The HSI lies {shift}."
    cure = "correct that with --coregister (in Python coregister=True)"
    if shift.length <= REFUSE:
        return logging.WARNING, f"The HSI lies {shift}: {cure}."
    if not force:
        raise GridError(
            f"The HSI lies {shift}: {cure}, or fuse the images as they are with --force "
            "(force=True)."
        )
    return logging.WARNING, f"The HSI lies {shift}, and they are fused as they are."
