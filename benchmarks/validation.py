"""PSNR and SAM of all methods on the scenes that nothing is trained or tuned on.

    python -m benchmarks.validation [--weights NAME] [--seeds 0 1 2] [--figure OUT.png] [SCENE...]

The scenes are in ../shared/data. CAVE: x8 by the paper's protocol; remote sensing: x4, an MSI like
Sentinel-2; berlin: the real pair one ratio lower. A line for each scene and method: PSNR in dB,
SAM in degrees, for emrdiff the mean and the range over the seeds; "all" keeps all of the network's
residual. `--figure` shows three scenes: coarse input, regression, emrdiff, reference, errors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from emrdiff_geo.evaluation.metrics import score
from emrdiff_geo.evaluation.report import comparison_figure, save_figure
from emrdiff_geo.fusion import fuse

from ._scenes import BENCH, CAVE, DATA, Scene, validation_scene

GROUPS = {"CAVE": CAVE, "remote sensing": tuple(BENCH), "berlin": ("berlin",)}
SHOWN = ("thread_spools", "indian_pines", "berlin")


def fused(scene: Scene, **options: object) -> np.ndarray:
    """Result ``(L, y, x)`` of one method."""
    return fuse(scene.hsi, scene.msi, psf=scene.psf, tile=512, **options).image.values


def table(scene: Scene, weights: str, seeds: list[int]) -> dict[str, list[tuple[float, float]]]:
    """PSNR and SAM of every method, of emrdiff for every seed."""
    learned = {"method": "emrdiff", "weights": weights}
    runs: dict[str, list[dict[str, object]]] = {
        "regression": [{"method": "regression"}],
        "local_regression": [{"method": "local_regression"}],
        "gaussian_process": [{"method": "gaussian_process"}],
        "emrdiff": [{**learned, "seed": seed} for seed in seeds],
        "emrdiff, all": [{**learned, "seed": seeds[0], "self_check": False}],
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for name, options in runs.items():
        scores = [score(fused(scene, **o), scene.cube, scene.ratio) for o in options]
        found[name] = [(s["PSNR"], s["SAM"]) for s in scores]
    return found


def told(values: list[tuple[float, float]]) -> str:
    """PSNR / SAM, with the range of the PSNR where there are several."""
    psnr, sam = np.array(values).T
    spread = f" +-{np.ptp(psnr) / 2:.3f}" if len(values) > 1 else ""
    return f"{psnr.mean():7.3f}{spread} / {sam.mean():.3f}"


def figures(out: Path, weights: str) -> None:
    """A picture of each of three scenes, ``OUT-SCENE.png``."""
    for name in SHOWN:
        scene = validation_scene(name)
        results = {
            "regression": fused(scene, method="regression"),
            "emrdiff": fused(scene, weights=weights),
        }
        scores = {key: score(image, scene.cube, scene.ratio) for key, image in results.items()}
        figure = comparison_figure(
            results,
            scene.cube,
            hsi=scene.hsi,
            scores=scores,
            wavelength_nm=scene.hsi.wavelength.values,
            title=f"{name}, ratio {scene.ratio}",
        )
        save_figure(figure, out.with_name(f"{out.stem}-{name}.png"), dpi=100)


def main() -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="names; by default all nine")
    parser.add_argument("--weights", default="universal")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--figure", type=Path, metavar="OUT.png")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("../shared/data, which holds the validation scenes, is absent: nothing was measured")
        return 0
    if args.figure:
        figures(args.figure, args.weights)
        return 0
    for group, names in GROUPS.items():
        rows = []
        for name in [n for n in names if not args.scenes or n in args.scenes]:
            rows.append(table(validation_scene(name), args.weights, args.seeds))
            print(f"{name:22}", *(f"{m}: {told(v)};" for m, v in rows[-1].items()), flush=True)
        if rows:
            means = {m: [tuple(np.mean([r[m] for r in rows], axis=(0, 1)))] for m in rows[0]}
            print(f"mean, {group:16}", *(f"{m}: {told(v)};" for m, v in means.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
