import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.errors import InputError
from emrdiff_geo.evaluation import pictures


def test_rgb_bands_are_the_nearest_to_natural_colours():
    wavelength = np.arange(400, 1000, 10.0)
    assert pictures.rgb_bands(60, wavelength) == (25, 15, 5)
    good = np.ones(60, bool)
    good[25] = False
    assert pictures.rgb_bands(60, wavelength, good)[0] in (24, 26)
    wavelength[15] = np.nan
    assert pictures.rgb_bands(60, wavelength)[1] in (14, 16)


def test_rgb_bands_without_wavelengths_go_by_rank():
    assert pictures.rgb_bands(101) == (30, 20, 10)
    assert pictures.rgb_bands(4) == (2, 1, 0)
    assert pictures.rgb_bands(2) == (1, 1, 0)
    assert pictures.rgb_bands(1) == (0, 0, 0)
    # A sensor that sees no blue has no natural colours either.
    assert pictures.rgb_bands(101, np.linspace(1000, 2500, 101)) == (30, 20, 10)


def test_stretch_hides_nodata_and_survives_constants():
    planes = np.stack([np.linspace(0, 100, 101).reshape(1, -1)] * 3)
    planes[0, 0, 50] = np.nan
    limits = pictures.stretch_limits(planes)
    np.testing.assert_allclose(limits[1], [2, 98])
    image = pictures.stretched(planes, limits)
    assert image.shape == (1, 101, 4)
    assert image[0, 50, 3] == 0
    assert image[0, 49, 3] == 1
    assert image.min() == 0
    assert image.max() == 1
    empty = pictures.stretch_limits(np.full((3, 2, 2), np.nan))
    assert np.isfinite(pictures.stretched(np.full((3, 2, 2), np.nan), empty)).all()


def test_comparable_stretches():
    limits = np.array([[0.0, 100.0]] * 3)
    assert pictures.comparable(limits, limits + 20)
    assert not pictures.comparable(limits, limits / 100)


@settings(deadline=None, max_examples=20)
@given(height=st.integers(1, 30), width=st.integers(1, 30), step=st.integers(1, 9))
def test_reduced_averages_valid_pixels(height, width, step):
    rng = np.random.default_rng(0)
    image = rng.random((2, height, width))
    image[:, rng.random((height, width)) < 0.2] = np.nan
    out = pictures.picture(image, (1, 0), step)
    assert out.shape == (2, -(-height // step), -(-width // step))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            cell = image[:, i * step : (i + 1) * step, j * step : (j + 1) * step]
            known = np.isfinite(cell[0])
            expected = cell[:, known].mean(1)[::-1] if known.any() else [np.nan, np.nan]
            np.testing.assert_allclose(out[:, i, j], expected, rtol=1e-5)


def test_error_maps():
    x = np.ones((2, 4, 6))
    p = x + np.array([0.3, 0.4])[:, None, None]
    p[:, 0, 0] = np.nan
    p[0, 3, 5] = np.nan  # the other band still counts
    rmse = pictures.error_map(p, x)
    assert np.isnan(rmse[0, 0])
    assert rmse[1, 1] == pytest.approx(np.sqrt(0.125))
    assert rmse[3, 5] == pytest.approx(0.4)
    assert pictures.error_map(p, x, step=2)[0, 0] == pytest.approx(np.sqrt(0.125))
    angle = np.degrees(np.arctan2(1.4, 1.3) - np.pi / 4)
    assert pictures.error_map(p, x, "sam")[2, 2] == pytest.approx(angle)
    with pytest.raises(InputError, match="rmse or sam"):
        pictures.error_map(p, x, "psnr")


def test_points_tell_the_materials_apart():
    cube = np.ones((3, 20, 20)) * np.array([1.0, 1, 1])[:, None, None]
    cube[:, :6] = np.array([1.0, 2, 3])[:, None, None]
    cube[:, 14:] = np.array([3.0, 2, 1])[:, None, None]
    cube[:, 10, 10] = 1e4  # a glint
    cube[:, 5:9, 5:9] = np.nan
    points = pictures.telling_points(cube, 3)
    spectra = {tuple(cube[:, row, col]) for row, col in points}
    assert spectra == {(1, 1, 1), (1, 2, 3), (3, 2, 1)}
    assert points == pictures.telling_points(cube, 3)
    # There is nothing more to tell.
    assert len(pictures.telling_points(cube, 8)) == 3
    assert pictures.telling_points(np.full((3, 4, 4), np.nan), 3) == []


def test_lines_break_at_the_water_bands():
    x, y = pictures.broken_line([400, 410, 420, 600, 610], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(np.isnan(x), [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(y[[0, 4]], [1, 4])
