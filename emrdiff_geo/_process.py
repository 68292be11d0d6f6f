"""The memory of this process, as the system sees it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path


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
