"""Noise of the HSI's bands, and what back-projection does with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import reference_cube

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.methods import METHODS, MethodOptions, Place
from emrdiff_geo.scene.hsi_noise import band_noise, signal_filter
from emrdiff_geo.scene.statistics import pair_statistics


def noisy_spectra(sigma, bands=40, pixels=2000, seed=0):
    """Mixtures of three smooth spectra, and noise of a known deviation in each band."""
    rng = np.random.default_rng(seed)
    position = np.linspace(0, 1, bands)
    spectra = np.stack([np.exp(-(((position - c) / 0.3) ** 2)) for c in (0.1, 0.5, 0.9)])
    clean = rng.random((pixels, 3)) @ spectra
    return clean, clean + sigma * rng.standard_normal((pixels, bands))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), level=st.floats(1e-3, 0.3))
def test_the_noise_of_every_band_is_found(seed, level):
    sigma = level * np.random.default_rng(seed).uniform(0.5, 2, 40)
    noisy = noisy_spectra(sigma, seed=seed)[1]
    found = np.sqrt(band_noise(np.cov(noisy.T), noisy.mean(axis=0), len(noisy)))
    # Regressors have noise too, which adds some of theirs where levels differ.
    assert (found > 0.9 * sigma).all()
    assert np.median(found / sigma) < 1.3


def test_the_filter_keeps_signal_and_takes_noise_away():
    clean, noisy = noisy_spectra(0.05)
    covariance = np.cov(noisy.T)
    keep = signal_filter(covariance, band_noise(covariance, noisy.mean(axis=0), len(noisy)))
    mean = noisy.mean(axis=0)
    filtered = (noisy - mean) @ keep.T + mean
    left, before = (np.sqrt(np.mean((a - clean) ** 2)) for a in (filtered, noisy))
    assert left < 0.45 * before
    # Three of forty dimensions are signal.
    assert np.trace(keep) == pytest.approx(3, abs=1)


def test_without_noise_or_evidence_all_is_kept():
    clean = noisy_spectra(0.0)[0]
    covariance = np.cov(clean.T)
    keep = signal_filter(covariance, band_noise(covariance, clean.mean(axis=0), len(clean)))
    centred = clean - clean.mean(axis=0)
    np.testing.assert_allclose(centred @ keep.T, centred, atol=1e-3)
    for bands, pixels in ((8, 1000), (40, 30)):
        noisy = noisy_spectra(0.1, bands, pixels)[1]
        covariance, mean = np.cov(noisy.T), noisy.mean(axis=0)
        assert not band_noise(covariance, mean, pixels).any()
        keep = signal_filter(covariance, band_noise(covariance, mean, pixels))
        np.testing.assert_array_equal(keep, np.eye(bands))


def test_rounding_of_a_constant_band_stays_out_of_the_others():
    noisy = noisy_spectra(0.01)[1]
    # What resampling leaves of other bands' values in the last digits.
    noisy[:, 20] = 700 + 1e-4 * noisy[:, 3]
    covariance, mean = np.cov(noisy.T), noisy.mean(axis=0)
    keep = signal_filter(covariance, band_noise(covariance, mean, len(noisy)))
    assert np.abs(np.delete(keep[:, 20], 20)).max() < 1


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"bicubic", "emrdiff"}))
def test_noise_of_the_hsi_is_not_spread_into_the_result(name):
    cube = reference_cube(128, 128, 40)
    degradation = Degradation(4)
    rng = np.random.default_rng(0)
    lr, hr = degradation.down(cube), cube[[5, 15, 25, 35]]
    noisy = lr + (0.02 * lr.mean() * rng.standard_normal(lr.shape)).astype(np.float32)
    wavelength = np.linspace(400, 1000, 40)

    def error(image, keep_all=False):
        statistics = pair_statistics(image, hr, degradation, wavelength, None)
        if keep_all:
            statistics.__dict__["signal"] = np.eye(40, dtype=np.float32)
        fused = METHODS[name].fuse_tile(image, hr, statistics, MethodOptions(), Place())
        return np.sqrt(np.mean((fused - cube) ** 2))

    assert error(noisy) < 0.8 * error(noisy, keep_all=True)
    assert error(lr) < 1.02 * error(lr, keep_all=True)
