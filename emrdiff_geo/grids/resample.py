"""Area-weighted resampling between two pixel grids: exact, and blind to how it is windowed.

GDAL's ``average`` warp agrees with this for parallel grids, but for a rotated or reprojected grid
it averages over the bounding box of a target pixel instead of the pixel, and its last digits depend
on the window asked for. Tiles have to agree bit for bit, so the areas are computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from ..errors import GridError

# Coordinates that differ by less than this part of a pixel are the same coordinate.
SAME_PIXEL = 1e-3
# Edge pixels of global grids may reach over a pole by this, in degrees.
_POLE = 1.0
# Overlaps smaller than this part of a target pixel are rounding of the edges.
_SLIVER = 1e-7


@lru_cache(maxsize=32)
def _transformer(
    src_wkt: str, dst_wkt: str, area: tuple[float, float, float, float] | None
) -> Transformer:
    """One fixed coordinate operation: PROJ must not choose anew for each point of a window."""
    aoi = None if area is None else AreaOfInterest(*area)
    group = TransformerGroup(
        CRS.from_wkt(src_wkt), CRS.from_wkt(dst_wkt), always_xy=True, area_of_interest=aoi
    )
    if not group.transformers:
        raise ProjError("no operation is known")
    # Those of a group may not be shared by threads; one made from its text has a state for each.
    return Transformer.from_pipeline(group.transformers[0].definition)


def crs_of(box: GeoBox) -> CRS:
    """CRS of a grid as pyproj has it; `GridError` if there is none."""
    if box.crs is None:
        raise GridError("A grid has no CRS: give it one.")
    return CRS.from_wkt(box.crs.to_wkt())


def shape_of(box: GeoBox) -> tuple[int, int]:
    """Rows and columns of a grid as plain numbers."""
    return int(box.shape[0]), int(box.shape[1])


def _lonlat_area(box: GeoBox) -> tuple[float, float, float, float] | None:
    """West, south, east and north of a grid in degrees; None where they make no sense."""
    to_lonlat = Transformer.from_crs(crs_of(box), "OGC:CRS84", always_xy=True)
    x, y = _apply(box.affine, *_outline(shape_of(box), 8))
    lon, lat = to_lonlat.transform(x, y)
    if crs_of(box).is_geographic and np.abs(lat).max() > 90 + _POLE:
        raise GridError(
            f"An image in {crs_of(box).name} has a latitude of {lat[np.abs(lat).argmax()]:.6g} "
            "degrees: assign it the CRS that its coordinates are in."
        )
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def same_turn(box: GeoBox, other: GeoBox) -> GeoBox:
    """Grid by the longitudes of another one: 359.99 and -0.01 degrees are the same place."""
    if not (crs_of(box).is_geographic and crs_of(other).is_geographic):
        return box
    (x, _), (goal, _) = (b.affine * (b.shape[1] / 2, b.shape[0] / 2) for b in (box, other))
    turns = round((goal - x) / 360.0)
    if turns == 0:
        return box
    return GeoBox(box.shape, Affine.translation(360.0 * turns, 0) * box.affine, box.crs)


def _apply(affine: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = affine[:6]
    return a * x + b * y + c, d * x + e * y + f


def _outline(shape: tuple[int, int], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around a raster's edge, (4 * steps,) each of column and row coordinates."""
    h, w = shape
    t = np.arange(steps) / steps
    one = np.ones(steps)
    x = np.concatenate([t, one, 1 - t, 0 * one]) * w
    y = np.concatenate([0 * one, t, one, 1 - t]) * h
    return x, y


