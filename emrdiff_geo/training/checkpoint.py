"""Resumable state of a training run: safetensors files of bounded size, and a JSON that names them.

Pieces are bounded so that they can be taken to another machine. They are written under new names
before the JSON is replaced: whenever a run is killed, what the JSON names is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError

#: Largest piece, bytes.
PIECE = 15 * 2**20
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: dict[str, Tensor],
    values: dict[str, Any],
) -> None:
    """Write weights, averaged weights and moments; the earlier ones are replaced at once.

    Parameters
    ----------
    path : Path
        JSON file to write; the pieces go beside it.
    model, optimizer, ema
        What to keep.
    values : dict
        JSON-able numbers: step, planned steps, seconds.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.items()}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{m}.{name}": state[m] for m in _MOMENTS if m in state}
    contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    names = []
    for number, piece in enumerate(_pieces(contiguous)):
        names.append(f"{path.stem}-{values['step']:06}-{number}.safetensors")
        partial = path.with_name(names[-1] + ".partial")
        save_file(piece, partial)
        partial.replace(path.with_name(names[-1]))
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"values": values, "pieces": names}), encoding="utf-8")
    partial.replace(path)
    for old in path.parent.glob(f"{path.stem}-*"):
        if old.name not in names:
            old.unlink()


def _pieces(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Divide tensors, in their order, into pieces of at most `PIECE` bytes or of one tensor."""
    piece: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        if piece and size + tensor.nbytes > PIECE:
            yield piece
            piece, size = {}, 0
        piece[name] = tensor
        size += tensor.nbytes
    yield piece


def check_there(path: Path) -> None:
    """Raise InputError if there is no checkpoint."""
    if not path.is_file():
        raise InputError(f"there is nothing to resume in {path.parent}: start without --resume")


def load_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore model and optimiser.

    Returns
    -------
    ema : dict
        The averaged weights.
    values : dict
        What `save_checkpoint` was given.

    Raises
    ------
    InputError
        If there is no checkpoint or it belongs to another network.
    """
    check_there(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values, tensors = found["values"], {}
        for name in found["pieces"]:
            tensors |= load_file(path.with_name(Path(name).name))
        model.load_state_dict(_part(tensors, "model."))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, OSError):
        raise InputError(
            f"the checkpoint in {path.parent} is damaged or of another network: start in a new "
            "folder"
        ) from None
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            moments = {m: _like(parameter, tensors[f"{m}.{name}"]) for m in _MOMENTS}
            at = parameter.device if optimizer.defaults.get("fused") else None
            step = torch.tensor(float(values["step"]), device=at)
            optimizer.state[parameter] = {"step": step, **moments}
    return _part(tensors, "ema."), values


def _like(parameter: Tensor, moment: Tensor) -> Tensor:
    """On the parameter's device and in its memory layout, as a fused optimiser needs it."""
    return torch.empty_like(parameter, requires_grad=False).copy_(moment)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
