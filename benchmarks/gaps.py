"""What gaps of single HSI bands cost where there are none: ``python -m benchmarks.gaps``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF. In every band 3 % of the
columns are dead, and 1 % of the other values. A line for each scene: PSNR in dB of every method on
the other values, without gaps and with them, and on the gaps once they are filled.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from emrdiff_geo.fusion import fuse
from emrdiff_geo.training.validate import psnr

from ._scenes import DATA
from .disagreement import METHODS, RATIO, SCENES, as_pair, opened

COLUMNS, VALUES = 0.03, 0.01


def scored(name: str, method: str, seed: int) -> list[float]:
    """PSNR of one scene by one method, dB: whole, with gaps, in the gaps."""
    cube, response, nm = opened(name)
    hsi, msi = as_pair(cube, np.tensordot(response, cube, axes=1), nm)
    rng = np.random.default_rng(seed)
    gaps = rng.random((len(cube), 1, hsi.shape[2])) < COLUMNS
    gaps = gaps | (rng.random(hsi.shape) < VALUES)
    lost = gaps.repeat(RATIO, axis=1).repeat(RATIO, axis=2)
    options = {"method": method, "tile": 512, "fill_gaps": True}
    whole, filled = (fuse(i, msi, **options).image.values for i in (hsi, hsi.where(~gaps)))
    places = (whole, ~lost), (filled, ~lost), (filled, lost)
    return [psnr(image[at][None, None], cube[at][None, None]) for image, at in places]


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the gaps (0)")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the scenes, is absent: nothing was measured")
        return 0
    found = []
    for name in args.scenes or SCENES:
        found.append([scored(name, method, args.seed) for method in args.method])
        _tell(name, args.method, found[-1])
    _tell("mean", args.method, np.mean(found, axis=0))
    return 0


def _tell(name: str, methods: list[str], row: list[list[float]]) -> None:
    values = (", ".join(f"{v:.2f}" for v in three) for three in row)
    told = (f"{m} {v}" for m, v in zip(methods, values, strict=True))
    print(f"{name:14}", "; ".join(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
