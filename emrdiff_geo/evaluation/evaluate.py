"""Evaluation of a fused image: against a reference, against its inputs, or both."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..alignment.coarse_bands import coarse_bands, fine_bands, sentence
from ..alignment.optics import AUTO, describe
from ..alignment.unmarked import marked
from ..degradation.degrade import Degradation
from ..errors import GridError, InputError
from ..grids.pair import Pair, geobox_of, pair_scenes
from ..grids.resample import PixelMap
from ..grids.sources import BandsSource
from ..grids.windows import blocks
from ..reading.readers import as_image
from ..spectra.bands import BandInfo
from ..system.json_values import plain
from .consistency import Consistency
from .metrics import as_readable, block_side, measure
from .pair_consistency import as_seen, pair_consistency

if TYPE_CHECKING:
    from rich.table import Table

_log = logging.getLogger(__name__)


# name: (unit, which way is better)
_ROWS = {
    "PSNR": ("dB", "higher"),
    "mPSNR": ("dB", "higher"),
    "SSIM": ("", "higher, 1 at most"),
    "SAM": ("degrees", "lower"),
    "ERGAS": ("", "lower"),
    "RMSE": ("input units", "lower"),
    "correlation": ("", "higher, 1 at most"),
    "correlation_min": ("", "higher, 1 at most"),
    "relative_rmse": ("", "lower"),
    "valid": ("of pixels", ""),
    "pixels": ("", ""),
}
_SECTIONS = {
    "metrics": "Against the reference",
    "spectral": "Degraded result against the HSI",
    "spatial": "Response of the result against the MSI",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What :func:`evaluate` found.

    Attributes
    ----------
    metrics : dict
        Against the reference, see :func:`emrdiff_geo.evaluation.metrics.score`; empty without one.
    consistency : dict of dict
        ``spectral`` (against the HSI) and ``spatial`` (against the MSI), see
        :class:`emrdiff_geo.evaluation.consistency.Consistency`; each empty without that input.
    per_band : dict of ndarray
        ``rmse``, ``psnr``, ``correlation`` against the reference; ``hsi_correlation``,
        ``hsi_relative_rmse``: (L,) float64, NaN for bands left out; ``msi_correlation``,
        ``msi_relative_rmse``: (s,).
    ratio : float or None
        Ratio of the pixel sizes that ERGAS was computed with.
    wavelength_nm : (L,) ndarray or None
    notes : tuple of str
        What was cropped, left out or resampled.
    response : (s, L) ndarray or None
        Response with which the result was compared with the MSI, given or fitted.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    consistency: dict[str, dict[str, float]] = field(default_factory=dict)
    per_band: dict[str, NDArray[Any]] = field(default_factory=dict)
    ratio: float | None = None
    wavelength_nm: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    response: NDArray[Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types: the metrics by name, ``consistency``, ``per_band``, ``ratio``, ``notes``.

        What is no number, such as the PSNR of a perfect result, becomes None.
        """
        wavelength = {} if self.wavelength_nm is None else {"wavelength_nm": self.wavelength_nm}
        return plain(
            {
                **self.metrics,
                "ratio": self.ratio,
                "consistency": self.consistency,
                "per_band": {**wavelength, **self.per_band},
                "notes": list(self.notes),
            }
        )

    def to_json(self, indent: int | None = 2) -> str:
        """:meth:`to_dict` as strict JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def table(self) -> Table:
        """A `rich` table for the terminal."""
        from rich.table import Table

        table = Table(title="Evaluation", title_justify="left")
        table.add_column("measure")
        table.add_column("value", justify="right")
        table.add_column("unit")
        table.add_column("better", style="dim")
        for name, values in {"metrics": self.metrics, **self.consistency}.items():
            if not values:
                continue
            table.add_section()
            table.add_row(f"[bold]{_SECTIONS[name]}[/bold]")
            for key, (unit, better) in _ROWS.items():
                if key in values:
                    table.add_row(f"  {key.replace('_', ' ')}", _text(values[key]), unit, better)
        return table


def _text(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.3f}"


def evaluate(
    fused: Any,
    reference: Any = None,
    *,
    ratio: float | None = None,
    hsi: Any = None,
    msi: Any = None,
    border: int = 0,
    response: NDArray[Any] | None = None,
    psf: str | Degradation = AUTO,
    block: int | None = None,
) -> Evaluation:
    """Judge a fused image by a reference, by the images it was made from, or by both.

    Everything is read block by block, the fused image and the reference twice: write a lazy
    result to a file before it is evaluated.

    Parameters
    ----------
    fused, reference : xr.Dataset, xr.DataArray or ndarray, (band, y, x)
        On one grid, or on grids that are whole pixels apart: then the common window counts.
    ratio : float, optional
        Pixel size of the HSI over that of the result; found from `hsi` if that is given.
    hsi, msi : xr.Dataset, xr.DataArray or ndarray, optional
        Inputs of the fusion.
    border : int
        Pixels left out at each edge in the comparison with the reference.
    response : (s, L) ndarray, optional
        Response of the MSI's bands on those of the result; fitted on the inputs by default.
    psf : str or Degradation
        How the HSI's pixels see the fine grid: ``"gaussian"``, ``"paper"``, ``"area"``, or
        ``"auto"``, measured on the inputs.
    block : int, optional
        Side of the blocks in pixels.

    Raises
    ------
    GridError
        If the grids cannot be compared pixel by pixel.
    InputError
        If bands do not match, nothing is valid or the ratio is unknown.
    """
    if reference is None and hsi is None and msi is None:
        raise InputError("There is nothing to compare with; give a reference, the HSI or the MSI.")
    fused = as_image(fused)
    notes: list[str] = []
    pair = None
    if hsi is not None or msi is not None:
        pair = pair_on_grid(fused, hsi, msi, ratio)
        ratio = ratio or pair.ratio
        notes.extend(pair.notes)
    metrics: dict[str, float] = {}
    per_band: dict[str, NDArray[Any]] = {}
    if reference is not None:
        metrics, per_band = _against(fused, as_image(reference), ratio, border, block, notes)
    agreement = Consistency()
    if pair is not None:
        agreement = _agreement(fused, pair, msi is not None, response, psf, block, notes)
    for note in notes:
        _log.info(note)
    return Evaluation(
        metrics=metrics,
        consistency={"spectral": agreement.spectral, "spatial": agreement.spatial},
        per_band={**per_band, **agreement.per_band},
        ratio=ratio,
        wavelength_nm=BandInfo.of(fused).wavelength_nm,
        notes=tuple(notes),
        response=agreement.response,
    )


def _against(
    fused: xr.DataArray,
    reference: xr.DataArray,
    ratio: float | None,
    border: int,
    block: int | None,
    notes: list[str],
) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
    if ratio is None:
        raise InputError("ERGAS needs the ratio of the pixel sizes; give it, or the HSI.")
    n_bands = fused.sizes["band"]
    if reference.sizes["band"] != n_bands:
        raise InputError(
            f"The fused image has {n_bands} bands and the reference {reference.sizes['band']}; "
            "select the same bands of both."
        )
    fused, reference = common_window(fused, reference, notes)
    used = _filled_bands([fused, reference], notes)
    found = measure(fused[used], reference[used], ratio, border, block)
    return found.result(), {k: _spread(v, used, n_bands) for k, v in found.per_band().items()}


def common_window(
    fused: xr.DataArray, reference: xr.DataArray, notes: list[str] | None = None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Crop two images to the pixels that both have.

    Parameters
    ----------
    fused, reference : xr.DataArray, (band, y, x)
        If one of them has no CRS their shapes have to be the same.
    notes : list of str, optional
        Gets a sentence if something was cropped.

    Raises
    ------
    GridError
        If their pixels do not coincide or they do not overlap.
    """
    shapes = fused.shape[1:], reference.shape[1:]
    boxes = geobox_of(fused, "fused image"), geobox_of(reference, "reference")
    if boxes[0] is None or boxes[1] is None:
        if shapes[0] != shapes[1]:
            raise GridError(
                f"The fused image has {_size(shapes[0])} pixels and the reference "
                f"{_size(shapes[1])}; give both a CRS, or crop them to the same window."
            )
        return fused, reference
    shift = PixelMap.between(boxes[1], boxes[0]).whole_shift()
    if shift is None:
        raise GridError(
            "The reference's pixels do not coincide with those of the fused image; bring it onto "
            "that grid first, for example with reference.rio.reproject_match(fused)."
        )
    windows = [_overlap(start, *sizes) for start, *sizes in zip(shift[::-1], *shapes, strict=True)]
    common = tuple(inside.stop - inside.start for inside, _ in windows)
    if min(common) <= 0:
        raise GridError(
            "The reference does not overlap the fused image; check that both show the same place."
        )
    if notes is not None and not shapes[0] == shapes[1] == common:
        notes.append(
            f"Compared on the common {_size(common)} pixels of the result ({_size(shapes[0])}) and "
            f"the reference ({_size(shapes[1])})."
        )
    (rows, cols), (ref_rows, ref_cols) = zip(*windows, strict=True)
    return fused[:, rows, cols], reference[:, ref_rows, ref_cols]


