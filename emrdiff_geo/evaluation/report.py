"""Figures of a fusion: pictures in natural colours, error maps, spectra.

Figures are matplotlib `Figure` objects that no window and no global state knows of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import InputError, OutputError, WriteError
from ..grids.pair import Pair
from ..grids.sources import ArraySource, WindowSource
from ..reading.readers import as_image
from ..spectra.bands import BandInfo
from . import pictures
from .evaluate import Evaluation, common_window, pair_on_grid
from .metrics import as_readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating]

# Okabe and Ito's colours, told apart by colour-blind eyes as well.
_BLUE, _ORANGE, _BLACK = "#0072B2", "#D55E00", "#222222"
_NODATA = "#c8c8c8"
_MAP = "magma"


@dataclass(frozen=True, eq=False)
class _Picture:
    """An RGB picture in pixel coordinates of the result: (left, right, bottom, top)."""

    title: str
    planes: Array
    extent: tuple[float, float, float, float]
    is_msi: bool = False


def evaluation_figure(
    fused: Any,
    reference: Any = None,
    *,
    hsi: Any = None,
    msi: Any = None,
    evaluation: Evaluation | None = None,
    ratio: float | None = None,
    title: str | None = None,
    error: str = "rmse",
    max_side: int = 800,
) -> Figure:
    """Show a result beside what it was made from and, if there is one, its reference.

    Pictures of the HSI, the MSI, the result and the reference on the result's grid; a map of the
    error against the reference, or without one against the HSI at its own resolution; spectra at
    points that differ most; RMSE or correlation per band.

    Parameters
    ----------
    fused, reference, hsi, msi : xr.Dataset, xr.DataArray or ndarray, (band, y, x)
        As for :func:`emrdiff_geo.evaluate`.
    evaluation : Evaluation, optional
        Its numbers go into the titles and the plot per band.
    ratio : float, optional
        Ratio of the pixel sizes, where HSI and MSI have no CRS.
    title : str, optional
    error : ``"rmse"`` or ``"sam"``.
    max_side : int
        Larger scenes are averaged down to this many pixels a side.

    Returns
    -------
    matplotlib.figure.Figure
        For :func:`save_figure`.

    Raises
    ------
    GridError, InputError
        As :func:`emrdiff_geo.evaluate`.
    """
    fused = as_image(fused)
    if reference is not None:
        fused, reference = common_window(fused, as_image(reference))
    pair = None if hsi is None else pair_on_grid(fused, hsi, msi, ratio)
    step = pictures.step_for(fused.shape[1:], max_side)
    shown = _pictures_of(fused, reference, pair, msi is not None, step)
    mapped = _error_of(fused, reference, pair, error, step)
    figure, top, bottom = _canvas(len(shown) + (mapped is not None), fused.shape[1:], title)
    points = pictures.points_to_show(fused, reference, len(bottom) - (evaluation is not None))
    _draw_pictures(top, shown, fused.shape[1:], points)
    if mapped is not None:
        _draw_map(top[len(shown)], *mapped, fused.shape[1:])
    _draw_spectra(bottom, points, fused, reference, pair)
    if evaluation is not None:
        _draw_bands(bottom[-1], evaluation)
    return figure


def comparison_figure(
    results: Mapping[str, Any],
    reference: Any,
    *,
    hsi: Any = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    wavelength_nm: Array | None = None,
    title: str | None = None,
    error: str = "rmse",
    max_side: int = 500,
) -> Figure:
    """Show several results for one scene: a column each, picture above and error map below.

    Parameters
    ----------
    results : name of the method to its result, (band, y, x), on the grid of the reference.
    reference : xr.Dataset, xr.DataArray or ndarray, (band, y, x)
    hsi : the low-resolution image, optional, shown above the reference.
    scores : metrics per name, of which PSNR and SAM are shown.
    wavelength_nm : (L,) float, optional; taken from the reference where it has them.
    error : ``"rmse"`` or ``"sam"``; one colour scale serves all maps.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not results:
        raise InputError("There is no result to compare; give one or more by name.")
    reference = as_image(reference)
    pairs = {name: common_window(as_image(image), reference) for name, image in results.items()}
    size = reference.shape[1:]
    step = pictures.step_for(size, max_side)
    known = BandInfo.of(reference)
    wavelength = known.wavelength_nm if wavelength_nm is None else wavelength_nm
    bands = pictures.rgb_bands(reference.shape[0], wavelength, known.good)
    truth = pictures.picture(reference, bands, step)
    limits = pictures.stretch_limits(truth)
    maps = {name: pictures.error_map(*pair, error, step) for name, pair in pairs.items()}
    peak = pictures.upper_limit(np.concatenate([values.ravel() for values in maps.values()]))
    figure, axes = _pairs_of_rows(len(pairs) + 1, size, title)
    _show(axes[1][0], pictures.stretched(truth, limits), "reference")
    if hsi is None:
        axes[0][0].set_axis_off()
    else:
        low = as_image(hsi)
        planes = pictures.picture(low, bands, pictures.step_for(low.shape[1:], max_side))
        _show(axes[0][0], pictures.stretched(planes, limits), "HSI")
    for column, (name, (image, _)) in enumerate(pairs.items(), start=1):
        planes = pictures.picture(image, bands, step)
        label = _scores_text((scores or {}).get(name, {}))
        _show(axes[0][column], pictures.stretched(planes, limits), f"{name}{label}")
        drawn = _show(axes[1][column], maps[name], "", vmin=0, vmax=peak, cmap=_MAP)
    _colour_bar(axes[1][-1], drawn, _error_label(error))
    return figure


