"""``emrdiff fuse``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .._layout import STORED, check_stored
from ..execute import Progress, ProgressEvent
from ..fusion import FusionOptions, check_options, fuse_to_file
from ..sinks import check_leftover, check_output
from ..twin import check_twin
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
    """Check what was asked for and do it; the result's path."""
    args, options = context.args, fuse_options(context)
    inputs = args.hsi, args.msi
    check_output(args.out, overwrite=args.overwrite, inputs=inputs)
    check_leftover(args.out, resume=args.resume, overwrite=args.overwrite)
    check_options(FusionOptions(**options, uncertainty=args.uncertainty is not None))
    check_stored(**context.given(STORED))
    if args.uncertainty is not None:
        again = {"overwrite": args.overwrite, "resume": args.resume}
        check_twin(args.out, args.uncertainty, **again, inputs=inputs)
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
