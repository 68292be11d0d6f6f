"""Pairing of a hyperspectral and a multispectral image: grids, ratio, windows, bands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import ODCExtensionDa
from pyproj import Geod

from ..errors import GridError
from ..spectra.bands import BandInfo, bad_msi_bands, check_spectra
from .displacement import Displacement
from .frame import cells, phase, seen_beyond
from .resample import SAME_PIXEL, PixelMap, crs_of, same_turn, shape_of
from .sources import ArraySource, BandsSource, ResampledSource, Source, WindowSource

MIN_PIXELS = 3  # HSI pixels that must overlap the MSI along each axis
MIN_RATIO = 1.5  # HSI pixel over MSI pixel; 2 is the smallest ratio the methods know


@dataclass(frozen=True, eq=False)
class Pair:
    """An HSI and an MSI on nested grids: every HSI pixel is ``ratio`` x ``ratio`` MSI pixels.

    Attributes
    ----------
    hsi : Source, (L, h, w)
        The HSI on the low-resolution grid, resampled by area if it did not lie on it.
    msi : Source, (s, ratio * h, ratio * w)
        The MSI on the high-resolution frame: the target and what is missing to whole HSI pixels.
        There it has the MSI's own pixels where the MSI goes on beyond the target, else NaN.
    ratio : int
    target : GeoBox or None
        Grid of the result; None without CRS. Its pixels are those of the MSI (or of the grid
        asked for), to the digit.
    offset : (int, int)
        Row and column of the target's first pixel in the high-resolution frame.
    shape : (int, int)
        Rows and columns of the target.
    hsi_bands, msi_bands : BandInfo
        Of the MSI without its bad bands, as in ``msi``; of the HSI with them.
    notes : tuple of str
        What was done, in sentences to be logged.
    resampled : bool
        Whether the HSI had to be resampled.
    scale : (float, float)
        Height and width of the HSI's own pixels, in pixels of the low-resolution grid.
    whole : Source or None, (L, h, w)
        The HSI with the places where the MSI contradicts it, which ``hsi`` lacks, see
        `alignment.contradiction`; None where it lacks none.
    broken : Source or None, (L, h, w)
        The HSI with the gaps of single bands, which ``hsi`` has filled, see `alignment.band_gaps`;
        None where there are none.
    moved : Displacement or None
        How far off the HSI's own pixels lie, see `alignment.placing`; None where they do not.
    """

    hsi: Source
    msi: Source
    ratio: int
    target: GeoBox | None
    offset: tuple[int, int]
    shape: tuple[int, int]
    hsi_bands: BandInfo
    msi_bands: BandInfo
    notes: tuple[str, ...] = ()
    resampled: bool = False
    scale: tuple[float, float] = (1.0, 1.0)
    whole: Source | None = None
    broken: Source | None = None
    moved: Displacement | None = None

    @property
    def n_hsi(self) -> int:
        """Number of HSI bands."""
        return self.hsi.shape[0]

    @property
    def n_msi(self) -> int:
        """Number of MSI bands."""
        return self.msi.shape[0]

    @property
    def lr_shape(self) -> tuple[int, int]:
        """Rows and columns of the low-resolution grid."""
        return self.hsi.shape[1], self.hsi.shape[2]

    @property
    def hr_shape(self) -> tuple[int, int]:
        """Rows and columns of the high-resolution frame: ratio x `lr_shape`."""
        return self.msi.shape[1], self.msi.shape[2]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the target in the high-resolution frame."""
        (row, col), (height, width) = self.offset, self.shape
        return slice(row, row + height), slice(col, col + width)

    @property
    def hr_geobox(self) -> GeoBox | None:
        """Grid of the high-resolution frame; None without CRS."""
        if self.target is None:
            return None
        return _shifted(self.target, -self.offset[0], -self.offset[1], self.hr_shape)


