"""An MSI without its noise."""

import json
import tracemalloc

import numpy as np
import pytest
from scenes import pair

from emrdiff_geo.alignment.denoise import DenoisedSource, reach
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.grids.sources import ArraySource
from emrdiff_geo.run.memory import DENOISING

RATIO, SIZE = 4, 160
ALL = slice(0, SIZE)


def noisy_pair(level=0.05):
    """HSI, noisy MSI, clean MSI, and the scene."""
    hsi, msi, cube = pair(SIZE, SIZE, RATIO)
    noise = np.random.default_rng(0).standard_normal(msi["image"].shape)
    noisy = msi["image"] + level * float(msi["image"].std()) * noise
    return hsi, msi.assign(image=noisy.astype(np.float32)), msi, cube


def rms(values):
    return float(np.sqrt(np.nanmean(np.square(values))))


def test_most_of_the_noise_goes_and_the_detail_stays():
    hsi, noisy, clean, _ = noisy_pair()
    found, _ = measure_pair(pair_scenes(hsi, noisy), psf="gaussian")
    assert isinstance(found.msi, DenoisedSource)
    left = found.msi.read(ALL, ALL) - clean["image"].values
    assert rms(left) < 0.75 * rms((noisy["image"] - clean["image"]).values)


@pytest.mark.parametrize("method", ["regression", "local_regression", "gaussian_process"])
def test_fusion_gains_by_it_and_says_so(method):
    hsi, noisy, _, cube = noisy_pair()
    errors, told = {}, {}
    for normalise in (True, False):
        result = fuse(hsi, noisy, method=method, normalise=normalise)
        errors[normalise] = rms(result["image"].values - cube)
        told[normalise] = json.loads(result.attrs["emrdiff_provenance"])["notes"]
    assert errors[True] < 0.96 * errors[False]
    said = [any("looks like noise" in note for note in told[n]) for n in (True, False)]
    assert said == [True, False]


def test_a_clean_image_stays_as_it_is():
    hsi, _, clean, _ = noisy_pair()
    scene = pair_scenes(hsi, clean)
    assert measure_pair(scene)[0] is scene


def test_a_pixel_has_one_value_whatever_window_it_is_read_through():
    hsi, noisy, *_ = noisy_pair()
    values = noisy["image"].values.copy()
    values[:, 70:90, 30:60] = np.nan
    holed = noisy.assign(image=(noisy["image"].dims, values))
    source = measure_pair(pair_scenes(hsi, holed), psf="gaussian")[0].msi
    assert isinstance(source, DenoisedSource)
    whole = source.read(ALL, ALL)
    assert np.array_equal(np.isnan(whole), np.isnan(values))
    rows, cols = slice(41, 118), slice(3, 77)
    np.testing.assert_allclose(source.read(rows, cols), whole[:, rows, cols], rtol=1e-5)
    beyond = source.read(slice(-5, 20), slice(0, 9))
    assert np.isnan(beyond[:, :5]).all()
    np.testing.assert_allclose(beyond[:, 5:], whole[:, :20, :9], rtol=1e-5)


def test_beside_a_gap_wider_than_the_window_too():
    _, noisy, *_ = noisy_pair()
    values = noisy["image"].values.copy()
    values[:, :, 40:150] = np.nan
    values[:, 70:80, 90:100] = noisy["image"].values[:, 70:80, 90:100]
    degradation = Degradation(RATIO)
    one = np.eye(len(values), dtype=np.float32)
    source = DenoisedSource(ArraySource(values), degradation, one, one)
    whole = source.read(ALL, ALL)
    assert reach(degradation) * RATIO < 50
    for rows, cols in ((slice(8, 30), slice(3, 38)), (slice(71, 80), slice(91, 100))):
        part = source.read(rows, cols)
        assert np.isfinite(part).any()
        np.testing.assert_allclose(part, whole[:, rows, cols], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ratio", [2, 8])
def test_what_coarse_pixels_see_changes_by_less_than_their_noise(ratio):
    hsi, msi, _ = pair(SIZE, SIZE, ratio)
    clean = msi["image"].values
    noise = 0.05 * clean.std() * np.random.default_rng(0).standard_normal(clean.shape)
    noisy = msi.assign(image=(msi["image"].dims, (clean + noise).astype(np.float32)))
    found = measure_pair(pair_scenes(hsi, noisy), psf="gaussian")[0].msi
    assert isinstance(found, DenoisedSource)
    degradation = Degradation(ratio)
    seen, true, with_noise = (
        degradation.down(image) for image in (found.read(ALL, ALL), clean, noisy["image"].values)
    )
    assert rms(seen - true) < 1.02 * rms(with_noise - true)


def test_units_of_the_bands_do_not_matter():
    hsi, noisy, *_ = noisy_pair()
    unit = np.ones(noisy["image"].shape[0], np.float32)
    unit[0] = 1e-4
    scaled = noisy.assign(image=noisy["image"] * unit[:, None, None])
    one, other = (
        measure_pair(pair_scenes(hsi, msi), psf="gaussian")[0].msi.read(ALL, ALL)
        for msi in (noisy, scaled)
    )
    np.testing.assert_allclose(other / unit[:, None, None], one, rtol=1e-3)


@pytest.mark.parametrize("hole", [False, True])
def test_it_stays_within_what_is_counted_for_it(hole):
    values = np.random.default_rng(0).random((6, 320, 320), np.float32)
    if hole:
        values[:, 150:160, 150:160] = np.nan
    one = np.eye(6, dtype=np.float32)
    degradation = Degradation(RATIO)
    source = DenoisedSource(ArraySource(values), degradation, one, one)
    window = slice(112, 208)
    source.read(window, window)
    tracemalloc.start()
    source.read(window, window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    edge = 96 + 2 * RATIO * reach(degradation)
    assert peak < DENOISING * values.itemsize * 6 * edge**2


def test_noise_is_not_taken_for_other_light():
    hsi, noisy, *_ = noisy_pair(0.1)
    _, measured = measure_pair(pair_scenes(hsi, noisy), psf="gaussian")
    assert not measured.statistics.agree
    notes = measure_pair(pair_scenes(hsi, noisy), psf="gaussian")[0].notes
    assert not any("light" in note for note in notes)
