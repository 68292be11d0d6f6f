"""Weights on disk: a safetensors file and a JSON file of the same name beside it.

The JSON holds what rebuilds the network and says where the weights come from. Checkpoints of the
published training, which have no JSON, are read as they are. No object is unpickled and nothing is
downloaded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..errors import WeightsError
from ..scene.focus import SHARP, Focus
from ..weightfiles import digest
from .bafunet import BAFUNet, NetworkConfig
from .diffusion import PseudoBands, Residual
from .published import load_published
from .schedule import Schedule

FORMAT = 1
_loading = Lock()


@dataclass(frozen=True)
class ModelConfig:
    """What rebuilds a model and tells its origin.

    Attributes
    ----------
    variant : str
        ``"universal"`` or ``"published"``: how the state is built.
    network : NetworkConfig
        Architecture.
    steps : int
        Steps T of the chain it was trained with.
    kappa : float
        Noise level of the chain.
    n_hsi, n_msi : int
        Bands L and s of the published variant; 0 for the universal one, and for a published
        checkpoint, which tells their sum only.
    nodes_nm : tuple of float
        Wavelength nodes of the universal variant; empty for the published one.
    residual, noise, pseudo_bands : str
        Ablations of the paper, see `diffusion`; noise is ``"edge-aware"`` or ``"pure"``.
    uncertainty : dict
        Constants of the uncertainty, see `methods.uncertainty`; empty until they are calibrated.
    focus : Focus
        How sharp the bands of cameras are, found in the training scenes.
    share : float
        Share of the published chain in the result, the rest is the Gaussian process's.
    training : dict
        Model card: data, seed, steps, duration, metrics.
    """

    variant: str
    network: NetworkConfig
    steps: int = 5
    kappa: float = 2.0
    n_hsi: int = 0
    n_msi: int = 0
    nodes_nm: tuple[float, ...] = ()
    residual: Residual = "multimodal"
    noise: str = "edge-aware"
    pseudo_bands: PseudoBands = "first"
    uncertainty: dict[str, float] = field(default_factory=dict)
    focus: Focus = SHARP
    share: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)

    def schedule(self, steps: int | None = None) -> Schedule:
        """Schedule of the chain, with ``steps`` instead of the trained number if given."""
        return Schedule.exponential(steps or self.steps, self.kappa)

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Parse `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ValueError("unknown format")
        network = NetworkConfig.from_dict(values.pop("network"))
        nodes = tuple(values.pop("nodes_nm"))
        focus = Focus.from_dict(values.pop("focus")) if "focus" in values else SHARP
        return cls(network=network, nodes_nm=nodes, focus=focus, **values)


def save_weights(
    path: str | Path,
    state: dict[str, torch.Tensor],
    config: ModelConfig,
    dtype: torch.dtype = torch.float32,
) -> str:
    """Write weights and their JSON; both are on the disk before either appears.

    Returns
    -------
    str
        Digest of the weights file, as `digest`.
    """
    path = Path(path)
    tensors = {k: v.detach().cpu().to(dtype).contiguous() for k, v in state.items()}
    beside = path.with_suffix(".json")
    written = {path: save(tensors), beside: config.to_json().encode()}
    partial = {target: target.with_name(target.name + ".partial") for target in written}
    for target, content in written.items():
        partial[target].write_bytes(content)
    for target, finished in partial.items():
        finished.replace(target)
    return digest(path)


def read_config(path: str | Path) -> ModelConfig:
    """Configuration of a weights file, from the JSON beside it or a published checkpoint itself.

    Raises
    ------
    WeightsError
        If there is no JSON and the file is no published checkpoint, or the JSON is not one of ours.
    """
    path = Path(path)
    beside = path.with_suffix(".json")
    if not beside.is_file():
        try:
            return ModelConfig("published", load_published(path).config)
        except WeightsError as error:
            raise WeightsError(
                f"{path.name} has no {beside.name} beside it and is no published checkpoint "
                f"({error}): copy both files of the weights together"
            ) from None
    try:
        return ModelConfig.from_json(beside.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{beside.name} does not describe weights of this program ({error}): use a file that "
            "'emrdiff train' or 'emrdiff adapt' wrote"
        ) from None


def load_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file as float32.

    Raises
    ------
    WeightsError
        If the file is not safetensors.
    """
    try:
        tensors = load(Path(path).read_bytes())
    except (SafetensorError, ValueError, OSError) as error:
        raise WeightsError(
            f"{Path(path).name} is damaged or no safetensors file ({error}): copy it again"
        ) from None
    return {k: v.float() for k, v in tensors.items()}


@lru_cache(maxsize=4)
def _load(path: str, expected: str, device: str) -> tuple[BAFUNet, ModelConfig]:
    if digest(path) != expected:
        raise WeightsError(
            f"{Path(path).name} changed while the run was going: start again with one weights file"
        )
    config = read_config(path)
    model = _model(Path(path), config)
    model.eval().requires_grad_(False)
    # channels_last is several times faster on CPUs, and no slower on GPUs.
    return model.to(device, memory_format=torch.channels_last), config


def _model(path: Path, config: ModelConfig) -> BAFUNet:
    if not path.with_suffix(".json").is_file():
        return load_published(path)
    model = BAFUNet(config.network)
    try:
        model.load_state_dict(load_state(path))
    except RuntimeError:
        raise WeightsError(
            f"{path.name} does not fit the network its JSON describes: copy both files of the "
            "weights together"
        ) from None
    return model


def load_model(path: str | Path, expected: str, device: str) -> tuple[BAFUNet, ModelConfig]:
    """Network with its weights, loaded once per process, path and digest.

    Parameters
    ----------
    path : path-like
        Weights file.
    expected : str
        Its `digest` when the run was planned.
    device : str
        Torch device.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, changed, or does not fit its JSON.
    """
    # Several threads begin at the same time, and each would load a model of its own.
    with _loading:
        return _load(str(path), expected, device)
