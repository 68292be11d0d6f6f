import os
import pickle
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine
from odc.geo.xr import xr_coords
from pyproj import CRS
from sink_scene import (
    BANDS,
    NORTH_UP,
    PROVENANCE,
    ROTATED,
    SHAPE,
    SUFFIXES,
    TILE,
    digest,
    fill,
    ignore_plain_grid,
    make_grid,
    make_image,
    read,
    regions,
    write,
)

from emrdiff_geo.errors import InputError, OutputError
from emrdiff_geo.writing.sinks import CogSink, ZarrSink, open_sink, write_dataset


@pytest.fixture(scope="module")
def image():
    return make_image()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_come_back_and_nothing_else_is_left(tmp_path, image, suffix):
    path = write(tmp_path / f"out.{suffix}", image)
    np.testing.assert_array_equal(read(path), image)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "affine", [ROTATED, Affine(1 / 3, 0, 10.1, 0, 1 / 3, 45.7), Affine(7, 0, 5e6 / 3, 0, -9, 0.1)]
)
def test_transforms_are_exact(tmp_path, suffix, affine):
    shape = (1, 40, 30)
    path = tmp_path / f"out.{suffix}"
    write(path, np.ones(shape, np.float32), geobox=make_grid(affine, shape), bands=None)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            assert dataset.transform == affine
    else:
        dataset = xr.open_zarr(path, decode_coords="all")
        assert dataset.attrs["spatial:transform"] == list(affine)[:6]
        written = [float(v) for v in dataset.spatial_ref.attrs["GeoTransform"].split()]
        assert Affine.from_gdal(*written) == affine
        # Both libraries take an unrotated grid from the coordinates: off by their rounding.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            for found in (dataset.odc.geobox.affine, dataset.rio.transform()):
                np.testing.assert_allclose(tuple(found), tuple(affine), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_crs_of_no_authority_survives(tmp_path, suffix):
    crs = "+proj=laea +lat_0=51.3 +lon_0=12.2 +a=6378000 +b=6356000 +units=m"
    grid = make_grid(shape=(1, 40, 30), crs=crs)
    path = write(tmp_path / f"o.{suffix}", np.ones((1, 40, 30), "f4"), geobox=grid, bands=None)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            found = dataset.crs.to_wkt()
    else:
        found = xr.open_zarr(path, decode_coords="all").rio.crs.to_wkt()
    survived = CRS.from_wkt(found)
    method = {p.name: p.value for p in survived.coordinate_operation.params}
    assert survived.coordinate_operation.method_name == "Lambert Azimuthal Equal Area"
    assert method["Latitude of natural origin"] == 51.3
    assert method["Longitude of natural origin"] == 12.2
    assert survived.ellipsoid.semi_minor_metre == 6356000


@ignore_plain_grid
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_without_grid_or_bands(tmp_path, suffix):
    image = np.ones((2, 40, 30), np.float32)
    path = write(tmp_path / f"o.{suffix}", image, geobox=None, bands=None)
    np.testing.assert_array_equal(read(path), image)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            assert dataset.crs is None
            assert dataset.descriptions == ("band 1", "band 2")
    else:
        dataset = xr.open_zarr(path, decode_coords="all")
        assert set(dataset.coords) == {"band", "y", "x"}
        np.testing.assert_array_equal(dataset.y, np.arange(40))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_grid_without_crs_keeps_its_transform(tmp_path, suffix):
    grid = make_grid(shape=(1, 40, 30), crs=None)
    path = write(tmp_path / f"o.{suffix}", np.ones((1, 40, 30), "f4"), geobox=grid, bands=None)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            assert dataset.transform == NORTH_UP
            assert dataset.crs is None
    else:
        attrs = xr.open_zarr(path, decode_coords="all").attrs
        assert attrs["spatial:transform"] == list(NORTH_UP)[:6]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_in_any_order_and_from_any_thread(tmp_path, image, suffix):
    first = tmp_path / "a" / f"out.{suffix}"
    second = tmp_path / "b" / f"out.{suffix}"
    first.parent.mkdir()
    second.parent.mkdir()
    write(first, image)
    order = regions() * 2
    random.Random(5).shuffle(order)
    noise = np.full(SHAPE, 9, np.float32)
    with open_sink(
        second, SHAPE, geobox=make_grid(), chunks=TILE, bands=BANDS, provenance=PROVENANCE
    ) as sink:
        # Regions computed twice, the first time to something else, must leave no trace.
        fill(sink, noise, order[:7])

        def put(region):
            fill(sink, image, [region])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, regions()[::-1]))
    assert digest(first) == digest(second)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pickled_sink_writes_to_the_same_result(tmp_path, image, suffix):
    path = tmp_path / f"out.{suffix}"
    with open_sink(path, SHAPE, chunks=TILE, geobox=make_grid()) as sink:
        fill(pickle.loads(pickle.dumps(sink)), image)
    np.testing.assert_array_equal(read(path), image)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_int16_round_trip(tmp_path, image, suffix, offset):
    path = tmp_path / f"out.{suffix}"
    write(path, image, dtype="int16", scale=1e-4, offset=offset)
    values = read(path)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(image))
    np.testing.assert_allclose(values, image, atol=0.51e-4)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            assert dataset.dtypes[0] == "int16"
            assert dataset.nodata == -32768


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("options", [{}, {"dtype": "int16", "scale": 1e-4}, {"nodata": -9999.0}])
def test_regions_never_written_are_nodata(tmp_path, suffix, options):
    path = tmp_path / f"out.{suffix}"
    block = np.full((1, 64, 64), 0.5, np.float32)
    block[0, 0, 0] = np.nan
    with open_sink(
        path, (1, 100, 64), chunks=64, geobox=make_grid(shape=(1, 100, 64)), **options
    ) as s:
        s.write(block, 0, 0)
    values = read(path)
    assert np.isnan(values[0, 64:]).all()
    assert np.isnan(values[0, 0, 0])
    assert np.isnan(values[0, :64]).sum() == 1