def _overlap(start: int, length: int, other_length: int) -> tuple[slice, slice]:
    """Common part of an axis and of another that starts at `start`, as slices into both."""
    first, last = max(start, 0), min(start + other_length, length)
    return slice(first, last), slice(first - start, last - start)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)


def _filled_bands(images: Sequence[Any], notes: list[str]) -> NDArray[np.intp]:
    """Bands that have data in every image: a band of nodata would leave no pixel valid."""
    keep = np.ones(images[0].shape[0], bool)
    for image in images:
        source = as_readable(image)
        filled = np.zeros(len(keep), bool)
        for window in blocks(source.shape[1:], block_side(source)):
            filled |= np.isfinite(source.read(*window)).any(axis=(1, 2))
            if filled.all():
                break
        keep &= filled
    if not keep.any():
        raise InputError("No band has data in all the images; check their nodata values.")
    note = f"{(~keep).sum()} of {len(keep)} bands are all nodata and left out."
    if not keep.all() and note not in notes:
        notes.append(note)
    return np.flatnonzero(keep)


def _spread(values: NDArray[Any], used: NDArray[np.intp], n_bands: int) -> NDArray[Any]:
    out = np.full(n_bands, np.nan)
    out[used] = values
    return out


def pair_on_grid(
    fused: xr.DataArray, hsi: Any, msi: Any = None, ratio: float | None = None
) -> Pair:
    """The inputs on the grid of the result; the result stands in for an MSI that is not given."""
    if hsi is None:
        raise InputError("The MSI alone says little; give the HSI too, to fit the response on.")
    whole = int(ratio) if ratio is not None and float(ratio).is_integer() else None
    msi = fused if msi is None else as_image(msi)
    hsi = as_image(hsi)
    box = geobox_of(fused, "fused image")
    located = geobox_of(msi, "MSI") is not None
    if box is None and located:
        raise GridError("The fused image has no CRS and its inputs have; give it the MSI's grid.")
    pair = marked(pair_scenes(hsi, msi, ratio=whole, target=box if located else None))
    if pair.shape != fused.shape[1:]:
        raise GridError(
            f"The fused image has {_size(fused.shape[1:])} pixels and the MSI {_size(pair.shape)}; "
            "compare it with the MSI it was made from."
        )
    return pair


