"""``emrdiff batch``: many fusions, one after the other."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from ..fusion import FusionOptions
from ..run.recorded import check_made
from ..system.process_memory import keep_freed
from ..writing.layout import STORED
from .context import DONE, FAILED, Context
from .fusing import fuse_options, fuse_pair
from .manifest import Row, read_manifest
from .progress import print_table


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    Attributes
    ----------
    row : int
        Counted from 1.
    out : str
        The result as the manifest names it.
    status : str
        ``"done"``, ``"skipped"`` or ``"failed"``.
    seconds : float
    message : str
        Why it was skipped or failed.
    """

    row: int
    out: str
    status: str
    seconds: float
    message: str = ""


def batch(context: Context) -> int:
    """Fuse the pairs of a manifest."""
    args, report = context.args, context.reporter
    rows = read_manifest(args.manifest)
    if not any("memory" in row.cells for row in rows):
        keep_freed()
    outcomes = []
    for number, row in enumerate(rows, 1):
        report.row(number, len(rows), row.out, "started")
        outcome = _run(context, number, row)
        outcomes.append(outcome)
        told = {"seconds": outcome.seconds, "message": outcome.message}
        report.row(number, len(rows), row.out, outcome.status, **told)
    report.close()
    if args.progress != "json":
        print_table(_table(outcomes))
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed:
        sentence = f"{failed} of {len(rows)} rows failed"
        report.error(sentence, FAILED)
        print(f"emrdiff: {sentence}", file=sys.stderr)
        return FAILED
    report.result(report={"rows": [asdict(outcome) for outcome in outcomes]})
    return DONE


def _run(context: Context, number: int, row: Row) -> Outcome:
    """Fuse one row; whatever is wrong with it is its own affair."""
    from . import sentence_of

    begun = time.monotonic()
    own = Context(context.args, context.reporter, stop=context.stop)
    try:
        own.args = row.parsed(context.args.overwrite)
        if os.path.lexists(own.args.out) and not context.args.overwrite:
            _check_made(own)
            status, message = "skipped", "exists, made as asked for"
        else:
            fuse_pair(own)
            status, message = "done", ""
    except BrokenPipeError:
        raise
    except Exception as error:
        status, message = "failed", sentence_of(error, own)
    finally:
        context.stop.waits = False
    return Outcome(number, row.out, status, round(time.monotonic() - begun, 3), message)


def _check_made(context: Context) -> None:
    """Let a result be skipped only if it is the one that the row asks for."""
    args = context.args
    check_made(
        args.out,
        args.hsi,
        args.msi,
        FusionOptions(**fuse_options(context)),
        uncertainty=args.uncertainty,
        **context.given(STORED),
    )


def _table(outcomes: list[Outcome]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("row", "out", "status", "seconds", "message")
    table.columns[0].justify = table.columns[3].justify = "right"
    for o in outcomes:
        # Plain text: a name with brackets is no markup.
        out, message = Text(o.out), Text(o.message)
        table.add_row(str(o.row), out, o.status, f"{o.seconds:.1f}", message)
    return table
