"""Where tiles are computed: here one by one, in threads, or by the workers of a dask cluster.

A worker gets the run and the sink once, then numbers of tiles. It writes what it computes itself,
so that no pixel travels; the process that started the run puts down what is finished.
"""

from __future__ import annotations

import ctypes
import logging
import operator
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

from ..errors import EmrdiffError, InputError, MethodError
from ..grids.tiling import Tile
from ..system.machine import cores
from ..system.room import Room
from ..writing.sinks import Sink
from .pipeline import Run

if TYPE_CHECKING:
    from distributed import Client

#: None or "threads": a thread a core; `Threads`: so many; `ONE_BY_ONE`; a dask cluster, the address
#: of its scheduler, or a client of it.
Scheduler: TypeAlias = "str | Threads | Cluster | Client | None"
#: What `connected` makes of that: `ONE_BY_ONE`, `Threads` or a client.
Workers: TypeAlias = "str | Threads | Client"
ONE_BY_ONE = "synchronous"
log = logging.getLogger(__name__)
T = TypeVar("T")
_TIMEOUT_S = 15
_START = "start one with 'dask scheduler' and 'dask worker', or leave out --dask"


@dataclass(frozen=True)
class Threads:
    """Threads of this process, so many."""

    count: int


class Cluster(Protocol):
    """A dask cluster, such as `distributed.LocalCluster`."""

    scheduler_address: str


@dataclass(frozen=True)
class Job:
    """What every worker has to know of a run; picklable."""

    run: Run
    sink: Sink

    def __call__(
        self, index: tuple[int, int], call: Callable[..., NDArray[Any]] = operator.call
    ) -> tuple[int, int]:
        """Compute, by `call`, and write one tile; returns its index."""
        with self.run.room:
            block = call(self.run.tile, *index)
            self.sink.write(block, *corner(self.run.plan[index]))
        return index


def corner(tile: Tile) -> tuple[int, int]:
    """First pixel of what a tile writes."""
    return tile.core[0].start, tile.core[1].start


@contextmanager
def connected(scheduler: Scheduler) -> Iterator[Workers]:
    """`ONE_BY_ONE`, `Threads` or a client for what was asked for; a client that is made is closed.

    Raises
    ------
    InputError
        If there is no such scheduler.
    """
    if scheduler is None or scheduler == "threads":
        yield Threads(cores())
    elif scheduler == ONE_BY_ONE or isinstance(scheduler, Threads) or is_client(scheduler):
        yield scheduler
    elif isinstance(scheduler, str) or hasattr(scheduler, "scheduler_address"):
        client = _client(scheduler)
        try:
            yield client
        finally:
            client.close()
    else:
        raise InputError(
            f"scheduler={scheduler!r} computes no tiles: pass 'threads', 'synchronous', or a dask "
            "cluster, its address or a client of it"
        )


def is_client(scheduler: Any) -> bool:
    """Whether it is a client of a dask cluster."""
    # Who has one has imported it; it takes half a second.
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(scheduler, distributed.Client)


def at_once(workers: Workers) -> int:
    """Tiles that one process could compute at the same time."""
    if workers == ONE_BY_ONE:
        return 1
    if isinstance(workers, Threads):
        return workers.count
    known = workers.scheduler_info(n_workers=-1)["workers"].values()
    return max((worker["nthreads"] for worker in known), default=1)


def computed(
    job: Job, tiles: Iterable[Tile], scheduler: Scheduler = None
) -> Generator[Tile, None, None]:
    """Compute tiles and yield each when it is written, in whatever order that happens.

    Closing the iterator stops: nothing is writing any more when that returns, but what dask workers
    have begun. What threads of this process have begun they finish, and it is recorded.

    Raises
    ------
    InputError
        If there is no such scheduler.
    MethodError
        If workers die of their tiles.
    """
    indices = (tile.index for tile in tiles)
    with connected(scheduler) as workers:
        if workers == ONE_BY_ONE:
            found: Any = (job(index) for index in indices)
        elif isinstance(workers, Threads):
            found = _in_threads(job, indices, workers.count)
        else:
            found = _in_cluster(job, indices, workers)
        with closing(found):
            yield from (job.run.plan[index] for index in found)


