"""Does tiling leave a trace? A scene fused whole and in tiles, with several margins and blends.

``python -m benchmarks.seam FOLDER``

- difference: RMS over RMS of (fused - prior), the prior being what the chain starts from; target
  1 %;
- gradients of the fused image across tile borders over those one pixel beside them; target within
  2 %; the same for (fused - prior), which is far weaker, is told too.

``crop`` is what the program does: every tile writes its core. ``linear`` and ``hann`` average
neighbouring tiles over half of their margins, with weights that sum to one along each axis. All of
the network's residual is kept. The picture shows (fused - prior) of one band, enhanced to the 2nd
and 98th percentile, and the difference to the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.fusion import open_pair
from emrdiff_geo.grids.pair import Pair
from emrdiff_geo.grids.tiling import Tile, TilePlan, plan_tiles
from emrdiff_geo.methods import MethodOptions, Place, get_method
from emrdiff_geo.scene.nodata import fill_invalid
from emrdiff_geo.scene.statistics import SceneStatistics

from . import _measure
from .make_scene import Scene, make_pair

#: From the place across the border between two tiles, -1..1, to the weight of the second.
RAMPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "crop": lambda x: (x > 0).astype(np.float32),
    "linear": lambda x: np.clip((x + 1) / 2, 0, 1).astype(np.float32),
    "hann": lambda x: (0.5 + 0.5 * np.sin(np.pi / 2 * np.clip(x, -1, 1))).astype(np.float32),
}
_FuseWindow = Callable[[Tile, int], np.ndarray]


def window_fuser(pair: Pair, statistics: SceneStatistics, method: str, options) -> _FuseWindow:
    """Function that fuses a tile's core and so many pixels around it, 0 elsewhere in its window."""

    def fuse(tile: Tile, margin: int) -> np.ndarray:
        rows, cols = (span.as_slice() for span in tile.window)
        hr, _ = fill_invalid(pair.msi.read(rows, cols))
        coarse = (slice(s.start // pair.ratio, s.stop // pair.ratio) for s in (rows, cols))
        lr, _ = fill_invalid(pair.hsi.read(*coarse)[statistics.good])
        inner = Place(tile.origin, tile.inner).around(hr.shape[1:], margin)
        place = Place(tile.origin, inner)
        window = np.zeros((len(lr), *hr.shape[1:]), np.float32)
        window[:, *inner] = get_method(method).fuse_tile(lr, hr, statistics, options, place)
        return window

    return fuse


def assembled(plan: TilePlan, fuse: _FuseWindow, bands: int) -> dict[str, np.ndarray]:
    """The scene put together by every blend."""
    out = {name: np.zeros((bands, *plan.frame), np.float32) for name in RAMPS}
    for tile in plan:
        alone, around = (fuse(tile, margin) for margin in (0, plan.halo // 2))
        rows, cols = (span.as_slice() for span in tile.window)
        for name, ramp in RAMPS.items():
            fused = alone if name == "crop" else around
            y, x = (_weights(plan, tile, axis, ramp) for axis in (0, 1))
            out[name][:, rows, cols] += fused * y[:, None] * x
    return out


def _weights(plan: TilePlan, tile: Tile, axis: int, ramp) -> np.ndarray:
    """1-D weights of a tile's window; those of all tiles of an axis sum to one."""
    window, core = tile.window[axis], tile.core[axis]
    at = np.arange(window.start, window.stop) - plan.offset[axis] + 0.5
    half = max(plan.halo // 2, 1)
    weight = np.ones(len(window), np.float32)
    if core.start > 0:
        weight *= ramp((at - core.start) / half)
    if core.stop < plan.target[axis]:
        weight *= 1 - ramp((at - core.stop) / half)
    return weight


def border_ratio(image: np.ndarray, tile: int) -> float:
    """Mean absolute gradient across tile borders over that one and two pixels beside them."""
    across, beside = [], []
    for axis in (1, 2):
        step = np.abs(np.diff(image, axis=axis)).mean(axis=(0, 3 - axis))
        for border in range(tile, image.shape[axis], tile):
            across.append(step[border - 1])
            beside += [step[border - 3], step[border - 2], step[border], step[border + 1]]
    return float(np.mean(across) / np.mean(beside))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--bands", type=int, default=32)
    parser.add_argument("--method", default="emrdiff")
    parser.add_argument("--tiles", type=int, nargs="+", default=[128, 192, 256])
    parser.add_argument("--halos", type=int, nargs="*", default=[64, 32, 16])
    args = parser.parse_args()
    pair = open_pair(*make_pair(args.folder, Scene(args.size, args.size, args.bands)))[0]
    statistics = measure_pair(pair, psf="gaussian", normalise=False)[1].statistics
    options = MethodOptions(self_check=False)
    method = get_method(args.method)
    if method.prepare is not None:
        options = method.prepare(options, statistics, lambda: None)
    fuse = window_fuser(pair, statistics, args.method, options)
    whole_plan = plan_tiles(pair, 0, args.size)
    whole = fuse(whole_plan[0, 0], 0)
    prior_of = "gaussian_process" if args.method == "emrdiff" else "bicubic"
    prior = window_fuser(pair, statistics, prior_of, options)(whole_plan[0, 0], 0)
    unit = float(np.sqrt(np.mean((whole - prior) ** 2)))
    print(f"RMS of (fused - prior): {unit:.3f}, of fused: {np.sqrt(np.mean(whole**2)):.1f}")
    rows, pictures = [], {"whole": whole - prior}
    for halo in args.halos or [method.halo(pair.ratio)]:
        for tile in args.tiles:
            found = assembled(plan_tiles(pair, halo, tile), fuse, len(whole))
            for blend, image in found.items():
                change = float(np.sqrt(np.mean((image - whole) ** 2))) / unit
                gradients = border_ratio(image, tile) / border_ratio(whole, tile)
                residual = border_ratio(image - prior, tile) / border_ratio(whole - prior, tile)
                row = {"margin": halo, "tile": tile, "blend": blend}
                row["difference %"] = f"{100 * change:.4f}"
                row["gradients %"] = f"{100 * (gradients - 1):+.3f}"
                row["of (fused - prior) %"] = f"{100 * (residual - 1):+.3f}"
                rows.append(row)
            if tile == min(args.tiles):
                pictures[f"tiles of {tile}, margin {halo}"] = found["crop"] - prior
            print(_measure.table(rows[-len(RAMPS) :]), flush=True)
    print(_measure.table(rows))
    _draw(args.folder / "seam.png", pictures)


def _draw(path: Path, pictures: dict[str, np.ndarray]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    whole = pictures["whole"]
    band = int(np.argmax(whole.std(axis=(1, 2))))
    low, high = np.percentile(whole[band], (2, 98))
    figure, axes = plt.subplots(2, len(pictures), figsize=(6 * len(pictures), 12), squeeze=False)
    for (above, below), (name, image) in zip(axes.T, pictures.items(), strict=True):
        above.imshow(image[band], vmin=low, vmax=high, cmap="gray", interpolation="nearest")
        above.set_title(name)
        change = image[band] - whole[band]
        limit = max(float(np.abs(change).max()), 1e-12)
        below.imshow(change, vmin=-limit, vmax=limit, cmap="RdBu", interpolation="nearest")
        below.set_title(f"less the whole, +-{limit:.2g}")
        for axis in (above, below):
            axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    main()
