"""``emrdiff fuse``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..execute import Progress, ProgressEvent
from ..fusion import fuse_to_file
from ..methods import get_method
from ..sinks import check_leftover, check_output
from .context import Context
from .inputs import check_free
from .planning import OPTIONS
from .progress import for_events

#: How values are stored.
STORED = ("dtype", "scale", "offset")


def fuse(context: Context) -> None:
    """Fuse a pair into a file."""
    context.reporter.result(path=os.path.abspath(fuse_pair(context)))


def fuse_options(context: Context) -> dict[str, Any]:
    """Options of the fusion that were typed."""
    return context.given(OPTIONS)


def fuse_pair(context: Context) -> Path:
    """Check what was asked for and do it; the result's path."""
    args, options = context.args, fuse_options(context)
    check_free(args.out, args.overwrite, args.hsi, args.msi)
    check_output(args.out, overwrite=args.overwrite)
    check_leftover(args.out, resume=args.resume, overwrite=args.overwrite)
    if "method" in options:
        get_method(options["method"])
    context.working = True
    progress = for_events(context.reporter)
    return fuse_to_file(
        args.hsi,
        args.msi,
        args.out,
        overwrite=args.overwrite,
        resume=args.resume,
        scheduler=args.dask,
        **context.given(STORED),
        progress=_by_tiles(progress, context) if args.resume else progress,
        **options,
    )


def _by_tiles(progress: Progress, context: Context) -> Progress:
    """Let a request to stop wait for the end of the tile in hand, which will be kept."""

    def tell(event: ProgressEvent) -> None:
        progress(event)
        context.stop.between(waits=event.stage == "fuse" and event.done < event.total)

    return tell
