"""How much is lost where the two images disagree: haze, another sun, changes, a distortion, noise.

    python -m benchmarks.disagreement [--method NAME ...] [SCENE...]

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF and whose MSI is then
changed; fused with all defaults, so that the PSF is measured on what is left. The distortions are
smooth, of so many MSI pixels RMS, and the truth is distorted with the MSI. A line for each scene
and change: PSNR in dB of every method as it is, and in brackets with --no-normalise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import xarray as xr
from scipy import ndimage

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.training.scenes import SceneFile, load_scene
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA, SENTINEL2

RATIO = 4
EDGE = 200
#: File, range of wavelengths where it names none, response of the MSI.
SCENES = {
    "hydice": ("bench/hydice.npz@400-2500", SENTINEL2),
    "abu-airport-4": ("bench/abu-airport-4.npz@400-2500", SENTINEL2),
    "abu-beach-3": ("bench/abu-beach-3.npz@430-860", "sentinel2a:B03,B04,B05,B06,B07"),
    "bavaria": ("georef/bavaria_hyspex325_4m.tif", SENTINEL2),
    "hairs": ("cave/hairs_ms.jp2@400-700", "nikon_d700"),
}
DIMS = ("band", "y", "x")
METHODS = ("regression", "local_regression", "gaussian_process", "emrdiff")


def field(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    """A random field of unit variance, as smooth as a Gaussian of some pixels makes it."""
    values = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="reflect")
    return (values / values.std()).astype(np.float32)


def changed(cube: np.ndarray, response: np.ndarray, nm: np.ndarray) -> Iterator[tuple]:
    """What was done to the MSI ``(s, y, x)`` of a cube, the MSI, and what it is an image of."""
    shape, rng = cube.shape[1:], np.random.default_rng(1)
    msi = np.tensordot(response, cube, axes=1).astype(np.float32)
    yield "nothing", msi, cube
    yield "gamma 0.8", msi.max() * (np.maximum(msi, 0) / msi.max()) ** 0.8, cube
    yield "haze 10 %", msi * (1 + 0.1 * field(rng, shape, 30)), cube
    patches = field(rng, shape, 6) > 1.3
    yield "changes 30 %", msi * np.where(patches, 1 + 0.3 * field(rng, shape, 6), 1), cube
    off = np.stack([field(rng, shape, 25) for _ in shape])
    for size in (0.25, 0.5, 1):
        places = np.mgrid[: shape[0], : shape[1]] + size * off
        moved = [ndimage.map_coordinates(band, places, order=3, mode="reflect") for band in cube]
        yield f"distorted {size}", np.tensordot(response, moved, axes=1), np.stack(moved)
    waves = np.stack([np.sin(nm / 200 + k) for k in range(3)], axis=1)
    light = np.tensordot(waves, np.stack([field(rng, shape, 20) for _ in waves.T]), axes=1)
    yield "another sun 10 %", np.tensordot(response, cube * (1 + 0.1 * light), axes=1), cube
    spread = 0.05 * msi.std(axis=(1, 2))[:, None, None]
    yield "noise 5 %", msi + spread * rng.standard_normal(msi.shape), cube


def opened(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part of a scene ``(L, y, x)`` without gaps, response of the MSI, wavelengths in nm."""
    file, sensor = SCENES[name]
    scene = load_scene(SceneFile.parse(f"{DATA}/{file}"))
    height, width = (min(n, EDGE) // RATIO * RATIO for n in scene.cube.shape[1:])
    cube = np.ascontiguousarray(fill_invalid(scene.cube)[0][:, :height, :width])
    nm = scene.wavelength_nm
    return cube, load_response(sensor).on_bands(nm, drop_uncovered=True)[0], nm


def as_pair(cube: np.ndarray, msi: np.ndarray, nm: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
    """The HSI that sees a cube, and an MSI."""
    hsi = xr.DataArray(Degradation(RATIO).down(cube.astype(np.float32)), dims=DIMS)
    hsi = hsi.assign_coords(wavelength=("band", nm))
    return hsi, xr.DataArray(msi.astype(np.float32), dims=DIMS)


def pairs(name: str) -> Iterator[tuple[str, xr.DataArray, xr.DataArray, np.ndarray]]:
    """Pairs of a scene: what was done, HSI, MSI, reference."""
    cube, response, nm = opened(name)
    for done, msi, truth in changed(cube, response, nm):
        yield done, *as_pair(cube, msi, nm), truth


def scored(hsi: xr.DataArray, msi: xr.DataArray, cube: np.ndarray, **options: object) -> float:
    """PSNR of one result, dB."""
    return psnr(fuse(hsi, msi, tile=512, **options).image.values, cube)


Pairs = Iterable[tuple[str, xr.DataArray, xr.DataArray, np.ndarray]]


def compare(
    scenes: Iterable[str],
    pairs: Callable[[str], Pairs],
    score: Callable[..., float],
    methods: Sequence[str],
) -> int:
    """Score all pairs of scenes by all methods, as they are in brackets, and print the means."""
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    found: dict[str, list[list[list[float]]]] = {}
    for name in scenes:
        for done, *images in pairs(name):
            row = [[score(*images, method=m, normalise=n) for n in (True, False)] for m in methods]
            found.setdefault(done, []).append(row)
            told = (f"{m} {a:.2f} ({b:.2f})" for m, (a, b) in zip(methods, row, strict=True))
            print(f"{name:14} {done:18}", *told, flush=True)
    for done, rows in found.items():
        told = (f"{a:.2f} ({b:.2f})" for a, b in np.mean(rows, axis=0))
        print(f"mean           {done:18}", *told)
    return 0


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    args = parser.parse_args()
    return compare(args.scenes or SCENES, pairs, scored, args.method)


if __name__ == "__main__":
    sys.exit(main())
