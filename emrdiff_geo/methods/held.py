"""What methods hold at their peak, in floats per HR pixel of a tile's window.

The numbers are fitted from above to measured peaks (``benchmarks/peaks.py``). Nothing is loaded for
them: the shape of a network is read from the JSON beside its weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..weightfiles import weights_path
from .options import MethodOptions


@dataclass(frozen=True)
class Load:
    """What a tile asks of a method.

    Attributes
    ----------
    n_hsi, n_msi, ratio : int
    options : MethodOptions
    frame, chain : float
        Shares of the window in which an image is computed, and in which a chain runs.
    """

    n_hsi: int
    n_msi: int
    ratio: int
    options: MethodOptions
    frame: float = 1.0
    chain: float = 1.0


def bicubic(load: Load) -> float:
    """Interpolated image."""
    return load.n_hsi * (1 + 1.2 / load.ratio)


def regression(load: Load) -> float:
    """Image and what its back-projection adds."""
    return load.n_hsi * (3.1 + 1.8 / load.ratio)


def local_regression(load: Load) -> float:
    """Either the back-projection of the result, or the moments of all pairs of bands at LR."""
    moments = load.n_msi / load.ratio**2
    return load.n_hsi * max(3.2 + 3.2 / load.ratio + moments, 1 + 10 * moments)


def gaussian_process(load: Load) -> float:
    """Either the back-projection of the result, or the features of the window.

    What these are computed from is held beside the image, some of them at HR and all at LR, twice
    while they are put together; so is what is filtered.
    """
    features = 85 + 5 * load.n_msi + 350 / load.ratio**2
    image = load.frame * load.n_hsi
    return max(image * (2.2 + 1.2 / load.ratio), image + features)


def emrdiff(load: Load) -> float:
    """The process, the state of the chain, the chain, or the image on its way to the result."""
    network = shape_of(load.options)
    states, guide = network["in_channels"], network["guide_channels"]
    held = guide + 4 * states + 150 + 24 * network["width"]
    image = load.frame * load.n_hsi
    stages = [image + load.chain * held, 2 * image + load.chain * load.n_hsi]
    if network["universal"]:
        stages += [gaussian_process(load), 2 * image + load.chain * 3 * guide]
    else:
        stages += [2 * guide + load.chain * (held + guide)]
        stages += [gaussian_process(load) + load.n_hsi + guide]
    # Sums of the samples and of their squares; the deviation on its way to all bands.
    told = 4 * states if load.options.samples > 1 else 0
    told += 4 * load.n_hsi + 60 if load.options.uncertainty else 0
    return told + max(stages)


def scratch(options: MethodOptions) -> int:
    """Bytes that the convolutions of a network take, whatever the size of the tile."""
    return int((32 + 1.6 * shape_of(options)["width"]) * 2**20)


def shape_of(options: MethodOptions) -> dict[str, Any]:
    """Shape of the network that weights describe.

    Read from their JSON without torch; checkpoints of the published training, which have none, tell
    it only once they are loaded.

    Raises
    ------
    WeightsError
        If the JSON is none of this program.
    """
    path = weights_path(options.weights)
    described = path.with_suffix(".json")
    try:
        changed = (described if described.exists() else path).stat().st_mtime_ns
        return _shape(path, changed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{described.name} does not describe weights of this program ({error}): use a file "
            "that 'emrdiff train' or 'emrdiff adapt' wrote"
        ) from None


@lru_cache(maxsize=8)
def _shape(path: Path, changed: int) -> dict[str, Any]:
    """As `shape_of`, once for a file as long as it is not changed."""
    described = path.with_suffix(".json")
    if not described.exists():
        return _published(path)
    config = json.loads(described.read_text(encoding="utf-8"))
    network = config["network"]
    sizes = {name: int(network[name]) for name in ("in_channels", "guide_channels")}
    width = int(network["width"]) * max((1, *network.get("multipliers", ())))
    return {**sizes, "width": width, "universal": config["variant"] == "universal"}


def _published(path: Path) -> dict[str, Any]:
    from ..model.weights import read_config

    network = read_config(path).network
    return {
        "in_channels": network.in_channels,
        "guide_channels": network.guide_channels,
        "width": network.width,
        "universal": False,
    }
