"""Weights of the published model: read a checkpoint's state dict and rename its parameters."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError
from .bafunet import BAFUNet, NetworkConfig

_WRAPPERS = ("state_dict", "model", "params")
# The published class creates these parameters and never uses them.
_UNUSED = re.compile(r"\.(in_layers|LayerNorm2d)\.")
_DOWN = re.compile(r"input_blocks_lqrgb\.\d+\.0\.op\.bias")

# Within a block: our name -> published name.
_BLOCK = {
    "conv": "scale1.0",
    "norm": "scale1.1",
    "attention.conv": "sptt.conv",
    "time": "emb_layers.1",
    "branches.0.conv_in": "group_convs.0.0",
    "branches.0.norm": "group_convs.0.2",
    "branches.0.conv_out": "group_convs.0.3",
    "branches.1.conv_in": "group_convs.1.0",
    "branches.1.norm": "group_convs.1.2",
    "branches.1.conv_out": "group_convs.1.3",
    "gate.linear": "attention.1",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
    "skip": "skip_connection",
}


def load_published(source: str | PathLike[str] | Mapping[str, Any]) -> BAFUNet:
    """Build the published network and fill it with published weights.

    Parameters
    ----------
    source : path or mapping
        A .safetensors file, a .pt/.pth file that holds tensors only, or a state dict; the state
        dict may be wrapped ("state_dict", "model", "params") and prefixed with "module.".

    Returns
    -------
    BAFUNet
        In evaluation mode, on the CPU. ``config.width`` is the number of channels L + s.

    Raises
    ------
    WeightsError
        When the file cannot be read safely, or parameters are missing, unknown or misshapen.
    """
    published = read_state_dict(source) if isinstance(source, str | PathLike) else unwrap(source)
    config = infer_config(published)
    net = BAFUNet(config)
    net.load_state_dict(translate(published, net))
    return net.eval()


def read_state_dict(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or .pt/.pth file, without running code it may hold.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, or a pickle of anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path.name}; check the path.")
    if path.suffix == ".safetensors":
        return unwrap(_read_safetensors(path))
    try:
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(
            f"{path.name} is damaged or pickles more than tensors, which could run code; save "
            "the model's state_dict() where it was trained and load that."
        ) from error


def unwrap(checkpoint: Any) -> dict[str, Tensor]:
    """Return the state dict inside a checkpoint, without wrappers and "module." prefixes."""
    for name in _WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
    if not isinstance(checkpoint, Mapping) or not all(
        isinstance(value, Tensor) for value in checkpoint.values()
    ):
        raise WeightsError("The checkpoint holds no state dict; save model.state_dict() alone.")
    return {str(key).removeprefix("module."): value for key, value in checkpoint.items()}


def infer_config(published: Mapping[str, Tensor]) -> NetworkConfig:
    """Read the network's channels and levels off the published parameters."""
    names = ("input_blocks_denoise.0.0.weight", "input_blocks_lqrgb.0.0.weight")
    stems = [published[name] for name in names if name in published]
    if [stem.ndim for stem in stems] != [4, 4]:
        raise WeightsError(
            f"The weights lack {names[0]} or {names[1]}; give a state dict of the published "
            "two-encoder model."
        )
    width, channels = stems[0].shape[:2]
    levels = 1 + sum(bool(_DOWN.fullmatch(key)) for key in published)
    return NetworkConfig(
        in_channels=channels,
        guide_channels=stems[1].shape[1],
        out_channels=width,
        width=width,
        levels=levels,
        scales=tuple(2**k for k in range(min(4, levels))),
    )


def translate(published: Mapping[str, Tensor], net: BAFUNet) -> dict[str, Tensor]:
    """Rename published parameters to those of `net`, strictly.

    Raises
    ------
    WeightsError
        When parameters of `net` are missing, others are left over, or a shape differs.
    """
    modules = dict(_names(net.config.levels))
    renamed, wrong = {}, []
    left = {key for key in published if not _UNUSED.search(key)}
    for ours, parameter in net.state_dict().items():
        module, _, kind = ours.rpartition(".")
        theirs = f"{modules.get(module, module)}.{kind}"
        value = published.get(theirs)
        left.discard(theirs)
        if value is None or not _same_shape(value, parameter):
            wrong.append(theirs)
        else:
            renamed[ours] = value.reshape(parameter.shape)
    if wrong or left:
        raise WeightsError(
            f"The weights do not fit the published model with {net.config.width} channels "
            f"(missing or misshapen: {_some(wrong)}; unknown: {_some(sorted(left))}); give a "
            "complete state dict of BAF-UNet."
        )
    return renamed


def _names(levels: int) -> Iterator[tuple[str, str]]:
    """Pair our module names with the published ones.

    Published lists count what follows one another: in the encoders the stem, then a block and a
    halving for each level; in the decoder two blocks a level, from the bottom.
    """
    yield from (("time.mlp.0", "time_embed.0"), ("time.mlp.2", "time_embed.2"))
    for ours, theirs in (("denoise", "input_blocks_denoise"), ("guide", "input_blocks_lqrgb")):
        yield f"{ours}.stem", f"{theirs}.0.0"
        for level in range(levels):
            yield from _block(f"{ours}.blocks.{level}", f"{theirs}.{2 * level + 1}.0")
            yield f"{ours}.downs.{level}.conv", f"{theirs}.{2 * level + 2}.0.op"
    yield from _block("middle", "middle_block.0")
    for stage in range(levels):
        yield from _block(f"decoder.{stage}.first", f"output_blocks.{2 * stage}.0")
        yield from _block(f"decoder.{stage}.second", f"output_blocks.{2 * stage + 1}.0")
        yield f"decoder.{stage}.up.conv", f"output_blocks.{2 * stage + 1}.1.conv"


def _block(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for name, published in _BLOCK.items():
        yield f"{ours}.{name}", f"{theirs}.{published}"


def _same_shape(value: Tensor, parameter: Tensor) -> bool:
    # Norms are published as (1, C, 1, 1) and the gate as a 1 x 1 convolution.
    return [n for n in value.shape if n > 1] == [n for n in parameter.shape if n > 1]


def _some(names: list[str], limit: int = 5) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest if names else "none"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file.") from error
