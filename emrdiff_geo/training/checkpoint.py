"""Resumable state of a training run: one safetensors file, its numbers in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: dict[str, Tensor],
    values: dict[str, Any],
) -> None:
    """Write weights, averaged weights and moments; the file is replaced at once.

    Parameters
    ----------
    path : Path
        File to write.
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
    partial = path.with_name(path.name + ".partial")
    save_file(contiguous, partial, metadata={"values": json.dumps(values)})
    partial.replace(path)


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
    if not path.is_file():
        raise InputError(f"there is nothing to resume in {path.parent}: start without --resume")
    try:
        with safe_open(path, "pt") as file:
            values = json.loads(file.metadata()["values"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(_part(tensors, "model."))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"the checkpoint in {path.parent} is damaged or of another network: start in a new "
            "folder"
        ) from None
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            moments = {m: tensors[f"{m}.{name}"].to(parameter.device) for m in _MOMENTS}
            step = torch.tensor(float(values["step"]))
            optimizer.state[parameter] = {"step": step, **moments}
    return _part(tensors, "ema."), values


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
