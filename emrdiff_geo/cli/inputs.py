"""Checks of paths for the commands."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError


def check_free(out: str | Path, overwrite: bool, *inputs: str | None) -> None:
    """Stop before a result replaces what it is made from, or anything that it was not told to.

    Raises
    ------
    OutputError
        If the output exists and may not be replaced, or is one of the inputs.
    """
    if not os.path.lexists(out):
        return
    for path in inputs:
        if path and os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out):
            raise OutputError(f"{out} is an input: give the result another name.")
    if not overwrite:
        raise OutputError(f"{out} exists: choose another name, or pass --overwrite.")
