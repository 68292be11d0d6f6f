"""Hyperspectral and multispectral image fusion with EMR-Diff, for geospatial data.

The public names are imported when they are first used, so that ``import emrdiff_geo``, which
registers the accessor ``.emrdiff`` with xarray, loads neither torch nor rasterio.

`fusion` is where to begin to read. A pair goes from `reading` through `grids` and `alignment`,
which measures it as a `scene`, to the tiles of a `run`, each fused by one of the `methods` (some
with a `model`), and on to `writing`. A test tells in which order the packages import each other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import accessor as accessor

if TYPE_CHECKING:
    from .evaluation.evaluate import evaluate
    from .evaluation.simulation import simulate, write_pair
    from .fusion import fuse, fuse_to_file, plan_fusion
    from .reading.readers import open_hsi, open_msi
    from .run.plan import FusionPlan
    from .spectra.sensors import load_response
    from .training import adapt, train
    from .writing.sinks import write_dataset

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
    "FusionPlan": "run.plan",
    "adapt": "training",
    "evaluate": "evaluation.evaluate",
    "fuse": "fusion",
    "fuse_to_file": "fusion",
    "load_response": "spectra.sensors",
    "open_hsi": "reading.readers",
    "open_msi": "reading.readers",
    "plan_fusion": "fusion",
    "simulate": "evaluation.simulation",
    "train": "training",
    "write_dataset": "writing.sinks",
    "write_pair": "evaluation.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
