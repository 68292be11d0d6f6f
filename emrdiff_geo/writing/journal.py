"""The journal of a run: which tiles are finished, and of which run they are.

A text file of one JSON object a line. The first line tells of what run it is (its *fingerprint*);
every other one names a finished tile and the size and checksum of the chunk that holds it. A line
is added only when the chunk is on the disk, and a line that is not whole is none, so that whatever
kills a run, what the journal says is true. The checksums find what was damaged afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = 1
_READ_BYTES = 2**20

Corner = tuple[int, int]


@dataclass(frozen=True)
class Seal:
    """How to recognise a chunk; both are None where nothing but nodata has no file."""

    size: int | None = None
    crc32: int | None = None


def seal(chunk: Path, *, durable: bool = True) -> Seal:
    """Seal a chunk, once it lies on the disk.

    Parameters
    ----------
    chunk : path
        File of the chunk, or where it would be.
    durable : bool
        Wait until the disk has it.
    """
    if not chunk.exists():
        return Seal()
    size = crc = 0
    with open(chunk, "rb") as file:
        while data := file.read(_READ_BYTES):
            size, crc = size + len(data), zlib.crc32(data, crc)
        if durable:
            os.fsync(file.fileno())
    if durable:
        _sync_folder(chunk.parent)
    return Seal(size, crc)


@dataclass(frozen=True)
class Record:
    """What a journal says.

    Attributes
    ----------
    fingerprint : mapping
        Of the run.
    keep : bool
        Whether somebody asked to keep what is done.
    tiles : mapping
        Seals of the finished tiles, by the row and column of their first pixel.
    """

    fingerprint: Mapping[str, Any]
    keep: bool = False
    tiles: dict[Corner, Seal] = field(default_factory=dict)


def read_journal(path: Path) -> Record | None:
    """Read a journal; None if there is none, or none that can be understood."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what comes after the last end is torn
    except FileNotFoundError:
        return None
    entries = [_parsed(line) for line in lines]
    head = entries[0] if entries else {}
    if head.get("version") != VERSION or not isinstance(head.get("fingerprint"), dict):
        return None
    record = Record(head["fingerprint"], bool(head.get("keep")))
    for entry in entries[1:]:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            row, col = entry["at"]
            record.tiles[int(row), int(col)] = Seal(entry["size"], entry["crc32"])
    return record


class Journal:
    """A journal that is being written, by one process.

    Parameters
    ----------
    path : path
        Replaced, at once and as a whole, by what `record` says.
    record : Record
        Of the run; it grows with the journal.
    """

    def __init__(self, path: Path, record: Record) -> None:
        self.record = record
        head = {"version": VERSION, "keep": record.keep, "fingerprint": dict(record.fingerprint)}
        lines = [_line(head), *(_entry(at, found) for at, found in record.tiles.items())]
        fresh = path.with_name(path.name + ".new")
        with open(fresh, "wb") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        _sync_folder(path.parent)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, at: Corner, found: Seal) -> None:
        """Add a finished tile; it has to be on the disk already."""
        whole = os.fstat(self._file).st_size
        try:
            _write(self._file, _entry(at, found))
            os.fsync(self._file)
        except BaseException:
            # The next line must not run into what there is of this one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, whole)
            raise
        self.record.tiles[at] = found

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _entry(at: Corner, found: Seal) -> bytes:
    return _line({"at": list(at), "size": found.size, "crc32": found.crc32})


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry).encode("ascii") + b"\n"


def _write(file: int, data: bytes) -> None:
    """Write all of `data`; after a part of it the system says why there is no more."""
    while data:
        data = data[os.write(file, data) :]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _sync_folder(folder: Path) -> None:
    """Make new names in a folder last, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
