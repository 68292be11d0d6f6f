"""Images that the user already holds in xarray."""

import numpy as np
import pytest
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from reader_files import CENTERS, ROTATED, cube, descriptions_nm, edit, write

from emrdiff_geo.errors import InputError
from emrdiff_geo.reading.readers import as_image, open_hsi


def test_rioxarray(tmp_path):
    path = write(tmp_path / "a.tif", nodata=9, transform=ROTATED)
    with edit(path) as out:
        descriptions_nm(out)
        out.scales = [0.1] * 5
    expected = open_hsi(path)
    for chunks in (None, {}):
        found = as_image(rioxarray.open_rasterio(path, chunks=chunks))
        np.testing.assert_allclose(found, expected.image, rtol=1e-6)
        np.testing.assert_allclose(found.wavelength, CENTERS)
        assert found.odc.geobox.affine.almost_equals(ROTATED, 1e-9)
        assert (found.chunks is None) == (chunks is None)
    masked = as_image(rioxarray.open_rasterio(path, masked=True))
    np.testing.assert_array_equal(np.isnan(masked), np.isnan(expected.image))


@settings(deadline=None)
@given(
    st.permutations(["b", "r", "c"]),
    st.sampled_from(["band", "bands", "channel", "spectral", "anything"]),
    st.sampled_from([("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("row", "column")]),
)
def test_any_order_of_dimensions(order, band, plane):
    names = {"b": band, "r": plane[0], "c": plane[1]}
    data = xr.DataArray(cube(), dims=("b", "r", "c")).transpose(*order).rename(names)
    found = as_image(data)
    assert found.dims == ("band", "y", "x")
    np.testing.assert_array_equal(found, cube())


@pytest.mark.parametrize("units", ["um", "µm", None])
def test_dimension_named_wavelength(units):
    attrs = {"units": units} if units else {}
    coords = {"wavelength": ("wavelength", np.array(CENTERS) / 1e3, attrs)}
    found = as_image(xr.DataArray(cube(), coords, ("wavelength", "y", "x")))
    np.testing.assert_allclose(found.wavelength, CENTERS)
    np.testing.assert_array_equal(found.band, [1, 2, 3, 4, 5])


def test_bands_labelled_by_wavelength():
    by_number = xr.DataArray(cube(), {"band": CENTERS}, ("band", "y", "x"))
    by_name = xr.DataArray(cube(), {"band": [f"{c} nm" for c in CENTERS]}, ("band", "y", "x"))
    for data in (by_number, by_name):
        np.testing.assert_allclose(as_image(data).wavelength, CENTERS)


def test_band_variables_beside_the_cube():
    scene = xr.Dataset(
        {
            "reflectance": (("y", "x", "bands"), np.moveaxis(cube(), 0, -1)),
            "wavelengths": ("bands", CENTERS),
            "fwhm": ("bands", [9.0] * 5),
            "good_wavelengths": ("bands", [1, 1, 0, 1, 1]),
        }
    )
    found = as_image(scene)
    np.testing.assert_allclose(found.wavelength, CENTERS)
    np.testing.assert_allclose(found.fwhm, 9)
    np.testing.assert_array_equal(found.good_band, [True, True, False, True, True])


def test_one_variable_per_band(tmp_path):
    image = open_hsi(write(tmp_path / "a.tif")).image
    layers = {
        n: image[i].drop_vars(["band", "good_band"]).expand_dims(time=1).assign_attrs(nodata=3)
        for i, n in enumerate(["blue", "nir"])
    }
    found = as_image(xr.Dataset(layers))
    expected = np.where(cube()[:2] == 3, np.nan, cube()[:2])
    np.testing.assert_array_equal(found, expected)
    assert found.odc.geobox == image.odc.geobox


def test_single_layer_is_one_band():
    assert as_image(xr.DataArray(cube()[0], dims=("y", "x"))).shape == (1, 6, 7)


def test_stored_nodata_and_scale_are_applied_once():
    stored = xr.DataArray(cube(dtype="int16"), dims=("band", "y", "x"))
    stored.attrs = {"_FillValue": 4, "scale_factor": 0.5, "add_offset": 2.0}
    found = as_image(stored)
    assert np.isnan(found[0, 0, 4])
    assert found[0, 0, 3] == 3.5
    xr.testing.assert_identical(as_image(found), found)


def test_latitude_and_longitude_without_crs_are_wgs84():
    coords = {"lat": 52 - 0.1 * np.arange(6), "lon": 13 + 0.1 * np.arange(7)}
    found = as_image(xr.DataArray(cube(), coords, ("band", "lat", "lon")))
    assert found.odc.geobox.crs.epsg == 4326
    assert found.odc.geobox.affine.almost_equals(from_origin(12.95, 52.05, 0.1, 0.1), 1e-6)


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ([[[1.0]]], "is a list"),
        (np.zeros((4, 5)), r"it has to be \(band, y, x\)"),
        (xr.DataArray(np.zeros((3, 4, 5))), r"\.rename"),
        (xr.DataArray(np.zeros((2, 3, 4, 5)), dims=("time", "band", "y", "x")), "isel"),
        (xr.DataArray(np.full((1, 2, 2), "a"), dims=("band", "y", "x")), "real numbers"),
        (xr.Dataset({"a": ("t", [1, 2])}), "no variable with rows"),
        (
            xr.Dataset({k: (("band", "y", "x"), np.zeros((3, 4, 5))) for k in "ab"}),
            r"several cubes \(a, b\)",
        ),
        (
            xr.Dataset({"a": (("y", "x"), np.zeros((2, 2))), "b": (("r", "x"), np.zeros((3, 2)))}),
            None,
        ),
    ],
)
def test_what_is_no_image_is_refused(obj, says):
    if says is None:
        assert as_image(obj).sizes["band"] == 1  # only one variable has rows and columns
        return
    with pytest.raises(InputError, match=says):
        as_image(obj)
