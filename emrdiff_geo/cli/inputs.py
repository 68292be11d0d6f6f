"""Opening scenes and checking paths for the commands."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from ..errors import InputError, OutputError
from ..readers import open_hsi
from ..spectral import wavelengths_by_rank


def open_hyperspectral(path: str, by_rank: tuple[float, float] | None = None) -> xr.Dataset:
    """Open an HSI; bands without wavelengths are spread over a range in nm if one is given.

    Raises
    ------
    InputError
        If the file names its wavelengths itself.
    """
    scene = open_hsi(path)
    if by_rank is None:
        return scene
    if "wavelength" in scene.coords:
        raise InputError(
            f"{Path(path).name} names its wavelengths itself: leave out --wavelengths."
        )
    return open_hsi(path, wavelengths=wavelengths_by_rank(scene.sizes["band"], by_rank))


def check_free(out: str | Path, overwrite: bool, *inputs: str | None) -> None:
    """Stop before a result replaces what it is made from, or anything that it was not told to.

    Raises
    ------
    OutputError
        If the output exists and may not be replaced, or is one of the inputs.
    """
    if not os.path.lexists(out):
        return
    for path in inputs:
        if path and os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out):
            raise OutputError(f"{out} is an input: give the result another name.")
    if not overwrite:
        raise OutputError(f"{out} exists: choose another name, or pass --overwrite.")
