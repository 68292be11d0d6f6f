"""Does the predicted deviation mean something? Predicted against actual errors, on unseen scenes.

    python -m benchmarks.uncertainty [--samples 8] [--weights universal] [SCENE...]

The pairs are simulated from the validation scenes in ../shared/data, on which nothing was trained,
tuned or calibrated. Needs about a minute a scene on two cores. A line for each scene: PSNR of one
sample and of the mean of all, Spearman's rank correlation of the predicted deviation with the size
of the error (over all pixels and bands, and over pixels for the RMS over the bands), and the share
of errors within one and two deviations (68 % and 95 % for normal errors).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from scipy.stats import spearmanr

from emrdiff_geo.fusion import fuse

from ._scenes import BENCH, CAVE, DATA, Scene, validation_scene


def measure(scene: Scene, samples: int, weights: str) -> dict[str, float]:
    """Fuse a scene and compare what is predicted of the errors with them."""
    options = {"weights": weights, "psf": scene.psf, "tile": 512}
    found = fuse(scene.hsi, scene.msi, samples=samples, uncertainty=True, **options).compute()
    single = fuse(scene.hsi, scene.msi, **options).image.values
    sigma, error = found.uncertainty.values, found.image.values - scene.cube
    size = np.abs(error)
    pixels = [np.sqrt(np.mean(np.square(v), axis=0)).ravel() for v in (sigma, error)]
    return {
        "PSNR, one": psnr(single - scene.cube, scene.cube),
        "PSNR, mean": psnr(error, scene.cube),
        "rank": float(spearmanr(sigma.ravel(), size.ravel()).statistic),
        "rank, pixels": float(spearmanr(*pixels).statistic),
        "1 sigma": float(np.mean(size <= sigma)),
        "2 sigma": float(np.mean(size <= 2 * sigma)),
    }


def psnr(error: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the bands of the peak signal-to-noise ratio, dB; the peak is the scene's."""
    power = np.mean(np.square(error, dtype=np.float64), axis=(1, 2))
    return float(np.mean(10 * np.log10(float(reference.max()) ** 2 / power)))


def rows(names: list[str], samples: int, weights: str) -> Iterator[dict[str, float]]:
    """Measure scenes and print a line for each."""
    for name in names:
        found = measure(validation_scene(name), samples, weights)
        print(f"{name:22}", *(f"{value:12.3f}" for value in found.values()), flush=True)
        yield found


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="names; by default all eight")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--weights", default="universal")
    args = parser.parse_args()
    if unknown := set(args.scenes) - {*CAVE, *BENCH}:
        parser.error(f"{', '.join(unknown)}: choose of {', '.join((*CAVE, *BENCH))}")
    if not DATA.is_dir():
        print("../shared/data, which holds the validation scenes, is absent: nothing was measured")
        return 0
    heads = ("PSNR, one", "PSNR, mean", "rank", "rank, pixels", "1 sigma", "2 sigma")
    print(f"{'scene':22}", *(f"{head:>12}" for head in heads))
    found = list(rows(args.scenes or [*CAVE, *BENCH], args.samples, args.weights))
    means = (np.mean([row[head] for row in found]) for head in heads)
    print(f"{'mean':22}", *(f"{value:12.3f}" for value in means))
    return 0


if __name__ == "__main__":
    sys.exit(main())
