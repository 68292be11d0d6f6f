"""Hyperspectral and multispectral image fusion with EMR-Diff, for geospatial data.

The public names are imported when they are first used, so that ``import emrdiff_geo``, which
registers the accessor ``.emrdiff`` with xarray, loads neither torch nor rasterio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import accessor as accessor

if TYPE_CHECKING:
    from .evaluation import evaluate
    from .fusion import fuse, fuse_to_file, plan_fusion
    from .plan import FusionPlan
    from .readers import open_hsi, open_msi
    from .sensors import load_response
    from .simulation import simulate, write_pair
    from .sinks import write_dataset
    from .training import adapt, train

__version__ = "0.1.0"

__all__ = [
    "FusionPlan",
    "adapt",
    "evaluate",
    "fuse",
    "fuse_to_file",
    "load_response",
    "open_hsi",
    "open_msi",
    "plan_fusion",
    "simulate",
    "train",
    "write_dataset",
    "write_pair",
]

_MODULES = {
    "FusionPlan": "plan",
    "adapt": "training",
    "evaluate": "evaluation",
    "fuse": "fusion",
    "fuse_to_file": "fusion",
    "load_response": "sensors",
    "open_hsi": "readers",
    "open_msi": "readers",
    "plan_fusion": "fusion",
    "simulate": "simulation",
    "train": "training",
    "write_dataset": "sinks",
    "write_pair": "simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
