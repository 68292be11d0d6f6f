import warnings

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from sink_scene import BANDS, NORTH_UP, PROVENANCE, TILE, make_grid, make_image, write

from emrdiff_geo.metadata import Provenance


@pytest.fixture(scope="module")
def image():
    return make_image()


def test_zarr_opens_with_its_grid_and_bands(tmp_path, image):
    path = write(tmp_path / "out.zarr", image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(path, decode_coords="all")
    assert dataset.image.dims == ("band", "y", "x")
    assert dataset.image.dtype == np.float32
    assert dataset.image.encoding["chunks"] == (3, TILE, TILE)
    assert set(dataset.coords) == {
        *("band", "y", "x", "wavelength", "fwhm", "good_band", "spatial_ref")
    }
    assert dataset.wavelength.attrs["units"] == "nm"
    assert dataset.wavelength.attrs["standard_name"] == "radiation_wavelength"
    np.testing.assert_array_equal(dataset.wavelength, BANDS.wavelength_nm)
    np.testing.assert_array_equal(dataset.fwhm, BANDS.fwhm_nm)
    np.testing.assert_array_equal(dataset.good_band, BANDS.good)
    assert dataset.good_band.dtype == bool
    assert dataset.y.attrs["standard_name"] == "projection_y_coordinate"
    assert dataset.odc.geobox == make_grid()
    assert dataset.rio.crs.to_epsg() == 32633
    assert dataset.attrs["proj:code"] == "EPSG:32633"
    assert dataset.attrs["spatial:transform"] == list(NORTH_UP)[:6]
    assert Provenance.from_json(dataset.attrs["emrdiff_provenance"]) == PROVENANCE
