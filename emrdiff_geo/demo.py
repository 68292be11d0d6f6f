"""The demonstration: a real AVIRIS scene, a simulated pair, every method, table, figure, GeoTIFF.

The scene is Indian Pines, an agricultural site west of Lafayette, Indiana, seen by AVIRIS on 12
June 1992 at 20 m (Baumgardner, Biehl and Landgrebe 2015, doi:10.4231/R7RX991C, CC BY 3.0), which
the package `tensorly` carries. It has no georeferencing of its own: the one given here is
approximate and serves to show that results lie on a map. Values are the sensor's raw counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from .errors import InputError, OutputError
from .evaluation.evaluate import evaluate
from .evaluation.simulation import simulate, write_pair
from .fusion import ProgressEvent, fuse, fuse_to_file
from .methods import METHODS
from .reading.normalise import grid_coords, make_image
from .reading.readers import open_hsi, open_msi
from .spectra.bands import BandInfo

if TYPE_CHECKING:
    from rich.table import Table

RATIO = 4
#: Bands of Sentinel-2 that see the ground: without aerosol, water vapour and cirrus.
MSI = "sentinel2a:B02,B03,B04,B05,B06,B07,B08,B8A,B11,B12"
#: Upper left corner in EPSG:32616 and pixel size, m: the site within a few kilometres.
CORNER, PIXEL, CRS = (497_700.0, 4_480_400.0), 20.0, "EPSG:32616"
#: Width of AVIRIS's bands, nm; where its spectrometers overlap it cannot be told from the centres.
FWHM = 10.0
#: The row of the table for the weights adapted to the scene.
ADAPTED = "emrdiff, adapted"
#: Measures shown, with the unit.
MEASURES = {"PSNR": "dB", "SSIM": "", "SAM": "degrees", "ERGAS": ""}

Progress = Callable[[ProgressEvent], None]


def indian_pines() -> xr.Dataset:
    """Indian Pines as `open_hsi` would return it, with an approximate grid.

    Returns
    -------
    xr.Dataset
        ``image`` (200, 145, 145) float32, raw counts.

    Raises
    ------
    InputError
        If the package that carries the scene is not installed.
    """
    try:
        from tensorly.datasets import load_indian_pines
    except ImportError as error:
        raise InputError(
            "The demo's scene comes with the package tensorly: install it with "
            "pip install 'emrdiff-geo[demo]'."
        ) from error
    scene = load_indian_pines()
    cube = np.moveaxis(np.asarray(scene["tensor"], np.float32), -1, 0)
    box = GeoBox(cube.shape[1:], Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1]), CRS)
    centres = _without_misprints(np.asarray(scene["ticks"][1], np.float64))
    bands = BandInfo(centres, np.full(len(cube), FWHM), np.ones(len(cube), bool))
    image = make_image(cube, bands, grid_coords(box))
    return image.to_dataset(name="image").assign_attrs(source="indian_pines")


def _without_misprints(centres: np.ndarray) -> np.ndarray:
    """Interpolate centres that lie above the two that follow.

    The list in `tensorly` has 2260.22 and 2270.15 nm between 2202.30 and 2232.07 nm. Where one
    spectrometer takes over from the next, centres go back as well, but once and by less.
    """
    spread = 30.0
    right = np.minimum.accumulate(centres[::-1])[::-1] > centres - spread / 2
    place = np.arange(len(centres))
    return np.interp(place, place[right], centres[right])


def run_demo(
    out: str | Path = "demo-output",
    *,
    minutes: float = 0.0,
    weights: str = "universal",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Simulate a pair from a real scene, fuse it by every method, and compare.

    Parameters
    ----------
    out : path
        Folder for the files, made if there is none; what an earlier demo left there is replaced,
        other files stay.
    minutes : float
        Time to adapt the weights to the pair first, for one more row; by default they are used as
        they come.
    weights : str
        Weights to start from.
    progress : callable, optional
        Told `ProgressEvent` with the stages ``"simulate"``, ``"adapt"``, ``"fuse"``, ``"write"``.

    Returns
    -------
    dict
        JSON-able: ``scores`` (row of the table -> measure -> value), ``best`` (a row),
        ``adaptation`` (see `emrdiff_geo.adapt`; None without), ``files`` (what -> path),
        ``seconds``.

    Raises
    ------
    EmrdiffError
        If something that the demo needs is not installed, or `out` cannot be written.
    """
    started = time.monotonic()
    tell = progress or (lambda event: None)
    out = _folder(out)
    pair = _simulated(out / "pair", tell)
    hsi, msi = open_hsi(pair / "hsi.tif"), open_msi(pair / "msi.tif")
    reference = open_hsi(pair / "reference.tif").load()
    runs = {name: {"method": name, "weights": weights} for name in METHODS}
    files, learned = {"pair": pair}, None
    if minutes > 0:
        files["weights"] = adapted = out / "adapted.safetensors"
        learned = _adapted(hsi, msi, adapted, weights, minutes, tell)
        runs[ADAPTED] = {"method": "emrdiff", "weights": str(adapted)}
    with _notes_hidden("emrdiff_geo.alignment.coregister"):
        results, scores = _compared(hsi, msi, reference, runs, tell)
        best = max(scores, key=lambda name: scores[name]["PSNR"])
        tell(ProgressEvent("write", 0, 2, "GeoTIFF"))
        fused = fuse_to_file(hsi, msi, out / "fused.tif", overwrite=True, **runs[best])
    tell(ProgressEvent("write", 1, 2, "figures"))
    files = {"result": fused, **files}
    files |= _figures(out, results, reference, hsi, msi, scores, best)
    tell(ProgressEvent("write", 2, 2))
    return {
        "scores": scores,
        "best": best,
        "adaptation": learned,
        "files": {what: str(path) for what, path in files.items()},
        "seconds": round(time.monotonic() - started, 1),
    }


