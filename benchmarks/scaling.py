"""Time and memory against the size of the scene: ``python -m benchmarks.scaling FOLDER``.

Scenes of 0.25, 1, 4 and 16 million pixels with the same budget; target: time linear, memory flat.
The table tells both relative to the smallest scene that has as many pixels as a tile, so that what
is compared was measured in one run; a picture shows them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from . import _measure
from .make_scene import Scene, make_pair


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4, 16])
    parser.add_argument("--bands", type=int, default=64)
    parser.add_argument("--method", default="local_regression")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--suffix", choices=("tif", "zarr"), default="tif")
    parser.add_argument("--figure", type=Path, help="default: scaling.png in the folder")
    args = parser.parse_args()
    rows, seconds, peaks = [], [], []
    for size in args.megapixels:
        edge = round(math.sqrt(size * 2**20))
        folder = args.folder / f"{edge}"
        pair = make_pair(folder, Scene(edge, edge, args.bands))
        options = ["--method", args.method, "--memory", args.memory]
        out = folder / f"out.{args.suffix}"
        seen = _measure.watch("fuse", *pair, out, *options, "--overwrite")
        out.unlink() if out.is_file() else None
        seconds.append(seen.total - seen.seconds.get("start", 0))
        peaks.append(seen.largest / 2**20)
        row = {"Mpx": size, "seconds": f"{seconds[-1]:.1f}"}
        row["seconds a Mpx"] = f"{seconds[-1] / size:.2f}"
        row["peak MB"] = f"{peaks[-1]:.0f}"
        row |= {f"{name} s": f"{value:.1f}" for name, value in seen.seconds.items()}
        rows.append(row)
        print(_measure.table(rows[-1:]), flush=True)
    print(_measure.table(rows))
    _draw(args.figure or args.folder / "scaling.png", args.megapixels, seconds, peaks)


def _draw(path: Path, sizes: list[float], seconds: list[float], peaks: list[float]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    left.loglog(sizes, seconds, "o-", label="measured")
    unit = seconds[-1] / sizes[-1]
    left.loglog(sizes, [unit * s for s in sizes], "--", color="0.6", label="linear")
    left.set(xlabel="million pixels", ylabel="seconds", title="time")
    left.legend(frameon=False)
    right.semilogx(sizes, peaks, "o-")
    right.set(xlabel="million pixels", ylabel="MB", title="peak memory", ylim=(0, None))
    for axis in (left, right):
        axis.set_xticks(sizes, [f"{s:g}" for s in sizes])
        axis.minorticks_off()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
