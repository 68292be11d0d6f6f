"""Hyperspectral and multispectral image fusion with EMR-Diff, for geospatial data.

The public names are imported when they are first used, so that ``import emrdiff_geo``, which
registers the accessor ``.emrdiff`` with xarray, loads neither torch nor rasterio.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import accessor as accessor

if TYPE_CHECKING:
    from .evaluate import evaluate
    from .fuse import fuse, fuse_to_file, plan_fusion
    from .readers import open_hsi, open_msi
    from .sensors import load_response
    from .simulate import simulate, write_pair
    from .sinks import write_dataset
    from .training import adapt, train

__version__ = "0.1.0"

__all__ = [
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
    "adapt": "training",
    "evaluate": "evaluate",
    "fuse": "fuse",
    "fuse_to_file": "fuse",
    "load_response": "sensors",
    "open_hsi": "readers",
    "open_msi": "readers",
    "plan_fusion": "fuse",
    "simulate": "simulate",
    "train": "training",
    "write_dataset": "sinks",
    "write_pair": "simulate",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``emrdiff_geo.fuse`` the function, also once the module ``fuse`` is imported.

    Python sets every imported submodule as an attribute of its package, which would hide the
    function of the same name.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
