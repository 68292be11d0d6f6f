"""Images on grids, for tests of their pairing."""

from __future__ import annotations

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from emrdiff_geo.grids.pair import Pair

ALL = slice(None)
UTM33, UTM32 = "EPSG:32633", "EPSG:32632"
X, Y = 400000.0, 5800000.0


def utm(size: float, shape: tuple[int, int], x: float = 0, y: float = 0) -> GeoBox:
    """Grid that begins x metres to the right of the origin and y metres below it."""
    return GeoBox(shape, Affine(size, 0, X + x, 0, -size, Y - y), UTM33)


def lr_geobox(pair: Pair) -> GeoBox | None:
    """Grid of a pair's low-resolution pixels."""
    return None if pair.hr_geobox is None else pair.hr_geobox.zoom_out(pair.ratio)


def image(values, box: GeoBox | None = None, wavelength=None, fwhm=None) -> xr.DataArray:
    """An image as open_hsi makes it; an int gives that many bands of noise on the grid."""
    if isinstance(values, int):
        values = np.random.default_rng(0).random((values, *box.shape), np.float32)
    coords = {} if box is None else dict(xr_coords(box, always_yx=True))
    coords["band"] = np.arange(1, len(values) + 1)
    for name, of_band in (("wavelength", wavelength), ("fwhm", fwhm)):
        if of_band is not None:
            coords[name] = ("band", np.asarray(of_band, float))
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, name="image")


def block_means(array: np.ndarray, ratio: int) -> np.ndarray:
    b, h, w = array.shape
    return array.reshape(b, h // ratio, ratio, w // ratio, ratio).mean((2, 4))


def nested(pair: Pair) -> bool:
    lr, hr = pair.lr_shape, pair.hr_shape
    return hr == (lr[0] * pair.ratio, lr[1] * pair.ratio)


def cells(pair: Pair) -> tuple[slice, slice]:
    """LR pixels over the target: around it the frame may go on."""
    spans = zip(pair.offset, pair.shape, strict=True)
    r = pair.ratio
    return tuple(slice(first // r, -(-(first + size) // r)) for first, size in spans)


def read_target(pair: Pair) -> np.ndarray:
    return pair.msi.read(*pair.window)
