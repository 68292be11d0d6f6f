"""An MSI without its noise."""

import json

import numpy as np
import pytest
from scenes import pair

from emrdiff_geo.alignment.denoise import DenoisedSource
from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.fusion import fuse
from emrdiff_geo.grids.pair import pair_scenes

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
