"""Benchmark cubes without a CRS: NumPy and MATLAB files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from ..errors import InputError
from ..spectra.wavelengths import FWHM_NAMES, WAVELENGTH_NAMES, Place
from .raster import chunk_shape, unreadable

_CUBE_NAMES = ("cube", "image", "data", "hsi", "msi")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class NpyArray:
    """A ``.npy`` file (band, y, x) as an array-like; the memory map is made anew at each read."""

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    stamp: int

    ndim = 3

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read by NumPy indices."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[key])


def open_cube(path: Path, variable: str | None, chunks: Any) -> tuple[da.Array, Place | None]:
    """Open a ``.npy``, ``.npz`` or ``.mat`` cube.

    Parameters
    ----------
    path : Path
        ``.npy``: B x H x W. ``.npz`` and ``.mat``: H x W x B, beside it perhaps the wavelengths.
    variable : str or None
        Which array of the file; by default its only cube.
    chunks
        See `emrdiff_geo.reading.raster.chunk_shape`.

    Returns
    -------
    data : dask array, (band, y, x) float32
    place : Place or None
        Wavelengths and bandwidths, where the file has them.
    """
    with _one_error(path):
        if path.suffix.lower() == ".npy":
            return _open_npy(path, chunks), None
        arrays = _load_npz(path) if path.suffix.lower() == ".npz" else _load_mat(path)
    name = _pick(path, arrays, variable)
    cube = np.moveaxis(_numeric(path, arrays[name]), -1, 0)
    return _as_dask(cube, chunks), _place(arrays, cube.shape[0])


def _open_npy(path: Path, chunks: Any) -> da.Array:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.ndim != 3:
        raise InputError(
            f"{path.name} has {found.ndim} dimensions: save a cube of bands x rows x columns."
        )
    _numeric(path, found)
    return _as_dask(NpyArray(str(path), found.shape, found.dtype, path.stat().st_mtime_ns), chunks)


def _as_dask(cube: Any, chunks: Any) -> da.Array:
    shape = chunk_shape(cube.shape, (256, 256), chunks)
    array = da.from_array(cube, chunks=shape, asarray=False, lock=False)
    return array.astype(np.float32)


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        if not hasattr(archive, "files"):
            raise InputError(f"{path.name} is no .npz archive: rename it to .npy.")
        return {name: archive[name] for name in archive.files}


def _load_mat(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as stream:
        stream.seek(0 if stream.read(8) == _HDF5_SIGNATURE else 512)
        hdf5 = stream.read(8) == _HDF5_SIGNATURE
    if hdf5:
        return _load_mat73(path)
    from scipy.io import loadmat

    return {k: v for k, v in loadmat(path).items() if isinstance(v, np.ndarray)}


def _load_mat73(path: Path) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path.name} is a MATLAB 7.3 file, which needs the package h5py: install it "
            "(pip install h5py), or save it in MATLAB with -v7."
        ) from error
    with h5py.File(path) as file:
        # MATLAB stores columns first: HDF5 sees all dimensions in reverse.
        return {k: np.asarray(v).T for k, v in file.items() if isinstance(v, h5py.Dataset)}


def _pick(path: Path, arrays: Mapping[str, np.ndarray], variable: str | None) -> str:
    cubes = {k: v.shape for k, v in arrays.items() if v.ndim == 3}
    found = ", ".join(f"{k} {' x '.join(map(str, s))}" for k, s in cubes.items())
    if variable is not None:
        if variable in cubes:
            return variable
        raise InputError(
            f"{path.name} has no three-dimensional array {variable!r}: choose variable= from "
            f"{found or 'nothing, it holds no cube'}."
        )
    named = [k for k in cubes if k.lower() in _CUBE_NAMES]
    if len(cubes) == 1 or len(named) == 1:
        return named[0] if named else next(iter(cubes))
    if not cubes:
        raise InputError(
            f"{path.name} holds no array with three dimensions: save the cube as rows x columns x "
            "bands under the key 'cube'."
        )
    raise InputError(f"{path.name} holds several cubes ({found}): choose one with variable=.")


def _place(arrays: Mapping[str, np.ndarray], count: int) -> Place | None:
    def find(names: tuple[str, ...]) -> list[Any]:
        for key, array in arrays.items():
            if key.lower() in names and array.size == count and array.dtype.kind in "iuf":
                return [float(v) for v in array.reshape(-1)]
        return [None] * count

    wavelength, fwhm = find(WAVELENGTH_NAMES), find(FWHM_NAMES)
    none = [None] * count
    return Place(wavelength, none, fwhm, none) if wavelength[0] is not None else None


def _numeric(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iufb" or 0 in array.shape:
        raise InputError(
            f"{path.name} holds {array.dtype} values in shape {array.shape}: save a cube of real "
            "numbers."
        )
    return array


@contextmanager
def _one_error(path: Path) -> Iterator[None]:
    """Turn what NumPy, SciPy and h5py raise for a damaged file into one `InputError`."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise unreadable(str(path), error) from error
    except Exception as error:  # scipy.io raises MatReadError, zlib.error and others
        raise unreadable(str(path), error) from error
