"""The paper's ablations on CAVE: each row a training of the same few steps from the same seed.

    python -m benchmarks.ablations CAVE_FOLDER [--steps 300] [--only ROW ...] [--out ablations.csv]

CAVE_FOLDER holds the scenes as NAME_ms.jp2 (or whatever `emrdiff train` reads). Two scenes of the
training list, glass_tiles and hairs, are held out and measured; the paper's protocol (x8, Nikon
D700, 31 + 3 bands). The budget is far below the paper's, so only the order of rows can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from emrdiff_geo.training import train

# The package's `train` is the function.
training = importlib.import_module("emrdiff_geo.training.train")

#: Row: what differs from the published model, and the paper's PSNR in dB on Harvard.
ROWS: dict[str, tuple[dict[str, object], float | None]] = {
    "published": ({}, 49.28),
    "residual none": ({"residual": "none"}, 47.93),
    "residual unimodal": ({"residual": "unimodal"}, 48.46),
    "noise pure": ({"noise": "pure"}, 48.36),
    "T = 3": ({"chain_steps": 3}, 48.54),
    "T = 4": ({"chain_steps": 4}, 48.70),
    "T = 10": ({"chain_steps": 10}, 48.89),
    "UNet": ({"network": "unet"}, 44.87),
    "B-UNet": ({"network": "b-unet"}, 48.22),
    "AF-UNet": ({"network": "af-unet"}, 48.63),
    "BAF-UNet(S)": ({"network": "baf-unet-s"}, 48.54),
    "pseudo-MSI last": ({"pseudo_bands": "last"}, None),
    "pseudo-MSI spread": ({"pseudo_bands": "spread"}, None),
}
HELD_OUT = ("glass_tiles", "hairs")
VALIDATION = ("jelly_beans", "paints", "real_and_fake_peppers", "thread_spools")


@contextlib.contextmanager
def _small_budget() -> Iterator[None]:
    """What suits a few steps: most samples at the chain's first step, more kinds of scenes."""
    with (
        mock.patch.dict(training.LAST_STEP, published=0.75),
        mock.patch.dict(training.COARSENED, published=0.2),
    ):
        yield


def scenes(folder: Path) -> tuple[list[str], list[str]]:
    """Training and held-out scenes; those for validation are in neither."""
    files = sorted(p for p in folder.glob("*_ms.*") if not p.name.startswith(VALIDATION))
    held = [p for p in files if p.name.startswith(HELD_OUT)]
    return [f"{p}@400-700" for p in files if p not in held], [f"{p}@400-700" for p in held]


def main() -> None:
    """Train every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("ablations.csv"))
    options = parser.parse_args()
    data, held = scenes(options.folder)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["row", "psnr", "gain_over_start", "paper_psnr", "steps", "seconds"])
        for row in options.only:
            changes, paper = ROWS[row]
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as folder, _small_budget():
                result = train(
                    data,
                    folder,
                    variant="published",
                    val=held,
                    srf="nikon_d700",
                    ratio=8,
                    steps=options.steps,
                    patch=64,
                    seed=options.seed,
                    **changes,
                )
            seconds = round(time.process_time() - begun)
            found = f"{result['psnr']:.2f}", f"{result['gain']:.2f}"
            table.writerow([row, *found, paper or "", options.steps, seconds])
            file.flush()
            print(row, *found, f"{seconds} s", flush=True)


if __name__ == "__main__":
    main()
