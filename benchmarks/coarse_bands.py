"""MSI whose bands have pixels of two sizes, as Sentinel-2's: ``python -m benchmarks.coarse_bands``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF. Of the MSI the bands
that Sentinel-2 has at 20 m are degraded by 2 in the same way, and brought back onto the fine grid.
A line for each scene and way to do so: PSNR in dB of every method as it is, and in brackets with
--no-normalise, which takes these bands as they are; and without these bands at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from scipy import ndimage

from emrdiff_geo.degradation.degrade import Degradation

from .disagreement import METHODS, SCENES, as_pair, compare, opened, scored

FINE = {"B02", "B03", "B04", "B08"}
NAMES = [name for name, (_, sensor) in SCENES.items() if sensor.startswith("sentinel2")]
WIDTH = 2


def _zoomed(order: int) -> Callable[[np.ndarray], np.ndarray]:
    def zoomed(image: np.ndarray) -> np.ndarray:
        factors = 1, WIDTH, WIDTH
        return ndimage.zoom(image, factors, order=order, mode="nearest", grid_mode=True)

    return zoomed


WAYS = {"nearest": _zoomed(0), "bilinear": _zoomed(1), "cubic": _zoomed(3)}


def pairs(name: str) -> Iterator[tuple[str, xr.DataArray, xr.DataArray, np.ndarray]]:
    """Pairs of a scene: what was done, HSI, MSI, reference."""
    cube, response, nm = opened(name)
    bands = SCENES[name][1].split(":")[1].split(",")
    fine = np.array([band in FINE for band in bands])
    msi = np.tensordot(response, cube, axes=1).astype(np.float32)
    yield "all of 10 m", *as_pair(cube, msi, nm), cube
    yield "those of 10 m", *as_pair(cube, msi[fine], nm), cube
    coarse = Degradation(WIDTH).down(msi[~fine])
    for way, resampled in WAYS.items():
        mixed = msi.copy()
        mixed[~fine] = resampled(coarse)
        yield way, *as_pair(cube, mixed, nm), cube


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(NAMES))
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    args = parser.parse_args()
    return compare(args.scenes or NAMES, pairs, scored, args.method)


if __name__ == "__main__":
    sys.exit(main())
