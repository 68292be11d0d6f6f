"""Pairs whose grids do not nest: another origin, a broken ratio, a rotation.

    python -m benchmarks.grids [--method NAME ...] [SCENE...]

Scenes of the training, in ../shared/data, whose HSI is what a sensor with pixels of any size and
place sees: its PSF, a Gaussian (MTF 0.3) or the mean over a pixel, around each of its own centres.
A line for each scene, PSF and grid: PSNR in dB, 12 fine pixels at the edges left out; `plain` is
the HSI resampled by area, without the MSI's guidance.
"""

from __future__ import annotations

import argparse
import sys
from unittest import mock

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA
from .optics import EDGE, SCENES

CRS, X, Y = "EPSG:32633", 500000.0, 6000000.0
BORDER = 12
#: Fine pixels of an HSI pixel, of the first one's corner, and degrees that the grid is turned by.
GRIDS = {
    "4, nested": (4.0, (0.0, 0.0), 0.0),
    "4, a twentieth off": (4.0, (0.2, 0.3), 0.0),
    "4.17": (4.17, (1.3, 0.6), 0.0),
    "3.33": (3.33, (0.7, 1.9), 0.0),
    "8.33": (8.33, (3.0, 1.0), 0.0),
    "4.17, turned by 25 degrees": (4.17, (1.3, 0.6), 25.0),
}


def weights(n: int, at: np.ndarray, size: float, psf: str) -> np.ndarray:
    """``(len(at), n)`` what pixels of some size, centred at places of an axis, see of it."""
    pixel = np.arange(n) + 0.5 - at[:, None]
    if psf == "area":
        found = np.minimum(pixel + 0.5, size / 2) - np.maximum(pixel - 0.5, -size / 2)
        found = np.clip(found, 0, None)
    else:
        sigma = size * np.sqrt(-2 * np.log(0.3)) / np.pi
        found = np.exp(-np.square(pixel) / (2 * sigma**2))
    return (found / np.maximum(found.sum(axis=1, keepdims=True), 1e-30)).astype(np.float32)


def grid_of(
    shape: tuple[int, ...], size: float, corner: tuple[float, float], turn: float
) -> GeoBox:
    """Grid of the HSI over a scene of fine pixels of a metre."""
    height, width = shape
    rows, cols = (int((n - c) // size) for n, c in zip(shape, corner, strict=True))
    if not turn:
        return GeoBox((rows, cols), Affine(size, 0, X + corner[1], 0, -size, Y - corner[0]), CRS)
    # As much of it as lies within the scene, turned about its middle.
    edge = int(min(height, width) / (np.sqrt(2) * size))
    middle = Affine.translation(X + width / 2, Y - height / 2) * Affine.rotation(turn)
    return GeoBox(
        (edge, edge), middle * Affine(size, 0, -size * edge / 2, 0, -size, size * edge / 2), CRS
    )


def seen(cube: np.ndarray, grid: GeoBox, size: float, psf: str) -> np.ndarray:
    """What the pixels of a grid see of a scene."""
    col, row = np.meshgrid(*(np.arange(n) + 0.5 for n in grid.shape[::-1]))
    x, y = grid.affine * (col.ravel(), row.ravel())
    along_y, along_x = (
        weights(n, at, size, psf) for n, at in zip(cube.shape[1:], (Y - y, x - X), strict=True)
    )
    rows = (np.tensordot(along_y[i : i + 64], cube, (1, 1)) for i in range(0, len(x), 64))
    found = [np.einsum("nlw,nw->ln", r, along_x[64 * i : 64 * i + 64]) for i, r in enumerate(rows)]
    return np.concatenate(found, axis=1).reshape(-1, *grid.shape).astype(np.float32)


def image(values: np.ndarray, grid: GeoBox, wavelength=None) -> xr.DataArray:
    """An image on a grid."""
    coords = dict(xr_coords(grid, always_yx=True))
    if wavelength is not None:
        coords["wavelength"] = ("band", wavelength)
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


def score(result: xr.Dataset, cube: np.ndarray) -> float:
    """PSNR of a result on the scene's pixels, where it has data."""
    place = result.image.odc.geobox.affine
    top, left = round(Y - place.f), round(place.c - X)
    values = result.image.values
    reference = cube[:, top : top + values.shape[1], left : left + values.shape[2]]
    inner = np.s_[:, BORDER:-BORDER, BORDER:-BORDER]
    known = np.isfinite(values[inner]).all(axis=0)
    return psnr(values[inner][:, known], reference[inner][:, known])


def row(name: str, psf: str, grid: str, methods: list[str]) -> list[float]:
    """PSNR by the methods, and by the last one without guidance."""
    file, sensor, _ = SCENES[name]
    scene = load_scene(SceneFile.parse(f"{DATA}/{file}"))
    cube = np.ascontiguousarray(fill_invalid(scene.cube)[0][:, :EDGE, :EDGE])
    response = load_response(sensor).on_bands(scene.wavelength_nm, drop_uncovered=True)[0]
    fine = GeoBox(cube.shape[1:], Affine(1, 0, X, 0, -1, Y), CRS)
    msi = image(np.tensordot(response, cube, axes=1).astype(np.float32), fine)
    size = GRIDS[grid][0]
    box = grid_of(cube.shape[1:], *GRIDS[grid])
    hsi = image(seen(cube, box, size, psf), box, scene.wavelength_nm)
    found = [score(fuse(hsi, msi, method=m, force=True), cube) for m in methods]
    with mock.patch("emrdiff_geo.alignment.measuring.guided", lambda pair, *known: pair):
        return [*found, score(fuse(hsi, msi, method=methods[-1], force=True), cube)]


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--method", nargs="+", default=["local_regression", "gaussian_process"])
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    print(*args.method, "plain", sep=" / ")
    for psf in ("gaussian", "area"):
        for grid in GRIDS:
            for name in args.scenes or SCENES:
                found = row(name, psf, grid, args.method)
                text = " / ".join(f"{value:.2f}" for value in found)
                print(f"{psf:9} {grid:27} {name:14} {text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