@dataclass(frozen=True)
class PixelMap:
    """Maps pixel coordinates of one grid to pixel coordinates of another.

    Pixel coordinates are (column, row) with (0, 0) at the outer corner of the first pixel.

    Attributes
    ----------
    src, dst : GeoBox
        Grids with a CRS.
    affine : Affine or None
        The whole map where it is linear (one CRS, or two that do not differ over ``src``).
    area : tuple of float or None
        West, south, east, north in degrees: picks the coordinate operation between two CRSs.
    """

    src: GeoBox
    dst: GeoBox
    affine: Affine | None
    area: tuple[float, float, float, float] | None = None

    @classmethod
    def between(cls, src: GeoBox, dst: GeoBox) -> PixelMap:
        """Build the map, linear where the two CRSs agree over ``src``.

        Raises
        ------
        GridError
            If no transformation between the two CRSs is known.
        """
        linear = ~dst.affine * src.affine
        if src.crs == dst.crs:
            return cls(src, dst, linear)
        try:
            warped = cls(src, dst, None, _lonlat_area(src))
            x, y = _outline(shape_of(src), 8)
            u, v = warped(x, y)
        except ProjError as error:
            raise GridError(
                f"No transformation is known from {crs_of(src).name} to {crs_of(dst).name}: give "
                "both images a CRS with a datum, or reproject one of them first."
            ) from error
        # One CRS has many spellings (EPSG code, ENVI or ESRI text); what it does to points decides.
        p, q = _apply(linear, x, y)
        tolerance = SAME_PIXEL * min(1.0, abs(linear.determinant) ** 0.5)
        if max(_largest(u - p), _largest(v - q)) < tolerance:
            return cls(src, dst, linear)
        return warped

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map coordinates; points without an image become inf."""
        if self.affine is not None:
            return _apply(self.affine, np.asarray(x, float), np.asarray(y, float))
        operation = _transformer(_wkt(self.src), _wkt(self.dst), self.area)
        world = _apply(self.src.affine, np.asarray(x, float), np.asarray(y, float))
        return _apply(~self.dst.affine, *operation.transform(*world))

    def outline(self, steps: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Edge of the source grid in pixel coordinates of the other, (4 * steps,) each."""
        return self(*_outline(shape_of(self.src), steps))

    def jacobian(self, x: float, y: float) -> np.ndarray:
        """Pixels of ``dst`` a pixel of ``src`` spans around (x, y): (2, 2), columns d/dx, d/dy."""
        u, v = self(np.array([x - 0.5, x + 0.5, x, x]), np.array([y, y, y - 0.5, y + 0.5]))
        return np.array([[u[1] - u[0], u[3] - u[2]], [v[1] - v[0], v[3] - v[2]]])

    def whole_shift(self) -> tuple[int, int] | None:
        """Columns and rows by which ``src`` is shifted in ``dst`` if that is all; else None."""
        if self.affine is None:
            return None
        shift = round(self.affine.c), round(self.affine.f)
        x, y = _outline(shape_of(self.src), 1)
        u, v = self(x, y)
        off = max(_largest(u - x - shift[0]), _largest(v - y - shift[1]))
        return shift if off < SAME_PIXEL else None


def _largest(values: np.ndarray) -> float:
    largest = float(np.abs(values).max())
    return largest if np.isfinite(largest) else np.inf


def _wkt(box: GeoBox) -> str:
    return "" if box.crs is None else box.crs.to_wkt()


def _below(t: np.ndarray) -> np.ndarray:
    """Integral of min(max(t, 0), 1) from 0 to t."""
    c = np.clip(t, 0.0, 1.0)
    return 0.5 * c * c + np.maximum(t - 1.0, 0.0)


def _edge_area(xa, ya, xb, yb):
    """Signed area between a line segment and the side y = 0 inside the unit cell.

    Summed over the edges of a polygon it is the area of the polygon's part in that cell: the
    contour integral of min(max(y, 0), 1) dx over 0 <= x <= 1, in closed form for a straight edge.
    """
    dx = xb - xa
    dy = yb - ya
    left, right = np.clip(xa, 0.0, 1.0), np.clip(xb, 0.0, 1.0)
    run = np.where(dx == 0.0, 1.0, dx)
    top = ya + np.clip((left - xa) / run, 0.0, 1.0) * dy
    end = ya + np.clip((right - xa) / run, 0.0, 1.0) * dy
    rise = end - top
    flat = np.abs(rise) < 1e-6
    mean = (_below(end) - _below(top)) / np.where(flat, 1.0, rise)
    mean = np.where(flat, np.clip(0.5 * (top + end), 0.0, 1.0), mean)
    return (right - left) * mean


@dataclass(frozen=True)
class Overlap:
    """Overlap areas of a block of target pixels with the source pixels they lie on.

    Attributes
    ----------
    weights : csr_matrix, (target pixels, source pixels of the window)
        Overlap areas as parts of the target pixel's area: rows sum to 1 or less.
    row, col : int
        First row and column of the source window.
    shape : (int, int)
        Rows and columns of the source window.
    """

    weights: sp.csr_matrix
    row: int
    col: int
    shape: tuple[int, int]


