"""One BLAS thread while the library computes.

Tiles are what runs in parallel. Threads inside numpy's small matrix products gain nothing beside
that, cost up to twenty times the time on a busy machine (they wait for each other by spinning),
and make the last bits of a product depend on the number of cores.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from threading import Lock

import threadpoolctl
from threadpoolctl import threadpool_limits


class _OneBlasThread(ContextDecorator):
    """Holds the limit from the first entry of any thread to the last one's end.

    The limit belongs to the process: a thread that put back what it found on entering would lift
    it for those that are still at work, or leave it in place for good.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._first: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            # Set at every entry: BLAS on OpenMP has a limit for each thread.
            _anybody_may_set()
            limits = threadpool_limits(limits=1, user_api="blas")
            if not self._inside:
                self._first = limits
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._first is not None:
                _anybody_may_set()
                self._first.restore_original_limits()
                _anybody_may_set()


def _anybody_may_set() -> None:
    """Let any thread set the limit: from version 3.8 on only the first that did may, silently."""
    openblas = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(openblas, "clear_controlling_thread"):
        openblas.clear_controlling_thread(force=True)


_limit = _OneBlasThread()


def one_blas_thread() -> _OneBlasThread:
    """Make a function or a block use one BLAS thread: a decorator and a context manager."""
    return _limit
