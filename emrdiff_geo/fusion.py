"""One call from a pair of images to a fused one, as a lazy Dataset or straight into a file."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (results promise the .rio accessor)
import xarray as xr

from .alignment.coregister import registered_pair
from .alignment.optics import AUTO, describe
from .errors import InputError
from .grids.pair import pair_scenes
from .metadata import PROVENANCE, Provenance
from .reading.normalise import IMAGE, grid_coords, make_image
from .run.execute import Progress, ProgressEvent, fuse_tiles
from .run.fingerprint import fingerprint
from .run.options import NAMED, NO_EFFECT, FusionOptions
from .run.pipeline import Run, prepare_run
from .run.plan import FusionPlan
from .run.planning import (
    ImageOrPath,
    calibrated,
    check_options,
    fitting,
    open_images,
    open_pair,
    plan_fusion,
)
from .run.sharpening import METHOD as SHARPENED_BY
from .run.sharpening import HeldStore, OpenStore, sharpened
from .run.workers import (
    Scheduler,
    Threads,
    Workers,
    connected,
    mapped,
    own_torch_threads,
    torch_threads,
)
from .system.machine import cores
from .system.process_memory import give_back
from .system.room import Room
from .system.sizes import parse_bytes
from .writing.layout import STORED, check_stored
from .writing.sinks import Sink, check_leftover, check_output, open_sink
from .writing.stage import StageSink, check_stages, discard_stages
from .writing.twin import check_twin, open_twin

__all__ = [
    "FusionOptions",
    "FusionPlan",
    "ProgressEvent",
    "calibrated",
    "check_options",
    "fuse",
    "fuse_to_file",
    "open_images",
    "open_pair",
    "plan_fusion",
]

log = logging.getLogger(__name__)

#: In the provenance of a companion, so that nobody takes it for an image.
UNCERTAINTY_NOTE = "The values are the standard deviation of the error of the fused image."
#: Arguments of `fuse_to_file` beside the options.
_OF_FILES = ("overwrite", "resume", "scheduler", "progress", *STORED)


def _prepare(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    options: FusionOptions,
    workers: Workers,
    open_store: OpenStore = HeldStore,
    tell: Progress = lambda event: None,
) -> tuple[Run, Provenance, Workers]:
    """Run, what is recorded of it, and the workers that its memory allows."""
    check_options(options)
    hsi, msi, names = open_images(hsi, msi, options.wavelengths)
    # What cannot fit is refused before any pixel is read.
    found = fitting(pair_scenes(hsi, msi, ratio=options.ratio), options, workers)
    if isinstance(workers, Threads):
        workers = Threads(found.at_once)
    room = Room(found.at_once)
    asked, options = options.tile, replace(options, tile=found.tile)
    pair = registered_pair(
        hsi, msi, ratio=options.ratio, coregister=options.coregister, force=options.force
    )
    if options.normalise:
        budget = None if options.memory is None else parse_bytes(options.memory)
        pair = sharpened(pair, workers, open_store, tile=asked, budget=budget, tell=tell)
    run = prepare_run(
        pair,
        options.method,
        options.for_method(),
        psf=options.psf,
        normalise=options.normalise,
        fill_gaps=options.fill_gaps,
        tile=found.tile,
        overlap=options.overlap,
        check_edge=found.check_edge,
        over=mapped(workers, room),
        room=room,
    )
    provenance = _provenance(run, options, names)
    if options.psf == AUTO:
        log.info("PSF between the images: %s.", provenance.parameters["psf_used"])
    return run, provenance, workers


def _provenance(run: Run, options: FusionOptions, inputs: tuple[str, ...]) -> Provenance:
    used = {k: v for k, v in asdict(options).items() if k not in (*NAMED, *NO_EFFECT)}
    learned = bool(run.options.digest)
    if learned:
        used["steps"] = run.options.steps
        used["kept"] = run.options.kept
        used["calibration"] = run.options.calibration
    # The device and the margin actually used change the last bits of a result.
    used |= {"device": run.options.device, "overlap": run.plan.halo}
    used["psf_used"] = describe(run.statistics.degradation, run.pair.scale)
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

    The scene is measured at once (in one pass over both images, in a few where they disagree or
    their grids do not nest); tiles are fused when they are needed, each on its own, so that slicing
    computes only the tiles it touches. Whichever dask scheduler does it, no more of them at once in
    a process than the memory allows.

    Parameters
    ----------
    hsi : xr.Dataset, xr.DataArray, ndarray or path
        ``(band, y, x)``, many bands, coarse pixels, any units.
    msi : xr.Dataset, xr.DataArray, ndarray or path
        ``(band, y, x)``, few bands, fine pixels, any units.
    **options
        See `FusionOptions`.

    Returns
    -------
    xr.Dataset
        ``image (band, y, x)`` float32, lazy: the HSI's bands, wavelengths and units on the MSI's
        grid and CRS, cut to the area both share; NaN where either has no data. With the option
        uncertainty also ``uncertainty (band, y, x)``, the standard deviation of the error in the
        same units; compute both at once (``dask.compute``), for they share their tiles. The
        attribute ``emrdiff_provenance`` is JSON.

    Raises
    ------
    EmrdiffError
        If the images or the options do not go together; the message names the cure.
    """
    with connected(None) as workers:
        # Whichever scheduler will compute the tiles, no more of them at once than these threads.
        run, provenance, _ = _prepare(hsi, msi, FusionOptions.of(options), workers)
    return _dataset(run, _lazy_image(run), provenance)


