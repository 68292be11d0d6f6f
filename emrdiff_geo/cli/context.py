"""What a command gets: its arguments and where to report."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .stopping import Stop

if TYPE_CHECKING:
    from .progress import Reporter

DONE, FAILED, BAD_INPUT, CANCELLED = 0, 1, 2, 130


@dataclass
class Context:
    """One run of a command.

    Attributes
    ----------
    args : Namespace
        What the user typed.
    reporter : Reporter
        Told of progress, notes and the result.
    stop : Stop
        How requests to stop are met.
    """

    args: argparse.Namespace
    reporter: Reporter
    stop: Stop = field(default_factory=Stop)

    def given(self, names: Iterable[str]) -> dict[str, Any]:
        """Options that were typed; what was not is left to the library's own defaults."""
        values = {name: getattr(self.args, name, None) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def one_line(error: BaseException) -> str:
    """Message of an error as one line."""
    return " ".join(str(error).split())
