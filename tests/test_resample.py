from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.transformer import AreaOfInterest, TransformerGroup

from emrdiff_geo.errors import GridError
from emrdiff_geo.grids.resample import PixelMap, _transformer, overlap, weighted_mean

UTM33 = "EPSG:32633"


@pytest.mark.filterwarnings("ignore:Best transformation")
@pytest.mark.parametrize("codes", [(32633, 4326), (4326, 25833), (25833, 31468), (4326, 4979)])
def test_the_operation_between_two_crs_may_be_shared_by_threads(codes):
    src, dst = (CRS.from_epsg(code) for code in codes)
    area = (12.0, 50.0, 14.0, 53.0)
    shared = _transformer(src.to_wkt(), dst.to_wkt(), area)
    alone = TransformerGroup(src, dst, always_xy=True, area_of_interest=AreaOfInterest(*area))
    to_src = Transformer.from_crs("OGC:CRS84", src, always_xy=True)
    lon, lat = np.meshgrid(np.linspace(12, 14, 50), np.linspace(50, 53, 50))
    points = to_src.transform(lon, lat)
    expected = alone.transformers[0].transform(*points)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: shared.transform(*points), range(32)):
            np.testing.assert_array_equal(found, expected)


def corners(affine: Affine, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.meshgrid(np.arange(shape[0] + 1.0), np.arange(shape[1] + 1.0), indexing="ij")
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


angles = st.sampled_from([0.0, 90.0, 45.0, 180.0]) | st.floats(0, 360)


class TestOverlap:
    def test_known_areas(self):
        found = overlap(*corners(Affine(1.5, 0, 0.25, 0, 1.0, 0.5), (1, 1)), (4, 4))
        assert (found.row, found.col, found.shape) == (0, 0, (2, 2))
        np.testing.assert_allclose(
            found.weights.toarray()[0] * 1.5, [0.375, 0.375, 0.375, 0.375], atol=1e-12
        )

    def test_diamond_takes_an_eighth_of_each_cell(self):
        x, y = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 2.0]])
        found = overlap(x, y, (2, 2))
        np.testing.assert_allclose(found.weights.toarray(), [[0.25] * 4], atol=1e-12)

    @given(angle=angles, size=st.floats(0.2, 4.0), mirrored=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_target_pixels_share_out_the_source_pixels(self, angle, size, mirrored):
        """Pixels inside are wholly covered, and what each source pixel gives away is itself."""
        n = round(16 / size) + 1
        affine = (
            Affine.translation(2.5, 2.5)
            * Affine.rotation(angle)
            * Affine.scale(size, -size if mirrored else size)
            * Affine.translation(-n / 2, -n / 2)
        )
        found = overlap(*corners(affine, (n, n)), (5, 5))
        assert found.shape == (5, 5)
        given_away = np.asarray(found.weights.sum(0)) * size**2
        np.testing.assert_allclose(given_away, 1.0, rtol=1e-5)

    def test_pixels_outside_have_no_weight(self):
        assert overlap(*corners(Affine.translation(-5, 0), (2, 5)), (3, 3)) is None
        found = overlap(*corners(Affine.translation(-0.25, 0), (1, 1)), (3, 3))
        np.testing.assert_allclose(found.weights.toarray(), [[0.75]])

    def test_corners_without_an_image_are_left_out(self):
        x, y = corners(Affine.identity(), (2, 2))
        x[0, 0] = np.inf
        found = overlap(x, y, (2, 2))
        np.testing.assert_array_equal(found.weights.sum(1).ravel(), [[0, 1, 1, 1]])


class TestWeightedMean:
    def test_half_covered_is_valid_and_less_is_not(self):
        found = overlap(*corners(Affine.scale(4, 4), (1, 2)), (4, 8))
        values = np.ones((4, 8), np.float32)
        values[:2, :4] = np.nan
        values[:2, 4:] = np.nan
        values[2, 4] = np.nan
        mean = weighted_mean(values.reshape(1, -1), found.weights)
        np.testing.assert_array_equal(mean, [[1, np.nan]])

    def test_bands_are_masked_by_themselves(self):
        found = overlap(*corners(Affine.scale(2, 2), (1, 1)), (2, 2))
        values = np.array([[1, 2, 3, 4], [np.nan] * 4, [np.nan, 2, 2, 8]], np.float32)
        np.testing.assert_allclose(
            weighted_mean(values, found.weights)[:, 0], [2.5, np.nan, 4.0], rtol=1e-6
        )


class TestPixelMap:
    box = GeoBox((50, 40), Affine(30, 0, 400000, 0, -30, 5800000), UTM33)

    def test_one_crs_in_two_spellings_is_linear(self):
        esri = CRS.from_epsg(32633).to_wkt("WKT1_ESRI")
        other = GeoBox((50, 40), self.box.affine, esri)
        assert PixelMap.between(self.box, other).affine is not None
        assert PixelMap.between(self.box, other).whole_shift() == (0, 0)

    def test_there_and_back(self):
        other = GeoBox((60, 60), Affine(20, 0, 810000, 0, -20, 5810000), "EPSG:32632")
        x, y = np.array([3.25, 30.0]), np.array([7.5, 44.0])
        there = PixelMap.between(self.box, other)
        assert there.affine is None
        np.testing.assert_allclose(
            PixelMap.between(other, self.box)(*there(x, y)), (x, y), atol=1e-5
        )

    def test_jacobian_of_a_scaled_grid(self):
        fine = GeoBox((500, 400), self.box.affine * Affine.scale(0.1), UTM33)
        np.testing.assert_allclose(
            PixelMap.between(self.box, fine).jacobian(3, 4), np.eye(2) * 10, atol=1e-6
        )

    @pytest.mark.parametrize(("col", "row", "shift"), [(3, -4, (-3, 4)), (0.4, 0, None)])
    def test_whole_shift(self, col, row, shift):
        moved = GeoBox((50, 40), self.box.affine * Affine.translation(col, row), UTM33)
        assert PixelMap.between(self.box, moved).whole_shift() == shift

    def test_no_way_between_two_crss(self):
        local = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        local += 'LENGTHUNIT["metre",1]]'
        with pytest.raises(GridError, match="No transformation is known from"):
            PixelMap.between(self.box, GeoBox((5, 5), Affine.identity(), local))