def _simulated(folder: Path, tell: Progress) -> Path:
    tell(ProgressEvent("simulate", 0, 1, f"Indian Pines, ratio {RATIO}, Sentinel-2 bands"))
    write_pair(simulate(indian_pines(), ratio=RATIO, response=MSI), folder, overwrite=True)
    tell(ProgressEvent("simulate", 1, 1))
    return folder


def _adapted(
    hsi: xr.Dataset, msi: xr.Dataset, out: Path, weights: str, minutes: float, tell: Progress
) -> dict[str, Any]:
    from .training import adapt

    seconds = max(1, round(60 * minutes))
    learned = adapt(
        hsi,
        msi,
        out,
        weights=weights,
        max_minutes=minutes,
        overwrite=True,
        progress=_by_the_clock(tell, seconds),
    )
    tell(ProgressEvent("adapt", seconds, seconds))
    return learned


def _compared(
    hsi: xr.Dataset,
    msi: xr.Dataset,
    reference: xr.Dataset,
    runs: Mapping[str, Mapping[str, Any]],
    tell: Progress,
) -> tuple[dict[str, xr.Dataset], dict[str, dict[str, float]]]:
    """Results and scores of each run."""
    results, scores = {}, {}
    for done, (name, options) in enumerate(runs.items()):
        tell(ProgressEvent("fuse", done, len(runs), name))
        results[name] = fuse(hsi, msi, **options).load()
        metrics = evaluate(results[name], reference, ratio=RATIO).metrics
        scores[name] = {measure: float(metrics[measure]) for measure in MEASURES}
    tell(ProgressEvent("fuse", len(runs), len(runs)))
    return results, scores


@contextmanager
def _notes_hidden(logger: str) -> Iterator[None]:
    """Drop a module's notes: for the same pair they are the same, method after method."""

    def keep(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    module = logging.getLogger(logger)
    module.addFilter(keep)
    try:
        yield
    finally:
        module.removeFilter(keep)


def _by_the_clock(tell: Progress, seconds: int) -> Callable[..., None]:
    """Progress of an adaptation in seconds, as its number of steps is not known from the start."""
    started, total, text = time.monotonic(), seconds, "adapting"
    tell(ProgressEvent("adapt", 0, total, text))

    def told(step: int, steps: int, loss: float, metrics: Mapping[str, float] | None) -> None:
        nonlocal text
        if metrics:
            text = f"adapting: {metrics['psnr']:.2f} dB on the degraded scene"
        # Not the end: the last validation may take longer than planned.
        done = min(total - 1, int(time.monotonic() - started))
        tell(ProgressEvent("adapt", done, total, text))

    return told


def _folder(out: str | Path) -> Path:
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{out} cannot be made ({reason}): name another folder.") from error
    return out


def _figures(
    out: Path,
    results: Mapping[str, xr.Dataset],
    reference: xr.Dataset,
    hsi: xr.Dataset,
    msi: xr.Dataset,
    scores: Mapping[str, Mapping[str, float]],
    best: str,
) -> dict[str, Path]:
    from .evaluation.report import comparison_figure, evaluation_figure, save_figure

    title = "Indian Pines (AVIRIS), simulated pair, ratio 4"
    compared = comparison_figure(results, reference, hsi=hsi, scores=scores, title=title)
    judged = evaluate(results[best], reference, ratio=RATIO)
    single = evaluation_figure(
        results[best], reference, hsi=hsi, msi=msi, evaluation=judged, title=f"{title}: {best}"
    )
    return {
        "comparison": save_figure(compared, out / "comparison.png", dpi=75),
        "spectra": save_figure(single, out / "spectra.png", dpi=90),
    }


def closing_lines(found: Mapping[str, Any]) -> list[str]:
    """What an adaptation did and where the files lie, one sentence or file a line."""
    lines = []
    if learned := found["adaptation"]:
        change = f"{learned['before']:.2f} to {learned['after']:.2f} dB"
        kept = "" if learned["adapted"] else ", too little: the weights stayed as they were"
        lines = [f"Adaptation, {learned['steps']} steps: {change} when rehearsed{kept}."]
    return lines + [f"{what:11} {path}" for what, path in found["files"].items()]


def scores_table(scores: Mapping[str, Mapping[str, float]], best: str) -> Table:
    """A `rich` table of the scores, the best row in bold."""
    from rich.table import Table

    table = Table(title="Indian Pines, ratio 4", title_justify="left")
    table.add_column("method")
    for measure, unit in MEASURES.items():
        table.add_column(f"{measure} ({unit})" if unit else measure, justify="right")
    for name, row in scores.items():
        shown = [f"{row[m]:.4f}" if m == "SSIM" else f"{row[m]:.2f}" for m in MEASURES]
        table.add_row(name, *shown, style="bold" if name == best else None)
    return table
