"""What this process may use of the machine, or of the container that limits it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use."""
    from dask.system import cpu_count

    return cpu_count()


def memory_bytes() -> int | None:
    """Memory that this process may use; None if it cannot be told."""
    limits = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has none of it
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _limits():
        with contextlib.suppress(OSError, ValueError):  # no such group, or one without a limit
            limits.append(int(file.read_text(encoding="ascii")))
    return min(limits, default=None)


def _limits() -> Iterator[Path]:
    """Files with the limits of this process's control groups, version 2 and 1, and those above."""
    yield _CGROUPS / "memory.max"
    yield _CGROUPS / "memory" / "memory.limit_in_bytes"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "":
                root, name = _CGROUPS, "memory.max"
            elif "memory" in controllers.split(","):
                root, name = _CGROUPS / "memory", "memory.limit_in_bytes"
            else:
                continue
            own = root / group.lstrip("/")
            yield from (folder / name for folder in (own, *own.parents) if root in folder.parents)
