"""The multi-scale loss: zero where the residual is right, alignment, channel weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emrdiff_geo.errors import InputError
from emrdiff_geo.model.loss import anchor_pyramid, decimate, multiscale_loss

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")
SCALES = (1, 2, 4, 8)


@pytest.mark.parametrize("alignment", ["aligned", "topleft"])
def test_the_exact_residual_at_every_scale_costs_nothing(alignment):
    x0 = torch.rand(2, 6, 16, 24)
    anchors = anchor_pyramid(torch.rand(2, 4, 2, 3), torch.rand(2, 2, 16, 24), SCALES, alignment)
    exact = [decimate(x0, s, alignment) - a for s, a in zip(SCALES, anchors, strict=True)]
    assert float(multiscale_loss(exact, anchors, x0, alignment)) < 1e-6
    off = [residual + 0.25 for residual in exact]
    torch.testing.assert_close(
        multiscale_loss(off, anchors, x0, alignment), torch.tensor(1.0), rtol=0, atol=1e-5
    )


def test_one_anchor_is_decimated_as_the_target_is():
    x0, a0 = torch.rand(2, 1, 5, 16, 16)
    outputs = [torch.zeros(1, 5, 16 // s, 16 // s) for s in SCALES]
    pyramid = [decimate(a0, s) for s in SCALES]
    one = multiscale_loss(outputs, a0, x0)
    torch.testing.assert_close(one, multiscale_loss(outputs, pyramid, x0))
    full_only = multiscale_loss(outputs[:1], a0, x0)
    torch.testing.assert_close(full_only, (a0 - x0).abs().mean())


def test_top_left_decimation_is_half_a_cell_off_the_centre():
    column = torch.arange(16.0).expand(1, 1, 16, 16)
    offset = decimate(column, 8) - decimate(column, 8, "topleft")
    assert torch.equal(offset, torch.full((1, 1, 2, 2), 3.5))


def test_the_upsampled_hsi_is_centre_aligned_and_bicubic_as_published():
    low = torch.from_numpy(GOLDEN["degrade/low"]).float()[None]
    pyramid = anchor_pyramid(low, torch.zeros(1, 2, 64, 64), SCALES)
    up = torch.from_numpy(GOLDEN["degrade/bicubic_up8"])[None]
    torch.testing.assert_close(pyramid[0][:, :4], up, rtol=0, atol=1e-5)
    assert torch.equal(pyramid[3][:, :4], low)
    assert [tuple(a.shape) for a in pyramid] == [(1, 6, 64 // s, 64 // s) for s in SCALES]


def test_a_scale_below_the_hsi_is_reached_by_reducing_it():
    pyramid = anchor_pyramid(torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 32, 32), SCALES)
    torch.testing.assert_close(pyramid[3][:, :3], torch.full((1, 3, 4, 4), 0.5))


def test_channels_without_weight_do_not_count():
    x0, a0 = torch.rand(2, 2, 4, 8, 8)
    outputs = [torch.randn(2, 4, 8 // s, 8 // s) for s in SCALES]
    weights = torch.tensor([1.0, 1, 0, 0]).view(1, 4, 1, 1).expand(2, -1, -1, -1)
    kept = multiscale_loss([o[:, :2] for o in outputs], a0[:, :2], x0[:, :2])
    torch.testing.assert_close(multiscale_loss(outputs, a0, x0, weights=weights), kept)
    nothing = multiscale_loss(outputs, a0, x0, weights=torch.zeros(2, 4, 1, 1))
    assert float(nothing) == 0


def test_bfloat16_outputs_are_summed_in_float32():
    x0, a0 = torch.rand(2, 1, 3, 8, 8)
    loss = multiscale_loss([torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16)], a0, x0)
    assert loss.dtype == torch.float32


def test_what_does_not_fit_is_refused():
    x0, outputs = torch.rand(1, 3, 8, 8), [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]
    with pytest.raises(InputError, match="A_0"):
        multiscale_loss(outputs, [x0], x0)
    with pytest.raises(InputError, match="whole fraction"):
        multiscale_loss([torch.zeros(1, 3, 5, 4)], x0, x0)
    with pytest.raises(InputError, match="topleft"):
        multiscale_loss(outputs, x0, x0, alignment="centre")
