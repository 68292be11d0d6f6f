"""One call from a pair of images to a fused one, as a lazy Dataset or straight into a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (results promise the .rio accessor)
import xarray as xr
from odc.geo.xr import xr_coords

from .coregister import registered_pair
from .errors import InputError
from .execute import Progress, ProgressEvent, fuse_tiles
from .fingerprint import fingerprint
from .grid import Pair, pair_scenes
from .memory import Case, Fit, fit, give_back, parse_bytes, plan_for
from .metadata import Provenance
from .methods import MethodOptions, get_method
from .pipeline import Run, prepare_run
from .plan import FusionPlan
from .readers import as_image, open_hsi, open_msi
from .sinks import check_leftover, check_output, open_sink
from .spectral import wavelengths_by_rank
from .tiling import TilePlan
from .workers import Scheduler, Threads, at_once, connected, mapped

Image = xr.Dataset | xr.DataArray
ImageOrPath = Image | str | Path
#: Options that the provenance names by themselves, or that change nothing.
_RECORDED_ELSEWHERE = ("weights", "seed", "ratio", "force", "memory")


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
    tile : int or None
        Edge of a tile in pixels of the result; also the chunks of the result. None: 256, or with
        `memory` what fits.
    overlap : int or None
        Margin read around a tile in pixels; None: what the method needs.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    psf : str
        How the HSI sensor blurs: ``"gaussian"`` (MTF 0.3 at Nyquist), ``"area"``, or ``"paper"``.
    ratio : int or None
        HSI pixel over MSI pixel; None: the nearest whole number.
    wavelengths : (float, float) or None
        Range in nm over which the bands of an HSI without wavelengths are spread evenly, water
        bands left out.
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
    tile: int | None = None
    overlap: int | None = None
    device: str = "auto"
    psf: str = "gaussian"
    ratio: int | None = None
    wavelengths: tuple[float, float] | None = None
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
        found = _fitting(pair, chosen, workers)
    return FusionPlan.of(pair, asdict(chosen), _tiles(pair, chosen, found), found)


def calibrated(
    hsi: ImageOrPath, msi: ImageOrPath, *, scheduler: Scheduler = None, **options: Any
) -> FusionPlan:
    """Plan a fusion and estimate its time by fusing one tile; arguments as for `plan_fusion`."""
    from .calibration import estimate_seconds

    plan = plan_fusion(hsi, msi, scheduler=scheduler, **options)
    chosen = FusionOptions(**options)
    pair = open_pair(hsi, msi, chosen.ratio, chosen.wavelengths)[0]
    seconds = estimate_seconds(
        pair, plan.tiles, plan.method, chosen.for_method(), chosen.psf, plan.memory.at_once
    )
    return replace(plan, seconds=seconds)


def _fitting(pair: Pair, options: FusionOptions, workers: Scheduler) -> Fit:
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


def _tiles(pair: Pair, options: FusionOptions, found: Fit) -> TilePlan:
    return plan_for(pair, options.method, found.tile, options.overlap)


def _prepare(
    hsi: ImageOrPath, msi: ImageOrPath, options: FusionOptions, workers: Scheduler = None
) -> tuple[Run, Provenance, Scheduler]:
    """Run, what is recorded of it, and the workers that its memory allows."""
    hsi, msi, names = open_images(hsi, msi, options.wavelengths)
    # What cannot fit is refused before any pixel is read.
    found = _fitting(pair_scenes(hsi, msi, ratio=options.ratio), options, workers)
    if isinstance(workers, Threads):
        workers = Threads(found.at_once)
    options = replace(options, tile=found.tile)
    pair = registered_pair(
        hsi, msi, ratio=options.ratio, coregister=options.coregister, force=options.force
    )
    run = prepare_run(
        pair,
        options.method,
        options.for_method(),
        psf=options.psf,
        tile=found.tile,
        overlap=options.overlap,
        check_edge=found.check_edge,
        over=mapped(workers),
    )
    return run, _provenance(run, options, names), workers


def _provenance(run: Run, options: FusionOptions, inputs: tuple[str, ...]) -> Provenance:
    used = {k: v for k, v in asdict(options).items() if k not in _RECORDED_ELSEWHERE}
    learned = bool(run.options.digest)
    if learned:
        used["steps"] = run.options.steps
        used["kept"] = run.options.kept
    # The device and the margin actually used change the last bits of a result.
    used |= {"device": run.options.device, "overlap": run.plan.halo}
    return Provenance(
        method=run.method,
        weights_name=options.weights if learned else None,
        weights_digest=run.options.digest or None,
        parameters=used,
        seed=options.seed if learned else None,
        inputs=inputs,
        ratio=run.plan.ratio,
        notes=run.pair.notes,
    )


def fuse(hsi: ImageOrPath, msi: ImageOrPath, **options: Any) -> xr.Dataset:
    """Fuse a hyperspectral and a multispectral image.

    The scene is measured at once (one pass over both images); tiles are fused when they are
    needed, each on its own, so that slicing computes only the tiles it touches.

    Parameters
    ----------
    hsi : xr.Dataset, xr.DataArray or path
        ``(band, y, x)``, many bands, coarse pixels, any units.
    msi : xr.Dataset, xr.DataArray or path
        ``(band, y, x)``, few bands, fine pixels, any units.
    **options
        See `FusionOptions`.

    Returns
    -------
    xr.Dataset
        ``image (band, y, x)`` float32, lazy: the HSI's bands, wavelengths and units on the MSI's
        grid and CRS, cut to the area both share; NaN where either has no data. The attribute
        ``provenance`` is JSON.

    Raises
    ------
    EmrdiffError
        If the images or the options do not go together; the message names the cure.
    """
    run, provenance, _ = _prepare(hsi, msi, FusionOptions(**options))
    return _dataset(run, _lazy_image(run), provenance)


def _compute_tile(run: Run, row: int, col: int) -> np.ndarray:
    return run.tile(row, col)


def _lazy_image(run: Run) -> da.Array:
    """Dask array with one task a tile; the run is in the graph once."""
    name = f"emrdiff-{uuid4().hex}"
    context = f"{name}-run"
    graph: dict[Any, Any] = {context: run}
    for tile in run.plan:
        graph[(name, 0, *tile.index)] = (_compute_tile, context, *tile.index)
    chunks = ((run.pair.n_hsi,), *run.plan.chunks)
    return da.Array(graph, name, chunks, dtype=np.float32)


def _dataset(run: Run, image: da.Array, provenance: Provenance) -> xr.Dataset:
    pair, bands = run.pair, run.pair.hsi_bands
    coords: dict[str, Any] = {"band": np.arange(1, pair.n_hsi + 1)}
    nm = {"units": "nm"}
    if bands.wavelength_nm is not None:
        attrs = {**nm, "standard_name": "radiation_wavelength"}
        coords["wavelength"] = ("band", bands.wavelength_nm, attrs)
    if bands.fwhm_nm is not None:
        coords["fwhm"] = ("band", bands.fwhm_nm, nm)
    coords["good_band"] = ("band", run.statistics.good)
    attrs = {}
    if pair.target is None:
        coords |= {d: np.arange(n) for d, n in zip("yx", pair.shape, strict=True)}
    else:
        coords |= xr_coords(pair.target, crs_coord_name="spatial_ref")
        attrs["grid_mapping"] = "spatial_ref"
    array = xr.DataArray(image, dims=("band", "y", "x"), coords=coords, attrs=attrs)
    return array.to_dataset(name="image").assign_attrs(provenance=provenance.to_json())


def fuse_to_file(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: Scheduler = None,
    dtype: str = "float32",
    scale: float | None = None,
    offset: float = 0.0,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    """Fuse a pair into a cloud-optimised GeoTIFF or a Zarr store, tile by tile.

    Parameters
    ----------
    hsi, msi : xr.Dataset, xr.DataArray or path
        As for `fuse`.
    out : path-like
        ``.tif`` or ``.zarr``; appears only when it is complete.
    overwrite : bool
        Replace an existing result.
    resume : bool
        Go on where an interrupted run of the same pair and options ended, if there is one; and if
        this run fails or is stopped, keep the tiles that are done in a folder beside `out`. Without
        it a run that fails or is stopped leaves nothing behind.
    scheduler : str or distributed.Client, optional
        Where the tiles are computed: ``"threads"``, or a dask cluster or its address, whose workers
        see the same files under the same names. By default one after the other. The bytes of the
        result do not depend on it.
    dtype, scale, offset
        How values are stored, see `open_sink`: float32, or int16 with value = stored * scale +
        offset.
    progress : callable, optional
        Told before the first tile and after each; raising from it stops the run.
    **options
        See `FusionOptions`.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ResumeError
        If what would be continued was begun with other inputs or options.
    EmrdiffError
        If the images, options or the output do not go together; the message names the cure.
    """
    tell = progress or (lambda event: None)
    out = check_output(out, overwrite=overwrite)
    check_leftover(out, resume=resume, overwrite=overwrite)
    with connected(scheduler) as workers:
        tell(ProgressEvent("statistics", 0, 1, "measuring the scene"))
        run, provenance, workers = _prepare(hsi, msi, FusionOptions(**options), workers)
        give_back()
        tell(ProgressEvent("statistics", 1, 1))
        sink = open_sink(
            out,
            (run.pair.n_hsi, *run.pair.shape),
            geobox=run.pair.target,
            chunks=run.plan.tile,
            bands=run.pair.hsi_bands,
            dtype=dtype,
            scale=scale,
            offset=offset,
            provenance=provenance,
            overwrite=overwrite,
            fingerprint=fingerprint(run, provenance),
            resume=resume,
        )
        with sink:
            fuse_tiles(run, sink, tell, workers)
            give_back()
            tell(ProgressEvent("write", 0, 1, f"finishing {out.name}"))
    tell(ProgressEvent("write", 1, 1))
    return out
