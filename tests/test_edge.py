"""Edge weights: published values, scene bounds, flat scenes."""

from pathlib import Path

import numpy as np
import pytest

from emrdiff_geo.scene.edge import edge_magnitude, edge_weights

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")


def test_published_values_come_from_patch_bounds_and_zero_padding():
    for msi, expected in zip(GOLDEN["net/msi"], GOLDEN["diffusion/edge"], strict=True):
        np.testing.assert_allclose(edge_weights(msi, padding="zeros"), expected[0], atol=1e-5)


def test_magnitude_of_a_ramp_is_eight_times_its_slope():
    ramp = np.broadcast_to(0.5 * np.arange(7, dtype=np.float32), (2, 6, 7))
    magnitude = edge_magnitude(ramp)
    np.testing.assert_allclose(magnitude[:, 1:-1], 4, rtol=1e-6)
    np.testing.assert_allclose(edge_magnitude(ramp.transpose(0, 2, 1)), magnitude.T)


def test_only_zero_padding_draws_a_frame():
    flat = np.ones((3, 8, 8), np.float32)
    assert edge_magnitude(flat).max() < 1e-3
    assert edge_magnitude(flat, "zeros").max() > 1


@pytest.mark.parametrize("edge_range", [None, (0.2, 0.2)])
def test_a_flat_scene_has_zero_weights(edge_range):
    assert not edge_weights(np.full((3, 8, 8), 0.4, np.float32), edge_range).any()


def test_tiles_agree_given_the_range_of_the_scene():
    scene = np.random.default_rng(1).random((3, 20, 24), dtype=np.float32)
    magnitude = edge_magnitude(scene)
    edge_range = float(magnitude.min()), float(magnitude.max())
    whole = edge_weights(scene, edge_range)
    tile = edge_weights(scene[:, 5:15, 8:20], edge_range)
    np.testing.assert_array_equal(tile[1:-1, 1:-1], whole[6:14, 9:19])
    assert (whole.min(), whole.max()) == (0, 1)


def test_values_beyond_the_range_are_clipped():
    weights = edge_weights(np.random.default_rng(0).random((1, 8, 8), np.float32), (0.5, 0.6))
    assert weights.min() >= 0
    assert weights.max() <= 1
