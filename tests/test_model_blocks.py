"""The blocks: normalisation, attention gates, embeddings, memory format."""

import pytest
import torch

from emrdiff_geo.model.blocks import (
    MSGAB,
    BranchGate,
    ChannelLayerNorm,
    Downsample,
    GroupedConv,
    ResidualBlock,
    TimeEmbedding,
    Upsample,
    sinusoids,
)


def test_channel_layer_norm_normalises_each_pixel():
    norm = ChannelLayerNorm(6)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    x = torch.randn(2, 6, 3, 5)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    expected = (x - mean) / torch.sqrt(variance + 1e-6)
    expected = expected * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(("pool", "local"), [("none", True), ("tile", False)])
def test_only_the_tile_pool_lets_far_pixels_in(pool, local):
    gate = BranchGate(4, pool)
    a, b = torch.randn(2, 1, 4, 6, 6)
    changed = a.clone()
    changed[..., 5, 5] += 10
    same = torch.equal(gate(a, b)[..., :3, :3], gate(changed, b)[..., :3, :3])
    assert same == local


def test_grouped_convolution_learns_what_torchs_own_learns():
    ours = GroupedConv(6, 12, 3, padding=1, groups=3, bias=False)
    theirs = torch.nn.Conv2d(6, 12, 3, padding=1, groups=3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 5, 7)
    found = []
    for conv in (ours, theirs):
        given = x.clone().requires_grad_()
        conv(given).square().sum().backward()
        found.append((given.grad, conv.weight.grad))
    torch.testing.assert_close(found[0], found[1])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_sinusoids():
    code = sinusoids(torch.tensor([0, 3]), 5)
    assert code[0].tolist() == [1, 1, 0, 0, 0]
    angles = torch.tensor([3.0, 3 * 10000**-0.5])
    torch.testing.assert_close(code[1, :4], torch.cat([angles.cos(), angles.sin()]))
    assert code[1, 4] == 0
    assert torch.equal(sinusoids(torch.tensor([2]), 1), torch.zeros(1, 1))


def test_scalars_enter_beside_the_step_and_start_without_effect():
    embed = TimeEmbedding(6, scalars=1)
    t, few, many = torch.tensor([1, 2]), torch.ones(2, 1), torch.full((2, 1), 4.0)
    assert torch.equal(embed(t, few), embed(t, many))
    torch.nn.init.ones_(embed.scalars.weight)
    assert not torch.equal(embed(t, few), embed(t, many))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    "block",
    [
        MSGAB(12, 8, groups=4, embedding=16),
        MSGAB(12, 8, groups=8, embedding=16, pool="none"),
        ResidualBlock(12, 8, embedding=16),
    ],
    ids=["msgab", "msgab-none", "residual"],
)
def test_blocks_keep_channels_last_and_run_in_bfloat16(block, autocast):
    block = block.to(memory_format=torch.channels_last)
    x = torch.randn(2, 12, 8, 8).to(memory_format=torch.channels_last)
    embedding = torch.randn(2, 16)
    exact = block(x, embedding)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = block(x, embedding)
    assert y.shape == (2, 8, 8, 8)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(block(x.contiguous(), embedding), exact)


def test_down_then_up_restores_the_size():
    x = torch.randn(1, 3, 8, 12)
    assert Downsample(3)(x).shape == (1, 3, 4, 6)
    assert Upsample(3)(Downsample(3)(x)).shape == x.shape
