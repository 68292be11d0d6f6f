"""What dead values of single HSI bands cost the others: ``python -m benchmarks.gaps``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF. In every band 3 % of the
columns are dead, and 1 % of the other values: marked as nodata, or 0 and not marked; or 1 % of all
are three times the largest. Lines for each scene: PSNR in dB of every method on the other values,
without any dead and with them, and on the dead ones, which are filled; the last two in brackets
with --no-normalise.
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
KINDS = {"marked": np.nan, "zeros": 0.0, "hot": 3.0}


def scored(name: str, kind: str, method: str, seed: int) -> list[float]:
    """PSNR of one scene by one method, dB: whole, elsewhere, there; the last two as it is, too."""
    cube, response, nm = opened(name)
    hsi, msi = as_pair(cube, np.tensordot(response, cube, axes=1), nm)
    rng = np.random.default_rng(seed)
    columns = rng.random((len(cube), 1, hsi.shape[2])) < COLUMNS * (kind != "hot")
    gaps = columns | (rng.random(hsi.shape) < VALUES)
    lost = gaps.repeat(RATIO, axis=1).repeat(RATIO, axis=2)
    options = {"method": method, "tile": 512, "fill_gaps": True}
    dead = hsi.where(~gaps, KINDS[kind] * float(hsi.max()))
    whole, filled = (fuse(i, msi, **options).image.values for i in (hsi, dead))
    raw = fuse(dead, msi, normalise=False, **options).image.values
    places = (whole, ~lost), (filled, ~lost), (filled, lost), (raw, ~lost), (raw, lost)
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
    for kind in KINDS:
        found = []
        for name in args.scenes or SCENES:
            found.append([scored(name, kind, method, args.seed) for method in args.method])
            _tell(f"{name} {kind}", args.method, found[-1])
        _tell(f"mean {kind}", args.method, np.mean(found, axis=0))
    return 0


def _tell(name: str, methods: list[str], row: list[list[float]]) -> None:
    values = ("{:.2f}, {:.2f}, {:.2f} ({:.2f}, {:.2f})".format(*five) for five in row)
    told = (f"{m} {v}" for m, v in zip(methods, values, strict=True))
    print(f"{name:21}", "; ".join(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
