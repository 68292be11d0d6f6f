"""``emrdiff fuse`` and ``emrdiff plan``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..execute import Progress, ProgressEvent
from ..fusion import FusionOptions, check_options, fuse_to_file, plan_fusion
from ..sinks import check_leftover, check_output
from ..twin import check_twin
from .context import Context
from .inputs import check_free
from .progress import for_events

_TILING = ("method", "ratio", "tile", "overlap", "wavelengths")
_NETWORK = ("weights", "variant", "device", "steps", "seed", "samples", "self_check")
_OPTIONS = (*_TILING, *_NETWORK, "psf", "coregister", "force")


def fuse(context: Context) -> None:
    """Fuse a pair into a file."""
    found = {"path": os.path.abspath(fuse_pair(context))}
    if context.args.uncertainty is not None:
        found["uncertainty"] = os.path.abspath(context.args.uncertainty)
    context.reporter.result(**found)


def fuse_options(context: Context) -> dict[str, Any]:
    """Options of the fusion that were typed."""
    return context.given(_OPTIONS)


def fuse_pair(context: Context) -> Path:
    """Check what was asked for and do it; the result's path."""
    args, options = context.args, fuse_options(context)
    check_free(args.out, args.overwrite, args.hsi, args.msi)
    check_output(args.out, overwrite=args.overwrite)
    check_leftover(args.out, resume=args.resume, overwrite=args.overwrite)
    check_options(FusionOptions(**options, uncertainty=args.uncertainty is not None))
    if args.uncertainty is not None:
        check_free(args.uncertainty, args.overwrite or args.resume, args.hsi, args.msi)
        check_twin(args.out, args.uncertainty, overwrite=args.overwrite, resume=args.resume)
    context.working = True
    progress = for_events(context.reporter)
    return fuse_to_file(
        args.hsi,
        args.msi,
        args.out,
        uncertainty=args.uncertainty,
        overwrite=args.overwrite,
        resume=args.resume,
        scheduler=args.dask,
        progress=_by_tiles(progress, context) if args.resume else progress,
        **options,
    )


def _by_tiles(progress: Progress, context: Context) -> Progress:
    """Let a request to stop wait for the end of the tile in hand, which will be kept."""

    def tell(event: ProgressEvent) -> None:
        progress(event)
        context.stop.between(waits=event.stage == "fuse" and event.done < event.total)

    return tell


def plan(context: Context) -> None:
    """Print what a fusion would do."""
    args = context.args
    found = plan_fusion(args.hsi, args.msi, **context.given(_TILING)).describe()
    print(json.dumps(found, indent=2) if args.json else "\n".join(_lines(found)))


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        name = f"{indent}{key.replace('_', ' ')}"
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
