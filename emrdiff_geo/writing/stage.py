"""An image that is needed while another one is made, and lies on the disk meanwhile."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ResumeError
from ..grids.sources import Windowed
from ..metadata import Provenance
from .claim import partial_folder
from .gathering import GatheringSink, left_to_resume
from .layout import raster_layout
from .zarr_groups import create_stage, open_stage


@dataclass(frozen=True, eq=False)
class StoredSource(Windowed):
    """Windows of a Zarr array.

    Parameters
    ----------
    array : zarr.Array, (band, y, x) float32
    """

    array: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        bands, height, width = self.array.shape
        return bands, height, width

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        return np.asarray(self.array[:, rows, cols], np.float32)


def stage_path(path: Path, name: str) -> Path:
    """Under whose name an image lies that is for the result at `path`."""
    return path.with_name(f"{path.name}.{name}.zarr")


def check_stages(path: Path, *, resume: bool, overwrite: bool) -> None:
    """`check_leftover` for the images of a result."""
    if any(map(left_to_resume, _stages(path))) and not (resume or overwrite):
        raise ResumeError(
            f"{path} was begun: pass --resume to continue, or --overwrite to start anew"
        )


def discard_stages(path: Path) -> None:
    """Remove what earlier runs have left of images, once the result at `path` is there."""
    for folder in _stages(path):
        shutil.rmtree(folder, ignore_errors=True)


def _stages(path: Path) -> list[Path]:
    name = partial_folder(stage_path(Path(glob.escape(path.name)), "*")).name
    return sorted(path.parent.glob(name))


class StageSink(GatheringSink):
    """Keeps regions in the hidden folder as long as it is open, and of a run that is to be resumed.

    Parameters
    ----------
    path : Path
        Of the result that the image is for.
    name : str
        Of the image.
    shape : (band, height, width)
    chunks : int
    provenance : Provenance
    overwrite, fingerprint, resume
        See `open_sink`.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        shape: tuple[int, int, int],
        chunks: int,
        provenance: Provenance,
        *,
        overwrite: bool,
        fingerprint: Mapping[str, Any],
        resume: bool,
    ) -> None:
        layout = raster_layout(shape, None, chunks, None, "float32", None, None, 0.0, provenance)
        told = {"overwrite": overwrite, "fingerprint": fingerprint, "resume": resume}
        super().__init__(stage_path(path, name), layout, **told)

    def source(self) -> StoredSource:
        """The image, once all regions are written; only while the sink is open."""
        return StoredSource(self._array)

    def _create(self) -> Any:
        return create_stage(self._partial / "stage.zarr", self.layout)

    def _reopen(self) -> Any:
        return open_stage(self._partial / "stage.zarr")

    def _assemble(self) -> None:
        """There is no result."""

    def _publish(self) -> None:
        """There is no result."""
