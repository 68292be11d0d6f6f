"""Where tiles are computed: here one by one, in threads, or by the workers of a dask cluster.

A worker gets the run and the sink once, then numbers of tiles. It writes what it computes itself,
so that no pixel travels; the process that started the run puts down what is finished.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .errors import InputError, MethodError
from .pipeline import Run
from .sinks import Sink
from .tiling import Tile

#: None: one by one; "threads"; the address of a dask scheduler; or a `distributed.Client`.
Scheduler = Any
_TIMEOUT_S = 15
_START = "start one with 'dask scheduler' and 'dask worker', or leave out --dask"


@dataclass(frozen=True)
class Job:
    """What every worker has to know of a run; picklable."""

    run: Run
    sink: Sink

    def __call__(self, index: tuple[int, int]) -> tuple[int, int]:
        """Compute and write one tile; returns its index."""
        tile = self.run.plan[index]
        self.sink.write(self.run.tile(*index), *corner(tile))
        return index


def corner(tile: Tile) -> tuple[int, int]:
    """First pixel of what a tile writes."""
    return tile.core[0].start, tile.core[1].start


def computed(
    job: Job, tiles: Iterable[Tile], scheduler: Scheduler = None
) -> Generator[Tile, None, None]:
    """Compute tiles and yield each when it is written, in whatever order that happens.

    Closing the iterator stops: nothing is writing any more when that returns, but what dask workers
    have begun.

    Raises
    ------
    InputError
        If there is no such scheduler.
    MethodError
        If workers die of their tiles.
    """
    if scheduler is None:
        for tile in tiles:
            job(tile.index)
            yield tile
        return
    run = _in_threads if scheduler == "threads" else _in_cluster
    indices = (tile.index for tile in tiles)
    with closing(run(job, indices, scheduler)) as found:
        yield from (job.run.plan[index] for index in found)


def _in_threads(
    job: Job, indices: Iterator[tuple[int, int]], scheduler: Scheduler
) -> Generator[tuple[int, int], None, None]:
    count = os.cpu_count() or 1
    with ThreadPoolExecutor(count, thread_name_prefix="emrdiff") as pool:
        # No more than there are threads: when one stops, no others wait to be begun.
        pending: set[Future[tuple[int, int]]] = {
            pool.submit(job, i) for i in islice(indices, count)
        }
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                pending |= {pool.submit(job, i) for i in islice(indices, 1)}
                yield future.result()


def _in_cluster(
    job: Job, indices: Iterator[tuple[int, int]], scheduler: Scheduler
) -> Generator[tuple[int, int], None, None]:
    from distributed import KilledWorker, as_completed

    client, close = _client(scheduler)
    try:
        # Scattered, the job is on each worker once, and not in the graph.
        shared = client.scatter(job, broadcast=True, hash=False)
        futures = [client.submit(_call, shared, index, pure=False) for index in indices]
        try:
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
        except (KilledWorker, CancelledError) as error:
            raise MethodError(
                "the workers of the dask cluster died, all or of one tile after the other: give "
                "them more memory, or use a smaller --tile"
            ) from error
        finally:
            client.cancel(futures)
    finally:
        close()


def _call(job: Job, index: tuple[int, int]) -> tuple[int, int]:
    return job(index)


def _client(scheduler: Scheduler) -> tuple[Any, Callable[[], None]]:
    """Client of a cluster, and what to call when it is needed no more."""
    from distributed import Client

    if not isinstance(scheduler, str):
        return scheduler, lambda: None
    try:
        client = Client(scheduler, timeout=_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no dask scheduler answers at {scheduler}: {_START}") from error
    if not client.scheduler_info()["workers"]:
        client.close()
        raise InputError(f"the dask scheduler at {scheduler} has no workers: {_START}")
    return client, client.close
