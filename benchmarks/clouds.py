"""What a cloud in one of the two images costs elsewhere: ``python -m benchmarks.clouds``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF. Opaque clouds with soft
edges, 1.3 times as bright as the brightest ground, lie over a tenth of one image or the other. A
line for each scene: PSNR in dB of every method where neither image has a cloud, or an HSI pixel
that sees one, within two of its pixels; in brackets with --no-normalise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy import ndimage

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA
from .disagreement import EDGE, METHODS, RATIO, SCENES, field

#: Bavaria's part has too little clear ground left.
CLOUDED = [name for name in SCENES if name != "bavaria"]
DIMS = ("band", "y", "x")


def pairs(name: str, seed: int) -> Iterator[tuple[str, xr.DataArray, xr.DataArray]]:
    """Pairs of a scene: which image has clouds, HSI, MSI."""
    file, sensor = SCENES[name]
    scene = load_scene(SceneFile.parse(f"{DATA}/{file}"))
    height, width = (min(n, EDGE) // RATIO * RATIO for n in scene.cube.shape[1:])
    cube = np.ascontiguousarray(fill_invalid(scene.cube)[0][:, :height, :width])
    nm = scene.wavelength_nm
    response = load_response(sensor).on_bands(nm, drop_uncovered=True)[0]
    opacity = np.clip((field(np.random.default_rng(seed), (height, width), 12) - 1.3) / 0.5, 0, 1)
    white = 1.3 * np.percentile(cube, 98, axis=(1, 2))[:, None, None]
    cloudy = cube * (1 - opacity) + white * opacity
    clear = ~ndimage.binary_dilation(opacity > 0, iterations=2 * RATIO)
    reference = np.where(clear, cube, np.nan)
    for where, of_hsi, of_msi in (
        ("none", cube, cube),
        ("HSI", cloudy, cube),
        ("MSI", cube, cloudy),
    ):
        hsi = xr.DataArray(Degradation(RATIO).down(of_hsi).astype(np.float32), dims=DIMS)
        hsi = hsi.assign_coords(wavelength=("band", nm))
        msi = np.tensordot(response, of_msi, axes=1).astype(np.float32)
        yield where, hsi, xr.DataArray(msi, dims=DIMS), reference


def scored(hsi: xr.DataArray, msi: xr.DataArray, reference: np.ndarray, **options: object) -> float:
    """PSNR of one result where it is clear, dB."""
    clear = np.isfinite(reference).all(axis=0)
    image = fuse(hsi, msi, tile=512, **options).image.values
    return psnr(image[:, clear][:, None], reference[:, clear][:, None])


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", default=CLOUDED, metavar="SCENE")
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    parser.add_argument("--seed", type=int, default=3, help="of the clouds (3)")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    found: dict[str, list[list[list[float]]]] = {}
    for name in args.scenes:
        for where, *images in pairs(name, args.seed):
            row = [
                [scored(*images, method=m, normalise=n) for n in (True, False)] for m in args.method
            ]
            found.setdefault(where, []).append(row)
            told = (f"{m} {a:.2f} ({b:.2f})" for m, (a, b) in zip(args.method, row, strict=True))
            print(f"{name:14} clouds: {where:5}", *told, flush=True)
    for where, rows in found.items():
        told = (f"{a:.2f} ({b:.2f})" for a, b in np.mean(rows, axis=0))
        print(f"mean           clouds: {where:5}", *told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
