"""Arguments of ``emrdiff methods``, ``doctor`` and ``demo``."""

from __future__ import annotations

import argparse

from .. import values
from .common import command


def add_methods(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff methods``."""
    text = "list fusion methods, weights and spectral responses"
    parser = command(commands, "methods", "about", text, progress=False)
    parser.add_argument("--json", action="store_true", help="as JSON")


def add_doctor(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff doctor``."""
    text = "check the installation and say what to do about it"
    parser = command(commands, "doctor", "about", text, progress=False)
    parser.add_argument("--json", action="store_true", help="as JSON")


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff demo``."""
    text = "fuse a real scene by all methods: table, figure and GeoTIFF in one folder"
    parser = command(commands, "demo", "about", text)
    parser.add_argument("--out", metavar="DIR", default="demo-output", help="folder (demo-output)")
    parser.add_argument(
        "--max-minutes",
        type=values.positive_number,
        metavar="M",
        help="adapt to the scene first (no)",
    )
