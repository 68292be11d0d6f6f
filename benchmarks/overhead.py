"""What everything but the network costs: ``python -m benchmarks.overhead FOLDER``.

The whole of ``fuse_to_file`` (reading, statistics, state, noise, tiles, writing) over the time
spent inside the network on the way, so that both see the same pixels and the same machine. Target:
at most 15 % more. All of it on one core, tile after tile: by default tiles are computed side by
side, each on a core of its own. Told apart are the method's own work beside the network (the prior,
noise and arithmetic of the chain) and all the rest (reading, tiling, writing). What the margins
cost is told beside it: the pixels that go through the network over those of the scene.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from emrdiff_geo.fusion import fuse_to_file, plan_fusion
from emrdiff_geo.model.bafunet import BAFUNet
from emrdiff_geo.run.pipeline import Run

from . import _measure
from .make_scene import Scene, make_pair


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--bands", type=int, default=128)
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--suffix", choices=("tif", "zarr"), default="tif")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pair = make_pair(args.folder, Scene(args.size, args.size, args.bands))
    small = make_pair(args.folder / "small", Scene(256, 256, args.bands))
    timed(small, args.folder / "small.tif", {"device": args.device})  # loads libraries and model
    rows = []
    for tile in args.tiles:
        options = {"tile": tile, "device": args.device, "self_check": False}
        plan = plan_fusion(*pair, **options).tiles
        spent = timed(pair, args.folder / f"out.{args.suffix}", options)
        total, bare = spent["total"], spent["network"]
        window = plan.window_shape[0] * plan.window_shape[1]
        rest = total - bare
        row = {"tile": tile, "window": plan.window_shape[0], "tiles": len(plan)}
        row |= {"total s": f"{total:.1f}", "network s": f"{bare:.1f}"}
        row["overhead %"] = f"{100 * rest / bare:.1f}"
        row["prior and chain %"] = f"{100 * (spent['method'] - bare) / bare:.1f}"
        row["reading, tiling, writing %"] = f"{100 * (total - spent['method']) / bare:.1f}"
        row |= {
            f"{stage} %": f"{100 * spent[stage] / bare:.1f}" for stage in ("statistics", "write")
        }
        row["pixels by margins"] = f"{window * len(plan) / (args.size * args.size):.2f}"
        rows.append(row)
        print(_measure.table(rows[-1:]), flush=True)
    print(_measure.table(rows))


def timed(pair, out: Path, options: dict) -> dict[str, float]:
    """Seconds of a fusion by stage, and of the network in it."""
    spent: dict[str, float] = defaultdict(float)

    def watched(bare: Callable[..., Any], name: str = "network") -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            found = bare(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            spent[name] += time.perf_counter() - begun
            return found

        return call

    last = {"stage": "statistics", "at": time.perf_counter()}

    def tell(event) -> None:
        now = time.perf_counter()
        spent[last["stage"]] += now - last["at"]
        last.update(stage=event.stage, at=now)

    with (
        patch.object(BAFUNet, "forward", watched(BAFUNet.forward)),
        patch.object(BAFUNet, "encode_guide", watched(BAFUNet.encode_guide)),
        patch.object(Run, "_fuse", watched(Run._fuse, "method")),
    ):
        begun = time.perf_counter()
        last["at"] = begun
        options = {**options, "scheduler": "synchronous"}
        fuse_to_file(*pair, out, overwrite=True, progress=tell, **options)
        spent["total"] = time.perf_counter() - begun
    return spent


if __name__ == "__main__":
    main()
