"""BAF-UNet and its ablations: shapes, gradients, the guide, sizes."""

import json

import pytest
import torch

from emrdiff_geo.errors import InputError, MethodError
from emrdiff_geo.model.bafunet import BAFUNet, NetworkConfig, network_config
from emrdiff_geo.model.diffusion import sample
from emrdiff_geo.model.loss import multiscale_loss
from emrdiff_geo.model.schedule import Schedule

NAMES = ["unet", "b-unet", "af-unet", "baf-unet-s", "baf-unet"]
UNIVERSAL = NetworkConfig(
    in_channels=4,
    guide_channels=9,
    out_channels=4,
    width=8,
    levels=4,
    multipliers=(1, 1, 2, 2),
    time_scalars=1,
    pool="none",
    head=True,
)


def give_heads_values(net):
    # A head at zero passes no gradient on, by design, so tests of what lies behind move it.
    for head in net.heads:
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.1)


def run(net, size=(2, 16, 32)):
    n, h, w = size
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, net.config.in_channels, h, w, generator=generator)
    guide = torch.randn(n, net.config.guide_channels, h, w, generator=generator)
    k = net.config.time_scalars
    t = torch.arange(1, n + 1)
    scalars = torch.rand(n, k) if k else None
    return net(x, t, net.encode_guide(guide), scalars)


def assert_every_parameter_learns(net):
    outputs = run(net)
    x0 = torch.randn(outputs[0].shape)
    multiscale_loss(outputs, torch.zeros_like(x0), x0).backward()
    idle = [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n_hsi", "n_msi"), [(5, 1), (12, 4)])
def test_every_network_of_the_paper_runs_and_all_of_it_learns(name, n_hsi, n_msi):
    net = BAFUNet(network_config(name, n_hsi + n_msi))
    outputs = run(net)
    scales = (1, 2, 4, 8) if name == "baf-unet" else (1,)
    expected = [(2, n_hsi + n_msi, 16 // s, 32 // s) for s in scales]
    assert [tuple(o.shape) for o in outputs] == expected
    assert_every_parameter_learns(net)


def test_the_unimodal_state_has_fewer_channels_than_its_guide():
    outputs = run(BAFUNet(network_config("baf-unet", 5, guide_channels=6)))
    assert outputs[0].shape == (2, 5, 16, 32)


def test_an_untrained_network_with_heads_predicts_exactly_nothing():
    outputs = run(BAFUNet(UNIVERSAL))
    assert [tuple(o.shape) for o in outputs] == [(2, 4, 16 // s, 32 // s) for s in (1, 2, 4, 8)]
    assert all(torch.equal(o, torch.zeros_like(o)) for o in outputs)


@pytest.mark.parametrize("block", ["msgab", "residual"])
@pytest.mark.parametrize("two_encoders", [True, False])
def test_variants_with_heads_and_scalars_learn_everywhere(block, two_encoders):
    config = NetworkConfig(**{**UNIVERSAL.__dict__, "block": block, "two_encoders": two_encoders})
    net = BAFUNet(config)
    give_heads_values(net)
    assert_every_parameter_learns(net)


def test_the_guide_is_encoded_once_for_all_steps():
    net = BAFUNet(network_config("baf-unet", 6)).eval()
    calls = {"guide": 0, "denoise": 0}
    for name in calls:
        module = getattr(net, name)
        module.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    a0 = torch.rand(1, 6, 16, 16)
    with torch.no_grad():
        guide = net.encode_guide(a0)
        result = sample(
            lambda x_t, t: net(x_t, t, guide)[0] + a0,
            a0,
            None,
            Schedule.exponential(5),
            lambda t: torch.randn(a0.shape),
        )
    assert calls == {"guide": 1, "denoise": 5}
    assert bool(result.isfinite().all())


def test_channels_last_and_autocast_change_nothing_but_rounding():
    net = BAFUNet(UNIVERSAL).eval()
    give_heads_values(net)
    x, guide, scalars = torch.randn(1, 4, 16, 16), torch.randn(1, 9, 16, 16), torch.ones(1, 1)
    with torch.no_grad():
        plain = net(x, 1, net.encode_guide(guide), scalars)[0]
        net = net.to(memory_format=torch.channels_last)
        last = {"memory_format": torch.channels_last}
        fast = net(x.to(**last), 1, net.encode_guide(guide.to(**last)), scalars)[0]
        with torch.autocast("cpu", torch.bfloat16):
            half = net(x.to(**last), 1, net.encode_guide(guide.to(**last)), scalars)[0]
    assert fast.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    assert float((half - plain).abs().mean()) < 0.05 * float(plain.std())


@pytest.mark.parametrize("config", [UNIVERSAL, network_config("unet", 6)])
def test_configuration_survives_json(config):
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "change",
    [
        {"block": "resnet"},
        {"pool": "scene"},
        {"multipliers": (1, 2)},
        {"scales": (2, 4)},
        {"scales": (1, 64)},
        {"head": False},
    ],
)
def test_impossible_configurations_are_refused(change):
    with pytest.raises(MethodError):
        NetworkConfig(**{**UNIVERSAL.__dict__, **change})


def test_inputs_that_do_not_fit_are_refused_with_the_cure():
    net = BAFUNet(UNIVERSAL)
    guide = net.encode_guide(torch.rand(1, 9, 8, 8))
    with pytest.raises(InputError, match="needs 9"):
        net.encode_guide(torch.rand(1, 4, 8, 8))
    with pytest.raises(InputError, match="multiples of 8"):
        net(torch.rand(1, 4, 8, 12), 0, guide, torch.ones(1, 1))
    with pytest.raises(InputError, match="scalars"):
        net(torch.rand(1, 4, 8, 8), 0, guide)
    with pytest.raises(MethodError, match="af-unet"):
        network_config("vnet", 6)
