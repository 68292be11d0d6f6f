"""Edge weights: published values, scene bounds, flat scenes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emrdiff_geo.errors import InputError
from emrdiff_geo.model.edge import edge_weights, sobel_magnitude

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")


def test_published_values_come_from_patch_bounds_and_zero_padding():
    ours = edge_weights(torch.from_numpy(GOLDEN["net/msi"]), padding="zeros")
    torch.testing.assert_close(ours, torch.from_numpy(GOLDEN["diffusion/edge"]), rtol=0, atol=1e-5)


def test_magnitude_of_a_ramp_is_eight_times_its_slope():
    ramp = 0.5 * torch.arange(7.0).expand(1, 2, 6, 7)
    magnitude = sobel_magnitude(ramp)
    assert magnitude.shape == (1, 1, 6, 7)
    torch.testing.assert_close(magnitude[..., 1:-1], torch.full((1, 1, 6, 5), 4.0))
    torch.testing.assert_close(sobel_magnitude(ramp.transpose(2, 3)), magnitude.transpose(2, 3))


def test_only_zero_padding_draws_a_frame():
    flat = torch.ones(1, 3, 8, 8)
    assert float(sobel_magnitude(flat).max()) < 1e-3
    assert float(sobel_magnitude(flat, "zeros").max()) > 1


@pytest.mark.parametrize("bounds", [{}, {"lo": 0.2, "hi": 0.2}])
def test_a_flat_scene_has_zero_weights(bounds):
    weights = edge_weights(torch.full((2, 3, 8, 8), 0.4), **bounds)
    assert torch.equal(weights, torch.zeros(2, 1, 8, 8))


def test_tiles_agree_given_the_bounds_of_the_scene():
    scene = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    magnitude = sobel_magnitude(scene)
    bounds = {"lo": float(magnitude.min()), "hi": float(magnitude.max())}
    whole = edge_weights(scene, **bounds)
    tile = edge_weights(scene[..., 5:15, 8:20], **bounds)
    torch.testing.assert_close(tile[..., 1:-1, 1:-1], whole[..., 6:14, 9:19])
    assert float(whole.min()) == 0
    torch.testing.assert_close(whole.max(), torch.tensor(1.0))


def test_values_beyond_the_bounds_are_clipped():
    weights = edge_weights(torch.rand(1, 1, 8, 8), lo=0.5, hi=torch.tensor(0.6))
    assert float(weights.min()) >= 0
    assert float(weights.max()) <= 1


def test_bad_arguments():
    with pytest.raises(InputError, match="both"):
        edge_weights(torch.rand(1, 1, 4, 4), lo=0.0)
    with pytest.raises(InputError, match="replicate"):
        sobel_magnitude(torch.rand(1, 1, 4, 4), padding="wrap")