def pair_scenes(
    hsi: xr.Dataset | xr.DataArray,
    msi: xr.Dataset | xr.DataArray,
    *,
    ratio: int | None = None,
    target: GeoBox | None = None,
) -> Pair:
    """Bring an HSI and an MSI onto nested grids. No pixel is read.

    The result's grid is the MSI's, cut to whole pixels within both images. The low-resolution
    grid is that grid coarsened by the ratio, with its lines where they are nearest to the HSI's:
    where they coincide the HSI is used as it is, else it is resampled by area, until the MSI guides
    that (`own_pixels.guided`).

    Parameters
    ----------
    hsi, msi : xr.Dataset or xr.DataArray, (band, y, x)
        As `open_hsi` and `open_msi` return them, or with a CRS as rioxarray and odc-geo keep it.
        Without a CRS on both, their shapes alone decide.
    ratio : int, optional
        HSI pixel over MSI pixel, 2 or more; default the nearest whole number.
    target : GeoBox, optional
        Another grid for the result, taken as it is: the MSI is resampled onto it by area.

    Raises
    ------
    GridError
        If the two cannot be brought together: CRS, extent, pixel sizes.
    InputError
        If all MSI bands are bad.
    SpectralError
        If both have wavelengths and no MSI band lies within the HSI's range.
    """
    from ..reading.readers import as_image

    hsi_image, msi_image = as_image(hsi), as_image(msi)
    if ratio is not None and (ratio != int(ratio) or ratio < 2):
        raise GridError(f"The ratio {ratio} must be a whole number of 2 or more.")
    known = BandInfo.of(msi_image)
    bands = BandInfo.of_spectrum(hsi_image), known.only_good()
    spectral = [*bad_msi_bands(known), *check_spectra(*bands)]
    boxes = geobox_of(hsi_image, "HSI"), geobox_of(msi_image, "MSI")
    sources: tuple[Source, Source] = ArraySource(hsi_image), ArraySource(msi_image)
    if not known.good.all():
        sources = sources[0], BandsSource(sources[1], known.good)
    if boxes[0] is None and boxes[1] is None:
        if target is not None:
            raise GridError("A target grid needs images with a CRS: assign one to both of them.")
        return _pair_arrays(sources, bands, ratio, spectral)
    if boxes[0] is None or boxes[1] is None:
        with_crs, without = ("MSI", "HSI") if boxes[0] is None else ("HSI", "MSI")
        raise GridError(
            f"The {with_crs} has a CRS and the {without} has none: assign the {without} its CRS "
            "and transform, or drop the CRS of both to pair them by their shapes."
        )
    if target is not None and target.crs is None:
        raise GridError("The target grid has no CRS: give it one.")
    boxes = same_turn(boxes[0], boxes[1]), boxes[1]
    return _pair_grids(sources, boxes, bands, ratio, target, spectral)


def geobox_of(image: xr.DataArray, name: str = "image") -> GeoBox | None:
    """Grid of an image, the transform to the digit where it is known; None without CRS.

    Raises
    ------
    GridError
        If there is a CRS, but no regular grid.
    """
    located = ODCExtensionDa(image)
    if located.crs is None:
        return None
    box = located.geobox
    even = all(_evenly_spaced(image, dim) for dim in image.dims[1:])
    if not isinstance(box, GeoBox) or box.affine.determinant == 0 or not even:
        raise GridError(
            f"The {name} has a CRS but no regular grid of pixels: warp it onto one first, for "
            "example with gdalwarp."
        )
    return box


def _evenly_spaced(image: xr.DataArray, dim) -> bool:
    """Whether a coordinate is a straight line to a tenth of a step (it may be float32)."""
    if dim not in image.coords:
        return True
    values = image.coords[dim].values.astype(np.float64)
    line = np.linspace(values[0], values[-1], len(values))
    step = abs(values[-1] - values[0]) / max(len(values) - 1, 1)
    return bool(np.abs(values - line).max() <= 0.1 * step)


def _pair_arrays(sources, bands, ratio: int | None, notes: list[str]) -> Pair:
    (_, h, w), (_, height, width) = (source.shape for source in sources)
    sizes = f"HSI {h} x {w} and MSI {height} x {width} pixels"
    if height <= h or width <= w:
        raise GridError(
            f"The MSI must have more pixels than the HSI where neither has a CRS, and these are "
            f"{sizes}: swap them, or give both a CRS."
        )
    found = height // h
    if (height, width) != (found * h, found * w) or ratio not in (None, found):
        asked = "one whole ratio" if ratio is None else f"the ratio {ratio}"
        raise GridError(
            f"Without a CRS the shapes must differ by {asked}, and these are {sizes}: crop the "
            "MSI to a whole multiple of the HSI, or give both a CRS."
        )
    _check_size(h, w)
    note = f"Neither image has a CRS: paired by their shapes, {sizes}, ratio {found}."
    return Pair(
        hsi=sources[0],
        msi=sources[1],
        ratio=found,
        target=None,
        offset=(0, 0),
        shape=(height, width),
        hsi_bands=bands[0],
        msi_bands=bands[1],
        notes=(note, *notes),
    )


