"""Samples of the chain: their mean, and the predicted deviation of the error."""

from dataclasses import replace

import dask
import numpy as np
import pytest
from scenes import pair, simulated
from scenes import reference_cube as cube_of

import emrdiff_geo
from emrdiff_geo.errors import InputError, MethodError
from emrdiff_geo.fusion import fuse, fuse_to_file
from emrdiff_geo.methods.noise import sample_seed
from emrdiff_geo.methods.state import universal_state
from emrdiff_geo.methods.uncertainty import (
    DEFAULT,
    TERMS,
    constants_of,
    error_terms,
    mean_and_spread,
    predicted_deviation,
    scaled,
    weights_of,
)
from emrdiff_geo.scene.wald_pair import WaldPair, central_part

QUICK = {"steps": 2, "tile": 64, "device": "cpu", "self_check": False}


@pytest.fixture(scope="module")
def scene():
    hsi, msi, cube = pair(64, 96, 4)
    msi["image"][:, :20, :24] = np.nan
    hsi["image"][3] = np.nan
    return hsi, msi, cube


@pytest.fixture(scope="module")
def sampled(scene):
    return fuse(*scene[:2], samples=3, uncertainty=True, **QUICK).compute()


def test_the_mean_is_that_of_single_runs_and_the_first_is_the_run_itself(scene, sampled):
    plain = fuse(*scene[:2], **QUICK).image.values
    singles = [
        fuse(*scene[:2], seed=sample_seed(0, number), **QUICK).image.values for number in range(3)
    ]
    np.testing.assert_array_equal(singles[0], plain)
    assert np.nanmax(np.abs(singles[1] - plain)) > 0
    np.testing.assert_allclose(sampled.image.values, np.mean(singles, axis=0), rtol=1e-5)
    without = fuse(*scene[:2], samples=3, **QUICK)
    np.testing.assert_array_equal(without.image.values, sampled.image.values)
    assert list(without) == ["image"]


def test_seeds_of_samples_differ_and_the_first_is_the_runs():
    seeds = [sample_seed(seed, number) for seed in range(5) for number in range(5)]
    assert len(set(seeds)) == 25
    assert seeds[::5] == [0, 1, 2, 3, 4]


def test_the_uncertainty_is_a_second_variable_on_the_same_grid(scene, sampled):
    assert list(sampled) == ["image", "uncertainty"]
    assert sampled.uncertainty.dims == sampled.image.dims == ("band", "y", "x")
    assert sampled.uncertainty.odc.geobox == scene[1].odc.geobox
    deviation = sampled.uncertainty.values
    np.testing.assert_array_equal(np.isnan(deviation), np.isnan(sampled.image.values))
    assert np.isnan(deviation[:, :20, :24]).all()
    assert np.isnan(deviation[3]).all()
    assert np.nanmin(deviation) > 0
    assert deviation.dtype == np.float32
    accessed = scene[0].emrdiff.fuse(scene[1], samples=2, uncertainty=True, **QUICK)
    assert "uncertainty" in accessed


def test_both_variables_come_from_one_computation_of_a_tile(scene, monkeypatch):
    from emrdiff_geo.run.pipeline import Run

    computed = []
    tile = Run.tile
    monkeypatch.setattr(Run, "tile", lambda *a: computed.append(a[1:]) or tile(*a))
    found = fuse(*scene[:2], samples=2, uncertainty=True, **QUICK)
    dask.compute(found.image.data, found.uncertainty.data, scheduler="synchronous")
    assert sorted(computed) == [(0, 0), (0, 1)]


def test_bytes_do_not_depend_on_who_computes(scene, tmp_path):
    from sink_scene import digest

    found = []
    for scheduler in ("synchronous", "threads"):
        folder = tmp_path / str(scheduler)
        folder.mkdir()
        sigma = folder / "sigma.zarr"
        options = {**QUICK, "samples": 2, "scheduler": scheduler}
        out = fuse_to_file(*scene[:2], folder / "out.zarr", uncertainty=sigma, **options)
        found.append((digest(out), digest(sigma)))
    assert found[0] == found[1]


def test_tiles_agree(scene):
    whole, tiled = (
        fuse(*scene[:2], samples=2, uncertainty=True, **{**QUICK, "tile": tile}).uncertainty.values
        for tile in (96, 32)
    )
    np.testing.assert_allclose(tiled, whole, rtol=2e-2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"uncertainty": True}, "one sample shows no spread: use --samples 4"),
        ({"samples": 0}, "0 samples are none"),
        ({"samples": 4, "method": "regression"}, "regression has no chain .* use --method emrdiff"),
        ({"samples": 4, "method": "bicubic", "uncertainty": True}, "bicubic has no chain"),
    ],
)
def test_what_cannot_be_sampled_is_refused_before_anything_is_read(options, says):
    with pytest.raises(MethodError, match=says):
        emrdiff_geo.fuse("no such file", "no such file", **options)


