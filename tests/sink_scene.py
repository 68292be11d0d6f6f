"""A small image with nodata, its grid and bands, and its way to a file and back."""

import warnings
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning

from emrdiff_geo.metadata import Provenance
from emrdiff_geo.writing.sinks import open_sink

SHAPE = (3, 300, 280)
TILE = 96
NORTH_UP = Affine(3.6, 0, 380000.1, 0, -3.6, 5820000.3)
ROTATED = Affine(3.438549, 2.23302, 500000.1, 2.23302, -3.438549, 4000000.7)
BANDS = SimpleNamespace(
    wavelength_nm=np.array([450.0, 645.04, 2200.5]),
    fwhm_nm=np.array([10.0, 10.5, 12.0]),
    good=np.array([True, True, False]),
)
PROVENANCE = Provenance("bicubic", seed=1, inputs=("hsi.tif", "msi.tif"), ratio=4)
SUFFIXES = ["tif", "zarr"]

ignore_plain_grid = pytest.mark.filterwarnings(
    f"ignore::{NotGeoreferencedWarning.__module__}.{NotGeoreferencedWarning.__name__}"
)


def make_grid(affine=NORTH_UP, shape=SHAPE, crs="EPSG:32633"):
    return GeoBox(shape[1:], affine, crs)


def regions(shape=SHAPE, tile=TILE):
    _, height, width = shape
    return [(r, c) for r in range(0, height, tile) for c in range(0, width, tile)]


def fill(sink, image, order=None):
    for row, col in order or regions(image.shape):
        sink.write(image[:, row : row + TILE, col : col + TILE], row, col)


def write(path, image, **options):
    options = {"geobox": make_grid(), "chunks": TILE, "bands": BANDS, **options}
    with open_sink(path, image.shape, provenance=PROVENANCE, **options) as sink:
        fill(sink, image)
    return path


def read(path):
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return xr.open_zarr(path, decode_coords="all").image.values
    with rasterio.open(path) as dataset:
        values = dataset.read().astype(np.float64)
        values[dataset.read_masks() == 0] = np.nan
        scales = np.array(dataset.scales)[:, None, None]
        return values * scales + np.array(dataset.offsets)[:, None, None]


def digest(path):
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(p.relative_to(path.parent), sha256(p.read_bytes()).hexdigest()) for p in files]


def make_image():
    values = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    values[:, :100, :120] = np.nan
    return values
