"""What a wrong PSF costs, and how much of that measuring it saves.

    python -m benchmarks.optics [--method NAME] [SCENE...]

Pairs of scenes of the training, in ../shared/data, whose HSI was made with one PSF and which are
fused with the true one (not where it lies off), the measured one and the default. A line for each
scene and PSF: PSNR in dB.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import xarray as xr
from scipy import ndimage

import emrdiff_geo.alignment.measuring
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA, SENTINEL2

EDGE = 256
#: File, range of wavelengths, response of the MSI, ratio.
SCENES = {
    "clay": ("cave/clay_ms.jp2@400-700", "nikon_d700", 8),
    "hydice": ("bench/hydice.npz@400-2500", SENTINEL2, 4),
    "abu-urban-1": ("bench/abu-urban-1.npz@400-2500", SENTINEL2, 4),
    "muufl64_taef": ("bench/muufl64_taef.npz@375-1050", "sentinel2a:B02,B03,B04,B05,B06,B07", 4),
}
#: PSF by its name or widths, shift of the HSI in its pixels, SNR of the MSI in dB (HSI 5 better).
CASES = {
    "paper": ({"psf": "paper"}, (0, 0), None),
    "area": ({"psf": "area"}, (0, 0), None),
    "0.8 by 1.1 pixels": ({"fwhm": (0.8, 1.1)}, (0, 0), None),
    "default, 0.2 and 0.1 off": ({}, (0.2, 0.1), None),
    "default, 0.4 off": ({}, (0.4, 0.4), None),
    "area, 25 dB": ({"psf": "area"}, (0, 0), 25.0),
    "default, 30 dB": ({}, (0, 0), 30.0),
}


def noisy(image: np.ndarray, snr: float | None, seed: int) -> np.ndarray:
    """Image with white noise of a signal-to-noise ratio in dB."""
    if snr is None:
        return image
    power = np.mean(np.square(image), axis=(1, 2), keepdims=True) * 10 ** (-snr / 10)
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    return (image + np.sqrt(power) * noise).astype(np.float32)


def fused_with(optics: Degradation, hsi: xr.DataArray, msi: xr.DataArray, **options) -> np.ndarray:
    """Result with a PSF that has no name."""
    kept = emrdiff_geo.alignment.measuring.resolve_psf
    emrdiff_geo.alignment.measuring.resolve_psf = lambda pair, psf: optics
    try:
        return fuse(hsi, msi, tile=512, psf="gaussian", **options).image.values
    finally:
        emrdiff_geo.alignment.measuring.resolve_psf = kept


def row(name: str, case: str, method: str) -> list[float]:
    """PSNR with the true PSF (NaN where the HSI is moved), the measured one and the default."""
    file, sensor, ratio = SCENES[name]
    scene = load_scene(SceneFile.parse(f"{DATA}/{file}"))
    height, width = (min(n, EDGE) // ratio * ratio for n in scene.cube.shape[1:])
    cube = np.ascontiguousarray(fill_invalid(scene.cube)[0][:, :height, :width])
    nm, dims = scene.wavelength_nm, ("band", "y", "x")
    response = load_response(sensor).on_bands(nm, drop_uncovered=True)[0]
    psf, shift, snr = CASES[case]
    seen = cube
    if any(shift):
        moves = (0, *(ratio * s for s in shift))
        seen = ndimage.shift(cube, moves, order=3, mode="reflect")
    optics = Degradation(ratio, **psf)
    lr = noisy(optics.down(seen), None if snr is None else snr + 5, 1)
    hsi = xr.DataArray(lr, dims=dims).assign_coords(wavelength=("band", nm))
    image = noisy(np.tensordot(response, cube, axes=1).astype(np.float32), snr, 2)
    msi = xr.DataArray(image, dims=dims)
    true = np.nan
    if not any(shift):
        true = psnr(fused_with(optics, hsi, msi, method=method), cube)
    images = (fuse(hsi, msi, tile=512, psf=p, method=method) for p in ("auto", "gaussian"))
    return [true, *(psnr(i.image.values, cube) for i in images)]


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--method", default="local_regression", metavar="NAME")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    for case in CASES:
        for name in args.scenes or SCENES:
            true, measured, default = row(name, case, args.method)
            print(f"{case:26} {name:14} {true:.2f} / {measured:.2f} / {default:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
