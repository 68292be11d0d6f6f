import platform
import subprocess
import sys

import pytest

from emrdiff_geo.system.process_memory import give_back, keep_freed, resident_bytes

#: Large arrays come and go; how many pages the system had to clear for them.
COUNTED = """
import resource, sys
import numpy as np
from emrdiff_geo.system.process_memory import keep_freed
if "keep" in sys.argv:
    keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**23, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def cleared(*arguments):
    command = [sys.executable, "-c", COUNTED, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_memory_of_this_process_is_known_and_can_be_managed_anywhere():
    give_back()
    assert resident_bytes() > 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_serves_the_next_array():
    # Pages of one array instead of twenty.
    assert cleared("keep") < 0.2 * cleared()


def test_keeping_memory_fails_silently_where_it_is_not_known(monkeypatch):
    def none(name):
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", none)
    keep_freed()
