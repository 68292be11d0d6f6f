"""Peak memory at the size of Chikusei and at four times its height.

``python -m benchmarks.memory FOLDER --method local_regression --memory 2GB``

Target: the whole process tree stays within the budget plus interpreter and model, and the taller
scene needs at most 1.1 times as much.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import _measure
from .make_scene import CHIKUSEI, Scene, make_pair


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="local_regression")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--height", type=int, default=CHIKUSEI[0])
    parser.add_argument("--width", type=int, default=CHIKUSEI[1])
    parser.add_argument("--bands", type=int, default=CHIKUSEI[2])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--suffix", choices=("tif", "zarr"), default="tif")
    parser.add_argument("--dask", help="as of emrdiff fuse")
    args = parser.parse_args()
    rows = []
    for times in args.times:
        folder = args.folder / f"height{times}"
        hsi, msi = make_pair(folder, Scene(args.height * times, args.width, args.bands))
        options = ["--method", args.method, "--memory", args.memory]
        options += ["--dask", args.dask] if args.dask else []
        memory = _measure.plan(hsi, msi, *options)["memory"]
        out = folder / f"out.{args.suffix}"
        seen = _measure.watch("fuse", hsi, msi, out, *options, "--overwrite")
        row = {"height": args.height * times, "peak MB": seen.largest / 2**20}
        row |= {"projected MB": memory["total"] / 2**20, "resident MB": memory["resident"] / 2**20}
        row |= {f"{stage} MB": peak / 2**20 for stage, peak in seen.peak.items()}
        row |= {f"{stage} s": seconds for stage, seconds in seen.seconds.items()}
        rows.append({name: f"{value:.0f}" for name, value in row.items()})
        rows[-1]["ratio"] = f"{seen.largest / float(rows[0]['peak MB']) / 2**20:.3f}"
        print(_measure.table(rows[-1:]), flush=True)
    print(_measure.table(rows))


if __name__ == "__main__":
    main()