def test_a_file_for_the_uncertainty_has_to_be_named(scene, tmp_path):
    with pytest.raises(InputError, match="name the file"):
        fuse_to_file(*scene[:2], tmp_path / "out.tif", uncertainty=True, samples=2)


def test_the_middle_of_a_pair_lies_on_whole_coarse_pixels():
    lr, hr, statistics = simulated(cube_of(48, 64))
    whole = WaldPair(lr, hr, cube_of(48, 64), statistics)
    valid = np.zeros((48, 64), bool)
    valid[24, 32] = True
    part, inside = central_part(whole, valid, 22)
    assert part.lr.shape[1:] == (5, 5)
    assert part.hr.shape[1:] == part.reference.shape[1:] == inside.shape == (20, 20)
    assert inside.sum() == 1
    same, _ = central_part(whole, valid, 100)
    np.testing.assert_array_equal(same.hr, hr)


def test_spread_is_the_standard_deviation_in_the_bands():
    rng = np.random.default_rng(0)
    ends = rng.normal(100, 1, (4, 5, 6, 7)).astype(np.float32)
    to_bands = rng.uniform(0, 1, (3, 2)).astype(np.float32)
    mean, spread = mean_and_spread(iter(ends), 4, to_bands)
    np.testing.assert_allclose(mean, ends.mean(axis=0), rtol=1e-5)
    banded = np.tensordot(to_bands, ends[:, :2], axes=(1, 1))
    np.testing.assert_allclose(spread, banded.std(axis=1, ddof=1), rtol=1e-3)
    single, none = mean_and_spread(iter(ends), 1, None)
    np.testing.assert_array_equal(single, ends[0])
    assert none is None


def test_each_term_can_only_add(scene):
    lr, hr, statistics = simulated(cube_of(48, 48))
    state = universal_state(lr, hr, statistics)
    spread = np.full(state.start.shape, 0.5, np.float32)
    terms = list(error_terms(state, state.a0, spread, lr, hr, statistics))
    assert len(terms) == len(TERMS)
    # The chain has not left its start, so that nothing has deviated.
    assert not terms[TERMS.index("deviation")].any()
    total = predicted_deviation(iter(terms), (1.0,) * len(TERMS))
    for term in terms:
        assert (total >= np.abs(term) * 0.999).all()
    doubled = predicted_deviation(iter(terms), (2.0,) * len(TERMS))
    np.testing.assert_allclose(doubled, 2 * total, rtol=1e-5)


def test_the_pair_one_ratio_lower_scales_all_terms_alike():
    weights = np.array(weights_of(DEFAULT))
    small, large = (np.array(scaled(DEFAULT, factor)) for factor in (0.5, 2.0))
    np.testing.assert_allclose(large / small, 4 ** DEFAULT["power"], rtol=1e-2)
    assert (scaled(DEFAULT, 1e9) <= 5 * weights + 1e-3).all()


def test_a_scene_whose_errors_are_small_has_a_small_uncertainty():
    """Three materials, which four MSI bands tell apart: far easier than what was calibrated on."""
    hsi, msi, cube = pair(160, 160, 4)
    options = {**QUICK, "self_check": True, "samples": 2, "uncertainty": True, "tile": 256}
    found = fuse(hsi, msi, **options).compute()
    error = np.abs(found.image.values - cube)
    unscaled = fuse(hsi.isel(x=slice(0, 30)), msi.isel(x=slice(0, 120)), **options)
    assert found.uncertainty.mean() < 0.7 * unscaled.uncertainty.mean()
    assert np.mean(error <= 2 * found.uncertainty.values) > 0.9


def test_uncalibrated_weights_use_the_default_or_say_what_to_do(caplog):
    from emrdiff_geo.model.weights import read_config
    from emrdiff_geo.weightfiles import weights_path

    shipped = read_config(weights_path("universal"))
    assert set(constants_of(shipped, "universal")) == set(DEFAULT)
    bare = replace(shipped, uncertainty={})
    caplog.set_level("INFO")
    assert constants_of(bare, "mine") == DEFAULT
    assert "calibrate DATA... --weights mine" in caplog.text
    with pytest.raises(MethodError, match=r"training\.calibrate"):
        constants_of(replace(bare, variant="published"), "mine")
