"""Two results of one run, an image and its uncertainty, which are finished together.

Each has a sink, a folder and a journal of its own; a tile is finished when both journals have it.
At the end both are put together before either appears. The uncertainty appears first: where the
image is, all is. A run that is killed between the two leaves a note in the image's folder, by which
the next one knows the uncertainty for its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..metadata import Provenance
from .claim import Claim, partial_folder
from .output import as_output_error, check_output, remove
from .sinks import Sink, check_leftover, open_sink

#: What an unfinished result is gathered in; without any of them a folder holds nothing.
_DATA = ("stage.zarr", "tiled.tif", "result")


def check_twin(
    image: str | Path,
    companion: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    inputs: Sequence[Any] = (),
) -> Path:
    """Check that the companion of a result can be written, before any work is done.

    Returns
    -------
    Path
        Of the companion.

    Raises
    ------
    OutputError
        If it is the result itself; else see `check_output`.
    ResumeError
        See `check_leftover`.
    """
    image, companion = Path(image), Path(companion)
    if companion.resolve() == image.resolve():
        raise OutputError(f"{companion} is the result itself: give the uncertainty another name")
    begun = resume and _is_noted(image, companion)
    companion = check_output(companion, overwrite=overwrite or begun, inputs=inputs)
    check_leftover(companion, resume=resume, overwrite=overwrite)
    return companion


def open_twin(
    image: Path,
    companion: Path,
    shape: tuple[int, int, int],
    *,
    provenance: Provenance,
    companion_provenance: Provenance,
    overwrite: bool = False,
    resume: bool = False,
    **options: Any,
) -> TwinSink:
    """Open the sinks of an image and of its companion, see `open_sink`."""
    both = {"resume": resume, **options}
    first = open_sink(image, shape, provenance=provenance, overwrite=overwrite, **both)
    try:
        begun = resume and _is_noted(image, companion)
        if begun and _has_appeared(companion):
            return TwinSink(first, None, companion, image, resume)
        second = open_sink(
            companion,
            shape,
            provenance=companion_provenance,
            overwrite=overwrite or begun,
            **both,
        )
    except BaseException:
        first.abort()
        raise
    return TwinSink(first, second, companion, image, resume)


class TwinSink:
    """Sink for both: its regions have the image's bands and then the companion's.

    Parameters
    ----------
    image : Sink
    companion : Sink or None
        None where the companion has appeared already.
    path, image_path : Path
        Of the companion and of the image.
    resume : bool
        Whether an interrupted run is to be kept.
    """

    def __init__(
        self, image: Sink, companion: Sink | None, path: Path, image_path: Path, resume: bool
    ) -> None:
        self._image, self._companion, self._resume = image, companion, resume
        self._path, self._image_path = path, image_path
        self.finished = image.finished
        if companion is not None:
            self.finished &= companion.finished

    @property
    def chunks(self) -> tuple[int, int]:
        return self._image.chunks

    def write(self, block: NDArray[np.float32], row: int, col: int) -> None:
        bands = len(block) // 2
        # A sink may be past writing where only the other one was lost.
        if (row, col) not in self._image.finished:
            self._image.write(block[:bands], row, col)
        if self._companion is not None and (row, col) not in self._companion.finished:
            self._companion.write(block[bands:], row, col)

    def record(self, row: int, col: int) -> None:
        for sink in self._sinks:
            if (row, col) not in sink.finished:
                sink.record(row, col)

    def assemble(self) -> None:
        for sink in self._sinks:
            sink.assemble()

    def close(self) -> None:
        self.assemble()
        if self._companion is None:
            self._image.close()
            return
        replaces = os.path.lexists(self._path)
        with as_output_error(self._image_path):
            _note(self._image_path, self._path)
        self._companion.close()
        try:
            self._image.close()
        except BaseException:
            if not (replaces or self._resume):
                with contextlib.suppress(OSError):
                    remove(self._path)
            raise

    def abort(self) -> None:
        for sink in self._sinks:
            sink.abort()

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
            if self._companion is not None:
                self._companion.abort()
            # The image's sink tells for both what is kept.
            self._image.__exit__(None if error is None else type(error), error, trace)

    @property
    def _sinks(self) -> tuple[Sink, ...]:
        return (self._image,) if self._companion is None else (self._companion, self._image)


def _note_of(image: Path) -> Path:
    return partial_folder(image) / "companion"


def _note(image: Path, companion: Path) -> None:
    """Put down that from now on the companion may appear."""
    with open(_note_of(image), "w", encoding="utf-8") as file:
        file.write(str(companion.resolve()))
        file.flush()
        os.fsync(file.fileno())


def _is_noted(image: Path, companion: Path) -> bool:
    try:
        return _note_of(image).read_text(encoding="utf-8") == str(companion.resolve())
    except OSError:
        return False


def _has_appeared(companion: Path) -> bool:
    folder = partial_folder(companion)
    if not os.path.lexists(companion) or any((folder / name).exists() for name in _DATA):
        return False
    if folder.exists():
        Claim(companion).discard()
    return True
