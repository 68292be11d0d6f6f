import json

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from emrdiff_geo.metadata import (
    Provenance,
    axis_attrs,
    band_descriptions,
    band_tags,
    file_name,
    imagery_tags,
    library_versions,
    zarr_convention_attrs,
)

UTM = GeoBox((20, 30), Affine(3.6, 0, 380000.1, 0, -3.6, 5820000.3), "EPSG:32633")


def test_descriptions_name_the_wavelength_or_count_the_band():
    assert band_descriptions([645.04, np.nan, 2200]) == ["645.0 nm", "band 2", "2200.0 nm"]
    assert band_descriptions(None, 2) == ["band 1", "band 2"]


def test_band_tags_are_nanometres_and_imagery_tags_micrometres():
    tags = band_tags([645.0, np.nan], [10.5, np.nan], [True, False])
    assert tags == [
        {"wavelength": "645.0", "fwhm": "10.5", "wavelength_units": "nm", "bbl": "1"},
        {"bbl": "0"},
    ]
    imagery = imagery_tags([645.0, np.nan], [10.5, np.nan])
    assert imagery == [{"CENTRAL_WAVELENGTH_UM": "0.645", "FWHM_UM": "0.0105"}, {}]
    assert band_tags(None, count=2) == [{}, {}]
    assert imagery_tags(None, count=2) == [{}, {}]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/someone/scene.tif", "scene.tif"),
        (r"C:\Users\someone\scene.tif", "scene.tif"),
        ("scene.zarr/", "scene.zarr"),
        ("https://server/folder/scene.tif", "scene.tif"),
        ('HDF5:"/home/someone/scene.he5"://HDFEOS/SWATHS', "scene.he5"),
        ("NETCDF:/home/someone/scene.nc:reflectance", "scene.nc"),
    ],
)
def test_no_folder_survives_in_a_file_name(source, name):
    assert file_name(source) == name


def test_provenance_is_json_without_folders_or_time(tmp_path):
    provenance = Provenance(
        "emrdiff",
        weights_name=str(tmp_path / "mine.safetensors"),
        weights_digest="sha256:00",
        parameters={
            "weights": tmp_path / "mine.safetensors",
            "text": str(tmp_path / "x.csv"),
            "tile": np.int64(256),
            "strength": np.float32(0.5),
            "bad": float("nan"),
            "bands": np.arange(3),
            "device": "cpu",
        },
        seed=np.int32(3),
        inputs=(str(tmp_path / "hsi.tif"), "msi.tif"),
        ratio=4,
        notes=("resampled",),
    )
    text = provenance.to_json()
    assert str(tmp_path) not in text
    assert tmp_path.name not in text
    entries = json.loads(text)
    assert entries["inputs"] == ["hsi.tif", "msi.tif"]
    assert entries["parameters"] == {
        "weights": "mine.safetensors",
        "text": "x.csv",
        "tile": 256,
        "strength": 0.5,
        "bad": None,
        "bands": [0, 1, 2],
        "device": "cpu",
    }
    assert entries["libraries"]["numpy"] == np.__version__
    assert "created" not in entries
    assert Provenance.from_json(text) == provenance


def test_equal_runs_have_equal_provenance_whatever_the_order_of_options():
    one = Provenance("bicubic", parameters={"a": 1, "b": 2})
    two = Provenance("bicubic", parameters={"b": 2, "a": 1})
    assert one.to_json() == two.to_json()


def test_provenance_of_another_version_is_read():
    read = Provenance.from_json('{"method": "bicubic", "of_tomorrow": 1, "version": "9"}')
    assert (read.method, read.version, read.libraries) == ("bicubic", "9", {})


def test_library_versions_skip_what_is_not_installed():
    assert set(library_versions(("numpy", "no-such-library"))) == {"numpy"}


def test_conventions_hold_transform_box_and_crs():
    attrs = zarr_convention_attrs(UTM, UTM.shape)
    assert attrs["spatial:transform"] == [3.6, 0, 380000.1, 0, -3.6, 5820000.3]
    assert attrs["spatial:bbox"] == pytest.approx([380000.1, 5819928.3, 380108.1, 5820000.3])
    assert attrs["spatial:shape"] == [20, 30]
    assert attrs["spatial:dimensions"] == ["y", "x"]
    assert attrs["proj:code"] == "EPSG:32633"
    assert attrs["proj:wkt2"].startswith("PROJCRS[")
    assert [entry["name"] for entry in attrs["zarr_conventions"]] == ["proj:", "spatial:"]
    json.dumps(attrs, allow_nan=False)


def test_a_crs_of_no_authority_is_given_by_its_text_alone():
    crs = "+proj=laea +lat_0=51.3 +lon_0=12.2 +a=6378000 +b=6356000 +units=m"
    attrs = zarr_convention_attrs(GeoBox((4, 4), Affine.scale(10, -10), crs), (4, 4))
    assert "proj:code" not in attrs
    assert "Lambert Azimuthal Equal Area" in attrs["proj:wkt2"]


def test_conventions_without_georeference():
    attrs = zarr_convention_attrs(None, (4, 5))
    assert attrs["spatial:shape"] == [4, 5]
    assert not [key for key in attrs if key.startswith("proj:")]
    assert "spatial:transform" not in attrs
    no_crs = zarr_convention_attrs(GeoBox((4, 5), Affine.scale(2, -2), None), (4, 5))
    assert no_crs["spatial:transform"] == [2, 0, 0, 0, -2, 0]
    assert "proj:wkt2" not in no_crs


def test_axes_of_projected_geographic_and_rotated_grids():
    assert axis_attrs(UTM)["y"]["standard_name"] == "projection_y_coordinate"
    lonlat = GeoBox((4, 4), Affine(0.1, 0, 10, 0, -0.1, 50), "EPSG:4326")
    assert axis_attrs(lonlat)["x"]["units"] == "degrees_east"
    assert axis_attrs(UTM.rotate(20)) == {}
