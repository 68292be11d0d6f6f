import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import reference_cube, simulated

from emrdiff_geo.alignment.filled_bands import filled_bands
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import InputError
from emrdiff_geo.scene.moments import Extent
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.scene.statistics import Moments, scene_statistics


def readers(lr, hr):
    return lambda rows, cols: lr[:, rows, cols], lambda rows, cols: hr[:, rows, cols]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_merged_moments_are_those_of_all_samples(seed, sizes):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(1e4, 3, (3, n)) for n in sizes]
    merged = Moments.of(parts[0])
    for part in parts[1:]:
        merged = merged.merge(Moments.of(part))
    whole = Moments.of(np.concatenate(parts, axis=1))
    assert merged.count == whole.count
    if whole.count:
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-6)


@pytest.mark.parametrize("block", [5, 16, 64])
def test_statistics_do_not_depend_on_the_blocks(block):
    lr, hr, whole = simulated(reference_cube(), 4)
    part = scene_statistics(
        *readers(lr, hr), lr.shape[1:], whole.degradation, good=np.ones(12, bool), block=block
    )
    np.testing.assert_allclose(part.covariance, whole.covariance, rtol=1e-5)
    assert part.edge_range == pytest.approx(whole.edge_range, rel=1e-5)
    assert part.peak == whole.peak


def test_a_linear_scene_is_explained_by_its_regression():
    # HSI bands that are exact linear functions of the MSI bands: slopes known, nothing left over.
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(3, 6))
    hr = rng.normal(100, 10, (3, 64, 64)).astype(np.float32)
    degradation = Degradation(4)
    lr = np.tensordot(slopes.T, degradation.down(hr), axes=1).astype(np.float32) + 5
    statistics = scene_statistics(*readers(lr, hr), (16, 16), degradation, good=np.ones(6, bool))
    np.testing.assert_allclose(statistics.slopes, slopes, atol=5e-3)  # the ridge's share
    left = np.diag(statistics.residual_covariance) / np.diag(statistics.covariance)[3:]
    assert left.max() < 1e-3


def test_nodata_does_not_enter():
    lr, hr, clean = simulated(reference_cube(), 4)
    holed_lr, holed_hr = lr.copy(), hr.copy()
    holed_lr[:, :6] = np.nan
    holed_hr[:, :24] = np.nan
    holed = scene_statistics(
        *readers(holed_lr, holed_hr), lr.shape[1:], clean.degradation, good=np.ones(12, bool)
    )
    # Nor do HSI pixels whose PSF reaches into it.
    assert holed.moments.count == clean.moments.count - 7 * 24
    assert np.isfinite(holed.covariance).all()
    assert holed.edge_range[1] <= clean.edge_range[1] * (1 + 1e-6)


ALL = np.ones(12, bool)


def test_empty_bands_are_found_and_an_empty_scene_is_an_error():
    lr, _, _ = simulated(reference_cube(), 4)
    lr = lr.copy()
    lr[3] = np.nan
    good = filled_bands(Extent.of(lr, np.arange(12) != 5), np.arange(12) != 5)
    assert list(np.flatnonzero(~good)) == [3, 5]
    lr[:] = np.nan
    with pytest.raises(InputError, match="no valid pixel"):
        filled_bands(Extent.of(lr, ALL), ALL)


@pytest.mark.parametrize("value", [0, -9999])
def test_a_scene_of_one_value_is_an_error_and_a_band_of_it_is_none(value):
    lr, _, _ = simulated(reference_cube(), 4)
    lr[3] = value
    assert filled_bands(Extent.of(lr, ALL), ALL).all()
    lr[:, 2:] = value
    lr[:, :2] = np.nan
    with pytest.raises(InputError, match=f"one value everywhere .{value} .*declare it as nodata"):
        filled_bands(Extent.of(lr, ALL), ALL)


def test_fill_takes_the_nearest_valid_pixel():
    image = np.array([[[1, np.nan, np.nan, 4]], [[5, 6, np.nan, 8]]], np.float32)
    filled, valid = fill_invalid(image)
    np.testing.assert_array_equal(valid, [[True, False, False, True]])
    np.testing.assert_array_equal(filled, [[[1, 1, 4, 4]], [[5, 5, 8, 8]]])
