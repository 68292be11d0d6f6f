"""Whether and how a result can come to lie under its name, and what to say when it cannot."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from ..errors import OutputError, WriteError

GEOTIFF_SUFFIXES = (".tif", ".tiff")
ZARR_SUFFIXES = (".zarr",)


def check_output(path: str | Path, *, overwrite: bool = False, inputs: Sequence[Any] = ()) -> Path:
    """Check that a result can be written to `path`, before any work is done for it.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether an existing result may be replaced.
    inputs : sequence, optional
        What the result is made from, see `check_no_input`.

    Returns
    -------
    Path
        The path of the result.

    Raises
    ------
    OutputError
        Unknown suffix, an existing file without `overwrite`, one of the inputs, a folder that is
        missing or that may not be written to, something at `path` that is no image and must not
        be replaced.
    """
    path = Path(path)
    if path.suffix.lower() not in GEOTIFF_SUFFIXES + ZARR_SUFFIXES:
        raise OutputError(
            f"{path.name} has no known suffix: end the name in .tif or .tiff for a GeoTIFF, "
            "or in .zarr for a Zarr store"
        )
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"no permission to write in {path.parent}: choose another folder")
    if os.path.lexists(path):
        check_no_input(path, *inputs)
        if not overwrite:
            raise OutputError(
                f"{path} exists: choose another name, or pass --overwrite (in Python "
                "overwrite=True)"
            )
        _check_replaceable(path)
    return path


def check_no_input(path: str | Path, *inputs: Any) -> None:
    """Refuse to replace what a result is made from.

    Parameters
    ----------
    path : path
        Of the result.
    inputs : path, xr.Dataset or xr.DataArray
        An image counts as the file that its encoding names, and as those that the readers of this
        package put into its dask graph. What was computed from another lazy image is not known.

    Raises
    ------
    OutputError
        If the result would replace an input, or a store that holds one.
    """
    if not os.path.exists(path):
        return
    for source in (source for given in inputs for source in _sources(given)):
        if isinstance(source, str | Path) and _is_within(source, path):
            raise OutputError(f"{path} is an input: give the result another name")


def _sources(given: Any) -> Iterator[Any]:
    yield getattr(given, "encoding", {}).get("source") or given
    if isinstance(given, xr.Dataset | xr.DataArray):
        for task in (given.__dask_graph__() or {}).values():
            yield getattr(task, "path", None)


def _is_within(file: str | Path, folder: str | Path) -> bool:
    file = Path(file).absolute()
    return any(os.path.exists(p) and os.path.samefile(p, folder) for p in (file, *file.parents))


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Turn what the system and GDAL say of a failed write into one sentence."""
    try:
        yield
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise WriteError(_failure(path, error)) from error


def _failure(path: Path, error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT) or _disk_is_full(path.parent):
        return f"the disk is full while writing {path}: free some space or choose another folder"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {path}: choose another folder"
    if not path.parent.is_dir():
        return f"the folder {path.parent} has gone while writing {path.name}: bring it back"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path} could not be written ({reason}): check its disk or choose another folder"


def _disk_is_full(folder: Path) -> bool:
    """Guess from the free space, for GDAL does not hand on the reason of a failed write."""
    try:
        return shutil.disk_usage(folder).free < 2**20
    except OSError:
        return False


def _check_replaceable(path: Path) -> None:
    """Refuse to replace what cannot be an earlier result: a folder of other things is not ours."""
    if path.suffix.lower() in GEOTIFF_SUFFIXES:
        if path.is_dir():
            raise OutputError(f"{path} is a folder: choose another name for the GeoTIFF")
        return
    markers = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
    is_store = path.is_dir() and any((path / name).exists() for name in markers)
    if not is_store and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path} is not a Zarr store: choose another name or remove it first")


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
