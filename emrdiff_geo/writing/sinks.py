"""Where a fused image goes: GeoTIFF (COG) or Zarr, region by region, all or nothing.

Both kinds gather their regions in a folder beside the result, ``.NAME.partial``, one file a chunk.
So regions may come from any thread or process, in any order, and twice; the result appears under
its own name, complete, when the sink is closed. With a fingerprint the folder also holds a journal
of the finished regions, from which another run can go on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ..errors import InputError
from ..metadata import PROVENANCE, Bands, Provenance
from ..spectra.bands import BandInfo
from .gathering import GatheringSink, check_leftover
from .layout import raster_layout
from .output import GEOTIFF_SUFFIXES, check_output
from .zarr_groups import IMAGE, create_result, create_stage, open_result, open_stage

__all__ = [
    "CogSink",
    "Sink",
    "ZarrSink",
    "check_leftover",
    "check_output",
    "open_sink",
    "write_dataset",
]

DEFAULT_CHUNKS = 256
# Statistics and overviews that a GIS keeps beside a GeoTIFF describe the file that is replaced.
_SIDECARS = (".aux.xml", ".ovr", ".msk")


class Sink(Protocol):
    """Takes the regions of one image and makes a file of them.

    `write` may be called from several threads at once for different regions, and a sink may be
    pickled to other processes of the same machine or file system; `record`, `close` and `abort`
    are called by the process that opened it. Used as a context manager, a sink is closed at the end
    of the block and aborted by an exception.
    """

    #: First pixels of the regions that an interrupted run has finished already.
    finished: frozenset[tuple[int, int]]

    @property
    def chunks(self) -> tuple[int, int]:
        """Height and width of the regions."""

    def write(self, block: NDArray[np.float32], row: int, col: int) -> None:
        """Write `block`, (band, h, w) float32 with NaN for nodata, at pixel (`row`, `col`)."""

    def record(self, row: int, col: int) -> None:
        """Put down that the region at pixel (`row`, `col`), which is one chunk, is written."""

    def assemble(self) -> None:
        """Do all that `close` does, but for making the result appear."""

    def close(self) -> None:
        """Make the result appear under its name. Regions never written are nodata."""

    def abort(self) -> None:
        """Leave nothing behind but what `resume` asked to keep. Does nothing once closed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_sink(
    path: str | Path,
    shape: tuple[int, int, int],
    *,
    geobox: GeoBox | None = None,
    chunks: int | tuple[int, int] = DEFAULT_CHUNKS,
    bands: Bands | None = None,
    dtype: str = "float32",
    nodata: float | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    provenance: Provenance | None = None,
    overwrite: bool = False,
    fingerprint: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Sink:
    """Open a sink for an image of `shape`; the suffix of `path` decides which.

    Parameters
    ----------
    path : path
        ``.tif`` or ``.tiff``: cloud-optimised GeoTIFF; ``.zarr``: Zarr v3 with CF coordinates.
    shape : (band, height, width)
    geobox : GeoBox, optional
        Grid of the image, of the same height and width; its CRS may be None.
    chunks : int or (height, width)
        Size of the regions: each starts at a multiple of it and ends at one or at the border. Also
        the chunks of a Zarr result; a GeoTIFF has blocks of 256 x 256 whatever the regions.
    bands : Bands, optional
        Wavelengths and FWHM in nm and which bands are good, as `BandInfo` has them.
    dtype : {"float32", "int16"}
        How values are stored; int16 needs a `scale`.
    nodata : float, optional
        Stored for NaN; by default NaN for float32 and -32768 for int16.
    scale, offset : float
        For int16: stored = round((value - offset) / scale); values beyond its range are clipped.
    provenance : Provenance, optional
        Written into the attributes or tags.
    overwrite : bool
        Replace an existing result. It stays as it is until the new one is complete.
    fingerprint : mapping, optional
        Whatever the values depend on, JSON-able: equal ones mean equal values. With it a journal of
        the regions that were recorded is kept.
    resume : bool
        Needs a fingerprint. Go on with the regions of an interrupted run, if there is one, see
        `Sink.finished`; and if this one is interrupted, keep those that are recorded.

    Raises
    ------
    ResumeError
        If the interrupted run has another fingerprint; without `resume` and `overwrite`, if there
        is one that was asked to keep its regions.
    OutputError
        See `check_output`; also for sizes and types that do not fit together, and if another run
        is writing to `path`.
    """
    path = check_output(path, overwrite=overwrite)
    layout = raster_layout(shape, geobox, chunks, bands, dtype, nodata, scale, offset, provenance)
    kind = CogSink if path.suffix.lower() in GEOTIFF_SUFFIXES else ZarrSink
    return kind(path, layout, overwrite=overwrite, fingerprint=fingerprint, resume=resume)


class CogSink(GatheringSink):
    """Cloud-optimised GeoTIFF, interleaved by band, with overviews.

    While it is closed, the disk needs room for it and its overviews twice, once uncompressed.
    """

    #: Whether this process has made the whole of the result: one that was left may be cut off.
    _whole = False

    def _create(self) -> Any:
        return create_stage(self._partial / "stage.zarr", self.layout)

    def _reopen(self) -> Any:
        return open_stage(self._partial / "stage.zarr")

    @property
    def _tiled(self) -> Path:
        return self._partial / "tiled.tif"

    def _assembled(self) -> bool:
        return self._tiled.exists()

    @property
    def _result(self) -> Path:
        return self._partial / "result.tif"

    def _assemble(self) -> None:
        from . import cog

        if self._whole:
            return
        if not self._assembled():
            unfinished = self._partial / "unfinished.tif"
            cog.write_tiled(self._array, self.layout, unfinished)
            _replace_durably(unfinished, self._tiled)
        # The tiled file has everything: give the space of the regions to the copy.
        shutil.rmtree(self._partial / "stage.zarr", ignore_errors=True)
        cog.copy_optimised(self._tiled, self.layout, self._result)
        self._whole = True

    def _publish(self) -> None:
        _replace_durably(self._result, self.path)
        for suffix in _SIDECARS:
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


class ZarrSink(GatheringSink):
    """Zarr v3 group, written in place: the chunks of the result are the regions."""

    def _create(self) -> Any:
        return create_result(self._partial / "result", self.layout)

    def _reopen(self) -> Any:
        return open_result(self._partial / "result")

    def _assemble(self) -> None:
        """The chunks of the result are the regions: it is whole when they are."""

    def _publish(self) -> None:
        old = self._partial / "replaced"
        if os.path.lexists(self.path):
            os.replace(self.path, old)
        try:
            os.replace(self._partial / "result", self.path)
        except OSError:
            if os.path.lexists(old):
                os.replace(old, self.path)
            raise


def _replace_durably(new: Path, path: Path) -> None:
    with open(new, "rb+") as file:
        # A full network disk or quota may show only now.
        os.fsync(file.fileno())
    os.replace(new, path)


def write_dataset(
    dataset: xr.Dataset,
    path: str | Path,
    *,
    chunks: int | tuple[int, int] | None = None,
    dtype: str = "float32",
    nodata: float | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    provenance: Provenance | None = None,
    overwrite: bool = False,
) -> Path:
    """Stream the variable ``image`` of a dataset, lazy or not, to a GeoTIFF or Zarr store.

    Parameters
    ----------
    dataset : xr.Dataset
        With ``image`` (band, y, x) and, where known, the coordinates ``wavelength``, ``fwhm``
        (nm), ``good_band`` and ``spatial_ref``. A dask image is computed region by region on the
        scheduler in force.
    chunks : int or (height, width), optional
        Regions; by default the image's own chunks where they are equal, else 256.
    provenance : Provenance, optional
        By default what the dataset itself tells, as one from `fuse` does.
    path, dtype, nodata, scale, offset, overwrite
        See `open_sink`.

    Returns
    -------
    Path
        Where the result is.

    Raises
    ------
    InputError
        The dataset has no variable ``image`` with dims (band, y, x).
    OutputError
        See `open_sink`; also if the dataset itself is read from `path`.
    """
    if IMAGE not in dataset or set(dataset[IMAGE].dims) != {"band", "y", "x"}:
        raise InputError(
            f'the dataset needs a variable "{IMAGE}" with dims (band, y, x): rename what it has'
        )
    check_output(path, overwrite=overwrite, inputs=(dataset, dataset[IMAGE]))
    image = dataset[IMAGE].transpose("band", "y", "x")
    if provenance is None and PROVENANCE in dataset.attrs:
        provenance = Provenance.from_json(dataset.attrs[PROVENANCE])
    sink = open_sink(
        path,
        (image.sizes["band"], image.sizes["y"], image.sizes["x"]),
        geobox=_geobox(dataset),
        chunks=_regular_chunks(image) if chunks is None else chunks,
        bands=BandInfo.of(image),
        dtype=dtype,
        nodata=nodata,
        scale=scale,
        offset=offset,
        provenance=provenance,
        overwrite=overwrite,
    )
    with sink:
        _stream(image, sink)
    return Path(path)


class _Region:
    """Lets ``dask.array.store`` assign to a sink."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def __setitem__(self, key: tuple[slice, slice, slice], block: NDArray[Any]) -> None:
        self.sink.write(np.asarray(block, dtype=np.float32), key[1].start, key[2].start)


def _stream(image: xr.DataArray, sink: Sink) -> None:
    bands, height, width = image.shape
    if image.chunks is not None:
        import dask.array as da

        regions = image.data.rechunk((bands, *sink.chunks))
        target: Any = _Region(sink)
        # A sink takes several regions at once, so there is nothing to lock.
        da.store(regions, target, lock=False)
        return
    step_y, step_x = sink.chunks
    for row in range(0, height, step_y):
        for col in range(0, width, step_x):
            block = image[:, row : row + step_y, col : col + step_x].to_numpy()
            sink.write(block.astype(np.float32, copy=False), row, col)


def _regular_chunks(image: xr.DataArray) -> tuple[int, int] | int:
    """Return the spatial chunks of a lazy image where all but the last are equal."""
    if image.chunks is None:
        return DEFAULT_CHUNKS
    sizes = []
    for lengths in image.chunks[1:]:
        if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:
            return DEFAULT_CHUNKS
        sizes.append(lengths[0])
    return sizes[0], sizes[1]


def _geobox(dataset: xr.Dataset) -> GeoBox | None:
    """Return the grid; None where y and x are no more than pixel numbers."""
    import odc.geo.xr  # noqa: F401  (registers the accessor)

    if "y" not in dataset.coords or "x" not in dataset.coords:
        return None
    geobox = dataset[IMAGE].odc.geobox
    if not isinstance(geobox, GeoBox):
        return None
    plain = geobox.crs is None and abs(geobox.affine.a) == 1 and abs(geobox.affine.e) == 1
    return None if plain else geobox
