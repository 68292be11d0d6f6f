import numpy as np
import pytest
from scenes import reference_cube, simulated
from scipy import ndimage

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.methods import MethodOptions, Place, get_method
from emrdiff_geo.methods._colours import FEATURES, WIDTH, Colours
from emrdiff_geo.methods._posterior import MISPLACED, STEP, WINDOW, Process, least_nugget
from emrdiff_geo.methods.gaussian_process import posterior_deviation
from emrdiff_geo.scene.statistics import pair_statistics

OPTIONS = MethodOptions()


def fused(lr, hr, statistics, name="gaussian_process", origin=(0, 0)):
    return get_method(name).fuse_tile(lr, hr, statistics, OPTIONS, Place(origin))


def rmse(image, reference):
    return float(np.sqrt(np.mean(np.square(image - reference))))


def coloured(size, ratio, seed=0):
    """A scene whose spectra are a curved function of two MSI bands, the same everywhere."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, 6, (size // 4, size // 4)).repeat(4, 0).repeat(4, 1)
    colours = rng.uniform(0.2, 0.8, (6, 2))
    hr = colours[shapes].transpose(2, 0, 1) + 0.02 * rng.standard_normal((2, size, size))
    a, b = hr
    cube = np.stack([a, b, a * b, a**2, np.sin(5 * b), np.exp(-a)])
    cube, hr = cube.astype(np.float32), hr.astype(np.float32)
    degradation = Degradation(ratio)
    lr = degradation.down(cube)
    return lr, hr, pair_statistics(lr, hr, degradation, None, None), cube


def test_curved_relations_of_colour_are_found():
    lr, hr, statistics, cube = coloured(128, 4)
    process = rmse(fused(lr, hr, statistics), cube)
    others = [rmse(fused(lr, hr, statistics, n), cube) for n in ("regression", "local_regression")]
    # Colours whose relation curves from pixel to pixel, as no mixtures do, are made linear in part.
    assert process < 0.85 * min(others)


def test_it_improves_on_local_regression_where_slopes_vary():
    cube = reference_cube(128, 128, seed=3)
    cube[:, :, 64:] = cube[::-1, :, 64:]
    lr, hr, statistics = simulated(cube, 4)
    local = rmse(fused(lr, hr, statistics, "local_regression"), cube)
    assert rmse(fused(lr, hr, statistics), cube) < local


def test_a_tile_is_the_part_of_the_whole():
    lr, hr, statistics, _ = coloured(192, 4)
    whole = fused(lr, hr, statistics)
    # From LR pixel 15 on, which is no multiple of the windows' distance.
    first, last, halo = 15, 48, get_method("gaussian_process").halo(4)
    part = fused(
        lr[:, first:last, first:last],
        hr[:, 4 * first : 4 * last, 4 * first : 4 * last],
        statistics,
        origin=(4 * first, 4 * first),
    )
    inner = slice(4 * first + halo, None)
    difference = rmse(part[:, halo:, halo:], whole[:, inner, inner])
    smooth = rmse(fused(lr, hr, statistics, "bicubic")[:, inner, inner], whole[:, inner, inner])
    assert difference < 1e-3 * smooth


def test_units_of_either_image_do_not_matter():
    lr, hr, statistics, _ = coloured(96, 4)
    plain = fused(lr, hr, statistics)
    lr, hr = 1e4 * lr, 100 * hr
    scaled = fused(lr, hr, pair_statistics(lr, hr, statistics.degradation, None, None))
    np.testing.assert_allclose(scaled / 1e4, plain, atol=2e-3)


def test_it_agrees_with_the_hsi():
    lr, hr, statistics, _ = coloured(96, 4)
    again = statistics.degradation.down(fused(lr, hr, statistics))
    assert rmse(again, lr) < 0.02 * lr.std()


def test_a_shift_that_nothing_corrects_is_not_taken_for_structure(monkeypatch):
    # What varies within an HSI pixel has no derivative there.
    cube = ndimage.gaussian_filter(reference_cube(128, 128, 24), (0, 6, 6))
    lr, hr, statistics = simulated(cube, 4)
    wanted, shifted = (np.roll(image, 1, axis=2) for image in (cube, hr))
    apart = pair_statistics(lr, shifted, statistics.degradation, None, None)
    process = rmse(fused(lr, shifted, apart), wanted)
    monkeypatch.setattr("emrdiff_geo.methods._posterior.MISPLACED", 0)
    assert process < 0.9 * rmse(fused(lr, shifted, apart), wanted)


def test_misplaced_pixels_are_noise_and_what_else_the_images_differ_by_is_none():
    rng = np.random.default_rng(0)
    bands = rng.standard_normal((3, 144))
    changes = rng.standard_normal((3, 2, 144))
    light = np.array([[0.5, 0, 0], [0, -2, 1]]) @ bands + np.array([[3], [0]])
    assert least_nugget(light, changes, bands) == pytest.approx(0, abs=1e-20)
    texture = rng.standard_normal((2, 144))
    assert (least_nugget(texture, changes, bands) < 0.1).all()
    moved = 0.3 * changes[0] - 0.1 * changes[1]
    expected = MISPLACED * np.square(moved).mean(axis=1)
    assert least_nugget(moved, changes, bands) == pytest.approx(expected, rel=0.1)
    # A component that does not disagree, and images that do not, have none.
    assert least_nugget(0 * moved, changes, bands) == pytest.approx(0, abs=1e-20)
    # With fewer pixels than there are bands nothing is left.
    few = least_nugget(texture[:, :2], changes[..., :2], bands[:, :2])
    assert few == pytest.approx(0, abs=1e-20)


def test_other_light_is_followed(monkeypatch):
    cube = reference_cube(128, 128, 24)
    lr, hr, statistics = simulated(cube, 4)
    y, x = np.mgrid[:128, :128] / 128
    lit = (hr * (1 + 0.1 * np.sin(3 * x) * np.cos(4 * y))).astype(np.float32)
    other = pair_statistics(lr, lit, statistics.degradation, None, None)
    followed = rmse(fused(lr, lit, other), cube)
    monkeypatch.setattr(
        "emrdiff_geo.methods._posterior.least_nugget",
        lambda left, *_: np.square(left).mean(axis=1),
    )
    assert followed < 0.8 * rmse(fused(lr, lit, other), cube)


@pytest.mark.parametrize("ratio", [2, 3, 16])
def test_any_ratio_and_the_smallest_tiles(ratio):
    cube = reference_cube(3 * ratio, 2 * ratio, 12)
    lr, hr, statistics = simulated(cube, ratio)
    result = fused(lr, hr, statistics)
    assert result.shape == cube.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_one_band_each_a_flat_scene_and_negative_values():
    degradation = Degradation(4)
    rng = np.random.default_rng(0)
    hr = rng.normal(0, 1, (1, 48, 48)).astype(np.float32)
    lr = degradation.down(-2 * hr)
    statistics = pair_statistics(lr, hr, degradation, None, None)
    result = fused(lr, hr, statistics)
    assert rmse(result, -2 * hr) < 0.05
    flat = np.full((2, 48, 48), 7, np.float32)
    lr = degradation.down(flat)
    result = fused(lr, flat[:1], pair_statistics(lr, flat[:1], degradation, None, None))
    np.testing.assert_allclose(result, 7, rtol=1e-5)


@pytest.mark.parametrize("origin", [0, 5, 6, 13])
def test_shares_of_the_windows_sum_to_one(origin):
    lr, hr, statistics, _ = coloured(4 * 29, 4)
    process = Process.of(lr, hr, statistics, (4 * origin, 4 * origin + 8))
    total = np.zeros((29, 29))
    for window in process.windows((slice(0, 29), slice(0, 29))):
        for start, first, span in zip(window.start, (origin, origin + 2), window.at, strict=True):
            assert (start + first) % STEP == 0
            assert 0 < span.stop - span.start <= WINDOW
        total[window.at] += window.share()
    np.testing.assert_allclose(total, 1)


def test_the_deviation_tells_where_colours_are_new():
    lr, hr, statistics, cube = coloured(128, 4)
    known = posterior_deviation(lr, hr, statistics, (0, 0))
    assert known.shape == cube.shape
    assert known.dtype == np.float32
    # One pixel of a colour that occurs nowhere else.
    hr[:, 64, 64] = 3.0
    strange = posterior_deviation(lr, hr, statistics, (0, 0))
    assert (strange[2:, 64, 64] > 3 * known[2:, 64, 64]).all()
    far = np.s_[2:, :24, :24]
    np.testing.assert_allclose(strange[far], known[far], rtol=1e-4)
    # In the units of the HSI.
    scaled = pair_statistics(100 * lr, hr, statistics.degradation, None, None)
    plain = pair_statistics(lr, hr, statistics.degradation, None, None)
    np.testing.assert_allclose(
        posterior_deviation(100 * lr, hr, scaled, (0, 0)),
        100 * posterior_deviation(lr, hr, plain, (0, 0)),
        rtol=3e-2,
    )


def test_features_are_those_of_a_gaussian_kernel():
    # One band of unit variance that varies along one axis only.
    plain = np.eye(1, dtype=np.float32)
    none, one = np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)
    colours = Colours(none, plain, one, plain, sigma=1.0)
    values = np.repeat(np.linspace(-2, 2, 9, dtype=np.float32)[None, :, None], 64, axis=2)
    inputs = colours.inputs(values, colours.axes(values))
    features = np.concatenate(list(inputs.features()))[:FEATURES, :, 0]
    x = inputs.values[:, :, 0]
    expected = 2 - 2 * np.exp(-np.square(x[:, :, None] - x[:, None]).sum(axis=0) / (2 * WIDTH**2))
    # Distances of features, in which what is taken off as their mean cancels.
    distance = np.square(features[:, :, None] - features[:, None]).sum(axis=0)
    np.testing.assert_allclose(distance, expected, atol=0.35)


def test_one_band_has_no_hue_however_dark_it_is():
    rng = np.random.default_rng(0)
    hr = rng.uniform(0, 1, (1, 32, 32)).astype(np.float32)
    hr[:, :8] = 1e-4
    degradation = Degradation(4)
    statistics = pair_statistics(degradation.down(2 * hr), hr, degradation, None, None)
    colours = Colours.of(statistics)
    inputs = colours.inputs(hr, colours.axes(hr))
    assert np.isfinite(np.concatenate(list(inputs.features()))).all()
    assert np.ptp(inputs.values) > 1
    assert not inputs.hue.any()
