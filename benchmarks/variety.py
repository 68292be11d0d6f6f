"""Gain of the universal variant against the variety of the scenes it is trained on.

    python -m benchmarks.variety SHARED_DATA [--library SLI] [--steps 1000] [--out variety.csv]

SHARED_DATA is the folder with `cave`, `bench` and `georef`; the library is an ENVI spectral one,
such as that of the package `earthlib`. Each row adds to the one before. Measured are six random
pairs of each of three remote-sensing scenes of the training list that are held out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest import mock

from emrdiff_geo.training import train
from emrdiff_geo.training.validate import validation_pairs

from .designs import HELD, TRAIN, scenes

GEOREF = (
    "aviris_mastercal194_15m_rot71",
    "bavaria_hyspex325_4m",
    "berlin_enmapsim244_30m",
    "berlin_hymap111_9m",
    "neon_sjer426_1m",
    "potsdam_enmap224_30m_mosaic",
)


def rows(folder: Path, library: str | None) -> dict[str, tuple[list[str], str | None]]:
    """Scenes and library of every row."""
    known = scenes(folder)[0]
    bench = [f for f in known if "/bench/" in f]
    bench.append(f"{folder}/bench/muufl64_taef.npz@375-1050")
    every = bench + [f"{folder}/georef/{name}.tif" for name in GEOREF]
    table: dict[str, tuple[list[str], str | None]] = {
        "one site": ([f for f in bench if "airport-" in f], None),
        "ABU, San Diego, MUUFL": (bench, None),
        "and six sensors": (every, None),
        "and CAVE": (known + every[len(bench) - 1 :], None),
    }
    if library:
        table["and composed scenes"] = (table["and CAVE"][0], library)
    return table


def main() -> None:
    """Train every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--library")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("variety.csv"))
    options = parser.parse_args()
    held = [f"{options.folder}/bench/{name}.npz@400-2500" for name in HELD]
    more_pairs = mock.patch(f"{TRAIN}.validation_pairs", partial(validation_pairs, count=6))
    with options.out.open("w", newline="", encoding="utf-8") as file, more_pairs:
        table = csv.writer(file)
        table.writerow(["row", "scenes", "gain", "steps", "seconds"])
        for row, (data, library) in rows(options.folder, options.library).items():
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                steps, seed = options.steps, options.seed
                found = train(
                    data, folder, val=held, steps=steps, seed=seed, library=library, workers=0
                )
            seconds = round(time.process_time() - begun)
            table.writerow([row, len(data), f"{found['gain']:.3f}", steps, seconds])
            file.flush()
            print(row, len(data), f"{found['gain']:.3f} dB, {seconds} s", flush=True)


if __name__ == "__main__":
    main()
