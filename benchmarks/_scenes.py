"""The scenes that nothing is trained or tuned on, as the pairs of the tables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

from emrdiff_geo.alignment.measuring import usable_bands
from emrdiff_geo.alignment.wald import one_ratio_lower
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import open_pair
from emrdiff_geo.spectra.sensors import load_response
from emrdiff_geo.spectra.spectral import wavelengths_by_rank

DATA = Path(__file__).parents[2] / "shared" / "data"
CAVE = ("jelly_beans", "paints", "real_and_fake_peppers", "thread_spools")
BENCH = {
    "indian_pines": (400, 2500),
    "abu-urban-3": (400, 2500),
    "abu-beach-4": (430, 860),
    "muufl72_sub": (375, 1050),
}
SENTINEL2 = "sentinel2a:B02,B03,B04,B05,B06,B07,B08,B8A,B11,B12"


class Scene(NamedTuple):
    """Pair ``(L, h, w)``, ``(s, r h, r w)`` with its reference ``(L, r h, r w)``, ratio and PSF."""

    hsi: xr.DataArray
    msi: xr.DataArray
    cube: np.ndarray
    ratio: int
    psf: str

    @classmethod
    def of(
        cls, low: np.ndarray, high: np.ndarray, cube: np.ndarray, wavelength, ratio: int, psf: str
    ) -> Scene:
        """Scene of arrays."""
        dims = ("band", "y", "x")
        hsi = xr.DataArray(low.astype(np.float32), dims=dims)
        msi = xr.DataArray(high.astype(np.float32), dims=dims)
        return cls(hsi.assign_coords(wavelength=("band", wavelength)), msi, cube, ratio, psf)

    @classmethod
    def simulated(
        cls, cube: np.ndarray, wavelength, response: np.ndarray, ratio: int, psf: str
    ) -> Scene:
        """Degraded HSI and an MSI without noise."""
        low = Degradation(ratio, psf).down(cube)
        return cls.of(low, np.tensordot(response, cube, axes=1), cube, wavelength, ratio, psf)


def cave(name: str) -> Scene:
    """Centre of a CAVE scene, ratio 8, the paper's protocol."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(DATA / "cave" / f"{name}_ms.jp2") as file:
            cube = file.read().astype(np.float32)
    wavelength = np.arange(400.0, 701, 10)
    response = load_response("nikon_d700").on_bands(wavelength)
    cube = cube[:, 128:384, 128:384] / cube.max()
    return Scene.simulated(cube, wavelength, response, 8, "paper")


def bench(name: str) -> Scene:
    """A remote-sensing scene, ratio 4, an MSI like Sentinel-2's."""
    cube = np.load(DATA / "bench" / f"{name}.npz")["cube"].transpose(2, 0, 1).astype(np.float32)
    height, width = (n // 4 * 4 for n in cube.shape[1:])
    wavelength = wavelengths_by_rank(len(cube), BENCH[name])
    response = load_response(SENTINEL2).on_bands(wavelength, drop_uncovered=True)[0]
    return Scene.simulated(cube[:, :height, :width], wavelength, response, 4, "gaussian")


def berlin() -> Scene:
    """The real pair one ratio lower (Wald's protocol): the EnMAP simulation is the reference."""
    files = [DATA / "georef" / f"berlin_{name}.tif" for name in ("enmapsim244_30m", "hymap4_3m6")]
    pair = open_pair(*files, None, None)[0]
    good, _, _ = usable_bands(pair)
    lower, _ = one_ratio_lower(pair, Degradation(pair.ratio), good)
    wavelength, ratio = lower.statistics.wavelength_nm, lower.statistics.ratio
    return Scene.of(lower.lr, lower.hr, lower.reference, wavelength, ratio, "gaussian")


def validation_scene(name: str) -> Scene:
    """A scene by name: `CAVE`, `BENCH` or berlin."""
    if name == "berlin":
        return berlin()
    return cave(name) if name in CAVE else bench(name)
