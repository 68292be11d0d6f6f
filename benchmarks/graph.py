"""Size of the task graph at the size of Chikusei: ``python -m benchmarks.graph FOLDER``.

Target: at most two tasks a tile, no array over 1 MB inside. Both the lazy form and what goes to a
dask cluster are looked at; arrays are those that pickle finds inside.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

import emrdiff_geo
from emrdiff_geo.fusion import FusionOptions, _prepare

from . import _measure
from .make_scene import Scene, make_pair


class _Weigher(cloudpickle.Pickler):
    """Pickles, and notes how large the arrays inside are."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        self.largest = 0

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            self.largest = max(self.largest, value.nbytes)
        return super().reducer_override(value)


def weigh(value: Any) -> tuple[int, int]:
    """Bytes of something pickled, and of the largest array inside."""
    file = io.BytesIO()
    weigher = _Weigher(file)
    weigher.dump(value)
    return len(file.getvalue()), weigher.largest


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="local_regression")
    parser.add_argument("--bands", type=int, nargs="+", default=[128, 450])
    args = parser.parse_args()
    rows = []
    for bands in args.bands:
        scene = Scene(bands=bands) if bands == 128 else Scene(768, 768, bands)
        hsi, msi = make_pair(args.folder / f"bands{bands}", scene)
        options = {"method": args.method, "self_check": False}
        image = emrdiff_geo.fuse(hsi, msi, **options).image.data
        graph = dict(image.__dask_graph__())
        run = _prepare(str(hsi), str(msi), FusionOptions(**options))[0]
        tiles = int(np.prod(image.numblocks))
        for what, value, tasks in (
            ("lazy graph", graph, len(graph)),
            ("run sent to each worker once", run, tiles),
        ):
            size, largest = weigh(value)
            row = {"bands": bands, "what": what, "tiles": tiles, "tasks": tasks}
            row["tasks a tile"] = f"{tasks / tiles:.2f}"
            row |= {"pickled kB": f"{size / 1e3:.0f}", "largest array kB": f"{largest / 1e3:.0f}"}
            rows.append(row)
    print(_measure.table(rows))


if __name__ == "__main__":
    main()