def test_clipped_values_are_reported_once(tmp_path, image, caplog):
    write(tmp_path / "out.zarr", image * 10, dtype="int16", scale=1e-4)
    assert caplog.text.count("were clipped in out.zarr") == 1


def test_regions_must_lie_on_the_chunks(tmp_path):
    with open_sink(tmp_path / "out.zarr", SHAPE, chunks=TILE) as sink:
        tile = np.zeros((3, TILE, TILE), np.float32)
        for block, row, col in [
            (tile, 1, 0),
            (tile, 0, 50),
            (tile[:, :50], 0, 0),
            (tile, 3 * TILE, 0),
            (tile, -TILE, 0),
        ]:
            with pytest.raises(OutputError, match="align"):
                sink.write(block, row, col)
        with pytest.raises(OutputError, match="shape"):
            sink.write(tile[:2], 0, 0)
        sink.write(np.zeros((3, 2 * TILE, TILE), np.float32), TILE, TILE)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_run_leaves_nothing(tmp_path, image, suffix, error):
    def run():
        with open_sink(tmp_path / f"out.{suffix}", SHAPE, chunks=TILE) as sink:
            fill(sink, image, regions()[:3])
            raise error

    with pytest.raises(error):
        run()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_abort_leaves_nothing_and_the_sink_is_closed(tmp_path, image, suffix):
    sink = open_sink(tmp_path / f"out.{suffix}", SHAPE, chunks=TILE)
    sink.abort()
    sink.abort()
    sink.close()
    assert os.listdir(tmp_path) == []
    with pytest.raises(OutputError, match="closed"):
        fill(sink, image)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_killed_run_left_is_no_obstacle(tmp_path, image, suffix):
    path = tmp_path / f"out.{suffix}"
    sink = open_sink(path, SHAPE, chunks=TILE, geobox=make_grid())
    fill(sink, image + 5, regions()[:4])
    del sink
    write(path, image)
    np.testing.assert_array_equal(read(path), image)
    assert os.listdir(tmp_path) == [path.name]


def make_dataset(image, chunks=None):
    dataset = xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        coords={
            **xr_coords(make_grid(shape=image.shape)),
            "band": np.arange(1, len(image) + 1),
            "wavelength": ("band", BANDS.wavelength_nm),
            "good_band": ("band", BANDS.good),
        },
    )
    return dataset if chunks is None else dataset.chunk(chunks)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("chunks", [None, {"y": 64, "x": 64}, {"band": 1, "y": (250, 50)}])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_write_dataset_streams_lazy_and_other_images(tmp_path, image, suffix, chunks, scheduler):
    import dask

    with dask.config.set(scheduler=scheduler):
        path = write_dataset(make_dataset(image, chunks), tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(read(path), image)
    if suffix == "tif":
        with rasterio.open(path) as dataset:
            assert dataset.transform == NORTH_UP
            assert dataset.tags(1)["wavelength"] == "450.0"
            assert "fwhm" not in dataset.tags(1)
    else:
        stored = xr.open_zarr(path, decode_coords="all")
        assert stored.odc.geobox == make_grid()
        if chunks == {"y": 64, "x": 64}:
            assert stored.image.encoding["chunks"] == (3, 64, 64)


def test_write_dataset_wants_an_image(tmp_path, image):
    with pytest.raises(InputError, match="image"):
        write_dataset(make_dataset(image).rename(image="cube"), tmp_path / "out.tif")


def test_a_lazy_image_that_fails_leaves_nothing(tmp_path, image):
    def fail(block):
        raise ValueError("a tile failed")

    dataset = make_dataset(image, {"y": 64})
    dataset["image"] = dataset.image.copy(data=dataset.image.data.map_blocks(fail, dtype="f4"))
    with pytest.raises(ValueError, match="a tile failed"):
        write_dataset(dataset, tmp_path / "out.tif")
    assert os.listdir(tmp_path) == []


def test_the_suffix_chooses_the_sink(tmp_path):
    with (
        open_sink(tmp_path / "a.tif", (1, 8, 8)) as tif,
        open_sink(tmp_path / "a.zarr", (1, 8, 8)) as z,
    ):
        assert isinstance(tif, CogSink)
        assert isinstance(z, ZarrSink)
        assert tif.chunks == (256, 256)
