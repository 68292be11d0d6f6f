"""What a user can choose about a fusion, and what follows from it before a pixel is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import xarray as xr

from ._sizes import parse_bytes
from .errors import InputError
from .grid import Pair, pair_scenes
from .memory import Case, Fit, fit, plan_for
from .methods import MethodOptions, get_method
from .methods.uncertainty import check_sampling
from .optics import AUTO
from .plan import FusionPlan
from .readers import as_image, open_hsi, open_msi
from .spectral import wavelengths_by_rank
from .workers import Scheduler, Threads, at_once, connected

Image = xr.Dataset | xr.DataArray
ImageOrPath = Image | str | Path


@dataclass(frozen=True)
class FusionOptions:
    """Everything a user can choose about a fusion; the defaults need no thought.

    Attributes
    ----------
    method : str
        Name in the registry, see ``emrdiff methods``.
    weights : str
        Name of shipped weights or path of a ``.safetensors`` file.
    variant : str or None
        ``"universal"``, ``"published"``, or None: as the weights say.
    steps : int or None
        Steps of the chain; None: as the weights were trained.
    seed : int
        Same seed, same result, bit by bit.
    samples : int
        How many times the chain is run, each with noise of its own; the result is the mean.
    uncertainty : bool
        Whether to tell the standard deviation of the error, for every pixel and band; needs some
        samples.
    tile : int or None
        Edge of a tile in pixels of the result; also the chunks of the result. None: 256, or with
        `memory` what fits.
    overlap : int or None
        Margin read around a tile in pixels; None: what the method needs.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    psf : str
        How the HSI sensor sees the MSI's grid: ``"auto"``, measured on the pair; ``"gaussian"``
        (MTF 0.3 at Nyquist), ``"area"``, or ``"paper"``.
    ratio : int or None
        HSI pixel over MSI pixel; None: the nearest whole number.
    wavelengths : (float, float) or None
        Range in nm over which the bands of an HSI without wavelengths are spread evenly, water
        bands left out.
    normalise : bool
        Whether to make an MSI linear that has a gamma, and to bring it to the light of the HSI
        where the two differ slowly over the ground, by haze, sun or calibration.
    self_check : bool
        Whether to measure on the pair itself, one ratio lower, how much of the network's residual
        to keep: it costs one pass over a fraction 1 / ratio^2 of the pixels.
    coregister : bool
        Whether to correct a shift between the images by moving the HSI's grid.
    force : bool
        Whether to fuse images that lie more than an HSI pixel off each other.
    memory : str, int or None
        What one process may allocate beyond interpreter, libraries and model, as ``"2GB"`` or in
        bytes: the tile and the number of threads follow from it, and what cannot fit is refused.
    """

    method: str = "emrdiff"
    weights: str = "universal"
    variant: str | None = None
    steps: int | None = None
    seed: int = 0
    samples: int = 1
    uncertainty: bool = False
    tile: int | None = None
    overlap: int | None = None
    device: str = "auto"
    psf: str = AUTO
    ratio: int | None = None
    wavelengths: tuple[float, float] | None = None
    normalise: bool = True
    self_check: bool = True
    coregister: bool = False
    force: bool = False
    memory: str | int | None = None

    def for_method(self) -> MethodOptions:
        """The part that goes with the tiles."""
        own = {
            f.name: getattr(self, f.name) for f in fields(MethodOptions) if hasattr(self, f.name)
        }
        return MethodOptions(**own)


def open_images(
    hsi: ImageOrPath, msi: ImageOrPath, wavelengths: tuple[float, float] | None = None
) -> tuple[Image, Image, tuple[str, ...]]:
    """Open what is a path, and name both; see `FusionOptions`.

    Raises
    ------
    InputError
        If wavelengths are given for an HSI that has its own.
    """
    hsi = open_hsi(hsi) if isinstance(hsi, str | Path) else hsi
    msi = open_msi(msi) if isinstance(msi, str | Path) else msi
    names = tuple(str(i.attrs.get("source", "in memory")) for i in (hsi, msi))
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
    return pair_scenes(hsi, msi, ratio=ratio), names


def plan_fusion(
    hsi: ImageOrPath, msi: ImageOrPath, *, scheduler: Scheduler = None, **options: Any
) -> FusionPlan:
    """Plan a fusion without reading a pixel.

    Parameters
    ----------
    hsi, msi : xr.Dataset, xr.DataArray or path
        As for `fuse`.
    scheduler : optional
        As for `fuse_to_file`: it decides how many tiles are in memory at once.
    **options
        See `FusionOptions`.
    """
    chosen = FusionOptions(**options)
    pair = open_pair(hsi, msi, chosen.ratio, chosen.wavelengths)[0]
    with connected(scheduler) as workers:
        found = fitting(pair, chosen, workers)
    return FusionPlan.of(
        pair, asdict(chosen), plan_for(pair, chosen.method, found.tile, chosen.overlap), found
    )


def calibrated(
    hsi: ImageOrPath, msi: ImageOrPath, *, scheduler: Scheduler = None, **options: Any
) -> FusionPlan:
    """Plan a fusion and estimate its time by fusing one tile; arguments as for `plan_fusion`."""
    from .calibration import estimate_seconds

    plan = plan_fusion(hsi, msi, scheduler=scheduler, **options)
    chosen = FusionOptions(**options)
    pair = open_pair(hsi, msi, chosen.ratio, chosen.wavelengths)[0]
    seconds = estimate_seconds(
        pair,
        plan.tiles,
        plan.method,
        chosen.for_method(),
        psf=chosen.psf,
        normalise=chosen.normalise,
        at_once=plan.memory.at_once,
    )
    return replace(plan, seconds=seconds)


def fitting(pair: Pair, options: FusionOptions, workers: Scheduler) -> Fit:
    """Tiles, and how many at once, within the memory that was given."""
    return fit(
        pair,
        Case.of(pair, get_method(options.method).name, options.for_method()),
        None if options.memory is None else parse_bytes(options.memory),
        tile=options.tile,
        overlap=options.overlap,
        at_once=at_once(workers),
        fewer=isinstance(workers, Threads),
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
