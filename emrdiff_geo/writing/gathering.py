"""The folder beside a result in which its regions are gathered, and which outlives an interruption.

Inside are the array of the regions, the journal of the finished ones, and what keeps other runs out
while one uses the folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, ResumeError, WriteError
from ..system.json_values import plain
from ..system.to_the_end import to_the_end
from .claim import Claim, partial_folder
from .differences import differences
from .journal import Corner, Journal, Record, read_journal, seal
from .layout import RasterLayout, encode
from .output import as_output_error, check_output

logger = logging.getLogger(__name__)


def check_leftover(path: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Stop before a run discards what another one was asked to keep.

    Raises
    ------
    ResumeError
        If there are finished tiles of a resumable run, and nobody said what to do with them.
    """
    path = Path(path)
    left = left_to_resume(partial_folder(path))
    if left is not None and not (resume or overwrite):
        raise ResumeError(
            f"{path} was begun and {_count(left)} finished: pass --resume to continue, or "
            "--overwrite to start anew"
        )


def left_to_resume(folder: Path) -> Record | None:
    """What an interrupted run was asked to keep in its folder; None if there is nothing."""
    left = read_journal(folder / "journal")
    return left if left is not None and left.keep and left.tiles else None


class GatheringSink(ABC):
    """What all sinks share: regions go to a Zarr array in a folder beside the result."""

    def __init__(
        self,
        path: Path,
        layout: RasterLayout,
        *,
        overwrite: bool,
        fingerprint: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.path = path
        self.layout = layout
        self.overwrite = overwrite
        self.finished: frozenset[Corner] = frozenset()
        self._partial = partial_folder(path)
        self._claim: Claim | None = None
        self._journal: Journal | None = None
        self._array: Any = None
        self._open = self._clipped = False
        record = None if fingerprint is None else Record(_with(fingerprint, layout), resume)
        try:
            with as_output_error(path):
                self._claim = Claim(path)
                if not self._take_over(record):
                    self._begin(record)
        except BaseException:
            self.abort()
            raise

    @property
    def chunks(self) -> tuple[int, int]:
        return self.layout.chunks

    @abstractmethod
    def _create(self) -> Any:
        """Empty array to gather the regions in."""

    @abstractmethod
    def _reopen(self) -> Any:
        """Array of an earlier run, or None if there is none any more."""

    def _assembled(self) -> bool:
        """Whether an earlier run got so far that its array is needed no more."""
        return False

    @abstractmethod
    def _assemble(self) -> None:
        """Make the result of what is gathered, in the folder; once more changes nothing."""

    @abstractmethod
    def _publish(self) -> None:
        """Move the result to its own name."""

    def write(self, block: NDArray[np.float32], row: int, col: int) -> None:
        if not self._open:
            raise OutputError(f"{self.path.name} is closed: open a new sink to write to it")
        self._check_region(block.shape, row, col)
        stored, clipped = encode(block, self.layout)
        if clipped and not self._clipped:
            self._clipped = True
            logger.warning(
                "values beyond the range of int16 were clipped in %s: a larger scale than %g "
                "would keep them",
                self.path.name,
                self.layout.scale,
            )
        rows, cols = slice(row, row + block.shape[1]), slice(col, col + block.shape[2])
        self._check_alive()
        with as_output_error(self.path):
            to_the_end(self._put, (slice(None), rows, cols), stored)

    def record(self, row: int, col: int) -> None:
        if self._journal is not None:
            self._check_alive()
            with as_output_error(self.path):
                self._journal.add((row, col), seal(self._chunk_file(row, col)))

    def assemble(self) -> None:
        check_output(self.path, overwrite=self.overwrite)
        self._check_alive()
        with as_output_error(self.path):
            self._assemble()

    def close(self) -> None:
        if not self._open:
            return
        self.assemble()
        with as_output_error(self.path):
            self._publish()
            self._leave(discard=True)
        self._open = False

    def abort(self) -> None:
        begun, self._open = self._open, False
        with contextlib.suppress(OSError):
            self._leave(discard=begun and not self._kept())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.close()
        except BaseException as failure:
            error = failure
            raise
        finally:
            self.abort()
            if error is not None and (kept := self._kept()):
                error.add_note(f"{_count(kept)} kept: run the same again to continue")

    def __getstate__(self) -> dict[str, Any]:
        # The journal is with the process that opened the sink.
        return {**self.__dict__, "_journal": None}

    def _begin(self, record: Record | None) -> None:
        """Start from nothing."""
        assert self._claim is not None
        self._open = True
        self._claim.empty()
        self._array = to_the_end(self._create)
        if record is not None:
            self._journal = Journal(self._partial / "journal", record)

    def _take_over(self, record: Record | None) -> bool:
        """Go on where an earlier run of the same fingerprint ended, if that is wanted."""
        resume = record is not None and record.keep
        check_leftover(self.path, resume=resume, overwrite=self.overwrite)
        self._put_back()
        left = read_journal(self._partial / "journal")
        if record is None or not resume:
            if left is not None and left.tiles:
                logger.info("An interrupted run is discarded, of which %s done.", _count(left))
            return False
        if left is not None and (other := differences(left.fingerprint, record.fingerprint)):
            raise ResumeError(
                f"{self.path.name} was begun with {other}: ask for the same again to continue, or "
                "pass --overwrite without --resume to start anew"
            )
        if left is None or not self._adopt(left, record):
            logger.info("There is nothing to continue: starting from the beginning.")
            return False
        self._open = True
        self._journal = Journal(self._partial / "journal", record)
        self.finished = frozenset(record.tiles)
        logger.info("Continuing: %s done.", _count(record))
        return True

    def _adopt(self, left: Record, record: Record) -> bool:
        """Make the regions of an earlier run those of this one; false if they are not there."""
        rows, cols = self.layout.shape[1:]
        chunks = ceil(rows / self.layout.chunks[0]) * ceil(cols / self.layout.chunks[1])
        if self._assembled() and len(left.tiles) == chunks:
            record.tiles.update(left.tiles)
            return True
        self._array = self._reopen()
        if self._array is None:
            return False
        record.tiles.update(self._intact(left))
        self._sweep(record)
        return True

    def _intact(self, left: Record) -> dict[Corner, Any]:
        """Tiles of an earlier run whose chunks are as they were left."""
        found = {
            at: sealed
            for at, sealed in left.tiles.items()
            if seal(self._chunk_file(*at), durable=False) == sealed
        }
        if damaged := len(left.tiles) - len(found):
            logger.warning("%d of the finished tiles were damaged: computing them again", damaged)
        return found

    def _sweep(self, record: Record) -> None:
        """Remove chunks of no finished tile, and what a killed process was about to make one."""
        known = {self._chunk_file(*at) for at in record.tiles}
        for folder, _, names in os.walk(self._chunk_file(0, 0).parents[2]):
            for file in (Path(folder) / name for name in names):
                if file not in known:
                    file.unlink()

    def _chunk_file(self, row: int, col: int) -> Path:
        index = (0, row // self.layout.chunks[0], col // self.layout.chunks[1])
        key = self._array.metadata.encode_chunk_key(index)
        return Path(self._array.store.root) / self._array.path / key

    def _put_back(self) -> None:
        """Undo a replacement in whose middle a run was killed."""
        replaced = self._partial / "replaced"
        if os.path.lexists(replaced) and not os.path.lexists(self.path):
            os.replace(replaced, self.path)
            if not self.overwrite:
                check_output(self.path)

    def _kept(self) -> Record | None:
        """What outlives this sink when it is not closed."""
        record = self._journal.record if self._journal is not None else None
        kept = record is not None and record.keep and bool(record.tiles)
        return record if kept and not self._open and self._is_there() else None

    def _leave(self, *, discard: bool) -> None:
        """Let go of the folder, which is removed before others may have it."""
        if self._journal is not None:
            with contextlib.suppress(OSError):
                self._journal.close()
        if self._claim is not None:
            if discard:
                self._claim.discard()
            self._claim.release()

    def _is_there(self) -> bool:
        return self._claim is not None and self._claim.is_there()

    def _check_alive(self) -> None:
        """Zarr would make a removed folder anew, without the regions that were in it."""
        if not self._is_there():
            if self._claim is not None:
                self._claim.sweep()
            raise WriteError(
                f"{self._partial} was removed while {self.path.name} was being written: start "
                "again and leave it alone"
            )

    def _put(self, where: tuple[slice, ...], stored: NDArray[Any]) -> None:
        try:
            self._array[where] = stored
        finally:  # the folder may have been removed meanwhile, whatever came of it
            self._check_alive()

    def _check_region(self, shape: tuple[int, ...], row: int, col: int) -> None:
        bands, *size = self.layout.shape
        if len(shape) != 3 or shape[0] != bands:
            raise OutputError(f"a region has shape {shape}: it must be ({bands}, height, width)")
        for start, length, chunk, total in zip(
            (row, col), shape[1:], self.layout.chunks, size, strict=True
        ):
            stop = start + length
            inside = 0 <= start < stop <= total
            if not inside or start % chunk or (stop % chunk and stop != total):
                raise OutputError(
                    f"a region of {shape[1:]} pixels at {(row, col)} does not lie on the regions "
                    f"of {self.layout.chunks} of an image of {tuple(size)}: align it with them"
                )


def _with(fingerprint: Mapping[str, Any], layout: RasterLayout) -> dict[str, Any]:
    """Fingerprint with what the sink itself does to the values."""
    form = {"dtype": layout.dtype, "nodata": str(layout.nodata), "chunks": layout.chunks}
    found: dict[str, Any] = plain(
        {**fingerprint, **form, "scale": layout.scale, "offset": layout.offset}
    )
    return found


def _count(record: Record) -> str:
    number = len(record.tiles)
    return f"{number} {'tile is' if number == 1 else 'tiles are'}"
