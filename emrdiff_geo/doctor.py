"""A look at the installation: what is there, what is missing, what to do about it."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from . import __version__
from .system.machine import cores, memory_bytes

#: Variables that, set for another installation, break the libraries of this one.
_HARMFUL = {
    "PROJ_LIB": "rasterio and pyproj then look for their CRS database there",
    "PROJ_DATA": "rasterio and pyproj then look for their CRS database there",
    "GDAL_DATA": "GDAL then looks for its tables there",
    "GDAL_DRIVER_PATH": "GDAL then loads drivers made for another build",
    "PYTHONPATH": "modules of another Python may hide those of this one",
    "PYTHONHOME": "Python then looks for its own library there",
    "PYTHONEXECUTABLE": "Python then does not find its virtual environment",
}
_LIBRARIES = ("numpy", "scipy", "xarray", "dask", "zarr", "rasterio", "pyproj", "odc-geo", "torch")
_EXTRAS = {
    "matplotlib": "figures",
    "tensorly": "demo",
    "h5netcdf": "hdf5",
    "h5py": "hdf5",
    "distributed": "distributed",
}
_DRIVERS = ("GTiff", "COG", "ENVI", "netCDF", "HDF5", "Zarr", "JP2OpenJPEG")


@dataclass(frozen=True)
class Finding:
    """Something to know of.

    Attributes
    ----------
    level : str
        ``"error"``: the program cannot work; ``"warning"``: part of it may not.
    problem, cure : str
        What is wrong and what to do.
    """

    level: str
    problem: str
    cure: str


@dataclass
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    facts : dict
        Sections of names and values, JSON-able.
    findings : list of Finding
        Empty if all is well.
    """

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the essentials work."""
        return all(f.level != "error" for f in self.findings)

    def add(self, level: str, problem: str, cure: str) -> None:
        """Note a problem."""
        self.findings.append(Finding(level, problem, cure))

    def to_dict(self) -> dict[str, Any]:
        """Plain types: ``ok``, the sections, ``findings``."""
        return {"ok": self.ok, **self.facts, "findings": [vars(f) for f in self.findings]}

    def text(self) -> str:
        """Lines for a terminal."""
        lines = []
        for section, values in self.facts.items():
            lines.append(section)
            lines += [f"  {name}: {_shown(value)}" for name, value in values.items()]
        lines += ["", *(f"{f.level}: {f.problem}: {f.cure}" for f in self.findings)]
        lines.append("All essentials work." if self.ok else "Something essential does not work.")
        return "\n".join(lines)


def diagnose(environ: Mapping[str, str] | None = None) -> Diagnosis:
    """Look at the installation; nothing is changed and nothing is downloaded.

    Parameters
    ----------
    environ : mapping, optional
        Environment variables; by default those of the process.

    Returns
    -------
    Diagnosis
    """
    found = Diagnosis()
    sections: dict[str, Callable[[Diagnosis], dict[str, Any]]] = {
        "program": _program,
        "machine": _machine,
        "libraries": _libraries,
        "raster formats": _formats,
        "torch": _torch,
        "weights": _weights,
        "extras": _extras,
    }
    for name, look in sections.items():
        try:
            found.facts[name] = look(found)
        except Exception as error:  # a broken library may raise anything: that is the finding
            found.facts[name] = {}
            reason = " ".join(str(error).split()) or type(error).__name__
            found.add(
                "error",
                f"{name} could not be checked ({reason})",
                "install emrdiff-geo again in a fresh virtual environment",
            )
    _environment(found, os.environ if environ is None else environ)
    return found


def _program(found: Diagnosis) -> dict[str, Any]:
    version = sys.version_info
    if not (3, 11) <= version[:2] <= (3, 13):
        found.add(
            "warning",
            f"Python {version.major}.{version.minor} was not tried",
            "use Python 3.11, 3.12 or 3.13",
        )
    return {
        "emrdiff-geo": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "virtual environment": sys.prefix != sys.base_prefix,
    }


def _machine(found: Diagnosis) -> dict[str, Any]:
    memory = memory_bytes()
    if memory is not None and memory < 3 * 2**30:
        found.add("warning", f"only {memory / 2**30:.1f} GiB of memory", "use a small --tile")
    return {
        "system": platform.platform(),
        "cores": cores(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
    }


def _libraries(found: Diagnosis) -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
            importlib.import_module(name.replace("-", "."))
        except metadata.PackageNotFoundError:
            versions[name] = None
            found.add("error", f"{name} is not installed", f"pip install {name}")
        except Exception as error:
            reason = " ".join(str(error).split())
            found.add(
                "error",
                f"{name} cannot be imported ({reason})",
                f"pip install --force-reinstall {name}",
            )
    return versions


def _formats(found: Diagnosis) -> dict[str, Any]:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.drivers import raster_driver_extensions
    from rasterio.env import Env

    from .writing.cog import compression

    with Env() as env:
        known = env.drivers()
    present = {
        name: name in known or name in raster_driver_extensions().values() for name in _DRIVERS
    }
    if not present["GTiff"]:
        found.add("error", "GDAL has no GeoTIFF driver", "pip install --force-reinstall rasterio")
    try:
        CRS.from_epsg(32633).to_wkt()
    except Exception:
        found.add(
            "error",
            "GDAL does not find its CRS database",
            "unset PROJ_LIB, PROJ_DATA and GDAL_DATA, or install rasterio from its own wheel",
        )
    return {"gdal": rasterio.__gdal_version__, "compression": compression(), **present}


def _torch(found: Diagnosis) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    devices = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    )
    if torch.version.cuda and not cuda:
        found.add(
            "warning",
            "this PyTorch is built for CUDA, and finds no usable GPU",
            "check the driver with nvidia-smi; until then fusion runs on the CPU",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        works = bool(torch.isfinite(torch.ones(1, 1, 8, 8) @ torch.ones(8, 8)).all())
    if not works:
        found.add("error", "PyTorch computes nonsense", "pip install --force-reinstall torch")
    return {
        "version": torch.__version__,
        "cuda build": torch.version.cuda,
        "cuda available": cuda,
        "devices": devices,
        "threads": torch.get_num_threads(),
    }


def _weights(found: Diagnosis) -> dict[str, Any]:
    from .model.weights import load_state, read_config
    from .weightfiles import digest, weights_names, weights_path

    shipped = {}
    for name in weights_names():
        path = weights_path(name)
        try:
            config = read_config(path)
            load_state(path)
        except Exception as error:
            found.add(
                "error", f"the weights {name} are damaged ({error})", "install emrdiff-geo again"
            )
            continue
        shipped[name] = (
            f"{config.variant}, {path.stat().st_size / 1e6:.1f} MB, digest {digest(path)}"
        )
    if not shipped:
        found.add(
            "warning",
            "no weights are shipped with this build",
            "use --method gaussian_process, or train weights with 'emrdiff train'",
        )
    return shipped


def _extras(found: Diagnosis) -> dict[str, Any]:
    present = {name: find_spec(name) is not None for name in _EXTRAS}
    missing = sorted({extra for name, extra in _EXTRAS.items() if not present[name]})
    if "figures" in missing:
        found.add(
            "warning",
            "matplotlib is not installed, which figures need",
            "pip install 'emrdiff-geo[figures]'",
        )
    return {
        name: "installed" if there else f"missing: pip install 'emrdiff-geo[{_EXTRAS[name]}]'"
        for name, there in present.items()
    }


def _environment(found: Diagnosis, environ: Mapping[str, str]) -> None:
    for name, harm in _HARMFUL.items():
        if environ.get(name):
            found.add(
                "warning", f"the environment variable {name} is set, and {harm}", f"unset {name}"
            )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
