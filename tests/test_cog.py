import errno
import os
import warnings

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import rioxarray  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from sink_scene import (
    NORTH_UP,
    PROVENANCE,
    SHAPE,
    TILE,
    digest,
    fill,
    make_grid,
    make_image,
    read,
    write,
)

from emrdiff_geo.errors import OutputError
from emrdiff_geo.metadata import Provenance
from emrdiff_geo.writing import cog
from emrdiff_geo.writing.layout import raster_layout
from emrdiff_geo.writing.sinks import open_sink


@pytest.fixture(scope="module")
def image():
    return make_image()


@pytest.fixture(scope="module")
def geotiff(tmp_path_factory, image):
    shape = (3, 600, 560)
    large = np.tile(image, (1, 2, 2))
    path = tmp_path_factory.mktemp("geotiff") / "OUT.TIF"
    return write(path, large, geobox=make_grid(shape=shape))


def test_geotiff_is_a_valid_cog(geotiff):
    cogeo = pytest.importorskip("rio_cogeo")
    valid, problems, advice = cogeo.cog_validate(str(geotiff), strict=True, quiet=True)
    assert valid, (problems, advice)


def test_geotiff_has_the_expected_form(geotiff):
    with rasterio.open(geotiff) as dataset:
        assert dataset.interleaving is rasterio.enums.Interleaving.band
        assert dataset.profile["compress"].upper() == cog.compression()
        assert dataset.block_shapes == [(256, 256)] * 3
        assert np.isnan(dataset.nodata)
        assert dataset.overviews(1) == [2, 4]
        assert dataset.crs.to_epsg() == 32633
        assert dataset.transform == NORTH_UP
        assert dataset.descriptions == ("450.0 nm", "645.0 nm", "2200.5 nm")
        assert dataset.tags(2)["wavelength"] == "645.04"
        assert dataset.tags(2)["wavelength_units"] == "nm"
        assert dataset.tags(2)["fwhm"] == "10.5"
        assert [dataset.tags(b)["bbl"] for b in (1, 2, 3)] == ["1", "1", "0"]
        assert dataset.tags(3, ns="IMAGERY") == {
            "CENTRAL_WAVELENGTH_UM": "2.2005",
            "FWHM_UM": "0.012",
        }
        tags = dataset.tags()
        assert Provenance.from_json(tags["EMRDIFF_PROVENANCE"]) == PROVENANCE
        assert tags["TIFFTAG_SOFTWARE"].startswith("emrdiff-geo ")
        assert "TIFFTAG_DATETIME" not in tags


def test_overviews_average_values_and_skip_nodata(geotiff, image):
    large = np.tile(image, (1, 2, 2))
    expected = large.reshape(3, 300, 2, 280, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmean(expected, axis=(2, 4))
    with rasterio.open(geotiff, overview_level=0) as dataset:
        np.testing.assert_allclose(dataset.read(), expected, rtol=1e-5)


def test_bytes_do_not_depend_on_the_number_of_threads_of_gdal(tmp_path, image, monkeypatch):
    digests = []
    for threads in (1, 2):
        monkeypatch.setattr(cog, "_threads", lambda n=threads: n)
        digests.append(digest(write(tmp_path / "out.tif", image, overwrite=True)))
    assert digests[0] == digests[1]


def test_closing_can_be_tried_again_after_a_failure(tmp_path, image, monkeypatch):
    sink = open_sink(tmp_path / "out.tif", SHAPE, chunks=TILE, geobox=make_grid())
    fill(sink, image)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cog.rasterio.shutil, "copy", full)
        with pytest.raises(OutputError, match="disk is full"):
            sink.close()
    assert not (tmp_path / "out.tif").exists()
    sink.close()
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), image)
    assert os.listdir(tmp_path) == ["out.tif"]


@pytest.mark.parametrize(
    ("size", "levels"), [((256, 256), []), ((257, 10), [2]), ((600, 560), [2, 4])]
)
def test_overviews_down_to_one_block(size, levels):
    assert cog.overview_levels(*size) == levels


@given(
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    chunk=st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    bands=st.integers(1, 400),
)
@settings(max_examples=60, deadline=None)
def test_copy_windows_tile_the_image_in_whole_blocks_and_bounded_memory(
    height, width, chunk, bands
):
    layout = raster_layout(
        (bands, height, width), None, chunk, None, "float32", None, None, 0, None
    )
    seen = np.zeros((height, width), int)
    for window in cog._windows(layout):
        assert isinstance(window, Window)
        seen[window.toslices()] += 1
        assert window.row_off % 256 == 0
        assert window.col_off % 256 == 0
        pixels = window.height * window.width
        # Whole regions, of which four are as much as is held anyhow.
        most = max(cog.WINDOW_BYTES, 4 * bands * chunk[0] * chunk[1] * 4)
        assert pixels <= 256**2 or bands * pixels * 4 <= most
    assert (seen == 1).all()


def test_what_lies_on_the_disk_before_it_is_compressed(tmp_path, monkeypatch):
    copy, sizes = cog.copy_optimised, []

    def watched(tiled, *known):
        sizes.append(tiled.stat().st_size)
        copy(tiled, *known)

    monkeypatch.setattr(cog, "copy_optimised", watched)
    values = np.zeros((3, 700, 300), np.float32)
    write(tmp_path / "out.tif", values, geobox=make_grid(shape=values.shape))
    assert 0 <= sizes[0] - 4 * 3 * cog.values_in_blocks(700, 300) < 2**16


def test_deflate_stands_in_where_zstd_is_missing(tmp_path, image, monkeypatch):
    monkeypatch.setattr(cog, "compression", lambda: "DEFLATE")
    path = write(tmp_path / "out.tif", image)
    np.testing.assert_array_equal(read(path), image)
    with rasterio.open(path) as dataset:
        assert dataset.profile["compress"] == "deflate"