def _compute_tile(run: Run, row: int, col: int) -> np.ndarray:
    """One tile, on a thread of dask: it shares memory and cores with those beside it."""
    with run.room, own_torch_threads():
        torch_threads(run, max(1, cores() // (run.room.places or 1)))
        return run.tile(row, col)


def _lazy_image(run: Run) -> da.Array:
    """Dask array with one task a tile, see `Run.tile`; the run is in the graph once."""
    name = f"emrdiff-{uuid4().hex}"
    context = f"{name}-run"
    graph: dict[Any, Any] = {context: run}
    for tile in run.plan:
        graph[(name, 0, *tile.index)] = (_compute_tile, context, *tile.index)
    parts = 2 if run.options.uncertainty else 1
    chunks = ((parts * run.pair.n_hsi,), *run.plan.chunks)
    return da.Array(graph, name, chunks, dtype=np.float32)


def _dataset(run: Run, image: da.Array, provenance: Provenance) -> xr.Dataset:
    pair = run.pair
    bands = replace(pair.hsi_bands, good=run.statistics.good)
    coords = None if pair.target is None else grid_coords(pair.target)
    dataset = make_image(image[: pair.n_hsi], bands, coords).to_dataset(name=IMAGE)
    if run.options.uncertainty:
        told = {**dataset[IMAGE].attrs, "long_name": "standard deviation of the error of image"}
        dataset["uncertainty"] = (dataset[IMAGE].dims, image[pair.n_hsi :], told)
    return dataset.assign_attrs({PROVENANCE: provenance.to_json()})


def fuse_to_file(
    hsi: ImageOrPath,
    msi: ImageOrPath,
    out: str | Path,
    *,
    uncertainty: str | Path | None = None,
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
    hsi, msi : xr.Dataset, xr.DataArray, ndarray or path
        As for `fuse`.
    out : path-like
        ``.tif`` or ``.zarr``; appears only when it is complete.
    uncertainty : path-like, optional
        A second ``.tif`` or ``.zarr`` of the same bands and grid, for the standard deviation of the
        error; needs ``samples``. Both appear together, at the end.
    overwrite : bool
        Replace an existing result.
    resume : bool
        Go on where an interrupted run of the same pair and options ended, if there is one; and if
        this run fails or is stopped, keep the tiles that are done in a folder beside `out`. Without
        it a run that fails or is stopped leaves nothing behind.
    scheduler : str, distributed.Client or cluster, optional
        Where the tiles are computed: ``"threads"`` (the default), as many as there are cores and
        the memory allows; ``"synchronous"``, one after the other; or a dask cluster, its address or
        a client of it, whose workers see the same files under the same names. The bytes of the
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
    if isinstance(uncertainty, bool):
        raise InputError("name the file for the uncertainty: uncertainty='sigma.tif'")
    chosen = FusionOptions.of({**options, "uncertainty": uncertainty is not None}, *_OF_FILES)
    check_options(chosen)
    check_stored(dtype, scale, offset)
    inputs = hsi, msi
    out = check_output(out, overwrite=overwrite, inputs=inputs)
    check_leftover(out, resume=resume, overwrite=overwrite)
    check_stages(out, resume=resume, overwrite=overwrite)
    if uncertainty is not None:
        uncertainty = check_twin(
            out, uncertainty, overwrite=overwrite, resume=resume, inputs=inputs
        )
    stored = {"dtype": dtype, "scale": scale, "offset": offset}
    stored |= {"overwrite": overwrite, "resume": resume}
    with connected(scheduler) as workers, ExitStack() as stages:

        def stage(run: Run, number: int) -> StageSink:
            return stages.enter_context(_open_stage(run, out, number, overwrite, resume))

        tell(ProgressEvent("statistics", 0, 1, "measuring the scene"))
        run, provenance, workers = _prepare(hsi, msi, chosen, workers, stage, tell)
        give_back()
        tell(ProgressEvent("statistics", 1, 1))
        with _open(run, out, uncertainty, provenance, **stored) as sink:
            fuse_tiles(run, sink, tell, workers)
            give_back()
            tell(ProgressEvent("write", 0, 1, f"finishing {out.name}"))
    discard_stages(out)
    tell(ProgressEvent("write", 1, 1))
    return out


def _open_stage(run: Run, out: Path, number: int, overwrite: bool, resume: bool) -> StageSink:
    """Where the tiles of a run that sharpens MSI bands lie until the result is complete."""
    provenance = Provenance(SHARPENED_BY, ratio=run.plan.ratio)
    shape = run.pair.n_hsi, *run.pair.shape
    return StageSink(
        out,
        f"msi-{number + 1}",
        shape,
        run.plan.tile,
        provenance,
        overwrite=overwrite,
        fingerprint=fingerprint(run, provenance),
        resume=resume,
    )


def _open(
    run: Run, out: Path, uncertainty: Path | None, provenance: Provenance, **options: Any
) -> Sink:
    """Sink for the tiles of a run."""
    options |= {
        "geobox": run.pair.target,
        "chunks": run.plan.tile,
        "bands": replace(run.pair.hsi_bands, good=run.statistics.good),
        "fingerprint": fingerprint(run, provenance),
    }
    shape = run.pair.n_hsi, *run.pair.shape
    if uncertainty is None:
        return open_sink(out, shape, provenance=provenance, **options)
    about = replace(provenance, notes=(UNCERTAINTY_NOTE, *provenance.notes))
    return open_twin(
        out, uncertainty, shape, provenance=provenance, companion_provenance=about, **options
    )
