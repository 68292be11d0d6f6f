"""The hidden folder beside a result, and the claim of one process to it.

A file in the folder is locked from before the first look into the folder until that file is gone
again, so that nobody else fills, empties or removes it meanwhile. The system takes the lock from a
process that dies: a file that is left blocks nobody.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import WriteError
from ..system.to_the_end import to_the_end
from .output import remove

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def partial_folder(path: Path) -> Path:
    """Where the regions of the result at `path` are gathered."""
    return path.parent / f".{path.name}.partial"


class Claim:
    """Claim the folder of a result, and make it if it is not there.

    Parameters
    ----------
    path : Path
        Of the result.

    Raises
    ------
    WriteError
        If another run has it.
    OSError
        If it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.folder = partial_folder(path)
        self._marker = self.folder / "in-progress"
        self._file: BinaryIO | None = None
        self._around = os.stat(path.parent)
        try:
            while not to_the_end(self._try):
                pass  # whoever had the folder has removed it under our hands
        except BlockingIOError:
            raise WriteError(
                f"{path} is being written by another run: wait for it, or choose another name"
            ) from None
        except BaseException:
            self.release()
            raise

    def is_there(self) -> bool:
        """Whether the folder has not been removed; a copy in another process can tell, too."""
        return self._marker.exists()

    def sweep(self) -> None:
        """Remove what a write under way has made anew of a folder that was removed."""
        if self.is_there() or not self.folder.is_dir():
            return
        with contextlib.suppress(OSError):
            remove(self.folder)
            # So may have been the one that it was in.
            if not os.path.samestat(os.stat(self.folder.parent), self._around):
                self.folder.parent.rmdir()

    def empty(self) -> None:
        """Remove whatever is in the folder."""
        for path in self.folder.iterdir():
            if path != self._marker:
                remove(path)

    def discard(self) -> None:
        """Remove the folder and only then release it; nothing if it was released before."""
        if self._file is None:
            return
        try:
            self.empty()
            self._vacate()
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Leave the folder to others as it is; one that nothing is in is removed."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            if os.listdir(self.folder) == [self._marker.name]:
                self._vacate()
        self._close()

    def __getstate__(self) -> dict[str, Any]:
        # The lock stays with the process that took it.
        return {**self.__dict__, "_file": None}

    def _try(self) -> bool:
        """Lock the marker; false if it was removed before that."""
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir()
        try:
            file = open(self._marker, "ab")  # noqa: SIM115  (open, it holds the lock)
        except FileNotFoundError:
            return False
        except OSError:
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # only if it is empty: as it was made
            raise
        try:
            _lock(file)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(self._marker)):
                self._file = file
        except FileNotFoundError:
            pass
        finally:
            if self._file is None:
                file.close()
        return self._file is not None

    def _vacate(self) -> None:
        """Remove the folder, which has nothing but the marker in it any more."""
        if fcntl is None:
            self._close()  # Windows removes no open file
        self._marker.unlink(missing_ok=True)
        # Now it may be somebody else's already, who has put a marker of his own there.
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: BinaryIO) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks
