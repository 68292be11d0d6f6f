"""Small synthetic scenes with known answers, for tests of the pipeline."""

from __future__ import annotations

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.scene.statistics import SceneStatistics, scene_statistics
from emrdiff_geo.spectra.spectral import gaussian_response

WAVELENGTHS = np.linspace(430.0, 900.0, 12)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: int = 4) -> np.ndarray:
    """Texture with structure at several scales, about 0..1."""
    from scipy import ndimage

    layers = [
        ndimage.gaussian_filter(rng.standard_normal(shape), s) * s for s in (1, scale, 3 * scale)
    ]
    texture = sum(layers)
    return ((texture - texture.min()) / np.ptp(texture)).astype(np.float32)


def reference_cube(height: int = 96, width: int = 96, bands: int = 12, seed: int = 0) -> np.ndarray:
    """Mixture of three materials, ``(bands, height, width)`` float32, values of a few thousand."""
    rng = np.random.default_rng(seed)
    spectra = np.stack([smooth_noise(rng, (bands, 1), 2)[:, 0] + 0.2 for _ in range(3)])
    abundance = np.stack([smooth_noise(rng, (height, width)) for _ in range(3)])
    abundance /= abundance.sum(axis=0)
    return (3000 * np.tensordot(spectra.T, abundance, axes=1)).astype(np.float32)


def simulated(
    cube: np.ndarray, ratio: int = 4, psf: str = "gaussian"
) -> tuple[np.ndarray, np.ndarray, SceneStatistics]:
    """LR-HSI, four-band MSI and statistics of a cube."""
    degradation = Degradation(ratio, psf)
    wavelength = np.linspace(430.0, 900.0, len(cube))
    response = gaussian_response([490, 560, 665, 840], [70, 40, 40, 120], wavelength)
    lr = degradation.down(cube)
    hr = np.tensordot(response, cube, axes=1).astype(np.float32)
    statistics = scene_statistics(
        lambda rows, cols: lr[:, rows, cols],
        lambda rows, cols: hr[:, rows, cols],
        lr.shape[1:],
        degradation,
        good=np.ones(len(cube), bool),
        wavelength_nm=wavelength,
    )
    return lr, hr, statistics


def dataset(
    cube: np.ndarray,
    pixel: float,
    wavelength=None,
    crs="EPSG:32633",
    corner: tuple[float, float] = (400000.0, 5800000.0),
) -> xr.Dataset:
    """Dataset in the form of `open_hsi`."""
    box = GeoBox(cube.shape[1:], Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), crs)
    coords = {"band": np.arange(1, len(cube) + 1), **xr_coords(box, dims=("y", "x"))}
    if wavelength is not None:
        coords["wavelength"] = ("band", np.asarray(wavelength, float), {"units": "nm"})
    image = xr.DataArray(
        cube, dims=("band", "y", "x"), coords=coords, attrs={"grid_mapping": "spatial_ref"}
    )
    return image.to_dataset(name="image")


def pair(
    height: int = 96, width: int = 96, ratio: int = 4, bands: int = 12
) -> tuple[xr.Dataset, xr.Dataset, np.ndarray]:
    """Georeferenced HSI and MSI, and the reference cube."""
    cube = reference_cube(height, width, bands)
    lr, hr, _ = simulated(cube, ratio)
    hsi = dataset(lr, 10.0 * ratio, np.linspace(430.0, 900.0, len(cube)))
    return hsi, dataset(hr, 10.0, [490, 560, 665, 840]), cube


def shifted_pair(
    right: int, down: int, ratio: int = 4, size: int = 32, psf: str = "gaussian"
) -> tuple[xr.Dataset, xr.Dataset]:
    """Georeferenced pair whose HSI, of `size` pixels, lies so many MSI pixels off the MSI."""
    n, margin = size * ratio, max(abs(right), abs(down))
    scene = reference_cube(n + 2 * margin, n + 2 * margin, 12)
    wavelength = np.linspace(430.0, 900.0, 12)
    response = gaussian_response([490, 560, 665, 840], [70, 40, 40, 120], wavelength)

    def cut(x: int, y: int) -> np.ndarray:
        return scene[:, margin + y : margin + y + n, margin + x : margin + x + n]

    low = Degradation(ratio, psf).down(cut(0, 0)).astype(np.float32)
    high = np.tensordot(response, cut(right, down), axes=1).astype(np.float32)
    hsi = dataset(low, 10.0 * ratio, wavelength)
    return hsi, dataset(high, 10.0, [490, 560, 665, 840])
