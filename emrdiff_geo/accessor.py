"""The accessor ``.emrdiff`` of xarray objects: each method hands over to the function it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from .evaluation.evaluate import Evaluation


@xr.register_dataset_accessor("emrdiff")
@xr.register_dataarray_accessor("emrdiff")
class EmrdiffAccessor:
    """Fusion of the image that it is called on, ``(band, y, x)``.

    Parameters
    ----------
    image : xr.Dataset or xr.DataArray
        From `emrdiff_geo.open_hsi`, rioxarray, odc-stac or xarray.
    """

    def __init__(self, image: xr.Dataset | xr.DataArray) -> None:
        self._image = image

    def fuse(self, msi: Any, **options: Any) -> xr.Dataset:
        """Fuse this hyperspectral image with `msi`, see `emrdiff_geo.fuse`."""
        from .fusion import fuse

        return fuse(self._image, msi, **options)

    def fuse_to_file(self, msi: Any, out: str | Path, **options: Any) -> Path:
        """Fuse this hyperspectral image with `msi` into a file, see `emrdiff_geo.fuse_to_file`."""
        from .fusion import fuse_to_file

        return fuse_to_file(self._image, msi, out, **options)

    def evaluate(self, reference: Any = None, **options: Any) -> Evaluation:
        """Judge this fused image, see `emrdiff_geo.evaluate`."""
        from .evaluation.evaluate import evaluate

        return evaluate(self._image, reference, **options)
