"""``emrdiff fuse``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..fusion import fuse_to_file
from ..run.execute import TILED, Progress, ProgressEvent
from ..writing.layout import STORED
from .context import Context
from .planning import OPTIONS
from .progress import for_events


def fuse(context: Context) -> None:
    """Fuse a pair into a file."""
    found = {"path": os.path.abspath(fuse_pair(context))}
    if context.args.uncertainty is not None:
        found["uncertainty"] = os.path.abspath(context.args.uncertainty)
    context.reporter.result(**found)


def fuse_options(context: Context) -> dict[str, Any]:
    """Options of the fusion that were typed."""
    return context.given(OPTIONS)


def fuse_pair(context: Context) -> Path:
    """Fuse what was typed; the result's path."""
    args, progress = context.args, for_events(context.reporter)
    return fuse_to_file(
        args.hsi,
        args.msi,
        args.out,
        uncertainty=args.uncertainty,
        overwrite=args.overwrite,
        resume=args.resume,
        scheduler=args.dask,
        **context.given(STORED),
        progress=_by_tiles(progress, context) if args.resume else progress,
        **fuse_options(context),
    )


def _by_tiles(progress: Progress, context: Context) -> Progress:
    """Let a request to stop wait for the end of the tile in hand, which will be kept."""

    def tell(event: ProgressEvent) -> None:
        progress(event)
        context.stop.between(waits=event.stage in TILED and event.done < event.total)

    return tell