def _pair_grids(sources, boxes, bands, asked: int | None, target: GeoBox | None, spectral) -> Pair:
    grid = boxes[1] if target is None else target
    onto = PixelMap.between(boxes[0], grid)
    common = _common_area(onto, PixelMap.between(boxes[1], grid), target is not None)
    centre = _hsi_point(boxes[0], grid, common)
    exact = _mean_scale(onto, centre)
    _check_scales(boxes, grid, centre, exact, asked)
    ratio = asked or max(2, round(exact))
    inner = _whole_pixels(common)
    phase_row, phase_col = phase(onto, centre, inner, ratio)
    r0, c0, r1, c1 = inner if target is None else (0, 0, *shape_of(grid))
    top, bottom = cells(r0, r1, phase_row, ratio)
    left, right = cells(c0, c1, phase_col, ratio)
    if target is None:
        x, y = onto.outline()
        height, width = shape_of(grid)
        top, bottom = seen_beyond((top, bottom), (r0, r1), (y.min(), y.max()), height, ratio)
        left, right = seen_beyond((left, right), (c0, c1), (x.min(), x.max()), width, ratio)
    frame = _shifted(grid, top, left, (bottom - top, right - left))

    hsi, resampled = _on_grid(sources[0], boxes[0], frame.zoom_out(ratio), _edge(onto))
    msi, msi_resampled = _on_grid(sources[1], boxes[1], frame)
    notes = _grid_notes(boxes, frame, exact, ratio, resampled, msi_resampled)
    return Pair(
        hsi=hsi,
        msi=msi,
        ratio=ratio,
        target=_shifted(grid, r0, c0, (r1 - r0, c1 - c0)),
        offset=(r0 - top, c0 - left),
        shape=(r1 - r0, c1 - c0),
        hsi_bands=bands[0],
        msi_bands=bands[1],
        notes=(*notes, *spectral),
        resampled=resampled,
        scale=_scale(onto.jacobian(*centre), ratio) if resampled else (1.0, 1.0),
    )


def _shifted(box: GeoBox, row: int, col: int, shape: tuple[int, int]) -> GeoBox:
    # A shift by nothing keeps the very numbers of the file
    affine = box.affine if (row, col) == (0, 0) else box.affine * Affine.translation(col, row)
    return GeoBox(shape, affine, box.crs)


def _edge(onto: PixelMap) -> float:
    """Part of a low-resolution pixel that must lie inside the HSI: see `ResampledSource.edge`.

    On parallel grids the target ends where the HSI ends, and what is left of an edge pixel is all
    that is needed of it. On others that would be a ragged rim.
    """
    parallel = onto.affine is not None and max(abs(onto.affine.b), abs(onto.affine.d)) < 1e-9
    return 0.0 if parallel else 0.25


def _on_grid(source: Source, box: GeoBox, wanted: GeoBox, edge: float = 1.0) -> tuple[Source, bool]:
    """Put a source on a grid: by whole pixels where they coincide, else resampled."""
    shift = PixelMap.between(wanted, box).whole_shift()
    if shift is None:
        return ResampledSource(source, box, wanted, edge), True
    return WindowSource(source, shift[1], shift[0], shape_of(wanted)), False


def _common_area(hsi: PixelMap, msi: PixelMap, asked: bool) -> shapely.Geometry:
    """Polygon in pixels of the result's grid that lies in the HSI, the MSI and that grid."""
    rings = [np.stack(pixel_map.outline(), 1) for pixel_map in (hsi, msi)]
    if not all(np.isfinite(ring).all() for ring in rings):
        raise GridError(
            "The images cannot be projected into one CRS without breaking: check their CRSs, or "
            "reproject the HSI into the MSI's CRS first."
        )
    height, width = hsi.dst.shape
    common = shapely.box(0, 0, width, height)
    for ring in rings:
        common = common.intersection(shapely.make_valid(shapely.Polygon(ring)))
    if common.area <= SAME_PIXEL:
        what = "The HSI, the MSI and the target grid" if asked else "The HSI and the MSI"
        raise GridError(
            f"{what} do not overlap: check that they show the same place and that each has its "
            "own CRS."
        )
    back = PixelMap.between(hsi.dst, hsi.src)
    x, y = back(*shapely.get_coordinates(common).T)
    _check_size(np.ptp(y), np.ptp(x))
    return common


