"""Manifests of ``emrdiff batch``: CSV files with one fusion a row."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

REQUIRED = ("hsi", "msi", "out")
#: Options of ``fuse`` that take a value, and those that are there or not.
VALUES = (
    "method",
    "ratio",
    "tile",
    "overlap",
    "wavelengths",
    "weights",
    "variant",
    "device",
    "steps",
    "seed",
    "samples",
    "uncertainty",
    "psf",
    "dask",
    "memory",
    "dtype",
    "scale",
    "offset",
)
SWITCHES = ("no-self-check", "no-normalise", "fill-gaps", "coregister", "force", "resume")
#: Names that are for GDAL or for a network: they are no paths on this disk.
_NO_PATH = re.compile(
    r'.*://|/vsi|[A-Z][A-Z0-9_]+:"|'
    r"(NETCDF|HDF[45]\w*|GTIFF_(DIR|RAW)|ZARR|SENTINEL[12]_\w+|NITF_IM|PDS4|DERIVED_SUBDATASET):"
)
_YES, _NO = ("1", "yes", "true", "x"), ("", "0", "no", "false")


@dataclass(frozen=True)
class Row:
    """One fusion of a manifest.

    Attributes
    ----------
    line : int
        Of the file, counted from 1.
    cells : dict
        Text by column, without what is empty; paths as they are written.
    folder : Path
        Of the manifest: what its paths are relative to.
    """

    line: int
    cells: dict[str, str]
    folder: Path

    @property
    def out(self) -> str:
        """The result as the manifest names it."""
        return self.cells.get("out", "")

    def path(self, column: str) -> str:
        """Path of a column, from the manifest's folder on."""
        text = self.cells[column]
        return text if _NO_PATH.match(text) else str(self.folder / text)

    def parsed(self, overwrite: bool) -> argparse.Namespace:
        """Arguments of the ``fuse`` that this row stands for.

        Raises
        ------
        InputError
            If a path is missing or a value is none that the option takes.
        """
        missing = [name for name in REQUIRED if name not in self.cells]
        if missing:
            raise InputError(f"line {self.line} names no {missing[0]}: fill in that cell.")
        words = ["fuse", *self._options(), *(["--overwrite"] if overwrite else [])]
        return _fuse_arguments([*words, "--", *(self.path(name) for name in REQUIRED)])

    def _options(self) -> list[str]:
        words = [f"--{name}={self._value(name)}" for name in VALUES if name in self.cells]
        for name in SWITCHES:
            text = self.cells.get(name, "").lower()
            if text in _YES:
                words.append(f"--{name}")
            elif text not in _NO:
                raise InputError(f"line {self.line} has {text!r} for {name}: write yes or no.")
        return words

    def _value(self, name: str) -> str:
        # Weights are a shipped name or a file.
        is_path = name == "uncertainty" or (
            name == "weights" and os.path.exists(self.path("weights"))
        )
        return self.path(name) if is_path else self.cells[name]


def _fuse_arguments(words: list[str]) -> argparse.Namespace:
    from .parser import build_parser

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return build_parser().parse_args(words)
    except SystemExit:
        sentence = told.getvalue().strip().removeprefix("emrdiff: ")
        raise InputError(sentence) from None


def read_manifest(path: str | Path) -> list[Row]:
    """Read a manifest: UTF-8, a header; commas, semicolons or tabs.

    Raises
    ------
    InputError
        If it is no such table: it cannot be read, a column is missing or unknown, it has no rows,
        or two rows write the same result.
    """
    path = Path(path)
    header, *lines = _table(path)
    written = _without_empty_end(header[1])
    columns = [_column(name) for name in written]
    _check_columns(path.name, columns, written)
    rows = []
    for line, cells in lines:
        cells = _without_empty_end(cells)
        if len(cells) > len(columns):
            raise InputError(
                f"line {line} of {path.name} has {len(cells)} cells and the header "
                f"{len(columns)}: put texts with commas into quotes."
            )
        found = zip(columns, (cell.strip() for cell in cells), strict=False)
        rows.append(Row(line, {name: text for name, text in found if text}, path.parent))
    if not rows:
        raise InputError(f"{path.name} has no rows: add one a fusion below its header.")
    _check_outputs(path.name, rows)
    return rows


def _table(path: Path) -> list[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = next((mark for mark in ",;\t" if mark in first), ",")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path.name} cannot be read as a manifest ({error}): give a CSV file in UTF-8 with "
            f"the columns {', '.join(REQUIRED)}."
        ) from None
    if not lines:
        raise InputError(f"{path.name} is empty: give it the columns {', '.join(REQUIRED)}.")
    return lines


def _without_empty_end(cells: list[str]) -> list[str]:
    """Spreadsheets write empty columns that were in use once."""
    return cells[: max((n for n, text in enumerate(cells, 1) if text.strip()), default=0)]


def _column(name: str) -> str:
    return name.strip().lower().removeprefix("--").replace("_", "-")


def _check_columns(name: str, columns: list[str], written: list[str]) -> None:
    known = (*REQUIRED, *VALUES, *SWITCHES)
    for column, text in zip(columns, written, strict=True):
        if column not in known:
            raise InputError(
                f"{name} has a column {text.strip()!r}, which is no option of fuse: use "
                f"{', '.join(known)}."
            )
        if columns.count(column) > 1:
            raise InputError(f"{name} has two columns {column}: leave out one.")
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise InputError(f"{name} has no column {missing[0]}: it needs {', '.join(REQUIRED)}.")


def _check_outputs(name: str, rows: list[Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        for column in ("out", "uncertainty"):
            if column not in row.cells:
                continue
            place = os.path.realpath(row.path(column))
            if place in seen:
                raise InputError(
                    f"lines {seen[place]} and {row.line} of {name} both write "
                    f"{row.cells[column]}: give each row a result of its own."
                )
            seen[place] = row.line
