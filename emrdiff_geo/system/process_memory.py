"""The memory of this process: what the system sees of it, and what becomes of what is freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

#: Of glibc's ``mallopt``: how much free memory is kept, and from which size on an array is mapped.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def resident_bytes() -> int:
    """Resident memory of this process now, or its peak where only that is known; 0 if neither."""
    with contextlib.suppress(OSError, IndexError, ValueError, AttributeError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(ImportError):  # Windows has none
        import resource

        # Kilobytes, but bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return 0


def give_back() -> None:
    """Give freed memory back to the system, where its C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Let the C library keep what is freed for the next array, where it can be told to (glibc).

    By default it maps every large array anew, and the system clears its pages: of a fusion with the
    network that was a sixth of the time. It is a setting of the whole process, so it is for
    programs to choose, not for the library.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