def _agreement(
    fused: xr.DataArray,
    pair: Pair,
    with_msi: bool,
    response: NDArray[Any] | None,
    psf: str | Degradation,
    block: int | None,
    notes: list[str],
) -> Consistency:
    n_bands = fused.shape[0]
    if pair.n_hsi != n_bands:
        raise InputError(
            f"The fused image has {n_bands} bands and the HSI {pair.n_hsi}; compare it with the "
            "HSI it was made from."
        )
    used = _filled_bands([fused, pair.hsi], notes)
    good = used[pair.hsi_bands.good[used]]
    used = good if good.size else used
    fine = _fine_bands(pair, notes) if with_msi else np.arange(pair.n_msi)
    n_msi, pair = pair.n_msi, replace(pair, msi=BandsSource(pair.msi, fine))
    given, (pair, psf) = psf, as_seen(pair, psf)
    notes.extend(note for note in pair.notes if note not in notes)
    if isinstance(given, str):
        notes.append(f"PSF between the images: {describe(psf, pair.scale)}.")
    response = None if response is None else np.asarray(response)[np.ix_(fine, used)]
    found = pair_consistency(fused, pair, used, with_msi, response, psf, block)
    per_band = {
        key: _spread(values, *((used, n_bands) if key.startswith("hsi") else (fine, n_msi)))
        for key, values in found.per_band.items()
    }
    if found.response is None:
        return Consistency(found.spectral, found.spatial, per_band)
    full = np.zeros((n_msi, n_bands))
    full[np.ix_(fine, used)] = found.response
    return Consistency(found.spectral, found.spatial, per_band, full)


def _fine_bands(pair: Pair, notes: list[str]) -> NDArray[np.intp]:
    """MSI bands to compare with: coarser ones show less than a result that is right."""
    found = coarse_bands(pair)
    notes.extend(sentence(kind, "the result is not compared with them") for kind in found)
    return fine_bands(pair, found)
