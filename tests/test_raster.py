"""Values, grids and windows of rasters."""

import pickle

import numpy as np
import pytest
import rioxarray
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, from_origin
from reader_files import NORTH_UP, ROTATED, cube, edit, write

from emrdiff_geo.errors import InputError
from emrdiff_geo.reading.raster import RasterArray, chunk_shape
from emrdiff_geo.reading.readers import as_image, open_hsi, open_msi

OWN_WKT = (
    'PROJCS["mine",GEOGCS["g",DATUM["d",SPHEROID["Bessel 1841",6377397.155,299.1528128],'
    'TOWGS84[598.1,73.7,418.2,0.202,0.045,-2.455,6.7]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Lambert_Azimuthal_Equal_Area"],'
    'PARAMETER["latitude_of_center",50],PARAMETER["longitude_of_center",10.123456789],'
    'PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def test_nodata_scale_and_offset(tmp_path):
    data = cube(dtype="uint16")
    path = write(tmp_path / "a.tif", data, nodata=3)
    with edit(path) as out:
        out.scales, out.offsets = [0.5] * 5, [1.5] * 5  # stored 0 becomes 1.5, stored 3 becomes 3
    image = open_hsi(path).image
    assert image.dtype == np.float32
    expected = np.where(data == 3, np.nan, data * 0.5 + 1.5)
    np.testing.assert_array_equal(image, expected.astype("f4"))


@pytest.mark.parametrize(
    ("dtype", "nodata", "hit"),
    [
        ("int32", -2147483648, -2147483648),
        ("int32", 16777217, 16777217),  # not a float32: 16777216 must stay
        ("float32", -3.4028234663852886e38, np.finfo("f4").min),
        ("float32", np.nan, np.nan),
        ("float64", -9999.9, -9999.9),
        ("int16", -99, -99),
    ],
)
def test_nodata_is_compared_in_the_type_of_the_file(tmp_path, dtype, nodata, hit):
    data = cube(dtype=dtype)
    data[1, 2, 3] = hit
    data[1, 2, 4] = 16777216 if dtype == "int32" else 5
    image = open_hsi(write(tmp_path / "a.tif", data, nodata=nodata)).image.values
    assert np.isnan(image[1, 2, 3])
    assert np.isnan(image).sum() == 1
    assert image[1, 2, 4] == data[1, 2, 4]


def write_alpha(path, data, **options):
    write(path, data, **options)
    with edit(path) as out:
        out.colorinterp = [*[ColorInterp.gray] * (len(data) - 1), ColorInterp.alpha]
    return path


@pytest.mark.parametrize("count", [1, 3, 4, 11])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("nodata", [None, 7])
def test_alpha_band_is_a_mask_and_no_band(tmp_path, count, dtype, nodata):
    """GDAL itself masks by alpha in few of these cases only."""
    data = np.full((count + 1, 6, 7), 100, dtype)
    data[count, 0, 0], data[0, 1, 1] = 0, 7
    path = write_alpha(tmp_path / "a.tif", data, nodata=nodata)
    image = open_msi(path).image.values
    assert image.shape == (count, 6, 7)
    assert np.isnan(image[:, 0, 0]).all()
    assert np.isnan(image[0, 1, 1]) == (nodata == 7)
    assert np.isnan(image).sum() == count + (nodata == 7)


def test_alpha_and_mask_both_count(tmp_path):
    data = np.full((5, 6, 7), 100, "uint8")
    data[4, 0, 0] = 0
    path = write_alpha(tmp_path / "a.tif", data)
    mask = np.full((6, 7), 255, "uint8")
    mask[1, 1] = 0
    with edit(path) as out:
        out.write_mask(mask)
    missing = np.isnan(open_msi(path).image.values)
    assert missing.all(0).sum() == missing.any(0).sum() == 2


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, Affine(10, 0, 5, 0, 20, 7)])
def test_grid_comes_back_exactly(tmp_path, transform):
    scene = open_hsi(write(tmp_path / "a.tif", transform=transform))
    for found in (scene, scene.image, as_image(scene), as_image(scene.image)):
        assert found.odc.geobox.affine.almost_equals(transform, 1e-9)
        assert tuple(found.odc.geobox.shape) == (6, 7)
        assert found.rio.transform().almost_equals(transform, 1e-9)
        assert found.rio.crs == CRS.from_epsg(32633)
    assert scene.image.attrs["grid_mapping"] == "spatial_ref"


