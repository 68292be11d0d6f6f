"""Same bytes on every scheduler: ``python -m benchmarks.schedulers FOLDER``.

One scene is fused one tile after the other, in threads, by two dask worker processes of one and of
two threads, and one after the other in a random order. Target: identical files.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from emrdiff_geo.fusion import fuse_to_file
from emrdiff_geo.run import workers

from . import _measure
from .make_scene import Scene, make_pair


def shuffled(job: Any, tiles: Any, scheduler: Any = None) -> Any:
    """`workers.computed` in a random order."""
    tiles = list(tiles)
    random.Random(0).shuffle(tiles)
    return workers.computed(job, tiles, scheduler)


def by_cluster(threads: int) -> Callable[..., None]:
    """Fuse by two worker processes of so many threads."""

    def fuse(*args: Any, **options: Any) -> None:
        from distributed import Client, LocalCluster

        made = {"n_workers": 2, "threads_per_worker": threads, "dashboard_address": None}
        with LocalCluster(processes=True, **made) as cluster, Client(cluster) as client:
            fuse_to_file(*args, scheduler=client, **options)

    return fuse


def in_random_order(*args: Any, **options: Any) -> None:
    """Fuse in a random order."""
    with patch("emrdiff_geo.run.execute.computed", shuffled):
        fuse_to_file(*args, **options)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["local_regression", "emrdiff"])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--bands", type=int, default=64)
    parser.add_argument("--tile", type=int, default=128)
    args = parser.parse_args()
    pair = make_pair(args.folder, Scene(args.size, args.size, args.bands))
    ways = {
        "one by one": lambda *a, **o: fuse_to_file(*a, scheduler="synchronous", **o),
        "threads": lambda *a, **o: fuse_to_file(*a, scheduler="threads", **o),
        "2 processes of 1 thread": by_cluster(1),
        "2 processes of 2 threads": by_cluster(2),
        "random order": in_random_order,
    }
    rows = []
    for method in args.methods:
        for suffix in ("tif", "zarr"):
            for way, fuse in ways.items():
                out = args.folder / f"out.{suffix}"
                begun = time.perf_counter()
                fuse(*pair, out, overwrite=True, method=method, tile=args.tile, device="cpu")
                row = {"method": method, "file": suffix, "scheduler": way}
                row["digest"] = _measure.digest(out)
                row["seconds"] = f"{time.perf_counter() - begun:.1f}"
                rows.append(row)
    print(_measure.table(rows))
    kinds = {(row["method"], row["file"]) for row in rows}
    digests = {(row["method"], row["file"], row["digest"]) for row in rows}
    print("identical" if len(digests) == len(kinds) else "DIFFERENT")


if __name__ == "__main__":
    main()
