"""Tiny files that the tests of the readers share."""

import numpy as np
import rasterio
from rasterio.transform import Affine, from_origin

CENTERS = [450.5, 550.0, 650.0, 850.0, 1610.0]
NORTH_UP = from_origin(400000, 5800000, 30, 30)
ROTATED = Affine.translation(400000, 5800000) * Affine.rotation(30) * Affine.scale(10, -10)


def cube(count=5, height=6, width=7, dtype="int16"):
    return np.arange(count * height * width).reshape(count, height, width).astype(dtype)


def write(path, data=None, crs="EPSG:32633", transform=NORTH_UP, **options):
    data = cube() if data is None else data
    count, height, width = data.shape
    profile = {"driver": "GTiff", "dtype": data.dtype, "crs": crs, "transform": transform}
    profile |= {"count": count, "height": height, "width": width, **options}
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
    return path


def edit(path):
    return rasterio.open(path, "r+")


def tags_nm(out):
    for i, c in enumerate(CENTERS, 1):
        out.update_tags(i, wavelength=str(c), wavelength_units="nm", fwhm="10.5")


def descriptions_nm(out):
    out.descriptions = [f"{c} nm" for c in CENTERS]
