"""Noise of the MSI: measured where the ground is calm, bounded by what the HSI explains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import reference_cube

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.methods import MethodOptions, Place
from emrdiff_geo.methods.local_regression import fuse_local_regression
from emrdiff_geo.methods.regression import fuse_regression
from emrdiff_geo.scene.noise_level import (
    bounded,
    cell_covariances,
    detail_gain,
    lattice_step,
    noise_covariance,
    noise_gain,
)
from emrdiff_geo.scene.statistics import pair_statistics

RNG = np.random.default_rng(0)


def whole(msi, step=1):
    return cell_covariances(msi, np.ones(msi.shape[1:], bool), (0, 0), step)


def test_noise_on_a_plane_is_measured():
    mixing = np.array([[1.0, 0, 0], [0.5, 2, 0], [0, 0, 0.1]])
    y, x = np.mgrid[:256, :256]
    plane = np.stack([x + 0.0 * y, 3 * y - x, 5 + 2 * x])
    noisy = plane + np.tensordot(mixing, RNG.standard_normal((3, 256, 256)), 1)
    measured = noise_covariance(whole(noisy), np.ones(3))
    # The calmest cells are calm by chance too: somewhat too low, never too high.
    true = mixing @ mixing.T
    assert np.all(np.diag(measured) > 0.4 * np.diag(true))
    assert np.all(np.diag(measured) < 1.05 * np.diag(true))
    assert measured[0, 1] / np.sqrt(measured[0, 0] * measured[1, 1]) == pytest.approx(
        true[0, 1] / np.sqrt(true[0, 0] * true[1, 1]), abs=0.1
    )


def test_edges_of_the_ground_are_no_noise():
    steps = np.repeat(np.repeat(RNG.random((2, 8, 8)), 32, 1), 32, 2)
    assert np.abs(noise_covariance(whole(steps), steps.var(axis=(1, 2)))).max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([8, 24, 40, 96]), st.integers(1, 3))
def test_blocks_measure_the_cells_of_the_whole(block, step):
    msi = RNG.standard_normal((2, 96, 96)).astype(np.float32)
    parts = [
        cell_covariances(
            msi[:, y : y + block, x : x + block],
            np.ones((block, block), bool)[: 96 - y, : 96 - x],
            (y, x),
            step,
        )
        for y in range(0, 96, block)
        for x in range(0, 96, block)
    ]
    together = np.concatenate(parts)
    assert sorted(together[:, 0, 0]) == sorted(whole(msi, step)[:, 0, 0])


def test_cells_with_nodata_and_scenes_without_a_cell():
    valid = np.ones((16, 16), bool)
    valid[0, 0] = False
    msi = RNG.standard_normal((2, 16, 16))
    assert len(cell_covariances(msi, valid, (0, 0), 1)) == 3
    assert not noise_covariance(whole(msi[:, :7, :7]), np.ones(2)).any()
    assert lattice_step((100, 100)) == 1
    assert (20_000 // 8 // lattice_step((20_000, 20_000))) ** 2 <= 4096


def test_texture_that_the_hsi_explains_is_no_noise():
    cube = RNG.random((6, 64, 64)).astype(np.float32)
    degradation = Degradation(4)
    hr = np.tensordot(RNG.random((3, 6)), cube, 1).astype(np.float32)
    rough = pair_statistics(degradation.down(cube), hr, degradation, None, None)
    assert np.diag(rough.noise).max() < 1e-3 * hr.var()
    noisy = hr + RNG.normal(0, 0.3, hr.shape).astype(np.float32)
    found = pair_statistics(degradation.down(cube), noisy, degradation, None, None)
    assert np.diag(found.noise).mean() == pytest.approx(0.09, rel=0.5)


def test_a_bound_scales_the_whole_covariance():
    noise = np.array([[4.0, 1], [1, 2]])
    np.testing.assert_allclose(bounded(noise, np.diag([0.2, 0.1]), 0.1), noise / 2)
    np.testing.assert_array_equal(bounded(noise, np.diag([9.0, 9]), 0.1), noise)
    assert noise_gain(Degradation(4, "area")) == pytest.approx(1 / 16)


@pytest.mark.parametrize("ratio", [2, 3, 8])
@pytest.mark.parametrize("psf", ["gaussian", "area"])
def test_share_of_white_noise_in_the_detail(ratio, psf):
    degradation = Degradation(ratio, psf)
    noise = np.random.default_rng(1).standard_normal((20, 48, 48))
    detail = (noise - degradation.up(degradation.down(noise)))[:, 16:-16, 16:-16]
    assert detail_gain(degradation) == pytest.approx(detail.var(), rel=0.05)


def test_noisy_collinear_bands_do_not_hurt_local_regression():
    cube = reference_cube(64, 64, 12)
    # Ten broad bands that nearly say the same.
    centres = np.linspace(2, 9, 10)
    response = np.exp(-0.5 * ((np.arange(12) - centres[:, None]) / 3) ** 2)
    response /= response.sum(axis=1, keepdims=True)
    degradation = Degradation(4)
    hr = np.tensordot(response, cube, 1)
    hr += RNG.normal(0, 0.03 * np.sqrt(np.mean(hr**2)), hr.shape)
    hr, lr = hr.astype(np.float32), degradation.down(cube)
    statistics = pair_statistics(lr, hr, degradation, None, None)

    def error(method):
        fused = method(lr, hr, statistics, MethodOptions(), Place())
        return np.sqrt(np.mean((fused - cube) ** 2))

    bicubic = np.sqrt(np.mean((degradation.up(lr) - cube) ** 2))
    assert error(fuse_local_regression) < min(1.15 * error(fuse_regression), bicubic)