def test_own_crs_is_kept_whole(tmp_path):
    crs = CRS.from_wkt(OWN_WKT)
    scene = open_hsi(write(tmp_path / "a.tif", crs=crs))
    assert CRS.from_wkt(scene.odc.geobox.crs.to_wkt()) == crs
    assert "598.1" in scene.spatial_ref.attrs["crs_wkt"]


def test_geographic_grid_has_dimensions_y_and_x(tmp_path):
    path = write(tmp_path / "a.tif", crs="EPSG:4326", transform=from_origin(13, 52, 0.1, 0.1))
    scene = open_hsi(path)
    assert scene.image.dims == ("band", "y", "x")
    assert scene.odc.geobox.crs.epsg == 4326


def test_without_crs_pixels_are_counted(tmp_path):
    scene = open_hsi(write(tmp_path / "a.tif", crs=None, transform=None))
    assert "spatial_ref" not in scene.coords
    assert "grid_mapping" not in scene.image.attrs
    np.testing.assert_array_equal(scene.x, np.arange(7))


def test_a_crs_of_no_map_counts_as_none(tmp_path, caplog):
    crs = CRS.from_wkt('LOCAL_CS["Arbitrary",UNIT["metre",1]]')
    path = write(tmp_path / "a.tif", crs=crs)
    scene = open_hsi(path)
    assert "a.tif has a CRS that is neither projected nor geographic" in caplog.text
    assert "spatial_ref" not in scene.coords
    np.testing.assert_array_equal(scene.x, np.arange(7))
    assert as_image(rioxarray.open_rasterio(path)).odc.crs is None


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_only_the_window_is_read(tmp_path, monkeypatch, interleave):
    path = write(tmp_path / "a.tif", cube(5, 64, 64), interleave=interleave)
    image = open_hsi(path, chunks=32).image
    assert image.chunks == ((5,), (32, 32), (32, 32))
    windows, read = [], RasterArray._read

    def counted(self, bands, window):
        windows.append((len(bands), window.height, window.width))
        return read(self, bands, window)

    monkeypatch.setattr(RasterArray, "_read", counted)
    part = image[1:3, 10:20, 4:9]
    np.testing.assert_array_equal(part, cube(5, 64, 64)[1:3, 10:20, 4:9])
    assert windows == [(2, 10, 5)]


def test_pickled_image_reads_in_threads(tmp_path):
    data = cube(5, 64, 64)
    image = open_hsi(write(tmp_path / "a.tif", data), chunks=(16, 32)).image
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.compute(scheduler="threads", num_workers=4), data)


index = st.one_of(
    st.integers(-6, 5),
    st.slices(6),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
)


@settings(deadline=None)
@given(axis=st.integers(0, 2), one=index, rest=st.slices(6))
def test_raster_array_indexes_as_numpy(tmp_path_factory, axis, one, rest):
    path = tmp_path_factory.getbasetemp() / "index.tif"
    data = cube(6, 6, 6)
    if not path.exists():
        write(path, data)
    array = RasterArray(
        str(path), tuple(range(1, 7)), (6, 6), (None,) * 6, (1.0,) * 6, (0.0,) * 6, False
    )
    key = [rest, rest, rest]
    key[axis] = one
    np.testing.assert_array_equal(array[tuple(key)], data[tuple(key)])


@settings(deadline=None)
@given(
    st.integers(1, 500),
    st.integers(1, 20000),
    st.integers(1, 20000),
    st.sampled_from([(1, 20000), (64, 64), (512, 512), (1024, 1024), (20000, 20000)]),
)
def test_chunks_are_whole_blocks_of_bounded_size(count, height, width, block):
    bands, rows, cols = chunk_shape((count, height, width), block, None)
    assert bands == count
    assert rows <= height
    assert cols <= width
    assert bands * rows * cols * 4 <= 128 * 2**20
    block = (min(block[0], height), min(block[1], width))
    if count * block[0] * block[1] * 4 <= 128 * 2**20:
        assert rows % block[0] == 0 or rows == height
        assert cols % block[1] == 0 or cols == width


@pytest.mark.parametrize("chunks", [0, "x", (1, 2, 3), {"y": -5}])
def test_bad_chunks(tmp_path, chunks):
    with pytest.raises(InputError, match="chunks="):
        open_hsi(write(tmp_path / "a.tif"), chunks=chunks)
