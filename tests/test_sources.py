from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

from emrdiff_geo.errors import InputError
from emrdiff_geo.grids.sources import ArraySource, ResampledSource, Source, WindowSource

ALL = slice(None)
UTM33, UTM32 = "EPSG:32633", "EPSG:32632"
ORIGIN = Affine.translation(400000, 5800000)


def scene(bands=2, rows=9, cols=11, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random((bands, rows, cols), np.float32)


def metres(size: float, x: float = 0, y: float = 0, angle: float = 0) -> Affine:
    return ORIGIN * Affine.translation(x, y) * Affine.rotation(angle) * Affine.scale(size, -size)


def sampled(array, source_box: GeoBox, target_box: GeoBox, k: int = 64) -> np.ndarray:
    """Mean of k x k point samples of each target pixel: an independent, inexact resampling."""
    h, w = target_box.shape
    steps = (np.arange(max(h, w) * k) + 0.5) / k
    x, y = target_box.affine * tuple(np.meshgrid(steps[: w * k], steps[: h * k]))
    if source_box.crs != target_box.crs:
        crs = str(target_box.crs.epsg), str(source_box.crs.epsg)
        x, y = Transformer.from_crs(*crs, always_xy=True).transform(x, y)
    col, row = (np.floor(v).astype(int) for v in ~source_box.affine * (x, y))
    rows, cols = source_box.shape
    inside = (row >= 0) & (col >= 0) & (row < rows) & (col < cols)
    values = array[:, row.clip(0, rows - 1), col.clip(0, cols - 1)]
    values = np.where(inside, values, np.nan)
    return values.reshape(len(array), h, k, w, k).mean((2, 4))


class TestArraySource:
    def test_window_reaching_outside_is_nan_there(self):
        image = scene()
        window = ArraySource(image).read(slice(-2, 3), slice(9, 14))
        assert window.shape == (2, 5, 5)
        assert window.dtype == np.float32
        np.testing.assert_array_equal(window[:, 2:, :2], image[:, :3, 9:])
        assert np.isnan(window[:, :2]).all()
        assert np.isnan(window[:, :, 2:]).all()

    @pytest.mark.parametrize(("rows", "cols"), [((20, 25), (0, 3)), ((-9, -4), (0, 3))])
    def test_window_wholly_outside(self, rows, cols):
        window = ArraySource(scene()).read(slice(*rows), slice(*cols))
        assert window.shape == (2, 5, 3)
        assert np.isnan(window).all()

    def test_array_is_the_callers_own(self):
        image = scene()
        ArraySource(image).read(ALL, ALL)[:] = 7
        assert image.max() < 1

    def test_dask_computes_the_chunks_under_the_window_in_the_calling_thread(self):
        computed = []

        def load(block, block_info=None):
            computed.append(block_info[0]["chunk-location"])
            return block

        lazy = da.from_array(scene(2, 40, 40), chunks=(2, 10, 10)).map_blocks(
            load, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
        )
        source = ArraySource(xr.DataArray(lazy, dims=("band", "y", "x")))
        with dask.config.set(scheduler="processes"):
            source.read(slice(12, 18), slice(5, 14))
        assert sorted(computed) == [(0, 1, 0), (0, 1, 1)]

    def test_lazy_file_is_read_by_window(self, tmp_path):
        image = xr.DataArray(scene(), dims=("band", "y", "x"), name="image")
        image.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as data:
            source = ArraySource(data["image"])
            np.testing.assert_array_equal(source.read(slice(2, 4), slice(1, 3)), image[:, 2:4, 1:3])
            assert not data["image"].variable._in_memory

    def test_integers_become_float32(self):
        window = ArraySource(np.arange(12).reshape(1, 3, 4)).read(ALL, slice(-1, 2))
        assert window.dtype == np.float32

    @pytest.mark.parametrize("fill", [1e20, -3.4e38, 9.96921e36, np.inf])
    def test_fill_values_that_nobody_declared_are_nan(self, fill):
        array = np.ones((2, 3, 4))
        array[1, 2, 3] = fill
        read = ArraySource(array).read(slice(0, 3), slice(0, 4))
        assert np.isnan(read[1, 2, 3])
        assert np.isnan(read).sum() == 1

    def test_bad_input(self):
        with pytest.raises(InputError, match="dimensions"):
            ArraySource(np.zeros((3, 3)))
        with pytest.raises(InputError, match="no step"):
            ArraySource(scene()).read(slice(0, 4, 2), ALL)


class TestWindowSource:
    @given(
        row=st.integers(-5, 12),
        col=st.integers(-5, 12),
        rows=st.tuples(st.integers(-4, 12), st.integers(0, 9)),
        cols=st.tuples(st.integers(-4, 12), st.integers(0, 9)),
    )
    @settings(deadline=None)
    def test_is_a_shifted_view(self, row, col, rows, cols):
        image = scene()
        padded = np.full((2, 60, 60), np.nan, np.float32)
        padded[:, 20:29, 20:31] = image
        view = np.full((2, 60, 60), np.nan, np.float32)
        view[:, 20:28, 20:27] = padded[:, 20 + row : 28 + row, 20 + col : 27 + col]
        source = WindowSource(ArraySource(image), row, col, (8, 7))
        assert source.shape == (2, 8, 7)
        (r, h), (c, w) = rows, cols
        np.testing.assert_array_equal(
            source.read(slice(r, r + h), slice(c, c + w)),
            view[:, 20 + r : 20 + r + h, 20 + c : 20 + c + w],
        )


class TestResampledSource:
    box = GeoBox((24, 20), metres(30), UTM33)

    def of(self, array, target: GeoBox) -> ResampledSource:
        return ResampledSource(ArraySource(array), self.box, target)

    def utm32(self, size: float, shape=(12, 10)) -> GeoBox:
        x, y = Transformer.from_crs(UTM33, UTM32, always_xy=True).transform(400100, 5799900)
        return GeoBox(shape, Affine(size, 0, x, 0, -size, y), UTM32)

    def test_blocks_of_whole_pixels_are_their_means(self):
        image = scene(3, 24, 20)
        out = self.of(image, GeoBox((6, 5), metres(120), UTM33)).read(ALL, ALL)
        np.testing.assert_allclose(out, image.reshape(3, 6, 4, 5, 4).mean((2, 4)), rtol=1e-6)

    @pytest.mark.parametrize("size", [11.0, 28.8, 30.0, 47.0, 90.0])
    def test_equals_gdal_on_parallel_grids(self, size):
        image = scene(2, 24, 20)
        affine = metres(size, 65, -70)
        expected = np.full((2, 5, 5), np.nan, np.float32)
        reproject(
            image,
            expected,
            src_transform=self.box.affine,
            src_crs=UTM33,
            dst_transform=affine,
            dst_crs=UTM33,
            resampling=Resampling.average,
        )
        out = self.of(image, GeoBox((5, 5), affine, UTM33)).read(ALL, ALL)
        np.testing.assert_allclose(out, expected, atol=1e-6)

    @pytest.mark.parametrize(
        "target",
        [
            GeoBox((10, 9), metres(28.8, 250, -100, -30), UTM33),
            GeoBox((4, 4), metres(90, 300, -100, -45), UTM33),
            GeoBox((14, 12), metres(12, 200, -100, 71), UTM33),
            "utm32",
            GeoBox((9, 9), Affine(3e-4, 0, 13.535, 0, -2e-4, 52.34), "EPSG:4326"),
        ],
        ids=["rotated", "coarse", "fine", "utm32", "degrees"],
    )
    def test_equals_dense_sampling_on_any_grid(self, target):
        target = self.utm32(28.8) if target == "utm32" else target
        image = scene(2, 24, 20)
        out = self.of(image, target).read(ALL, ALL)
        expected = sampled(image, self.box, target)
        seen = np.isfinite(expected)
        assert seen.mean() > 0.5
        assert np.sqrt(np.mean((out - expected)[seen] ** 2)) < 2e-3

    @pytest.mark.parametrize("turn", range(4))
    @pytest.mark.parametrize("mirrored", [False, True])
    def test_turned_and_mirrored_grids_are_exact(self, turn, mirrored):
        image = scene(1, 20, 20)
        box = GeoBox((20, 20), metres(30), UTM33)
        flip = Affine.scale(1, -1) if mirrored else Affine.identity()
        spin = Affine.translation(10, 10) * Affine.rotation(90 * turn) * flip
        target = GeoBox((20, 20), box.affine * spin * Affine.translation(-10, -10), UTM33)
        expected = np.rot90(image, turn, (1, 2))
        expected = expected[:, ::-1] if mirrored else expected
        out = ResampledSource(ArraySource(image), box, target).read(ALL, ALL)
        np.testing.assert_array_equal(out, expected)

    @given(
        size=st.floats(8, 120),
        angle=st.floats(-180, 180),
        x=st.floats(-100, 600),
        y=st.floats(-600, 100),
        value=st.floats(-1e4, 1e4, width=32),
    )
    @settings(max_examples=40, deadline=None)
    def test_constant_stays_and_mean_stays_in_range(self, size, angle, x, y, value):
        image = np.stack([np.full((24, 20), value, np.float32), scene(1, 24, 20)[0]])
        out = self.of(image, GeoBox((7, 8), metres(size, x, y, angle), UTM33)).read(ALL, ALL)
        seen = np.isfinite(out[0])
        assert (out[0][seen] == np.float32(value)).all()
        np.testing.assert_array_equal(np.isfinite(out[1]), seen)
        assert ((out[1][seen] > 0) & (out[1][seen] < 1)).all()

    @given(size=st.floats(20, 90), x=st.floats(0, 30), y=st.floats(0, 30))
    @settings(max_examples=30, deadline=None)
    def test_mean_of_the_scene_is_kept(self, size, x, y):
        """A frame of zeros lets every source pixel be wholly inside the target."""
        image = np.zeros((1, 24, 20), np.float32)
        image[:, 6:18, 6:14] = scene(1, 12, 8)
        n = int(720 // size) - 1
        target = GeoBox((n, n), metres(size, x, -y), UTM33)
        reach = n * size
        if reach < 18 * 30:
            return
        out = self.of(image, target).read(ALL, ALL)
        np.testing.assert_allclose(np.nansum(out) * size**2, image.sum() * 900, rtol=1e-5)

    @given(data=st.data(), kind=st.sampled_from(["parallel", "rotated", "utm32", "degrees"]))
    @settings(max_examples=40, deadline=None)
    def test_windows_agree_with_the_whole_to_the_bit(self, data, kind):
        image = scene(5, 24, 20)
        image[1, 4:9, 3:12] = np.nan
        image[3] = np.nan
        image[:, 15:, 13:] = np.nan
        target = {
            "parallel": GeoBox((22, 18), metres(28.8, 7, -5), UTM33),
            "rotated": GeoBox((22, 18), metres(28.8, 7, -5, 31), UTM33),
            "utm32": self.utm32(28.8, (22, 18)),
            "degrees": GeoBox((22, 18), Affine(4e-4, 0, 13.53, 0, -3e-4, 52.343), "EPSG:4326"),
        }[kind]
        source = pickle.loads(pickle.dumps(self.of(image, target)))
        whole = self.of(image, target).read(ALL, ALL)
        r, c = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 16))
        h, w = data.draw(st.integers(1, 22 - r)), data.draw(st.integers(1, 18 - c))
        window = source.read(slice(r, r + h), slice(c, c + w))
        np.testing.assert_array_equal(window, whole[:, r : r + h, c : c + w])
        assert np.isnan(whole[3]).all()
        assert np.isfinite(whole[0]).any()

    def test_blocks_inside_agree_with_one_block(self, monkeypatch):
        target = GeoBox((22, 18), metres(28.8, 7, -5, 31), UTM33)
        whole = self.of(scene(2, 24, 20), target).read(ALL, ALL)
        monkeypatch.setattr("emrdiff_geo.grids.sources._BLOCK_CELLS", 200)
        blocks = self.of(scene(2, 24, 20), target).read(ALL, ALL)
        np.testing.assert_array_equal(blocks, whole)

    def test_threads_agree(self):
        source = self.of(scene(2, 24, 20), self.utm32(28.8))
        with ThreadPoolExecutor(4) as pool:
            reads = list(pool.map(lambda _: source.read(ALL, ALL), range(8)))
        for read in reads[1:]:
            np.testing.assert_array_equal(read, reads[0])

    def test_outside_of_both_grids_is_nan(self):
        source = self.of(scene(1, 24, 20), GeoBox((40, 4), metres(30, 0, 300), UTM33))
        out = source.read(slice(-2, 42), ALL)
        assert np.isnan(out[:, :12]).all()
        assert np.isfinite(out[:, 12:36]).all()
        assert np.isnan(out[:, 36:]).all()

    def test_edge_counts_only_the_area_inside(self):
        """A pixel that is inside by a third, one by less than a quarter, one without data."""
        image = scene(1, 24, 20)
        target = GeoBox((1, 4), metres(60, -40, 0), UTM33)
        strict = self.of(image, target).read(ALL, ALL)
        source = ResampledSource(ArraySource(image), self.box, target, edge=0.25)
        np.testing.assert_array_equal(np.isfinite(strict)[0, 0], [False, True, True, True])
        assert np.isfinite(source.read(ALL, ALL)).all()
        np.testing.assert_array_equal(source.read(ALL, ALL)[..., 1:], strict[..., 1:])
        image[:, :2, 0] = np.nan
        assert np.isnan(source.read(ALL, ALL)[0, 0, 0])
        far = GeoBox((1, 4), metres(60, -46, 0), UTM33)
        out = ResampledSource(ArraySource(scene(1, 24, 20)), self.box, far, edge=0.25)
        assert np.isnan(out.read(ALL, ALL)[0, 0, 0])

    def test_grid_must_fit_the_source(self):
        with pytest.raises(InputError, match="rows and columns"):
            self.of(scene(1, 3, 3), self.box)


def test_all_are_sources():
    array = ArraySource(scene(1, 24, 20))
    box = TestResampledSource.box
    for source in (array, WindowSource(array, 0, 0, (2, 2)), ResampledSource(array, box, box)):
        assert isinstance(source, Source)
        assert len(source.shape) == 3
