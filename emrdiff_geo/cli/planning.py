"""``emrdiff plan``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from ..run.options import FusionOptions
from ..run.plan import FusionPlan
from ..run.planning import calibrated, plan_fusion
from ..system.sizes import format_bytes
from ..writing.layout import STORED
from .context import Context

#: Arguments that are options of a fusion; that of the uncertainty is the name of a file.
OPTIONS = tuple(f.name for f in fields(FusionOptions) if f.name != "uncertainty")


def plan(context: Context) -> None:
    """Print what a fusion would do."""
    args = context.args
    options = context.given((*OPTIONS, *STORED)) | {"uncertainty": args.uncertainty is not None}
    make = calibrated if args.calibrate else plan_fusion
    found = make(args.hsi, args.msi, scheduler=args.dask, **options)
    print(found.to_json() if args.json else "\n".join(_lines(_summary(found))))


def _summary(found: FusionPlan) -> dict[str, Any]:
    """What people want to know of a plan."""
    memory, disk, tiles = found.memory, found.disk, found.tiles
    at_once = f", {memory.at_once} at once" if memory.at_once > 1 else ""
    pixel = found.result["bands"] * np.dtype(found.stored["dtype"]).itemsize
    gibibytes = pixel * tiles.target[0] * tiles.target[1] / 2**30
    summary = {
        "method": found.method,
        "hsi": found.hsi,
        "msi": found.msi,
        "ratio": found.ratio,
        "result": {**found.result, "gibibytes": round(gibibytes, 3)},
        "tiles": {
            "count": f"{len(tiles)}{at_once}",
            "core": tiles.tile,
            "window": list(tiles.window_shape),
        },
        "peak memory": {
            "working": format_bytes(memory.working),
            "interpreter, libraries and model": format_bytes(memory.resident),
            "one tile": format_bytes(memory.tile),
        },
        "disk at most": {
            kind: f"{format_bytes(needed['result'])} for the result"
            + (f", {format_bytes(needed['temporary'])} on the way" if needed["temporary"] else "")
            for kind, needed in disk.items()
        },
        "notes": list(found.notes),
    }
    if found.seconds is not None:
        summary["estimated time"] = {
            stage.replace("_", "-"): f"{seconds:g} s" for stage, seconds in found.seconds.items()
        }
    return summary


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        name = f"{indent}{key}"
        if isinstance(value, dict):
            lines += [name, *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(v, str) for v in value):
            lines += [name, *(f"{indent}  {v}" for v in value)]
        elif value not in (None, []):
            lines.append(f"{name}: {_text(key, value)}")
    return lines


def _text(key: str, value: Any) -> str:
    if isinstance(value, list):
        separator = ", " if key == "transform" else " x "
        return separator.join(f"{v:.10g}" for v in value)
    if key == "crs":
        return _crs_name(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _crs_name(text: str) -> str:
    """Name and code of a CRS: its WKT fills a screen."""
    from pyproj import CRS

    crs = CRS(text)
    authority = crs.to_authority()
    return crs.name + (f" ({':'.join(authority)})" if authority else "")
