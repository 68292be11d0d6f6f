"""BAF-UNet, the denoising network of EMR-Diff, and the networks of its ablations.

One class serves the published model (width = L + s channels everywhere, no head) and variants
whose channels mean something else: only `NetworkConfig` differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import InputError, MethodError
from .blocks import MSGAB, Downsample, Pool, ResidualBlock, TimeEmbedding, Upsample

Block = Literal["msgab", "residual"]
Guide = Sequence[Tensor]


@dataclass(frozen=True)
class NetworkConfig:
    """What defines a network; `to_dict` and `from_dict` carry it through JSON.

    Parameters
    ----------
    in_channels : int
        Channels of the state x_t.
    guide_channels : int
        Channels of the guide input (published: [Y, Z]).
    out_channels : int
        Channels of the outputs.
    width : int
        Channels of the features at multiplier 1, and groups of the MSGAB's second branch.
    levels : int
        Scales of the U, each half the one above.
    multipliers : tuple of int
        Width of each level in units of `width`; empty for 1 everywhere.
    time_scalars : int
        Numbers that condition the network beside the time step (the log2 of the ratio, say).
    two_encoders : bool
        True: state and guide have an encoder each. False: one encoder reads both, stacked.
    block : {"msgab", "residual"}
        Multi-scale group attention blocks, or plain residual blocks.
    pool : {"tile", "none"}
        Where an MSGAB takes the weights of its branches from, see `blocks.BranchGate`.
    head : bool
        False (published): the decoder's features are the outputs. True: a 3 x 3 convolution that
        starts at zero makes each output, so that the untrained network predicts no residual.
    gate : bool
        True adds a learned factor per channel, zero at first, for `diffusion.estimate`: the
        untrained preconditioned network leaves the chain at its anchor.
    scales : tuple of int
        Outputs that the loss supervises: 1 for full size, 2 for half of it, ...

    Raises
    ------
    MethodError
        When the values do not make a network.
    """

    in_channels: int
    guide_channels: int
    out_channels: int
    width: int
    levels: int = 5
    multipliers: tuple[int, ...] = ()
    time_scalars: int = 0
    two_encoders: bool = True
    block: Block = "msgab"
    pool: Pool = "tile"
    head: bool = False
    gate: bool = False
    scales: tuple[int, ...] = (1, 2, 4, 8)

    def __post_init__(self) -> None:
        if self.block not in get_args(Block) or self.pool not in get_args(Pool):
            raise MethodError(
                f"Block {self.block!r} with pool {self.pool!r} does not exist; choose the block "
                f"from {get_args(Block)} and the pool from {get_args(Pool)}."
            )
        if self.multipliers and len(self.multipliers) != self.levels:
            raise MethodError(
                f"{len(self.multipliers)} multipliers were given for {self.levels} levels; "
                "give one for each level, or none."
            )
        possible = tuple(2**level for level in range(self.levels))
        if not self.scales or self.scales[0] != 1 or not set(self.scales) <= set(possible):
            raise MethodError(
                f"The output scales {self.scales} must begin with 1 and be among {possible}."
            )
        widths = {self.widths[scale.bit_length() - 1] for scale in self.scales}
        if not self.head and widths != {self.out_channels}:
            raise MethodError(
                "Without a head the features are the outputs: set out_channels to the width "
                f"of the supervised levels {sorted(widths)}, or use head=True."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top."""
        return tuple(self.width * m for m in self.multipliers or (1,) * self.levels)

    @property
    def multiple(self) -> int:
        """The number that height and width must be multiples of."""
        return int(2 ** (self.levels - 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the values as what JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Rebuild a configuration from `to_dict`'s result."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


_ABLATIONS: dict[str, dict[str, Any]] = {
    "unet": {"two_encoders": False, "block": "residual", "scales": (1,)},
    "b-unet": {"block": "residual", "scales": (1,)},
    "af-unet": {"two_encoders": False, "scales": (1,)},
    "baf-unet-s": {"scales": (1,)},
    "baf-unet": {},
}


def network_config(name: str, channels: int, guide_channels: int | None = None) -> NetworkConfig:
    """Return the configuration of a network of the paper.

    Parameters
    ----------
    name : {"unet", "b-unet", "af-unet", "baf-unet-s", "baf-unet"}
        One encoder and plain residual blocks; two encoders; MSGAB blocks; both; both and the
        multi-scale outputs (the published model).
    channels : int
        Channels of the state: L + s, or L for the unimodal residual.
    guide_channels : int, optional
        L + s where the state has fewer channels than the guide.

    Raises
    ------
    MethodError
        When `name` is none of these.
    """
    if name not in _ABLATIONS:
        raise MethodError(f"There is no network {name!r}; choose one of {', '.join(_ABLATIONS)}.")
    return NetworkConfig(
        in_channels=channels,
        guide_channels=guide_channels or channels,
        out_channels=channels,
        width=channels,
        **_ABLATIONS[name],
    )


class Encoder(nn.Module):
    """conv3x3, then a block at each level and a halving between levels."""

    def __init__(self, channels: int, config: NetworkConfig, embedding: int) -> None:
        super().__init__()
        widths = config.widths
        inputs = (widths[0], *widths[:-1])
        block = _block_factory(config)
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            block(i, o, embedding=embedding) for i, o in zip(inputs, widths, strict=True)
        )
        self.downs = nn.ModuleList(Downsample(width) for width in widths[:-1])

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> list[Tensor]:
        """Return what enters and what leaves the block of each level, from the top."""
        x = self.stem(x)
        features = []
        for level, block in enumerate(self.blocks):
            if level:
                x = self.downs[level - 1](x)
            features.append(x)
            x = block(x, embedding)
            features.append(x)
        return features


class DecoderLevel(nn.Module):
    """Two blocks, each on the features so far and one set of skips; then a doubling."""

    def __init__(
        self, config: NetworkConfig, channels: int, inner: int, outer: int, width: int, up: bool
    ) -> None:
        super().__init__()
        block = _block_factory(config)
        self.first = block(channels + inner, width)
        self.second = block(width + outer, width)
        self.up = Upsample(width) if up else nn.Identity()

    def forward(
        self, x: Tensor, inner: Sequence[Tensor], outer: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the features of the first block, and those for the level above."""
        first = self.first(torch.cat([x, *inner], dim=1))
        return first, self.up(self.second(torch.cat([first, *outer], dim=1)))


class BAFUNet(nn.Module):
    """Bilateral (two-encoder) attention fusion U-Net: predicts x_0 - A_0 from x_t, t and a guide.

    Parameters
    ----------
    config : NetworkConfig
        Channels, levels and kind of blocks.

    Notes
    -----
    The guide does not depend on t: encode it once, then run all steps with it. A network of one
    encoder reads x_t and the guide stacked; for it `encode_guide` passes its input on.
    Height and width must be multiples of `multiple`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths, encoders = config.widths, 1 + config.two_encoders
        stacked = 0 if config.two_encoders else config.guide_channels
        self.time = TimeEmbedding(config.width, config.time_scalars)
        self.denoise = Encoder(config.in_channels + stacked, config, 4 * config.width)
        self.guide = Encoder(config.guide_channels, config, 0) if config.two_encoders else None
        self.middle = _block_factory(config)(encoders * widths[-1], encoders * widths[-1])
        below = encoders * widths[-1]
        self.decoder = nn.ModuleList()
        for level in reversed(range(config.levels)):
            inner, outer = encoders * widths[level], encoders * widths[max(level - 1, 0)]
            self.decoder.append(
                DecoderLevel(config, below, inner, outer, widths[level], up=level > 0)
            )
            below = widths[level]
        self.heads = nn.ModuleList(_head(config, scale) for scale in config.scales)
        self.gate = nn.Parameter(torch.zeros(config.out_channels)) if config.gate else None

    @property
    def multiple(self) -> int:
        """The number that height and width must be multiples of."""
        return self.config.multiple

    def encode_guide(self, guide_input: Tensor) -> list[Tensor]:
        """Encode the guide, once for all steps.

        Parameters
        ----------
        guide_input : Tensor, shape (n, guide_channels, h, w)
            What the observations show, [Y, Z] in the published model.

        Returns
        -------
        list of Tensor
            Features of all levels; pass them to `forward`.

        Raises
        ------
        InputError
            When channels or size do not fit the network.
        """
        self._check(guide_input, self.config.guide_channels, "guide")
        return [guide_input] if self.guide is None else self.guide(guide_input)

    def forward(
        self, x_t: Tensor, t: Tensor | int, guide: Guide, scalars: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Predict the residual x_0 - A_0.

        Parameters
        ----------
        x_t : Tensor, shape (n, in_channels, h, w)
            State of the chain.
        t : int or Tensor of int64, shape (n,)
            Step, 0 .. T-1.
        guide : sequence of Tensor
            From `encode_guide`.
        scalars : Tensor, shape (n, time_scalars), optional
            Required exactly when the configuration has time scalars.

        Returns
        -------
        tuple of Tensor, shapes (n, out_channels, h / scale, w / scale)
            One for each of ``config.scales``: the first is the residual at full size.

        Raises
        ------
        InputError
            When channels, size or scalars do not fit the network.
        """
        self._check(x_t, self.config.in_channels, "state")
        if (scalars is None) != (self.config.time_scalars == 0):
            raise InputError(f"Give the network its {self.config.time_scalars} time scalars.")
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        embedding = self.time(t, scalars)
        skips = self._encode(x_t, embedding, guide)
        h = self.middle(torch.cat(skips[-1], dim=1))
        features = {}
        for stage, level in zip(self.decoder, reversed(range(self.config.levels)), strict=True):
            features[2**level], h = stage(h, inner=skips.pop(), outer=skips.pop())
        features[1] = h
        return tuple(
            head(features[scale])
            for head, scale in zip(self.heads, self.config.scales, strict=True)
        )

    def _encode(self, x_t: Tensor, embedding: Tensor, guide: Guide) -> list[tuple[Tensor, ...]]:
        """Run the denoising encoder; return its features, each with its guide's."""
        if self.guide is not None:
            return list(zip(self.denoise(x_t, embedding), guide, strict=True))
        return [(x,) for x in self.denoise(torch.cat([x_t, *guide], dim=1), embedding)]

    def _check(self, x: Tensor, channels: int, what: str) -> None:
        if x.shape[1] != channels:
            raise InputError(f"The {what} has {x.shape[1]} channels; the network needs {channels}.")
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise InputError(
                f"The {what} is {x.shape[2]} x {x.shape[3]} pixels; pad it to multiples of "
                f"{self.multiple}."
            )


def _block_factory(config: NetworkConfig) -> Any:
    if config.block == "residual":
        return ResidualBlock
    return partial(MSGAB, groups=config.width, pool=config.pool)


def _head(config: NetworkConfig, scale: int) -> nn.Module:
    if not config.head:
        return nn.Identity()
    head = nn.Conv2d(config.widths[scale.bit_length() - 1], config.out_channels, 3, padding=1)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head
