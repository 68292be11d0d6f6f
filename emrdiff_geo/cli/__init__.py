"""The command ``emrdiff``.

Exit codes: 0 done; 2 bad input or usage, with one sentence on standard error; 130 cancelled; 1
anything else. Standard output carries results only: reports, or with ``--progress json`` the lines
that `emrdiff_geo.cli.progress` documents. All else goes to standard error.

Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from ..system.process_memory import keep_freed
from .context import BAD_INPUT, CANCELLED, FAILED, Context, one_line
from .logs import log_to
from .parser import build_parser
from .progress import make_reporter
from .stopping import stoppable

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit code.
    """
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    if args.command is None:
        parser.print_help(sys.stderr)
        return BAD_INPUT
    # Memory that is kept is in pieces, and may come to a third more: not where it is bounded. Of a
    # batch the manifest tells.
    if args.command != "batch" and getattr(args, "memory", None) is None:
        keep_freed()
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    mode = getattr(args, "progress", "none")
    reporter = make_reporter("none" if args.quiet and mode == "bar" else mode, args.quiet)
    context = Context(args, reporter)
    with contextlib.ExitStack() as stack:
        if mode == "json":
            # A library that prints must not break the lines.
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if not args.verbose and not sys.warnoptions:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        stack.enter_context(log_to(reporter, args.verbose, args.quiet))
        try:
            with stoppable(getattr(args, "stop_on_eof", False), context.stop), reporter:
                code = args.run(context) or 0
        except (Exception, KeyboardInterrupt) as error:
            code, sentence = _outcome(error)
            _tell(error, code, sentence, context)
        return code


def _outcome(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for what ended a command, with what was noted on its way."""
    code, sentence = _verdict(error)
    return code, "; ".join((sentence, *getattr(error, "__notes__", ())))


def _verdict(error: BaseException) -> tuple[int, str]:
    from ..errors import EmrdiffError, WriteError

    if isinstance(error, KeyboardInterrupt | BrokenPipeError):
        return CANCELLED, "cancelled"
    if isinstance(error, EmrdiffError):
        return (FAILED if isinstance(error, WriteError) else BAD_INPUT), one_line(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        return FAILED, f"this needs the package {name}, which is not installed: pip install {name}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FAILED, "out of memory: use a smaller --tile, or --device cpu if it was the GPU's"
    kind, text = type(error).__name__, one_line(error)
    return FAILED, f"unexpected {kind}{': ' if text else ''}{text} (run again with -v for details)"


def sentence_of(error: Exception, context: Context) -> str:
    """What is wrong and how to mend it, for an error that ends a part of a command only."""
    if context.args.verbose:
        traceback.print_exception(error)
    return _outcome(error)[1]


def _tell(error: BaseException, code: int, sentence: str, context: Context) -> None:
    if isinstance(error, BrokenPipeError):
        # Whoever read standard output has gone: Python must not try to flush it at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
        return
    if context.args.verbose and code != CANCELLED:
        traceback.print_exception(error)
    with contextlib.suppress(OSError):
        context.reporter.error(sentence, code)
        print(f"emrdiff: {sentence}", file=sys.stderr)
