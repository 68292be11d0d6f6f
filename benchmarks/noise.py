"""What filtering the noise of the MSI gains: ``python -m benchmarks.noise [SCENE...]``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. The HSI is degraded by the default PSF, the MSI has white noise of one SNR in every
band; all else is left to the program. A line for each scene, ratio and noise: PSNR in dB of every
method with the noise as it is, and filtered.
"""

from __future__ import annotations

import argparse
import sys
from unittest import mock

import numpy as np
import xarray as xr

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA, SENTINEL2

EDGE = 160
SCENES = {
    "beers": ("cave/fake_and_real_beers_ms.jp2@400-700", "nikon_d700"),
    "hairs": ("cave/hairs_ms.jp2@400-700", "nikon_d700"),
    "sandiego": ("bench/sandiego.npz@400-2500", SENTINEL2),
    "hydice": ("bench/hydice.npz@400-2500", SENTINEL2),
    "bavaria": ("georef/bavaria_hyspex325_4m.tif", SENTINEL2),
}
METHODS = ("local_regression", "gaussian_process", "emrdiff")
AS_IT_IS = mock.patch("emrdiff_geo.alignment.measuring.denoised", lambda pair, statistics: pair)


def noisy_pair(name: str, ratio: int, snr: float | None) -> tuple:
    """HSI, MSI and reference of a scene."""
    file, sensor = SCENES[name]
    scene = load_scene(SceneFile.parse(f"{DATA}/{file}"))
    height, width = (min(n, EDGE) // (2 * ratio) * 2 * ratio for n in scene.cube.shape[1:])
    cube = np.ascontiguousarray(fill_invalid(scene.cube)[0][:, -height:, -width:])
    response = load_response(sensor).on_bands(scene.wavelength_nm, drop_uncovered=True)[0]
    msi = np.tensordot(response, cube, axes=1)
    if snr is not None:
        power = np.sqrt(np.mean(np.square(msi), axis=(1, 2), keepdims=True))
        noise = np.random.default_rng(0).standard_normal(msi.shape)
        msi = msi + 10 ** (-snr / 20) * power * noise
    dims = ("band", "y", "x")
    hsi = xr.DataArray(Degradation(ratio).down(cube), dims=dims)
    hsi = hsi.assign_coords(wavelength=("band", scene.wavelength_nm))
    return hsi, xr.DataArray(msi.astype(np.float32), dims=dims), cube


def scores(hsi: xr.DataArray, msi: xr.DataArray, cube: np.ndarray) -> str:
    """PSNR of the methods."""
    found = (psnr(fuse(hsi, msi, method=name)["image"].values, cube) for name in METHODS)
    return " ".join(f"{value:6.2f}" for value in found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", default=list(SCENES), metavar="SCENE")
    parser.add_argument("--ratios", nargs="+", type=int, default=[2, 4, 8])
    args = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is absent: there are no scenes to fuse")
    print("scene ratio SNR |", *METHODS, "| filtered")
    for name in args.scenes:
        for ratio in args.ratios:
            for snr in (None, 45, 35, 28):
                images = noisy_pair(name, ratio, snr)
                with AS_IT_IS:
                    plain = scores(*images)
                print(name, ratio, snr, "|", plain, "|", scores(*images), flush=True)


if __name__ == "__main__":
    main()
