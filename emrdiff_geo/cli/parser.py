"""The parser of the command line; the arguments of each command are in `arguments`."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from .arguments.about import add_demo, add_doctor, add_methods
from .arguments.common import verbosity
from .arguments.fusing import add_batch, add_fuse, add_plan
from .arguments.scenes import add_evaluate, add_simulate
from .arguments.training import add_adapt, add_train
from .context import BAD_INPUT, one_line


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, instead of the whole usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        text = one_line(ValueError(message))
        print(f"emrdiff: {text} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        from .. import __version__

        print(f"emrdiff-geo {__version__}")
        raise SystemExit(0)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line; each command sets ``run`` to its function."""
    parser = _Parser(
        prog="emrdiff",
        description="Fuse hyperspectral and multispectral images with EMR-Diff.",
        epilog="Exit codes: 0 done, 2 bad input or usage, 130 cancelled, 1 anything else.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    verbosity(parser, 0, False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in (
        add_fuse,
        add_batch,
        add_simulate,
        add_train,
        add_adapt,
        add_evaluate,
        add_plan,
        add_methods,
        add_doctor,
        add_demo,
    ):
        add(commands)
    return parser
