"""Ten kills at random moments, each followed by --resume: ``python -m benchmarks.kills FOLDER``.

Target: the same bytes as an unbroken run, and no finished tile computed twice. A tile counts as
finished once the journal names it; what a run computes is counted from its progress lines.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import time
from pathlib import Path

from emrdiff_geo.writing.journal import read_journal

from . import _measure
from .make_scene import Scene, make_pair


def killed_after(command: list[str], seconds: float, log: Path) -> bool:
    """Run a command and kill it after a time; false if it ended by itself before."""
    with (
        open(log, "wb") as lines,
        subprocess.Popen(command, stdout=lines, stderr=subprocess.DEVNULL) as run,
    ):
        try:
            run.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            run.kill()
            return True


def began_with(log: Path) -> int | None:
    """Tiles that a killed run took for finished; None if it did not get so far."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"stage": "fuse"' in line:
            return int(json.loads(line)["done"])
    return None


def entries(out: Path) -> list[tuple[int, int]]:
    """Tiles that the journal of an unfinished run names."""
    record = read_journal(out.parent / f".{out.name}.partial" / "journal")
    return [] if record is None else list(record.tiles)


def computed(events: list[dict]) -> int:
    """Tiles that a run has computed itself."""
    done = [e["done"] for e in events if e.get("stage") == "fuse"]
    return done[-1] - done[0]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="local_regression")
    parser.add_argument("--suffix", choices=("tif", "zarr"), default="tif")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--bands", type=int, default=64)
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pair = make_pair(args.folder, Scene(args.size, args.size, args.bands))
    options = ["--method", args.method, "--tile", args.tile]
    unbroken = args.folder / f"unbroken.{args.suffix}"
    seen = _measure.watch("fuse", *pair, unbroken, *options, "--overwrite")
    tiles, duration = computed(seen.events), seen.total
    print(f"unbroken: {tiles} tiles in {duration:.1f} s ({json.dumps(seen.seconds)})")
    out = args.folder / f"killed.{args.suffix}"
    command = _measure.emrdiff("fuse", *pair, out, *options, "--resume", "--progress", "json")
    draws, kept, lost, kills = random.Random(args.seed), [], 0, 0
    again = 0
    log = args.folder / "killed.log"
    while kills < args.kills:
        # Half of the moments soon after the fusing begins, half anywhere.
        start = seen.seconds["start"] + seen.seconds["statistics"]
        after = draws.uniform(0.5, 1.1) * start if kills % 2 else draws.uniform(0.2, 1) * duration
        before = time.perf_counter()
        if not killed_after(command, after, log):
            print("ended by itself: once more from the beginning")
            subprocess.run(["rm", "-rf", str(out)], check=True)
            kept = []
            continue
        kills += 1
        now = entries(out)
        lost += len(set(kept) - set(now))
        begun = began_with(log)
        again += 0 if begun is None else len(kept) - begun
        took = time.perf_counter() - before
        print(f"kill {kills} after {took:.1f} s: {len(now)} of {tiles} finished")
        kept = now
    last = _measure.watch("fuse", *pair, out, *options, "--resume")
    again += computed(last.events) - (tiles - len(kept))
    same = _measure.digest(out) == _measure.digest(unbroken)
    print(f"finished tiles that a journal lost: {lost}; computed twice: {again}")
    print("identical" if same else "DIFFERENT")


if __name__ == "__main__":
    main()