def _check_size(rows: float, cols: float) -> None:
    if min(rows, cols) < MIN_PIXELS - SAME_PIXEL:
        raise GridError(
            f"The images have {math.floor(rows + SAME_PIXEL)} x {math.floor(cols + SAME_PIXEL)} "
            f"whole HSI pixels in common and fusion needs {MIN_PIXELS} x {MIN_PIXELS}: take "
            "images with a larger overlap."
        )


def _whole_pixels(common: shapely.Geometry) -> tuple[int, int, int, int]:
    """First and last row and column within a polygon's bounds: r0, c0, r1, c1 (exclusive)."""
    c0, r0, c1, r1 = common.bounds
    first = math.ceil(r0 - SAME_PIXEL), math.ceil(c0 - SAME_PIXEL)
    return *first, math.floor(r1 + SAME_PIXEL), math.floor(c1 + SAME_PIXEL)


def _scale(jacobian: np.ndarray, ratio: int) -> tuple[float, float]:
    """Height and width of the HSI's pixels over `ratio` pixels of the grid."""
    width, height = np.linalg.norm(jacobian, axis=1) / ratio
    return round(float(height), 6), round(float(width), 6)


def _hsi_point(hsi: GeoBox, grid: GeoBox, common: shapely.Geometry) -> np.ndarray:
    """Middle of the common area in HSI pixels: column, row."""
    x0, y0, x1, y1 = common.bounds
    middle = np.array([(x0 + x1) / 2]), np.array([(y0 + y1) / 2])
    return np.concatenate(PixelMap.between(grid, hsi)(*middle))


def _mean_scale(onto: PixelMap, point: np.ndarray) -> float:
    return float(abs(np.linalg.det(onto.jacobian(*point))) ** 0.5)


def _check_scales(boxes, grid: GeoBox, centre: np.ndarray, exact: float, asked: int | None) -> None:
    own = _mean_scale(PixelMap.between(boxes[0], boxes[1]), centre)
    least = MIN_RATIO if asked is None else 1 + SAME_PIXEL
    for scale, box, what in ((own, boxes[1], "MSI"), (exact, grid, "target grid")):
        if scale < least:
            raise GridError(
                f"The {what} has pixels of {_size_text(box)} and the HSI of "
                f"{_size_text(boxes[0])}, and the {what} must be at least {MIN_RATIO} times finer: "
                "swap the two if they are in the wrong order, or take a finer one."
            )


def _size_text(box: GeoBox) -> str:
    """Pixel size in the middle of a grid, in metres: '30 m' or '18.5 x 30.9 m'."""
    crs = crs_of(box)
    height, width = box.shape
    a, b, c, d, e, f = box.affine[:6]
    if crs.is_geographic:
        x, y = a * width / 2 + b * height / 2 + c, d * width / 2 + e * height / 2 + f
        geod = crs.get_geod() or Geod(ellps="WGS84")
        sizes = [geod.inv(x, y, x + dx, y + dy)[2] for dx, dy in ((a, d), (b, e))]
    else:
        unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        sizes = [math.hypot(a, d) * unit, math.hypot(b, e) * unit]
    text = [f"{size:.4g}" for size in sizes]
    return f"{text[0]} m" if text[0] == text[1] else f"{text[0]} x {text[1]} m"


def _grid_notes(boxes, frame, exact, ratio, resampled, msi_resampled) -> list[str]:
    hsi, msi = (_size_text(box) for box in boxes)
    coarse = frame.zoom_out(ratio)
    notes = []
    if msi_resampled:
        notes.append(f"MSI {msi} resampled by area onto the target grid of {_size_text(frame)}.")
    if not resampled:
        notes.append(f"HSI {hsi} used on its own grid, {ratio} pixels of {_size_text(frame)}.")
        return notes
    notes.append(
        f"HSI {hsi} resampled onto {_size_text(coarse)}, {ratio} pixels of "
        f"{_size_text(frame)} (exact ratio {exact:.3f})."
    )
    if exact / ratio >= MIN_RATIO:
        notes.append(f"The ratio {ratio} makes pixels much finer than the HSI's own {hsi}.")
    return notes