def _pairs_of_rows(columns: int, size: tuple[int, int], title: str | None) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    width, height = _picture_inches(columns, size)
    inches = (width * columns + 0.9, 2 * height + (1.4 if title else 1.0))
    figure = Figure(figsize=inches, layout="compressed")
    if title:
        figure.suptitle(title, fontsize="x-large", fontweight="bold")
    return figure, figure.subplots(2, columns, squeeze=False)


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a figure to a file, PNG by default; returns the path.

    Raises
    ------
    OutputError
        If it cannot be written there, or is of an unknown kind.
    """
    path = Path(path) if Path(path).suffix else Path(path).with_suffix(".png")
    try:
        figure.savefig(path, dpi=dpi, bbox_inches="tight", pad_inches=0.1)
    except (OSError, ValueError) as error:
        kind = WriteError if isinstance(error, OSError) else OutputError
        raise kind(f"The figure cannot be written to {path.name}: {error}.") from error
    return path


def _pictures_of(
    fused: xr.DataArray,
    reference: xr.DataArray | None,
    pair: Pair | None,
    with_msi: bool,
    step: int,
) -> list[_Picture]:
    height, width = fused.shape[1:]
    whole = (0.0, float(width), float(height), 0.0)
    known = BandInfo.of(fused)
    bands = pictures.rgb_bands(fused.shape[0], known.wavelength_nm, known.good)
    shown = []
    if pair is not None:
        h, w = pair.lr_shape
        row, col = pair.offset
        extent = (-col, w * pair.ratio - col, h * pair.ratio - row, -row)
        planes = pictures.picture(pair.hsi, bands, max(step // pair.ratio, 1))
        shown.append(_Picture(f"HSI\n{h} × {w}, {_bands_text(pair.n_hsi)}", planes, extent))
        if with_msi:
            info = pair.msi_bands
            msi_bands = pictures.rgb_bands(pair.n_msi, info.wavelength_nm, info.good)
            window = WindowSource(pair.msi, row, col, (height, width))
            planes = pictures.picture(window, msi_bands, step)
            text = f"MSI\n{height} × {width}, {_bands_text(pair.n_msi)}"
            shown.append(_Picture(text, planes, whole, is_msi=True))
    text = f"{height} × {width}, {_bands_text(fused.shape[0])}"
    shown.append(_Picture(f"result\n{text}", pictures.picture(fused, bands, step), whole))
    if reference is not None:
        planes = pictures.picture(reference, bands, step)
        shown.append(_Picture(f"reference\n{text}", planes, whole))
    return shown


def _bands_text(count: int) -> str:
    return f"{count} band" + ("s" if count != 1 else "")


def _error_of(
    fused: xr.DataArray, reference: xr.DataArray | None, pair: Pair | None, kind: str, step: int
) -> tuple[Array, tuple[float, float, float, float], str, str] | None:
    """Map, extent, title and label of the colour bar; None where there is nothing to compare."""
    height, width = fused.shape[1:]
    if reference is not None:
        values = pictures.error_map(fused, reference, kind, step)
        return values, (0, width, height, 0), "error\nresult − reference", _error_label(kind)
    if pair is None or pair.n_hsi != fused.shape[0]:
        return None
    row, col = pair.offset
    frame = WindowSource(ArraySource(fused), -row, -col, pair.hr_shape)
    degraded = pictures.Degraded(frame, pair.ratio)
    values = pictures.error_map(degraded, pair.hsi, kind, max(step // pair.ratio, 1))
    h, w = pair.lr_shape
    extent = (-col, w * pair.ratio - col, h * pair.ratio - row, -row)
    return values, extent, "inconsistency\ndegraded result − HSI", _error_label(kind)


def _error_label(kind: str) -> str:
    return "spectral angle (degrees)" if kind == "sam" else "RMSE over bands (input units)"


def _canvas(
    columns: int, size: tuple[int, int], title: str | None
) -> tuple[Figure, Sequence[Axes], Sequence[Axes]]:
    """Axes for `columns` pictures of `size` pixels, and under them as many for plots."""
    from matplotlib.figure import Figure

    width, height = _picture_inches(columns, size)
    heights = [height + (1.0 if title else 0.6), 2.6]
    total = max(width * columns, 7.0) + 0.9
    figure = Figure(figsize=(total, sum(heights)), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=heights)
    if title:
        upper.suptitle(title, fontsize="x-large", fontweight="bold")
    top = upper.subplots(1, columns, squeeze=False)[0]
    return figure, top, lower.subplots(1, max(columns, 2))


def _picture_inches(columns: int, size: tuple[int, int]) -> tuple[float, float]:
    width = min(max(3.0, 7.0 / columns), 4.0)
    return width, min(max(width * size[0] / size[1], 1.2), 5.5)


def _show(axis: Axes, image: Array, title: str, **kwargs: Any) -> Any:
    axis.set_facecolor(_NODATA)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title(title, fontsize="medium")
    return axis.imshow(image, interpolation="nearest", **kwargs)


def _draw_pictures(
    axes: Sequence[Axes], shown: list[_Picture], size: tuple[int, int], points: list
) -> None:
    # One stretch for all, so that colours can be compared: that of the last, the best there is.
    limits = pictures.stretch_limits(shown[-1].planes)
    for axis, one in zip(axes, shown, strict=False):
        own = pictures.stretch_limits(one.planes)
        # Another sensor may have other units.
        shared = not one.is_msi or pictures.comparable(limits, own)
        title = one.title if shared else f"{one.title}, own stretch"
        colours = pictures.stretched(one.planes, limits if shared else own)
        _show(axis, colours, title, extent=one.extent)
        axis.set_xlim(0, size[1])
        axis.set_ylim(size[0], 0)
    for label, (row, col) in zip("ABCDEFGH", points, strict=False):
        for axis in axes[: len(shown)]:
            axis.plot(col + 0.5, row + 0.5, "o", ms=7, mfc="none", mec="black", mew=2.4)
            axis.plot(col + 0.5, row + 0.5, "o", ms=7, mfc="none", mec="white", mew=1.2)
        _label_point(axes[len(shown) - 1], label, row, col, size)


def _label_point(axis: Axes, label: str, row: int, col: int, size: tuple[int, int]) -> None:
    from matplotlib.patheffects import withStroke

    right = col < 0.85 * size[1]
    axis.annotate(
        label,
        (col + 0.5, row + 0.5),
        xytext=(6 if right else -6, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        color="white",
        fontweight="bold",
        path_effects=[withStroke(linewidth=2.5, foreground="black")],
    )


def _colour_bar(axis: Axes, drawn: Any, label: str) -> None:
    # Inset, and so just as high as the picture.
    place = axis.inset_axes((1.03, 0, 0.05, 1))
    axis.figure.colorbar(drawn, cax=place, extend="max").set_label(label)


def _draw_map(
    axis: Axes, values: Array, extent: tuple, title: str, label: str, size: tuple
) -> None:
    drawn = _show(
        axis, values, title, extent=extent, vmin=0, vmax=pictures.upper_limit(values), cmap=_MAP
    )
    axis.set_xlim(0, size[1])
    axis.set_ylim(size[0], 0)
    _colour_bar(axis, drawn, label)


def _draw_spectra(
    axes: Sequence[Axes],
    points: list[tuple[int, int]],
    fused: xr.DataArray,
    reference: xr.DataArray | None,
    pair: Pair | None,
) -> None:
    known = BandInfo.of(fused)
    in_nm = known.wavelength_nm is not None
    x = known.wavelength_nm if in_nm else np.arange(1, fused.shape[0] + 1)
    for label, axis, (row, col) in zip("ABCDEFGH", axes, points, strict=False):
        lines = []
        if pair is not None:
            i, j = ((at + o) // pair.ratio for at, o in zip((row, col), pair.offset, strict=True))
            lines.append(("HSI pixel", pair.hsi, i, j, {"color": _ORANGE, "lw": 1.2, "ls": "--"}))
        if reference is not None:
            lines.append(("reference", reference, row, col, {"color": _BLACK, "lw": 2.2}))
        lines.append(("result", fused, row, col, {"color": _BLUE, "lw": 1.2}))
        for name, image, i, j, style in lines:
            values = as_readable(image).read(slice(i, i + 1), slice(j, j + 1))[:, 0, 0]
            if len(values) == len(x):
                values = np.where(known.good, values, np.nan)
                axis.plot(*pictures.broken_line(x, values), label=name, **style)
        axis.set_title(f"spectrum at {label}", fontsize="medium")
        axis.set_xlabel("wavelength (nm)" if in_nm else "band")
        axis.grid(alpha=0.25)
    for axis in axes[len(points) :]:
        axis.set_axis_off()
    if points:
        axes[0].set_ylabel("value (input units)")
        axes[0].legend(fontsize="small", frameon=False)


def _draw_bands(axis: Axes, evaluation: Evaluation) -> None:
    """RMSE per band against the reference, else correlation with the HSI."""
    per_band = evaluation.per_band
    key = "rmse" if "rmse" in per_band else "hsi_correlation"
    if key not in per_band:
        axis.set_axis_off()
        return
    values = per_band[key]
    in_nm = evaluation.wavelength_nm is not None
    x = evaluation.wavelength_nm if in_nm else np.arange(1, len(values) + 1)
    axis.set_axis_on()
    axis.plot(*pictures.broken_line(x, values), color=_BLUE, lw=1.2)
    rmse = key == "rmse"
    numbers = evaluation.metrics if rmse else {}
    title = "RMSE per band" if rmse else "correlation with the HSI per band"
    axis.set_title(f"{title}{_scores_text(numbers)}", fontsize="medium")
    axis.set_xlabel("wavelength (nm)" if in_nm else "band")
    axis.set_ylabel("RMSE (input units)" if rmse else "correlation")
    if rmse:
        axis.set_ylim(bottom=0)
    axis.grid(alpha=0.25)


def _scores_text(scores: Mapping[str, float]) -> str:
    parts = []
    if "PSNR" in scores:
        parts.append(f"{scores['PSNR']:.2f} dB")
    if "SAM" in scores:
        parts.append(f"SAM {scores['SAM']:.2f}°")
    return "\n" + ", ".join(parts) if parts else ""
