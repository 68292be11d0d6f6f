"""Files for the tests of the command line: a tiny good pair, and everything that can be wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from scenes import reference_cube

from emrdiff_geo.cli import main
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.spectra.spectral import gaussian_response

NM = np.linspace(430.0, 900.0, 12)
MSI_NM = [490.0, 560.0, 665.0, 840.0]
CRS = "EPSG:32633"
HSI_GRID, MSI_GRID = from_origin(400000, 5800000, 40, 40), from_origin(400000, 5800000, 10, 10)


def write(path: Path, cube, transform=HSI_GRID, crs=CRS, nm=None, nodata=None) -> Path:
    """Write a GeoTIFF with wavelength tags."""
    profile = {"driver": "GTiff", "dtype": cube.dtype, "count": len(cube), "nodata": nodata}
    profile |= {"height": cube.shape[1], "width": cube.shape[2]}
    if crs is not None:
        profile |= {"crs": crs, "transform": transform}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path, "w", **profile)
    with file:
        file.write(cube)
        for band, centre in enumerate([] if nm is None else nm, 1):
            file.update_tags(band, wavelength=str(centre), wavelength_units="nm", fwhm="40")
    return path


def make_files(folder: Path) -> dict[str, str]:
    """Write a good pair and bad ones; returns paths by name."""
    cube = reference_cube(96, 96, 12)
    low = Degradation(4).down(cube)
    high = np.tensordot(gaussian_response(MSI_NM, [60] * 4, NM), cube, axes=1).astype(np.float32)
    far = HSI_GRID * Affine.translation(500, 0)
    files = {
        "reference": write(
            folder / "reference.tif", np.rint(cube).astype("int16"), MSI_GRID, nm=NM
        ),
        "hsi": write(folder / "hsi.tif", low, nm=NM),
        "msi": write(folder / "msi.tif", high, MSI_GRID, nm=MSI_NM),
        "one_band": write(folder / "one_band.tif", high[2:3], MSI_GRID, nm=MSI_NM[2:3]),
        # Two pixels of the HSI off the MSI.
        "shifted": write(folder / "shifted.tif", low, HSI_GRID * Affine.translation(2, 0), nm=NM),
        "elsewhere": write(folder / "elsewhere.tif", low, far, nm=NM),
        "plain_hsi": write(folder / "plain_hsi.tif", low, crs=None, nm=NM),
        "same_size": write(folder / "same_size.tif", high[:, :24, :24], HSI_GRID, nm=MSI_NM),
        "coarser": write(folder / "coarser.tif", high, HSI_GRID * Affine.scale(2), nm=MSI_NM),
        "two_pixels": write(folder / "two_pixels.tif", low[:, :2, :2].copy(), nm=NM),
        "infrared": write(folder / "infrared.tif", high[:2], MSI_GRID, nm=[1610.0, 2200.0]),
        "all_nodata": write(folder / "all_nodata.tif", low * 0 - 1, nm=NM, nodata=-1),
        "no_wavelengths": write(folder / "no_wavelengths.tif", low),
        "no_wavelengths_hr": write(folder / "no_wavelengths_hr.tif", cube, MSI_GRID),
        "bad_weights": folder / "bad_weights.safetensors",
        "no_json": folder / "no_json.safetensors",
        "text": folder / "text.tif",
        "cut_off": folder / "cut_off.tif",
        "table": folder / "table.csv",
        "exists": folder / "exists.tif",
        "folder": folder,
    }
    files["text"].write_text("This is no image.\n")
    files["cut_off"].write_bytes(files["hsi"].read_bytes()[:9000])
    files["table"].write_text("a,b\nc,d\n")
    files["exists"].write_text("somebody's result")
    files["no_json"].write_bytes(b"")
    _damaged_weights(files["bad_weights"])
    return {name: str(path) for name, path in files.items()}


def _damaged_weights(path: Path) -> None:
    """The shipped weights with their tail cut off, beside their intact description."""
    from emrdiff_geo.weightfiles import weights_path

    shipped = weights_path("universal")
    path.write_bytes(shipped.read_bytes()[:5000])
    path.with_suffix(".json").write_bytes(shipped.with_suffix(".json").read_bytes())


def run(*arguments) -> int:
    """Run the command line in this process."""
    return main([str(a) for a in arguments])
