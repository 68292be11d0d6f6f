"""The building blocks of BAF-UNet: images in and out are (n, channels, h, w).

All of them keep the memory format they are given: on CPUs channels_last runs several times
faster than the default, and one forced copy to the default would lose that.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Pool = Literal["tile", "none"]


class ChannelLayerNorm(nn.Module):
    """Normalise each pixel over its channels, with a learned scale and offset per channel.

    Parameters
    ----------
    channels : int
        Number of channels.
    eps : float
        Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised image."""
        # In channels_last the permuted view is contiguous: no copy is made on either side.
        last = x.permute(0, 2, 3, 1)
        last = functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class SpatialAttention(nn.Module):
    """Weigh each pixel by a sigmoid of its neighbourhood's mean and maximum over channels."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted image."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(summary))


class GroupedConv(nn.Conv2d):
    """Convolution within groups, which on CPUs learns as one convolution of a sparse kernel.

    The gradient of a convolution in 34 groups takes there ten times as long as that of a whole
    one; a step of the published training takes 1.9 s instead of 3.6 s on a core.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered image."""
        if self.groups == 1 or not torch.is_grad_enabled() or x.device.type != "cpu":
            return super().forward(x)
        blocks = self.weight.view(self.groups, -1, *self.weight.shape[1:])
        diagonal = torch.eye(self.groups, dtype=blocks.dtype)[:, None, :, None, None, None]
        whole = (diagonal * blocks[:, :, None]).flatten(2, 3).flatten(0, 1)
        return functional.conv2d(x, whole, self.bias, self.stride, self.padding)


class Branch(nn.Module):
    """One branch of the block: two 3 x 3 convolutions within `groups` groups of channels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.conv_in = GroupedConv(channels, wide, 3, padding=1, groups=groups, bias=False)
        self.norm = ChannelLayerNorm(wide)
        self.conv_out = GroupedConv(wide, wide, 3, padding=1, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, with twice the channels."""
        x = self.norm(_leaky(self.conv_in(x)))
        return _leaky(self.conv_out(x))


class BranchGate(nn.Module):
    """Weights of the two branches: the first two values of a softmax over four.

    Parameters
    ----------
    channels : int
        Channels of one branch.
    pool : {"tile", "none"}
        "tile" (published) computes the four logits from the means of both branches over the
        image, so that a pixel's result depends on the frame of its tile. "none" learns the
        logits themselves, and a pixel's result depends on its surroundings only.
    """

    def __init__(self, channels: int, pool: Pool = "tile") -> None:
        super().__init__()
        self.linear: nn.Linear | None = None
        if pool == "tile":
            self.linear = nn.Linear(2 * channels, 4)
        else:
            self.logits = nn.Parameter(torch.zeros(4))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the weighted sum of both branches."""
        if self.linear is None:
            logits = self.logits
        else:
            logits = self.linear(torch.cat([a.mean((2, 3)), b.mean((2, 3))], dim=1))
        weight = logits.view(-1, 4).softmax(1).to(a.dtype)[:, :, None, None]
        return a * weight[:, 0:1] + b * weight[:, 1:2]


class MSGAB(nn.Module):
    """Multi-scale group attention block of BAF-UNet.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    groups : int
        Groups of the second branch (the first has one); a divisor of `out_channels`.
    embedding : int
        Size of the time embedding; 0 for a block that takes none.
    pool : {"tile", "none"}
        Where the weights of the branches come from, see `BranchGate`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int,
        embedding: int = 0,
        pool: Pool = "tile",
    ) -> None:
        super().__init__()
        wide = 2 * out_channels
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = ChannelLayerNorm(out_channels)
        self.attention = SpatialAttention()
        self.time = nn.Linear(embedding, out_channels) if embedding else None
        self.branches = nn.ModuleList([Branch(out_channels, 1), Branch(out_channels, groups)])
        self.gate = BranchGate(wide, pool)
        self.mlp = nn.Sequential(
            nn.Conv2d(wide, 2 * wide, 1),
            nn.LeakyReLU(inplace=True),
            nn.Conv2d(2 * wide, out_channels, 1),
        )
        self.skip = _skip(in_channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return the block's features, (n, out_channels, h, w)."""
        h = _leaky(self.norm(self.conv(x)))
        h = _add_time(self.attention(h), self.time, embedding)
        local, grouped = (branch(h) for branch in self.branches)
        return self.mlp(self.gate(local, grouped)) + self.skip(x)


class ResidualBlock(nn.Module):
    """Plain residual block of the ablations: twice norm, LeakyReLU 0.2 and conv3x3.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    embedding : int
        Size of the time embedding; 0 for a block that takes none.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm_in = ChannelLayerNorm(in_channels)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(embedding, out_channels) if embedding else None
        self.norm_out = ChannelLayerNorm(out_channels)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = _skip(in_channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return the block's features, (n, out_channels, h, w)."""
        h = self.conv_in(_leaky(self.norm_in(x)))
        h = _add_time(h, self.time, embedding)
        return self.conv_out(_leaky(self.norm_out(h))) + self.skip(x)


class Downsample(nn.Module):
    """Halve the image with a 3 x 3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image at half the size."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double the image: nearest neighbour, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the image at twice the size."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Embed the step, and other numbers that describe the whole image beside it.

    Parameters
    ----------
    size : int
        Size of the sinusoids; the embedding has four times that.
    scalars : int
        How many further numbers (the log2 of the ratio, say) are added through a linear map,
        which starts at zero; 0 for none.
    """

    def __init__(self, size: int, scalars: int = 0) -> None:
        super().__init__()
        self.size = size
        self.mlp = nn.Sequential(
            nn.Linear(size, 4 * size), nn.LeakyReLU(), nn.Linear(4 * size, 4 * size)
        )
        self.scalars = nn.Linear(scalars, 4 * size) if scalars else None
        if self.scalars is not None:
            nn.init.zeros_(self.scalars.weight)
            nn.init.zeros_(self.scalars.bias)

    def forward(self, t: Tensor, scalars: Tensor | None = None) -> Tensor:
        """Return the embedding (n, 4 size) of the steps (n,) and scalars (n, scalars)."""
        weight = next(self.mlp.parameters())
        embedding = self.mlp(sinusoids(t, self.size).to(weight))
        if self.scalars is not None and scalars is not None:
            embedding = embedding + self.scalars(scalars.to(weight))
        return embedding


def sinusoids(t: Tensor, size: int) -> Tensor:
    """Encode steps as cosines, then sines, of frequencies 10000^(-i/h), i < h = size // 2.

    Parameters
    ----------
    t : Tensor, shape (n,)
        Steps.
    size : int
        Length of the code; an odd one ends with a zero.

    Returns
    -------
    Tensor, shape (n, size), float32
    """
    half = size // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / max(half, 1)
    angle = t.float()[:, None] * torch.pow(1e4, -exponent)
    return functional.pad(torch.cat([angle.cos(), angle.sin()], dim=1), (0, size % 2))


def _leaky(x: Tensor) -> Tensor:
    # In place: neither a convolution nor a norm needs its own result for the gradient.
    return functional.leaky_relu(x, 0.2, inplace=True)


def _skip(in_channels: int, out_channels: int) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Conv2d(in_channels, out_channels, 1)


def _add_time(h: Tensor, linear: nn.Linear | None, embedding: Tensor | None) -> Tensor:
    if linear is None or embedding is None:
        return h
    return h + linear(functional.leaky_relu(embedding))[:, :, None, None]