def overlap(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> Overlap | None:
    """Overlap areas of quadrilateral target pixels with the unit cells of a source raster.

    Parameters
    ----------
    x, y : (h + 1, w + 1) float64
        Column and row coordinates, in source pixels, of the corners of h x w target pixels.
    shape : (int, int)
        Rows and columns of the source raster; what lies outside has no weight.

    Returns
    -------
    Overlap or None
        None where no target pixel touches the raster.
    """
    corners = [(s[:-1, :-1], s[:-1, 1:], s[1:, 1:], s[1:, :-1]) for s in (x, y)]
    px, py = (np.stack([c.ravel() for c in group]) for group in corners)
    seen = np.flatnonzero(np.isfinite(px).all(0) & np.isfinite(py).all(0))
    px, py = px[:, seen], py[:, seen]
    near = (px.max(0) > 0) & (py.max(0) > 0) & (px.min(0) < shape[1]) & (py.min(0) < shape[0])
    if not near.any():
        return None
    seen, px, py = seen[near], px[:, near], py[:, near]
    col, row = np.floor(px.min(0)).astype(np.int64), np.floor(py.min(0)).astype(np.int64)
    wide = int((np.ceil(px.max(0)) - col).max())
    high = int((np.ceil(py.max(0)) - row).max())
    i = row[:, None] + np.repeat(np.arange(high), wide)
    j = col[:, None] + np.tile(np.arange(wide), high)
    area = np.zeros(i.shape)
    whole = np.zeros(seen.size)
    for k in range(4):
        n = (k + 1) % 4
        xa, ya, xb, yb = px[k, :, None], py[k, :, None], px[n, :, None], py[n, :, None]
        area += _edge_area(xa - j, ya - i, xb - j, yb - i)
        whole += (px[n] - px[k]) * (0.5 * (py[k] + py[n]) - row)
    # A mirrored grid walks its pixels the other way round: areas and whole share that sign.
    share = area / np.where(whole == 0.0, np.inf, whole)[:, None]
    keep = (share > _SLIVER) & (i >= 0) & (j >= 0) & (i < shape[0]) & (j < shape[1])
    if not keep.any():
        return None
    pixel = np.broadcast_to(seen[:, None], keep.shape)[keep]
    i, j, share = i[keep], j[keep], share[keep]
    r0, c0, r1, c1 = int(i.min()), int(j.min()), int(i.max()) + 1, int(j.max()) + 1
    size = (r1 - r0, c1 - c0)
    weights = sp.csr_matrix(
        (share, (pixel, (i - r0) * size[1] + (j - c0))),
        shape=((x.shape[0] - 1) * (x.shape[1] - 1), size[0] * size[1]),
    )
    # Sums run in row-major order of the source, whatever the window: equal bits for equal pixels.
    weights.sort_indices()
    return Overlap(weights, r0, c0, size)


def weighted_mean(
    values: np.ndarray, weights: sp.csr_matrix, covered: float | np.ndarray = 0.5
) -> np.ndarray:
    """Mean of the valid source pixels, weighted with their overlap areas.

    Parameters
    ----------
    values : (B, n) float32
        Source pixels; NaN is nodata, band by band.
    weights : csr_matrix, (m, n)
    covered : float or (m,)
        Part of a target pixel that valid source pixels must cover, or it is nodata.

    Returns
    -------
    (B, m) float32
    """
    valid = ~np.isnan(values)
    out = np.full((values.shape[0], weights.shape[0]), np.nan, np.float32)
    bands = np.flatnonzero(valid.any(1))
    if not bands.size:
        return out
    valid, values = valid[bands], values[bands]
    total = weights @ np.where(valid, values, 0).T.astype(np.float64)
    if (valid == valid[0]).all():
        valid = valid[:1]
    area = weights @ valid.T.astype(np.float64)
    # 1e-6: half a pixel less rounding is half a pixel
    enough = area >= np.maximum(np.reshape(covered, (-1, 1)) - 1e-6, _SLIVER)
    mean = np.where(enough, total / np.where(enough, area, 1.0), np.nan)
    out[bands] = mean.T
    return out
