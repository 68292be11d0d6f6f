"""Measuring the shift between the images of a pair."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scenes import dataset, shifted_pair

from emrdiff_geo.alignment.shift import Shift, measure_shift
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.grids.pair import geobox_of, pair_scenes
from emrdiff_geo.reading.normalise import grid_coords
from emrdiff_geo.reading.readers import open_hsi, open_msi


def found(hsi, msi):
    return measure_shift(pair_scenes(hsi, msi))


def with_values(scene, change):
    return scene.assign(image=scene["image"].copy(data=change(scene["image"].values.copy())))


@pytest.mark.parametrize("ratio", [2, 4, 5, 8])
@pytest.mark.parametrize("psf", ["gaussian", "area"])
@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (2, -1), (-5, 3)])
def test_known_shifts_to_a_twentieth_of_an_hsi_pixel(ratio, psf, shift):
    measured = found(*shifted_pair(*shift, ratio=ratio, size=26, psf=psf))
    assert measured.reliable
    np.testing.assert_allclose([measured.x, measured.y], shift, atol=0.05 * ratio)
    assert measured.length == pytest.approx(np.hypot(*shift) / ratio, abs=0.05)


def test_a_shift_of_many_hsi_pixels_is_found():
    measured = found(*shifted_pair(-19, 26, size=48))
    assert measured.reliable
    np.testing.assert_allclose([measured.x, measured.y], [-19, 26], atol=0.2)


def test_noise_and_inverted_contrast_move_nothing():
    hsi, msi = shifted_pair(2, -1)
    rng = np.random.default_rng(0)

    def noisy(values):
        return values + 0.05 * values.std() * rng.standard_normal(values.shape, np.float32)

    measured = found(with_values(hsi, noisy), with_values(msi, lambda v: 5000 - 3 * noisy(v)))
    assert measured.reliable
    np.testing.assert_allclose([measured.x, measured.y], [2, -1], atol=0.2)


def test_nodata_moves_nothing():
    hsi, msi = shifted_pair(1, 2)

    def holed(values):
        n = values.shape[-1]
        values[:, : n // 3, n // 2 :] = np.nan
        values[:, n // 2 : n // 2 + n // 8, : n // 4] = np.nan
        return values

    def empty_band(values):
        values[3] = np.nan
        return holed(values)

    measured = found(with_values(hsi, empty_band), with_values(msi, holed))
    assert measured.reliable
    np.testing.assert_allclose([measured.x, measured.y], [1, 2], atol=0.2)


def test_what_shows_nothing_is_not_measured():
    hsi, msi = shifted_pair(1, 0)
    other, _ = shifted_pair(40, 40, size=52)
    assert found(with_values(hsi, np.zeros_like), msi) is None
    assert found(hsi, with_values(msi, lambda v: v * 0 + 7)) is None
    assert found(with_values(hsi, lambda v: other["image"].values[:, :32, :32]), msi) is None
    assert found(hsi, with_values(msi, lambda v: v * np.nan)) is None
    assert found(*shifted_pair(0, 0, size=4)) is None


def test_windows_that_disagree_are_seen():
    hsi, msi = shifted_pair(0, 0, size=40)

    def torn(values):
        values[..., 80:] = np.roll(values, -5, axis=2)[..., 80:]
        return values

    measured = found(hsi, with_values(msi, torn))
    assert measured.varies
    assert not measured.reliable


@pytest.mark.parametrize("period", [8, 12, 20])
def test_stripes_do_not_mislead(period):
    """They fit at every period and tell nothing of a shift along them."""
    x = np.arange(200)
    stripes = np.sin(2 * np.pi * x / period) + np.zeros((200, 1))
    rng = np.random.default_rng(0)
    cube = np.stack([k * stripes + 10 for k in range(1, 9)]).astype(np.float32)
    low = Degradation(4).down(cube[:, :160, :160])
    low += 0.02 * rng.standard_normal(low.shape, np.float32)
    measured = found(dataset(low, 40.0), dataset(cube[:3, 1:161, 2:162], 10.0))
    assert measured is None or not measured.reliable or measured.length < 1


def test_a_pattern_that_repeats_itself_is_matched_to_the_nearest():
    y, x = np.mgrid[:240, :240]
    wave = np.sin(2 * np.pi * x / 20) * np.sin(2 * np.pi * y / 20)
    cube = np.stack([k * wave + 10 for k in range(1, 9)]).astype(np.float32)
    low = Degradation(4).down(cube[:, :192, :192])
    low += 0.05 * np.random.default_rng(0).standard_normal(low.shape, np.float32)
    measured = found(dataset(low, 40.0), dataset(cube[:3, 1:193, 3:195], 10.0))
    assert measured.reliable
    np.testing.assert_allclose([measured.x, measured.y], [3, 1], atol=0.2)


def test_few_pixels_are_not_relied_on():
    measured = found(*shifted_pair(1, 0, size=12))
    assert measured is None or not measured.reliable


def test_words_say_which_way():
    text = str(Shift(-1.5, 0.25, 0.1, 0.2, 9, 4))
    assert text == (
        "1.50 MSI pixels to the left of the MSI and 0.25 below it "
        "(0.38 HSI pixels; spread 0.10 and 0.20 over 9 windows)"
    )


class TestBerlin:
    """EnMAP over HyMap: registered to about one MSI pixel of 3.6 m, in grids that do not nest."""

    def test_lies_within_a_quarter_of_an_hsi_pixel(self, shared_data):
        measured = found(*self.images(shared_data))
        assert measured.reliable
        assert measured.length < 0.25

    @pytest.mark.parametrize("shift", [(2, -3), (-9, 4)])
    def test_a_moved_grid_moves_the_measurement(self, shift, shared_data):
        hsi, msi = self.images(shared_data)
        before = found(hsi, msi)
        box = geobox_of(msi["image"])
        back = GeoBox(box.shape, box.affine * Affine.translation(-shift[0], -shift[1]), box.crs)
        bare = msi.drop_vars(["x", "y", "spatial_ref"])
        after = found(hsi, bare.assign_coords(grid_coords(back)))
        np.testing.assert_allclose(
            [after.x - before.x, after.y - before.y], shift, atol=0.05 * after.ratio
        )

    @staticmethod
    def images(shared_data):
        folder = shared_data / "georef"
        hsi = open_hsi(folder / "berlin_enmapsim244_30m.tif")
        return hsi, open_msi(folder / "berlin_hymap4_3m6.tif")
