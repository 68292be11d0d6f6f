"""One BLAS thread while the library computes.

Tiles are what runs in parallel. Threads inside numpy's small matrix products gain nothing beside
that, cost up to twenty times the time on a busy machine (they wait for each other by spinning),
and make the last bits of a product depend on the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")


def one_blas_thread() -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a function use one BLAS thread: a decorator.

    Newer OpenBLAS keeps the limit per thread, others per process; there the worst that entries
    from several threads can do is to leave the process at one BLAS thread.
    """
    return threadpool_limits.wrap(limits=1, user_api="blas")
