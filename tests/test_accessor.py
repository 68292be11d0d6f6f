"""The accessor hands over to the functions of the same names."""

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import emrdiff_geo
from emrdiff_geo.errors import MethodError


def scene(bands: int, size: int, pixel: float) -> xr.Dataset:
    box = GeoBox.from_bbox((0, 0, size * pixel, size * pixel), "EPSG:32633", resolution=pixel)
    values = np.random.default_rng(bands).uniform(0.1, 0.6, (bands, size, size))
    coords = {
        "wavelength": ("band", np.linspace(450, 900, bands), {"units": "nm"}),
        **xr_coords(box, crs_coord_name="spatial_ref"),
    }
    image = xr.DataArray(values.astype(np.float32), dims=("band", "y", "x"), coords=coords)
    return image.assign_attrs(grid_mapping="spatial_ref").to_dataset(name="image")


@pytest.fixture(scope="module")
def pair() -> tuple[xr.Dataset, xr.Dataset]:
    return scene(12, 8, 40.0), scene(3, 32, 10.0)


def test_dataset_and_dataarray_fuse_as_the_function_does(pair):
    hsi, msi = pair
    expected = emrdiff_geo.fuse(hsi, msi, method="regression")
    for image in (hsi, hsi.image):
        fused = image.emrdiff.fuse(msi, method="regression")
        xr.testing.assert_allclose(fused.image, expected.image)
    assert expected.image.shape == (12, 32, 32)


def test_fuse_to_file_writes_the_same_result(pair, tmp_path):
    hsi, msi = pair
    out = hsi.emrdiff.fuse_to_file(msi, tmp_path / "fused.tif", method="regression")
    written = emrdiff_geo.open_hsi(out)
    expected = hsi.emrdiff.fuse(msi, method="regression")
    np.testing.assert_allclose(written.image.values, expected.image.values, rtol=1e-6)


def test_evaluate_compares_the_image_it_is_called_on(pair):
    hsi, msi = pair
    fused = hsi.emrdiff.fuse(msi, method="bicubic").load()
    other = fused + 0.01
    found = other.emrdiff.evaluate(fused, ratio=4)
    assert found.metrics["RMSE"] == pytest.approx(0.01, rel=1e-3)


def test_errors_are_those_of_the_function(pair):
    hsi, msi = pair
    with pytest.raises(MethodError, match="no method"):
        hsi.emrdiff.fuse(msi, method="nonsense")
