"""The diffusion chain: published values, exact ends, residual modes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_geo.degradation.degrade import Degradation
from emrdiff_geo.errors import MethodError
from emrdiff_geo.model import diffusion
from emrdiff_geo.model import estimate as estimates
from emrdiff_geo.model.bafunet import BAFUNet, NetworkConfig
from emrdiff_geo.model.estimate import remove_visible
from emrdiff_geo.model.schedule import Schedule

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")


def golden(name):
    return torch.from_numpy(GOLDEN[f"diffusion/{name}"])


def noise_source(shape, seed=0):
    def noise(t):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed + t))

    return noise


def test_published_values():
    schedule = Schedule.exponential(5)
    noise, edge = golden("noise"), golden("edge")
    x_t = diffusion.forward(golden("x0"), golden("a0"), golden("t_forward"), noise, edge, schedule)
    x_prev = diffusion.reverse_step(
        golden("x_t"), golden("x0"), golden("t_reverse"), noise, edge, schedule
    )
    x_start = diffusion.start(golden("a0"), noise, edge, schedule)
    for ours, name in ((x_t, "x_t"), (x_prev, "x_prev"), (x_start, "x_T")):
        torch.testing.assert_close(ours, golden(name), rtol=0, atol=1e-5)


def test_one_step_for_the_batch_is_that_step_for_each_image():
    schedule = Schedule.exponential(5)
    arguments = golden("x0"), golden("a0")
    noise, edge = golden("noise"), golden("edge")
    each = diffusion.forward(*arguments, torch.tensor([2, 2]), noise, edge, schedule)
    whole = diffusion.forward(*arguments, 2, noise, edge, schedule)
    torch.testing.assert_close(each, whole)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(2, 12),
    seed=st.integers(0, 10**6),
    shape=st.tuples(*(st.integers(1, 5) for _ in range(4))),
)
def test_forward_ends_where_the_reverse_chain_starts(steps, seed, shape):
    schedule = Schedule.exponential(steps)
    a0, noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
    edge = torch.rand(shape[0], 1, *shape[2:])
    ended = diffusion.forward(a0, a0, steps - 1, noise, edge, schedule)
    torch.testing.assert_close(ended, diffusion.start(a0, noise, edge, schedule))


@pytest.mark.parametrize("steps", [3, 4, 5, 10])
@pytest.mark.parametrize("edge", [None, torch.rand(2, 1, 4, 3)])
def test_a_perfect_predictor_gives_the_image_exactly(steps, edge):
    x0, a0 = torch.randn(2, 2, 6, 4, 3)
    asked, told = [], []
    source = noise_source(x0.shape)

    def noise(t):
        asked.append(t)
        return source(t)

    result = diffusion.sample(
        lambda x_t, t: x0,
        a0,
        edge,
        Schedule.exponential(steps),
        noise,
        callback=lambda t, x: told.append(t),
    )
    assert torch.equal(result, x0)
    assert asked == list(range(steps, 0, -1))
    assert told == list(range(steps - 1, -1, -1))


def test_reverse_steps_follow_the_forward_distribution():
    """With the true x_0, x_{t-1} has the mean and variance that the forward chain gives it."""
    schedule, shape = Schedule.exponential(5), (1, 1, 300, 300)
    x0, a0 = torch.full(shape, 0.3), torch.full(shape, 0.7)
    noise = noise_source(shape)
    # start() takes eta_T for 1 in the mean, it is 0.998: begin with the forward chain instead.
    x = diffusion.forward(x0, a0, 4, noise(5), None, schedule)
    for t in (4, 3, 2):
        x = diffusion.reverse_step(x, x0, t, noise(t), None, schedule)
        eta = schedule.eta[t - 1]
        spread = schedule.kappa * np.sqrt(eta)
        assert abs(float(x.mean()) - (0.3 + eta * 0.4)) < 5 * spread / 300
        assert abs(float(x.std()) / spread - 1) < 0.02


@pytest.mark.parametrize(("n_hsi", "n_msi"), [(5, 1), (12, 4), (31, 3), (2, 4)])
def test_residual_modes(n_hsi, n_msi):
    hsi_up, msi = torch.rand(2, n_hsi, 4, 4), torch.rand(2, n_msi, 4, 4)
    for mode in ("multimodal", "unimodal", "none"):
        anchor = diffusion.anchor(hsi_up, msi, mode)
        channels = diffusion.state_channels(n_hsi, n_msi, mode)
        assert anchor.shape == (2, channels, 4, 4)
    both = torch.cat([hsi_up, msi], dim=1)
    assert torch.equal(diffusion.anchor(hsi_up, msi), both)
    assert torch.equal(diffusion.anchor(hsi_up, msi, "unimodal"), hsi_up)


def test_without_residual_the_chain_starts_from_noise_alone():
    anchor = diffusion.anchor(torch.rand(1, 5, 4, 4), torch.rand(1, 1, 4, 4), "none")
    noise, schedule = torch.randn(anchor.shape), Schedule.exponential(5)
    spread = schedule.kappa * 0.999
    torch.testing.assert_close(diffusion.start(anchor, noise, None, schedule), spread * noise)


def test_pseudo_msi_bands():
    assert diffusion.pseudo_msi_bands(31, 3).tolist() == [0, 1, 2]
    assert diffusion.pseudo_msi_bands(31, 3, "last").tolist() == [28, 29, 30]
    assert diffusion.pseudo_msi_bands(31, 3, "spread").tolist() == [0, 15, 30]
    for placement in ("first", "last", "spread"):
        bands = diffusion.pseudo_msi_bands(2, 5, placement)
        assert bands.shape == (5,)
        assert set(bands.tolist()) <= {0, 1}


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(MethodError, match="spread"):
        diffusion.pseudo_msi_bands(5, 1, "middle")
    with pytest.raises(MethodError, match="multimodal"):
        diffusion.state_channels(5, 1, "both")


def test_what_the_hsi_sees_is_taken_out_by_pairs_of_matrices_as_by_their_product():
    degradation = Degradation(4, fwhm=(0.8, 1.2))
    down = [torch.tensor(degradation.matrix_down(n, axis)) for axis, n in enumerate((6, 5))]
    up = [torch.tensor(degradation.matrix_up(n)) for n in (6, 5)]
    image = torch.randn(2, 3, 24, 20, dtype=torch.float64)
    whole = [(up[0] @ down[0], up[1] @ down[1])]
    rest = remove_visible(image, [tuple(down), tuple(up)])
    torch.testing.assert_close(rest, remove_visible(image, whole))
    expected = image - torch.tensor(degradation.up(degradation.down(image.numpy())))
    torch.testing.assert_close(rest, expected)


def test_a_state_all_but_without_noise_is_its_own_estimate(monkeypatch):
    torch.manual_seed(0)
    config = NetworkConfig(4, 6, 4, 8, levels=2, scales=(1,), pool="none", head=True, gate=True)
    model = BAFUNet(config).eval()
    for parameter in (*model.heads.parameters(), model.gate):
        torch.nn.init.constant_(parameter, 0.1)
    schedule = Schedule.exponential(2, kappa=0.5)
    a0, edge = torch.randn(1, 4, 8, 8), torch.rand(1, 1, 8, 8)
    draws = [torch.randn(1, 4, 8, 8) for _ in range(3)]
    with torch.inference_mode():
        guide = model.encode_guide(torch.randn(1, 6, 8, 8))

        def end(negligible):
            monkeypatch.setattr(estimates, "NEGLIGIBLE", negligible)

            def predict(x_t, t):
                return estimates.estimate(model, x_t, a0, t, edge, guide, None, schedule)[0]

            return diffusion.sample(predict, a0, edge, schedule, draws.__getitem__)

        all_steps, fewer = end(0.0), end(1e-3)
    assert (all_steps - a0).abs().mean() > 0.1
    assert 0 < (all_steps - fewer).abs().max() < 0.01
