"""A fused image explains the MSI as far as the two sensors agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import reference_cube, simulated, smooth_noise

from emrdiff_geo.methods.regression import agree_with_msi
from emrdiff_geo.scene.msi_agreement import relative_response, spectral_gain
from emrdiff_geo.scene.statistics import pair_statistics


def explained(image, statistics):
    """What the response of the pair makes of an image."""
    centred = image - statistics.hsi_mean[:, None, None]
    seen = np.tensordot(statistics.msi_response, centred, axes=1)
    return seen + statistics.msi_mean[:, None, None]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def with_smooth_error(cube, size=100, seed=5):
    """A cube whose neighbouring bands err alike."""
    rng = np.random.default_rng(seed)
    over_bands = np.sin(np.linspace(0, 3, len(cube)))[:, None, None]
    texture = smooth_noise(rng, cube.shape[1:], 2) - 0.5
    return (cube + size * over_bands * texture).astype(np.float32)


def test_the_response_is_that_of_the_sensors():
    cube = reference_cube(128, 128, 6, seed=1) + 200 * np.random.default_rng(0).standard_normal(
        (6, 128, 128)
    ).astype(np.float32)
    response = np.array([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.3, 0.5]])
    samples = np.concatenate([response @ cube.reshape(6, -1), cube.reshape(6, -1)])
    found = relative_response(np.cov(samples), 2, np.zeros((2, 2)), samples.shape[1])
    np.testing.assert_allclose(found, response, atol=1e-3)


def test_an_image_that_errs_comes_to_explain_the_msi_and_nearer_to_the_truth():
    cube = reference_cube(96, 96, 24)
    _, hr, statistics = simulated(cube)
    wrong = with_smooth_error(cube)
    agreed = agree_with_msi(wrong.copy(), hr, statistics)
    missed, before = (rms(explained(a, statistics) - hr) for a in (agreed, wrong))
    assert missed < 0.3 * before
    assert rms(agreed - cube) < rms(wrong - cube)


def test_an_image_that_explains_the_msi_stays():
    cube = reference_cube(96, 96, 24)
    _, hr, statistics = simulated(cube)
    agreed = agree_with_msi(cube.copy(), hr, statistics)
    assert rms(agreed - cube) < 2e-3 * rms(with_smooth_error(cube) - cube)


def test_noise_of_the_msi_is_not_put_into_the_spectra():
    cube = reference_cube(128, 128, 24)
    lr, hr, clean = simulated(cube)
    rng = np.random.default_rng(0)
    noisy = hr + (0.05 * hr.mean() * rng.standard_normal(hr.shape)).astype(np.float32)
    statistics = pair_statistics(lr, noisy, clean.degradation, clean.wavelength_nm, None)
    put_in = rms(agree_with_msi(cube.copy(), noisy, statistics) - cube)
    assert put_in < 0.1 * rms(noisy - hr)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), level=st.floats(0, 1e6), known=st.booleans())
def test_never_more_is_changed_than_was_missing(seed, level, known):
    rng = np.random.default_rng(seed)
    bands, msi = int(rng.integers(1, 30)), int(rng.integers(1, 5))
    response = rng.random((msi, bands))
    wavelength = np.sort(rng.uniform(400, 2500, bands)) if known else None
    gain = spectral_gain(response, level * np.eye(msi), 1.0, wavelength)
    assert gain.shape == (bands, msi)
    # As the MSI's bands would see it, the change lies between nothing and all that was missing.
    values = np.linalg.eigvals(response @ gain).real
    assert (values > -1e-9).all()
    assert (values < 1 + 1e-9).all()


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_a_scene_without_contrast_has_a_finite_gain(variance):
    gain = spectral_gain(np.zeros((2, 5)), np.zeros((2, 2)), variance, np.linspace(400, 700, 5))
    np.testing.assert_array_equal(gain, 0)
