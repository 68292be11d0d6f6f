"""How long a fusion will take, from fusing one tile of it.

The tile in the middle of the scene is measured, fused and written to a temporary file, and every
stage is scaled by its pixels. That is an estimate: the disk, other programs and nodata decide too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..alignment.optics import AUTO, resolve_psf
from ..alignment.wald import LARGEST
from ..grids.pair import Pair
from ..grids.sources import ResampledSource, Source, WindowSource
from ..grids.tiling import Span, Tile, TilePlan
from ..methods import MethodOptions
from ..system.machine import cores
from ..writing.sinks import open_sink
from .pipeline import Run, prepare_run
from .workers import own_torch_threads, torch_threads


def estimate_seconds(
    pair: Pair,
    plan: TilePlan,
    method: str,
    options: MethodOptions,
    *,
    psf: str = AUTO,
    normalise: bool = True,
    at_once: int = 1,
    stored: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Estimate the time of a fusion, stage by stage.

    Parameters
    ----------
    pair : Pair
    plan : TilePlan
        Tiles of the whole scene.
    method : str
    options : MethodOptions
    psf, normalise
        See `measure_pair`.
    at_once : int
        Tiles that are computed side by side.
    stored : mapping, optional
        How values are stored, see `open_sink`.

    Returns
    -------
    dict
        Seconds by stage: ``statistics``, ``self_check`` where there is one, ``fuse``, ``write``,
        ``total``. Registration, a few seconds, is left out.

    Raises
    ------
    InputError
        If the middle of the scene has no data.
    """
    rows, cols = plan.grid
    part = _cut(pair, plan[rows // 2, cols // 2])
    unchecked = replace(options, self_check=False)

    def prepared() -> Run:
        return prepare_run(
            part,
            method,
            unchecked,
            psf=psf,
            normalise=normalise,
            tile=plan.tile,
            overlap=plan.halo,
        )

    prepared().tile(0, 0)  # loads libraries and model
    run, measuring = _timed(prepared)
    with own_torch_threads():
        if at_once > 1:
            torch_threads(run, max(1, cores() // at_once))
        block, fusing = _timed(lambda: run.tile(0, 0))
    _, writing = _timed(lambda: _write(block, plan.tile, stored or {}))
    # The PSF is measured on some windows, however large the scene is.
    (_, optics), (_, of_part) = (_timed(lambda p=p: resolve_psf(p, psf)) for p in (pair, part))
    lr_part, lr_all = (p.lr_shape[0] * p.lr_shape[1] for p in (part, pair))
    window = plan.window_shape[0] * plan.window_shape[1]
    by_area = max(measuring - of_part, 0) * lr_all / lr_part
    seconds = {"statistics": optics + by_area / at_once}
    if run.options.digest and options.self_check:
        height, width = (min(n, LARGEST) for n in pair.lr_shape)
        seconds["self_check"] = fusing * height * width / window
    seconds["fuse"] = fusing * len(plan) / at_once
    seconds["write"] = writing * pair.shape[0] * pair.shape[1] / (part.shape[0] * part.shape[1])
    seconds["total"] = sum(seconds.values())
    return {stage: round(value, 1) for stage, value in seconds.items()}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begun


def _write(block: Any, tile: int, stored: Mapping[str, Any]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_sink(Path(folder) / "calibration.tif", block.shape, chunks=tile, **stored) as sink,
    ):
        sink.write(block, 0, 0)


def _cut(pair: Pair, tile: Tile) -> Pair:
    """What a tile reads, as a pair of its own whose target is what the tile writes."""
    coarse = [Span(s.start // pair.ratio, s.stop // pair.ratio) for s in tile.window]
    frame = pair.hr_geobox
    core = tuple(
        slice(w.start + i.start, w.start + i.stop)
        for w, i in zip(tile.window, tile.inner, strict=True)
    )

    def windowed(source: Any, spans: Any) -> Source:
        if isinstance(source, ResampledSource):
            box = source.target_geobox[tuple(s.as_slice() for s in spans)]
            return replace(source, target_geobox=box)
        return WindowSource(source, spans[0].start, spans[1].start, (len(spans[0]), len(spans[1])))

    return replace(
        pair,
        hsi=windowed(pair.hsi, coarse),
        msi=windowed(pair.msi, tile.window),
        target=None if frame is None else frame[core],
        offset=(tile.inner[0].start, tile.inner[1].start),
        shape=(len(tile.core[0]), len(tile.core[1])),
    )
