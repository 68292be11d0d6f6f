"""What a cloud in one of the two images costs elsewhere: ``python -m benchmarks.clouds``.

The scenes, in ../shared/data, are of the training or were held out for decisions; none is one of
the validation. Pairs at ratio 4, whose HSI is degraded by the default PSF. Opaque clouds with soft
edges, 1.3 times as bright as the brightest ground, lie over a tenth of one image or the other. A
line for each scene: PSNR in dB of every method where neither image has a cloud, or an HSI pixel
that sees one, within two of its pixels; in brackets with --no-normalise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import xarray as xr
from scipy import ndimage

from emrdiff_geo.fusion import fuse
from emrdiff_geo.training.validate import psnr

from .disagreement import METHODS, RATIO, SCENES, as_pair, compare, field, opened

#: Bavaria's part has too little clear ground left.
CLOUDED = [name for name in SCENES if name != "bavaria"]


def pairs(name: str, seed: int) -> Iterator[tuple[str, xr.DataArray, xr.DataArray, np.ndarray]]:
    """Pairs of a scene: which image has clouds, HSI, MSI, reference; NaN where it is not clear."""
    cube, response, nm = opened(name)
    rng = np.random.default_rng(seed)
    opacity = np.clip((field(rng, cube.shape[1:], 12) - 1.3) / 0.5, 0, 1)
    white = 1.3 * np.percentile(cube, 98, axis=(1, 2))[:, None, None]
    cloudy = cube * (1 - opacity) + white * opacity
    clear = ~ndimage.binary_dilation(opacity > 0, iterations=2 * RATIO)
    reference = np.where(clear, cube, np.nan)
    for where, of_hsi, of_msi in (
        ("no clouds", cube, cube),
        ("clouds in the HSI", cloudy, cube),
        ("clouds in the MSI", cube, cloudy),
    ):
        msi = np.tensordot(response, of_msi, axes=1)
        yield where, *as_pair(of_hsi, msi, nm), reference


def scored(hsi: xr.DataArray, msi: xr.DataArray, reference: np.ndarray, **options: object) -> float:
    """PSNR of one result where it is clear, dB."""
    clear = np.isfinite(reference).all(axis=0)
    image = fuse(hsi, msi, tile=512, **options).image.values
    return psnr(image[:, clear][:, None], reference[:, clear][:, None])


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", default=CLOUDED, metavar="SCENE")
    parser.add_argument("--method", nargs="+", default=METHODS, metavar="NAME")
    parser.add_argument("--seed", type=int, default=3, help="of the clouds (3)")
    args = parser.parse_args()
    return compare(args.scenes, partial(pairs, seed=args.seed), scored, args.method)


if __name__ == "__main__":
    sys.exit(main())
