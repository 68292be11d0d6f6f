"""Peaks of single tiles against `emrdiff_geo.run.memory`: ``python -m benchmarks.peaks``.

Every case runs in a process of its own: what one tile allocates beyond a process that has loaded
its libraries and its model, and what is projected for it. Target: peak <= projected.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys

import numpy as np

from . import _measure

CASES = (
    # edge of the tile, HSI bands, MSI bands, ratio
    (96, 128, 4, 8),
    (192, 128, 4, 8),
    (192, 32, 4, 8),
    (192, 244, 4, 8),
    (288, 128, 12, 4),
    (384, 128, 10, 2),
    (128, 128, 4, 16),
    (448, 64, 4, 8),
)


def measure(method: str, tile: int, n_hsi: int, n_msi: int, ratio: int) -> tuple[int, int, int]:
    """Peak and projection of a tile, and what the process had before, in bytes."""
    from emrdiff_geo.degradation.degrade import Degradation
    from emrdiff_geo.methods import MethodOptions, Place, get_method
    from emrdiff_geo.run.memory import Case, shares, tile_bytes
    from emrdiff_geo.scene.statistics import pair_statistics

    chosen, options = get_method(method), MethodOptions(self_check=False, device="cpu")
    halo = -(-chosen.halo(ratio) // ratio) * ratio
    edge = tile + 2 * halo
    draws = np.random.default_rng(0)
    low = edge // ratio
    lr = draws.random((n_hsi, low, low), dtype=np.float32)
    hr = draws.random((n_msi, edge, edge), dtype=np.float32)
    statistics = pair_statistics(
        lr[:, :16, :16],
        hr[:, : 16 * ratio, : 16 * ratio],
        Degradation(ratio),
        np.linspace(400, 1000, n_hsi),
        None,
    )
    if chosen.prepare is not None:
        options = chosen.prepare(options, statistics, lambda: None)
    small = lr[:, :4, :4].copy(), hr[:, : 4 * ratio, : 4 * ratio].copy()
    chosen.fuse_tile(*small, statistics, options, Place())
    before = _memory("VmRSS")
    chosen.fuse_tile(lr, hr, statistics, options, Place(inner=(slice(halo, edge - halo),) * 2))
    case = Case(n_hsi, n_msi, ratio, False, (edge, edge), method, options)
    known = edge * edge, 4 * n_hsi * tile**2, *shares(case, tile, (edge, edge))
    return _memory("VmHWM") - before, tile_bytes(case, *known), before


def _memory(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Command line."""
    from emrdiff_geo.methods import METHODS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(*measure(args.one[0], *map(int, args.one[1:])))
        return
    rows = []
    for method, case in itertools.product(args.methods, CASES):
        command = [sys.executable, "-m", "benchmarks.peaks", "--one", method, *map(str, case)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        peak, projected, before = map(int, done.stdout.split())
        names = ("tile", "HSI bands", "MSI bands", "ratio")
        row = {"method": method, **dict(zip(names, case, strict=True))}
        row |= {"peak MB": f"{peak / 2**20:.0f}", "projected MB": f"{projected / 2**20:.0f}"}
        row |= {"ratio of both": f"{peak / projected:.2f}", "before MB": f"{before / 2**20:.0f}"}
        rows.append(row)
        print(_measure.table(rows[-1:]).splitlines()[-1], flush=True)
    print(_measure.table(rows))
    worst = max(float(row["ratio of both"]) for row in rows)
    print(f"largest peak over projection: {worst:.2f}")


if __name__ == "__main__":
    main()
