"""Small pairs of images with a CRS and wavelengths, for where there is no real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from osgeo import gdal, osr

gdal.UseExceptions()
HSI_NM = np.linspace(430.0, 900.0, 12)
MSI_NM = (490.0, 560.0, 665.0, 840.0)
_RATIO = 4


def texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Smooth structure at several scales, 0..1."""
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    rows, cols = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    falling = 1 / (np.hypot(rows, cols) + 2 / side) ** 1.3
    image = np.fft.irfft2(spectrum * falling, (side, side))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def scene(side: int, seed: int = 0) -> np.ndarray:
    """Three materials that mix, (band, y, x) float32 of some thousand."""
    rng = np.random.default_rng(seed)
    spectra = 0.2 + np.cumsum(rng.standard_normal((3, len(HSI_NM))), axis=1) ** 2 / len(HSI_NM)
    shares = np.stack([texture(rng, side) for _ in range(3)])
    shares /= shares.sum(axis=0)
    return (2000 * np.tensordot(spectra.T, shares, axes=1)).astype(np.float32)


def make_pair(folder: Path, side: int = 96) -> tuple[str, str]:
    """Write hsi.tif and msi.tif; their paths."""
    cube = scene(side)
    low = cube.reshape(len(cube), side // _RATIO, _RATIO, side // _RATIO, _RATIO).mean((2, 4))
    distance = (HSI_NM[None] - np.array(MSI_NM)[:, None]) / 40
    response = np.exp(-(distance**2))
    high = np.tensordot(response / response.sum(1, keepdims=True), cube, axes=1)
    hsi = write(folder / "hsi.tif", low, 10.0 * _RATIO, HSI_NM)
    return hsi, write(folder / "msi.tif", high, 10.0, MSI_NM)


def write(path: Path, cube: np.ndarray, pixel: float, nm=None, unit: str = "nm") -> str:
    """Write a GeoTIFF with wavelength tags."""
    bands, height, width = cube.shape
    driver = gdal.GetDriverByName("GTiff")
    file = driver.Create(str(path), width, height, bands, gdal.GDT_Float32)
    system = osr.SpatialReference()
    system.ImportFromEPSG(32633)
    file.SetProjection(system.ExportToWkt())
    file.SetGeoTransform((400000.0, pixel, 0, 5800000.0, 0, -pixel))
    for number in range(1, bands + 1):
        band = file.GetRasterBand(number)
        band.WriteArray(cube[number - 1].astype(np.float32))
        if nm is not None:
            band.SetMetadataItem("wavelength", f"{nm[number - 1]:.4f}")
            band.SetMetadataItem("wavelength_units", unit)
    file.FlushCache()
    return str(path)


def pixels(path: str | Path) -> np.ndarray:
    """All of a raster file's values."""
    return gdal.Open(str(path)).ReadAsArray()
