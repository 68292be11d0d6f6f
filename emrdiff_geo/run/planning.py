"""What follows from images and options before a pixel is read."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..errors import InputError
from ..grids.pair import Pair, pair_scenes
from ..methods import get_method
from ..methods.uncertainty import check_sampling
from ..reading.readers import as_image, open_hsi, open_msi
from ..spectra.spectral import wavelengths_by_rank
from ..system.sizes import parse_bytes
from ..writing.layout import STORED, check_stored
from .memory import Case, Fit, fit, plan_for
from .options import FusionOptions, span, whole
from .plan import FusionPlan
from .workers import Scheduler, Workers, at_once, connected, is_client

Image = xr.Dataset | xr.DataArray | np.ndarray
ImageOrPath = Image | str | Path


def open_images(
    hsi: ImageOrPath, msi: ImageOrPath, wavelengths: tuple[float, float] | None = None
) -> tuple[Image, Image, tuple[str, ...]]:
    """Open what is a path, and name both; see `FusionOptions`.

    Raises
    ------
    InputError
        If wavelengths are no range, or given for an HSI that has its own.
    """
    wavelengths = None if wavelengths is None else span("wavelengths", wavelengths)
    hsi = open_hsi(hsi) if isinstance(hsi, str | Path) else hsi
    msi = open_msi(msi) if isinstance(msi, str | Path) else msi
    names = tuple(str(getattr(i, "attrs", {}).get("source", "in memory")) for i in (hsi, msi))
    if wavelengths is not None:
        hsi = as_image(hsi)
        if "wavelength" in hsi.coords:
            raise InputError(f"{names[0]} names its wavelengths itself: leave out --wavelengths")
        by_rank = wavelengths_by_rank(hsi.sizes["band"], wavelengths)
        hsi = hsi.assign_coords(wavelength=("band", by_rank))
    return hsi, msi, names


def open_pair(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    ratio: int | None = None,
    wavelengths: tuple[float, float] | None = None,
) -> tuple[Pair, tuple[str, ...]]:
    """Open and pair two images from headers alone, and name them; see `open_images`."""
    hsi, msi, names = open_images(hsi, msi, wavelengths)
    ratio = None if ratio is None else whole("ratio", ratio)
    return pair_scenes(hsi, msi, ratio=ratio), names


def plan_fusion(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    *,
    scheduler: Scheduler = None,
    dtype: str = "float32",
    scale: float | None = None,
    offset: float = 0.0,
    **options: Any,
) -> FusionPlan:
    """Plan a fusion without reading a pixel.

    Parameters
    ----------
    hsi, msi : xr.Dataset, xr.DataArray, ndarray or path
        As for `fuse`.
    scheduler : optional
        As for `fuse_to_file`: it decides how many tiles are in memory at once.
    dtype, scale, offset
        As for `fuse_to_file`: they decide what is needed of the disk.
    **options
        See `FusionOptions`.
    """
    chosen = FusionOptions.of(options, "scheduler", *STORED)
    check_options(chosen)
    check_stored(dtype, scale, offset)
    pair = open_pair(hsi, msi, chosen.ratio, chosen.wavelengths)[0]
    with connected(scheduler) as workers:
        found = fitting(pair, chosen, workers)
    tiles = plan_for(pair, chosen.method, found.tile, chosen.overlap)
    stored = {"dtype": dtype, "scale": scale, "offset": offset}
    return FusionPlan.of(pair, asdict(chosen), tiles, found, stored)


def calibrated(
    hsi: ImageOrPath, msi: ImageOrPath, *, scheduler: Scheduler = None, **options: Any
) -> FusionPlan:
    """Plan a fusion and estimate its time by fusing one tile; arguments as for `plan_fusion`."""
    from .timing import estimate_seconds

    plan = plan_fusion(hsi, msi, scheduler=scheduler, **options)
    chosen = FusionOptions(**{k: v for k, v in options.items() if k not in STORED})
    pair = open_pair(hsi, msi, chosen.ratio, chosen.wavelengths)[0]
    seconds = estimate_seconds(
        pair,
        plan.tiles,
        plan.method,
        chosen.for_method(),
        psf=chosen.psf,
        normalise=chosen.normalise,
        at_once=plan.memory.at_once,
        stored=plan.stored,
    )
    return replace(plan, seconds=seconds)


def fitting(pair: Pair, options: FusionOptions, workers: Workers) -> Fit:
    """Tiles, and how many at once, within the memory that was given."""
    return fit(
        pair,
        Case.of(pair, get_method(options.method).name, options.for_method()),
        None if options.memory is None else parse_bytes(options.memory),
        tile=options.tile,
        overlap=options.overlap,
        at_once=at_once(workers),
        here=not is_client(workers),
    )


def check_options(options: FusionOptions) -> None:
    """Refuse options that contradict each other, before any image is opened.

    Raises
    ------
    MethodError
        See `check_sampling`.
    """
    method = get_method(options.method)
    check_sampling(options.for_method(), method.name, method.with_uncertainty is not None)