def mapped(workers: Workers, room: Room | None = None) -> Callable[..., Iterator[Any]]:
    """`map` on what `connected` gives: results in the order of the items, a few ahead at most.

    No process of a cluster works on more items at once than there is room for.
    """
    if workers == ONE_BY_ONE:
        return map

    def over(function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        if isinstance(workers, Threads):
            with ThreadPoolExecutor(workers.count) as pool:
                yield from _in_order(lambda i: pool.submit(function, i), items, workers.count)
            return
        # Sent along with every task the function would be large.
        shared = workers.scatter(function, broadcast=True, hash=False)
        ahead = 2 * max(1, sum(workers.nthreads().values()))
        submit, limit = workers.submit, room or Room()
        with _tiles_in_hand():
            yield from _in_order(
                lambda i: submit(_apply, shared, i, limit, pure=False), items, ahead
            )

    return over


def _in_order(submit: Callable[[Any], Any], items: Iterable[Any], ahead: int) -> Iterator[Any]:
    pending: deque[Any] = deque()
    items = iter(items)
    try:
        pending.extend(submit(item) for item in islice(items, ahead))
        while pending:
            yield pending.popleft().result()
            pending.extend(submit(item) for item in islice(items, 1))
    finally:
        for future in pending:
            future.cancel()


class _Interruptible:
    """Calls in other threads that can be interrupted there: signals reach the main thread only.

    What a thread does before and after its call is left alone.
    """

    def __init__(self) -> None:
        self._busy: set[int] = set()
        self._lock = Lock()
        self._over = False

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            try:
                with self._lock:
                    if self._over:
                        raise KeyboardInterrupt
                    self._busy.add(get_ident())
                return function(*arguments)
            finally:
                self._leave()
        finally:
            self._leave()  # an interruption may strike before the first one

    def _leave(self) -> None:
        with self._lock:
            self._busy.discard(get_ident())

    def interrupt(self) -> None:
        """End what is running; each thread ends with the operation it is in."""
        struck: set[int] = set()
        with self._lock:
            self._over = True
        while self._busy:
            with self._lock:  # nobody leaves meanwhile
                struck |= self._busy
                for thread in self._busy:
                    _raise_in(thread, KeyboardInterrupt)
            # What is raised inside a destructor is lost: then once more.
            again = time.monotonic() + 2
            while self._busy and time.monotonic() < again:
                time.sleep(0.01)
        # In a thread that was done when it was struck the exception still waits. There it would end
        # the thread with the pool's call to end in its hands, for which the others wait.
        for thread in struck:
            _raise_in(thread, None)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in a thread at its next step; None takes back one that was not raised yet."""
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def _in_threads(
    job: Job, indices: Iterator[tuple[int, int]], count: int
) -> Generator[tuple[int, int], None, None]:
    interruptible = _Interruptible()
    running: set[Future[tuple[int, int]]] = set()
    start = {"initializer": torch_threads, "initargs": (job.run, max(1, cores() // count))}
    with own_torch_threads(), ThreadPoolExecutor(count, "emrdiff", **start) as pool:
        try:
            # No more than there are threads: when one stops, no others wait to be begun.
            for index in islice(indices, count):
                running.add(pool.submit(job, index, interruptible))
            while running:
                future = wait(running, return_when=FIRST_COMPLETED).done.pop()
                running.remove(future)
                yield future.result()
                running |= {pool.submit(job, i, interruptible) for i in islice(indices, 1)}
        except KeyboardInterrupt:
            interruptible.interrupt()
            raise
        except (GeneratorExit, Exception):
            # A tile failed, or nobody waits for any more; those in hand are finished all the same,
            # and so they count.
            for future in _finished(interruptible, running):
                if future.exception() is None:
                    _record(job, future.result())
            raise


def _record(job: Job, index: tuple[int, int]) -> None:
    """Record a tile of a run that ends anyway: what fails here must not hide why."""
    try:
        job.sink.record(*corner(job.run.plan[index]))
    except (EmrdiffError, OSError) as error:
        log.debug("A tile that was finished could not be recorded: %s", error)


def _finished(
    interruptible: _Interruptible, running: set[Future[tuple[int, int]]]
) -> set[Future[tuple[int, int]]]:
    """Wait for tiles; whoever insists on stopping interrupts them."""
    try:
        return wait(running).done
    except KeyboardInterrupt:
        interruptible.interrupt()
        raise


def _in_cluster(
    job: Job, indices: Iterator[tuple[int, int]], client: Any
) -> Generator[tuple[int, int], None, None]:
    from distributed import as_completed

    # Scattered, the job is on each worker once, and not in the graph.
    shared = client.scatter(job, broadcast=True, hash=False)
    futures = [client.submit(_call, shared, index, pure=False) for index in indices]
    try:
        with _tiles_in_hand():
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
    finally:
        client.cancel(futures)


@contextmanager
def _tiles_in_hand() -> Iterator[None]:
    """Say in a sentence what it means that workers die."""
    from distributed import KilledWorker

    try:
        yield
    except (KilledWorker, CancelledError) as error:
        raise MethodError(
            "the workers of the dask cluster died, all or of one tile after the other: give "
            "them more memory, or use a smaller --tile"
        ) from error


def _apply(function: Callable[[Any], T], item: Any, room: Room) -> T:
    with room:
        return function(item)


def _call(job: Job, index: tuple[int, int]) -> tuple[int, int]:
    torch_threads(job.run, 1)
    return job(index)


def torch_threads(run: Run, count: int) -> None:
    """Where tiles run side by side, each with all cores would make them wait for each other.

    On a GPU the threads do no work; there it does not matter.
    """
    if run.options.digest:
        import torch

        if torch.get_num_threads() != count:
            torch.set_num_threads(count)


class _TorchThreads:
    """Torch's number of threads, as it was before the first of several threads came in.

    Each thread has its own number, and takes it from the latest that was set anywhere: what a
    second one finds on coming in may be what the first one has set for its tile.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = self._before = 0

    @contextmanager
    def restored(self) -> Iterator[None]:
        torch = sys.modules.get("torch")
        with self._lock:
            if not self._inside:
                self._before = torch.get_num_threads() if torch else 0
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if torch and self._before:
                    torch.set_num_threads(self._before)


_torch_threads = _TorchThreads()


def own_torch_threads() -> AbstractContextManager[None]:
    """Leave the calling program's torch as it was."""
    return _torch_threads.restored()


def _client(cluster: str | Cluster) -> Client:
    from distributed import Client

    address = cluster if isinstance(cluster, str) else cluster.scheduler_address
    try:
        client = Client(cluster, timeout=_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"no dask scheduler answers at {address}: {_START}") from error
    if not client.scheduler_info()["workers"]:
        client.close()
        raise InputError(f"the dask scheduler at {address} has no workers: {_START}")
    return client
