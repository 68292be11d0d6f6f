from __future__ import annotations

import pickle
from itertools import product

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from grids import (
    ALL,
    UTM32,
    UTM33,
    X,
    Y,
    block_means,
    cells,
    image,
    lr_geobox,
    nested,
    read_target,
    utm,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from emrdiff_geo.errors import GridError
from emrdiff_geo.grids.frame import BEYOND
from emrdiff_geo.grids.pair import geobox_of, pair_scenes
from emrdiff_geo.grids.sources import ArraySource, ResampledSource


class TestAligned:
    def test_same_corner(self):
        hsi, msi = image(5, utm(30, (6, 5))), image(2, utm(10, (18, 15)))
        pair = pair_scenes(hsi, msi)
        assert (pair.ratio, pair.offset, pair.shape) == (3, (0, 0), (18, 15))
        assert not pair.resampled
        assert (pair.n_hsi, pair.n_msi) == (5, 2)
        assert pair.target == geobox_of(msi)
        np.testing.assert_array_equal(pair.hsi.read(ALL, ALL), hsi)
        np.testing.assert_array_equal(pair.msi.read(ALL, ALL), msi)

    @given(
        row=st.integers(-20, 40),
        col=st.integers(-20, 40),
        h=st.integers(16, 70),
        w=st.integers(16, 70),
    )
    @settings(max_examples=40, deadline=None)
    def test_msi_that_begins_inside_an_hsi_pixel_stays_exact(self, row, col, h, w):
        """Every LR pixel is an HSI pixel, and the target is where both images are."""
        ratio, n = 4, 12
        fine = np.full((1, 200, 200), np.nan, np.float32)
        fine[0, 60:108, 60:108] = np.arange(48 * 48).reshape(48, 48)
        hsi = image(block_means(fine[:, 60:108, 60:108], ratio), utm(40, (n, n)))
        msi_values = np.arange(h * w, dtype=np.float32).reshape(1, h, w)
        msi = image(msi_values, utm(10, (h, w), 10 * col, 10 * row))
        r0, r1 = max(row, 0), min(row + h, 48)
        c0, c1 = max(col, 0), min(col + w, 48)
        if min(r1 - r0, c1 - c0) < 12:
            with pytest.raises(GridError):
                pair_scenes(hsi, msi)
            return
        pair = pair_scenes(hsi, msi)
        assert nested(pair)
        assert not pair.resampled
        assert tuple(n % ratio for n in pair.offset) == (r0 % ratio, c0 % ratio)
        assert pair.target == utm(10, (r1 - r0, c1 - c0), 10 * c0, 10 * r0)
        np.testing.assert_array_equal(
            read_target(pair)[0], msi_values[0, r0 - row : r1 - row, c0 - col : c1 - col]
        )
        expected = hsi[:, r0 // 4 : -(-r1 // 4), c0 // 4 : -(-c1 // 4)]
        np.testing.assert_array_equal(pair.hsi.read(*cells(pair)), expected)

    def test_frame_beyond_the_msi_is_nan(self):
        pair = pair_scenes(image(1, utm(30, (6, 6))), image(1, utm(10, (13, 14), 20, 10)))
        assert (pair.hr_shape, pair.offset, pair.shape) == ((27, 30), (7, 8), (13, 14))
        frame = pair.msi.read(ALL, ALL)[0]
        inside = np.zeros(frame.shape, bool)
        inside[pair.window] = True
        np.testing.assert_array_equal(np.isfinite(frame), inside)

    def test_frame_beyond_the_hsi_has_the_msi_that_is_there(self):
        """The degraded MSI of an edge pixel is that of the whole pixel wherever it can be."""
        msi = image(1, utm(10, (40, 40)))
        pair = pair_scenes(image(1, utm(28.8, (9, 9), 50, 50)), msi)
        top = round((Y - pair.hr_geobox.affine.f) / 10)
        left = round((pair.hr_geobox.affine.c - X) / 10)
        h, w = pair.hr_shape
        np.testing.assert_array_equal(
            pair.msi.read(ALL, ALL), msi[:, top : top + h, left : left + w]
        )

    def test_rotated_grids_keep_the_exact_affine(self):
        """As simulated from the AVIRIS scene: the MSI on its grid, the HSI four times coarser."""
        affine = Affine(
            4.850965501411636, 14.08822677642982, 716737.401375353,
            14.08822677642982, -4.850965501411636, 4322229.096619,
        )  # fmt: skip
        hsi = image(3, GeoBox((12, 12), affine * Affine.scale(4), "EPSG:32610"))
        msi = image(2, GeoBox((48, 48), affine, "EPSG:32610"))
        pair = pair_scenes(hsi, msi)
        assert tuple(pair.target.affine) == tuple(affine)
        assert not pair.resampled
        assert (pair.ratio, pair.shape) == (4, (48, 48))
        np.testing.assert_array_equal(pair.hsi.read(ALL, ALL), hsi)
        cut = pair_scenes(hsi, msi[:, 6:37, 5:44])
        assert (cut.resampled, cut.offset) == (False, (10, 9))
        np.testing.assert_allclose(
            tuple(cut.target.affine), tuple(affine * Affine.translation(5, 6)), rtol=1e-12
        )

    def test_one_crs_in_two_spellings(self):
        box = utm(10, (18, 18))
        esri = GeoBox(box.shape, box.affine, CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
        assert not pair_scenes(image(1, utm(30, (6, 6))), image(1, esri)).resampled

    def test_pairing_reads_no_pixels(self):
        def fail(block):
            raise AssertionError("a pixel was read")

        def lazy(bands, box):
            zeros = da.zeros((bands, *box.shape), dtype=np.float32, chunks=(bands, 6, 6))
            meta = np.empty((0, 0, 0), np.float32)
            return image(zeros.map_blocks(fail, dtype=np.float32, meta=meta), box)

        pair = pair_scenes(lazy(4, utm(30, (12, 12))), lazy(2, utm(3.6, (90, 90), 7, 7)))
        assert nested(pair)
        with pytest.raises(AssertionError):
            pair.hsi.read(ALL, ALL)

    def test_dataset_and_pickle(self):
        hsi, msi = image(2, utm(30, (6, 6))), image(1, utm(10, (18, 18), 5, 5))
        pair = pair_scenes(hsi.to_dataset(), msi.to_dataset())
        again = pickle.loads(pickle.dumps(pair))
        assert again.target == pair.target
        np.testing.assert_array_equal(again.hsi.read(ALL, ALL), pair.hsi.read(ALL, ALL))
        with pytest.raises(AttributeError):
            pair.ratio = 2


class TestResampled:
    @given(
        hsi_size=st.floats(6, 40), x=st.floats(-90, 90), y=st.floats(-90, 90), n=st.integers(40, 90)
    )
    @settings(max_examples=60, deadline=None)
    def test_any_parallel_pair(self, hsi_size, x, y, n):
        """No target pixel lies on an LR pixel without data, and a constant stays itself."""
        hsi = image(np.full((2, 15, 15), 0.25, np.float32), utm(hsi_size, (15, 15), x, y))
        msi = image(1, utm(3.6, (n, n)))
        left, right = max(x, 0), min(x + 15 * hsi_size, n * 3.6)
        top, bottom = max(y, 0), min(y + 15 * hsi_size, n * 3.6)
        if min(right - left, bottom - top) < 3.05 * hsi_size:
            return
        pair = pair_scenes(hsi, msi)
        assert pair.ratio == max(2, round(hsi_size / 3.6))
        assert nested(pair)
        assert max(pair.offset) < (1 + BEYOND) * pair.ratio
        box = pair.target.boundingbox
        assert box.left - X >= left - 0.01
        assert box.right - X <= right + 0.01
        assert box.left - X < left + 3.61
        assert box.right - X > right - 3.61
        assert (pair.hsi.read(*cells(pair)) == 0.25).all()
        assert np.isfinite(read_target(pair)).all()

    def test_shift_of_half_a_pixel_moves_the_hsi_least(self):
        hsi, msi = image(1, utm(30, (8, 8), 4)), image(1, utm(10, (24, 24)))
        pair = pair_scenes(hsi, msi)
        assert pair.resampled
        assert lr_geobox(pair).affine.c == X
        out = pair.hsi.read(ALL, ALL)[0]
        expected = (26 * hsi[0, :, 1:].values + 4 * hsi[0, :, :-1].values) / 30
        np.testing.assert_allclose(out[:, 1:8], expected, rtol=1e-5)

    def test_other_utm_zone(self):
        """A ramp along longitude and latitude comes out where it is on the ground."""
        box = GeoBox((20, 20), Affine(30, 0, X, 0, -30, Y), UTM33)
        x, y = Transformer.from_crs(UTM33, UTM32, always_xy=True).transform(X + 300, Y - 300)
        msi_box = GeoBox((60, 60), Affine(5, 0, x - 150, 0, -5, y + 150), UTM32)

        def ground(box: GeoBox) -> np.ndarray:
            j, i = np.meshgrid(np.arange(box.shape[1]) + 0.5, np.arange(box.shape[0]) + 0.5)
            px, py = box.affine * (j, i)
            to_lonlat = Transformer.from_crs(str(box.crs.epsg), "OGC:CRS84", always_xy=True)
            lon, lat = to_lonlat.transform(px, py)
            return np.stack([(lon - 13.535) * 1e3, (lat - 52.335) * 1e3]).astype(np.float32)

        pair = pair_scenes(image(ground(box), box), image(ground(msi_box), msi_box))
        assert isinstance(pair.hsi, ResampledSource)
        assert (pair.ratio, pair.shape) == (6, (60, 60))
        assert pair.target.crs == msi_box.crs
        error = pair.hsi.read(ALL, ALL) - ground(lr_geobox(pair))
        # means of pixels as wide as the pixels: an unbiased ramp, in steps of 0.44 and 0.27
        assert np.abs(error.mean((1, 2))).max() < 0.01
        assert np.abs(error).max() < 0.06

    def test_msi_in_degrees(self):
        lonlat = GeoBox((40, 40), Affine(1e-4, 0, 13.535, 0, -6e-5, 52.34), "EPSG:4326")
        pair = pair_scenes(image(2, utm(30, (24, 20))), image(1, lonlat))
        assert pair.ratio == 4  # 30 m over the 6.75 m of a square of equal area: 6.82 x 6.68
        assert pair.target == lonlat
        assert "6.816 x 6.676 m" in pair.notes[0]
        assert np.isfinite(pair.hsi.read(ALL, ALL)).all()

    @pytest.mark.parametrize("turn", [-360, 360])
    def test_longitudes_a_turn_apart(self, turn):
        low = GeoBox((6, 6), Affine(4e-4, 0, 180 - 3e-4, 0, -4e-4, 0), "EPSG:4326")
        high = GeoBox((24, 24), Affine(1e-4, 0, 180 - 3e-4 + turn, 0, -1e-4, 0), "EPSG:4326")
        scene = image(2, low)
        pair = pair_scenes(scene, image(1, high))
        assert pair.target == high
        np.testing.assert_array_equal(pair.hsi.read(ALL, ALL), scene)

    def test_pixels_that_are_not_square(self):
        box = GeoBox((36, 18), Affine(10, 0, X, 0, -5, Y), UTM33)
        pair = pair_scenes(image(1, utm(30, (6, 6))), image(1, box))
        assert pair.ratio == 4  # the root of 3 * 6
        assert pair.shape == (36, 18)
        assert nested(pair)

    def test_rotated_against_north_up(self):
        box = utm(30, (20, 20))
        spin = Affine.translation(10, 10) * Affine.rotation(30) * Affine.translation(-10, -10)
        hsi = image(1, GeoBox(box.shape, box.affine * spin, UTM33))
        pair = pair_scenes(hsi, image(1, utm(10, (24, 24), 180, 180)))
        assert (pair.ratio, pair.shape) == (3, (24, 24))
        assert np.isfinite(pair.hsi.read(ALL, ALL)).all()

    def test_south_up_hsi_is_turned(self):
        box = GeoBox((6, 6), Affine(30, 0, X, 0, 30, Y - 180), UTM33)
        hsi = image(1, box)
        pair = pair_scenes(hsi, image(1, utm(10, (18, 18))))
        np.testing.assert_array_equal(pair.hsi.read(ALL, ALL), hsi[:, ::-1])

    def test_ratio_asked_for(self):
        pair = pair_scenes(image(1, utm(30, (12, 12))), image(1, utm(5, (72, 72))), ratio=3)
        assert (pair.ratio, pair.resampled) == (3, True)
        assert nested(pair)
        assert "much finer" in pair.notes[1]

    def test_target_asked_for(self):
        hsi, msi = image(2, utm(30, (12, 12))), image(1, utm(5, (60, 72), 0, 60))
        target = utm(10, (30, 40), -20, 30)
        pair = pair_scenes(hsi, msi, target=target)
        assert pair.target == target
        assert (pair.ratio, pair.shape, pair.resampled) == (3, (30, 40), False)
        out = read_target(pair)
        np.testing.assert_allclose(out[:, 3:, 2:38], block_means(msi.values, 2)[:, :27], rtol=1e-6)
        assert np.isnan(out[:, :3]).all()
        assert np.isnan(out[:, :, :2]).all()


class TestWithoutCrs:
    def test_shapes_decide(self):
        pair = pair_scenes(image(np.ones((4, 5, 6))), image(np.ones((2, 40, 48))))
        assert (pair.ratio, pair.target, lr_geobox(pair)) == (8, None, None)
        assert (pair.shape, pair.offset) == ((40, 48), (0, 0))
        assert "paired by their shapes" in pair.notes[0]

    @pytest.mark.parametrize(
        ("hsi", "msi", "ratio", "message"),
        [
            ((5, 6), (41, 48), None, "crop the MSI"),
            ((5, 6), (40, 42), None, "differ by one whole ratio"),
            ((5, 6), (40, 48), 4, "the ratio 4"),
            ((40, 48), (5, 6), None, "swap them"),
            ((5, 6), (5, 6), None, "more pixels"),
            ((2, 6), (8, 24), None, "2 x 6 whole HSI pixels"),
        ],
    )
    def test_errors(self, hsi, msi, ratio, message):
        with pytest.raises(GridError, match=message):
            pair_scenes(image(np.ones((3, *hsi))), image(np.ones((1, *msi))), ratio=ratio)

    def test_target_needs_a_crs(self):
        with pytest.raises(GridError, match="assign one to both"):
            pair_scenes(image(np.ones((1, 5, 5))), image(np.ones((1, 9, 9))), target=utm(1, (3, 3)))


class TestErrors:
    hsi = image(2, utm(30, (10, 10)))

    @pytest.mark.parametrize(
        ("msi", "message"),
        [
            (image(1, utm(10, (30, 30), 5000)), "do not overlap: check"),
            (image(1, utm(10, (30, 30), 300)), "do not overlap: check"),
            (image(np.ones((1, 30, 30))), "the MSI has none: assign the MSI its CRS"),
            (image(1, utm(30, (10, 10))), "at least 1.5 times finer: swap"),
            (image(1, utm(60, (5, 5))), "pixels of 60 m and the HSI of 30 m"),
            (image(1, utm(10, (30, 30), 215)), "10 x 2 whole HSI pixels .* larger overlap"),
            (image(1, utm(1, (20, 20), 15)), "0 x 0 whole HSI pixels"),
        ],
        ids=["far", "touching", "no-crs", "same-size", "coarser", "narrow", "tiny"],
    )
    def test_grids(self, msi, message):
        with pytest.raises(GridError, match=message) as caught:
            pair_scenes(self.hsi, msi)
        assert str(caught.value).count(". ") == 0

    def test_metres_taken_for_degrees(self):
        wrong = GeoBox((10, 10), utm(30, (10, 10)).affine, "EPSG:4326")
        with pytest.raises(GridError, match=r"WGS 84 has a latitude of 5\.8.* degrees: assign"):
            pair_scenes(image(2, wrong), image(1, utm(10, (30, 30))))

    def test_hsi_without_crs(self):
        with pytest.raises(GridError, match="assign the HSI its CRS"):
            pair_scenes(image(np.ones((1, 5, 5))), image(1, utm(10, (30, 30))))

    @pytest.mark.parametrize("ratio", [1, 0, -3, 2.5])
    def test_ratio(self, ratio):
        with pytest.raises(GridError, match="whole number of 2 or more"):
            pair_scenes(self.hsi, image(1, utm(10, (30, 30))), ratio=ratio)

    def test_irregular_grid(self):
        msi = image(1, utm(10, (30, 30)))
        msi = msi.assign_coords(x=msi.x.values + np.arange(30) ** 2)
        with pytest.raises(GridError, match="The MSI has a CRS but no regular grid"):
            geobox_of(msi, "MSI")

    def test_target(self):
        msi = image(1, utm(10, (30, 30)))
        with pytest.raises(GridError, match="has no CRS"):
            pair_scenes(self.hsi, msi, target=GeoBox((5, 5), Affine.identity(), None))
        with pytest.raises(GridError, match="target grid has pixels of 30 m"):
            pair_scenes(self.hsi, msi, target=utm(30, (10, 10)))
        with pytest.raises(GridError, match="the target grid do not overlap"):
            pair_scenes(self.hsi, msi, target=utm(10, (30, 30), 9000))


def from_file(path, bands=None) -> xr.DataArray:
    with rasterio.open(path) as file:
        bands = bands or list(range(1, file.count + 1))
        values = file.read(bands).astype(np.float32)
        if file.nodata is not None:
            values[values == file.nodata] = np.nan
        wavelength = [float(file.tags(b).get("wavelength", "nan")) for b in bands]
        return image(values, GeoBox.from_rio(file), wavelength)


class TestRealPairs:
    def test_berlin(self, shared_data):
        hsi = from_file(shared_data / "georef" / "berlin_enmapsim244_30m.tif")
        msi = from_file(shared_data / "georef" / "berlin_hymap4_3m6.tif")
        pair = pair_scenes(hsi, msi)
        assert (pair.ratio, pair.shape, pair.resampled) == (8, (659, 493), True)
        rows, cols = cells(pair)
        low = pair.hsi.read(rows, cols)
        assert np.isfinite(low).all()
        fine = (slice(8 * s.start, 8 * s.stop) for s in (rows, cols))
        high = pair.msi.read(*fine)
        for band, centre in enumerate(pair.msi_bands.wavelength_nm):
            near = low[np.abs(pair.hsi_bands.wavelength_nm - centre).argmin()]
            mean = block_means(high[band : band + 1], 8)[0]
            shifts = product((-1, 0, 1), repeat=2)
            scores = {s: self.correlation(np.roll(near, s, (0, 1)), mean) for s in shifts}
            assert max(scores, key=scores.get) == (0, 0)
            assert scores[0, 0] > 0.87

    @staticmethod
    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a[..., 2:-2, 2:-2], b[..., 2:-2, 2:-2]
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    def test_one_sensor_at_two_scales_lies_on_itself(self, shared_data):
        """Ratio 3.33, so the HSI is resampled twice as coarse pixels: still nothing moves."""
        msi = from_file(shared_data / "georef" / "berlin_hymap111_9m.tif", [10, 40, 80])
        box = GeoBox((28, 18), geobox_of(msi).affine * Affine.scale(30 / 9), UTM33)
        box = GeoBox(box.shape, Affine.translation(13, -17) * box.affine, UTM33)
        low = ResampledSource(ArraySource(msi), geobox_of(msi), box).read(ALL, ALL)
        pair = pair_scenes(image(low, box), msi)
        assert (pair.ratio, pair.resampled) == (3, True)
        low, mean = pair.hsi.read(ALL, ALL), block_means(pair.msi.read(ALL, ALL), 3)
        neighbours = ((0, 1), (1, 0), (-1, 0), (0, -1))
        here, *others = (
            self.correlation(np.roll(low, shift, (1, 2)), mean) for shift in ((0, 0), *neighbours)
        )
        assert here > 0.94
        assert max(others) < 0.85

    def test_rotated_aviris(self, shared_data):
        whole = from_file(
            shared_data / "georef" / "aviris_mastercal194_15m_rot71.tif", [10, 30, 60]
        )
        affine = geobox_of(whole).affine
        box = GeoBox((12, 12), affine * Affine.scale(4), "EPSG:32610")
        pair = pair_scenes(image(block_means(whole.values[:, :48, :48], 4), box), whole)
        assert (pair.resampled, pair.shape) == (False, (48, 48))
        assert tuple(pair.target.affine) == tuple(affine)
