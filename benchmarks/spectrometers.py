"""What it costs that two spectrometers are not aligned: ``python -m benchmarks.spectrometers``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF, its bands above 950 nm
so many of its pixels off, down and to the right. The MSI has ten bands of Sentinel-2, or the four
of its 10 m. A line for each scene, MSI and shift: PSNR in dB of every method on the bands below and
above 950 nm, and in brackets with --no-normalise.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import xarray as xr
from scipy import ndimage

from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA, SENTINEL2
from .disagreement import EDGE, METHODS, RATIO, as_pair

SCENES = {
    "hydice": "bench/hydice.npz@400-2500",
    "abu-airport-4": "bench/abu-airport-4.npz@400-2500",
    "abu-urban-5": "bench/abu-urban-5.npz@400-2500",
    "sandiego": "bench/sandiego.npz@400-2500",
    "berlin": "georef/berlin_enmapsim244_30m.tif",
}
SENSORS = {"ten": SENTINEL2, "four": "sentinel2a:B02,B03,B04,B08"}
SHIFTS = (0.0, 0.0), (0.1, -0.05), (0.16, 0.1), (0.4, -0.3)
SECOND_NM = 950


def opened(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Part of a scene ``(L, y, x)`` without gaps, wavelengths in nm."""
    scene = load_scene(SceneFile.parse(f"{DATA}/{SCENES[name]}"))
    used = np.isfinite(scene.cube).any(axis=(1, 2))
    height, width = (min(n, EDGE) // RATIO * RATIO for n in scene.cube.shape[1:])
    cube = fill_invalid(scene.cube[used])[0][:, :height, :width]
    return np.ascontiguousarray(cube), scene.wavelength_nm[used]


def seen(cube: np.ndarray, nm: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """What an HSI sees whose second spectrometer lies off."""
    off = [-RATIO * s for s in shift]
    moved = [
        ndimage.shift(band, off, order=3, mode="reflect") if at > SECOND_NM and any(shift) else band
        for band, at in zip(cube, nm, strict=True)
    ]
    return np.stack(moved)


def scored(hsi: xr.DataArray, msi: xr.DataArray, cube: np.ndarray, method: str) -> np.ndarray:
    """PSNR below and above, dB, ``(2, 2)``: as it is done, and as it is."""
    second = hsi.wavelength.values > SECOND_NM
    found = [
        fuse(hsi, msi, method=method, tile=512, normalise=n).image.values for n in (True, False)
    ]
    return np.array([[psnr(image[b], cube[b]) for b in (~second, second)] for image in found])


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    found: dict[tuple, list] = {}
    for name in args.scenes or SCENES:
        cube, nm = opened(name)
        for sensor, bands in SENSORS.items():
            response = load_response(bands).on_bands(nm, drop_uncovered=True)[0]
            msi = np.tensordot(response, cube, axes=1)
            for shift in SHIFTS:
                pair = as_pair(seen(cube, nm, shift), msi, nm)
                row = [scored(*pair, cube, method) for method in args.method]
                found.setdefault((sensor, shift), []).append(row)
                _tell(name, sensor, shift, args.method, row)
    for (sensor, shift), rows in found.items():
        _tell("mean", sensor, shift, args.method, np.mean(rows, axis=0))
    return 0


def _tell(name: str, sensor: str, shift: tuple, methods: list[str], row) -> None:
    told = (
        f"{m} {a:.2f}, {b:.2f} ({c:.2f}, {d:.2f})"
        for m, ((a, b), (c, d)) in zip(methods, row, strict=True)
    )
    print(f"{name:14} {sensor:4} {shift!s:14}", *told, flush=True)


if __name__ == "__main__":
    sys.exit(main())
