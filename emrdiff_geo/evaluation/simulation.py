"""Pairs with a known answer: an HSI degraded in space, and in spectrum, after Wald's protocol.

The hyperspectral image itself is the reference. Its pixels are only cropped, never filtered: a
reference that is blurred together with the input makes every score look better than it is.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ..degradation.degrade import Degradation
from ..errors import InputError, OutputError, SpectralError
from ..grids.pair import MIN_PIXELS, geobox_of
from ..grids.sources import ArraySource
from ..metadata import Provenance
from ..reading.normalise import IMAGE, grid_coords, make_image
from ..reading.readers import as_image
from ..spectra.bands import BandInfo
from ..spectra.sensors import SpectralResponse, load_response
from ..spectra.spectral import wavelengths_by_rank
from ..writing.output import as_output_error, check_output
from ..writing.sinks import write_dataset

__all__ = ["PAIR_FILES", "Simulated", "check_folder", "simulate", "write_pair"]

logger = logging.getLogger(__name__)

#: Names of the files of a pair in its folder.
PAIR_FILES = ("hsi.tif", "msi.tif", "reference.tif")
_BLOCK_BYTES = 128 * 2**20
# Below this weight a nodata value in a band does not spoil a multispectral pixel.
_NEGLIGIBLE = 1e-3
_INT16 = 32767


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated pair and its reference.

    Attributes
    ----------
    hsi : xr.Dataset
        ``image`` (L, h, w) float32: the reference through the PSF, decimated by the ratio.
    msi : xr.Dataset
        ``image`` (s, ratio h, ratio w) float32: the reference through the spectral response.
    reference : xr.Dataset
        ``image`` (L, ratio h, ratio w) float32, lazy if the input was: the input's own values.
    response : ndarray, (s, L) float64
        Weights that made the MSI; rows sum to 1.
    integer : bool
        Whether all values of the reference are whole numbers that int16 holds.
    provenance : Provenance
        How the pair was made.
    """

    hsi: xr.Dataset
    msi: xr.Dataset
    reference: xr.Dataset
    response: NDArray[np.float64]
    integer: bool
    provenance: Provenance


def simulate(
    hsi: xr.Dataset | xr.DataArray,
    *,
    ratio: int,
    response: SpectralResponse | str,
    psf: str | tuple[float, ...] = "gaussian",
    snr_db: float | None = None,
    seed: int = 0,
    wavelengths: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulated:
    """Make a pair of images from one hyperspectral image, which is then their reference.

    Parameters
    ----------
    hsi : xr.Dataset or xr.DataArray, (band, y, x)
        As `open_hsi` returns it. NaN is nodata; rows and columns beyond the last whole
        low-resolution pixel are left out.
    ratio : int
        Low-resolution pixel over high-resolution pixel, 2 or more.
    response : SpectralResponse or str
        Of the MSI, or what `load_response` takes. Bands that the HSI does not cover are dropped
        with a warning. Bad bands and bands without data get no weight.
    psf : str or tuple
        See `Degradation`.
    snr_db : float, optional
        Add white Gaussian noise to HSI and MSI: power of each band over that of its noise, dB.
    seed : int
        Of the noise.
    wavelengths : (float, float), optional
        First and last wavelength, nm, of an HSI that does not name any: spread by rank.
    progress : callable, optional
        Told (blocks done, blocks).

    Returns
    -------
    Simulated

    Raises
    ------
    InputError
        If the image is too small for the ratio, a parameter is out of range, or `wavelengths` are
        given for an HSI that has its own.
    SpectralError
        If wavelengths are unknown or no band of the response is covered.

    Notes
    -----
    A low-resolution pixel is nodata where less than half of its PSF falls on data; a pixel of the
    MSI where a band that its response needs has none.
    """
    image = as_image(hsi)
    optics = _optics(ratio, psf)
    image, box = _cropped(image, optics.ratio)
    bands = _hsi_bands(image, wavelengths)
    source = ArraySource(image)
    usable = _bands_with_data(source) & bands.good
    sensor = response if isinstance(response, SpectralResponse) else load_response(response)
    weights, kept = _weights(sensor, bands, usable)
    low, high, integer = _degrade(source, optics, weights, progress)
    if snr_db is not None:
        rng = np.random.default_rng(seed)
        for part in (low, high):
            _add_noise(part, snr_db, rng)
    coarse = None if box is None else box.zoom_out(optics.ratio)
    msi_bands = BandInfo(sensor.centers_nm[kept], sensor.fwhm_nm[kept], np.ones(len(kept), bool))
    name = (hsi.attrs if isinstance(hsi, xr.Dataset) else {}).get("source")
    return Simulated(
        hsi=_dataset(low, bands, coarse, name),
        msi=_dataset(high, msi_bands, box, name),
        reference=_dataset(image.data, bands, box, name),
        response=weights,
        integer=integer,
        provenance=Provenance(
            method="simulation",
            parameters={"psf": psf, "response": sensor.name, "snr_db": snr_db},
            seed=None if snr_db is None else seed,
            inputs=(name,) if name else (),
            ratio=optics.ratio,
        ),
    )


def check_folder(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Check that `write_pair` can write to a folder, before any work is done for it.

    Raises
    ------
    OutputError
        If a file of a pair exists there, or the folder cannot be made or written to.
    """
    folder = Path(folder)
    if folder.is_dir():
        for name in PAIR_FILES:
            check_output(folder / name, overwrite=overwrite)
        return folder
    if folder.exists():
        raise OutputError(f"{folder} is a file: name a folder for the pair")
    # Any name would do: what counts is whether something can be made beside it.
    check_output(folder.parent / ".pair.tif", overwrite=True)
    return folder


def write_pair(pair: Simulated, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``hsi.tif``, ``msi.tif`` and ``reference.tif``; all three appear at the end, or none.

    The reference is stored as int16 where that holds every value, else as float32, so that it is
    the input to the last bit.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        See `check_folder`, or if the disk does not take it.
    """
    folder = check_folder(folder, overwrite=overwrite)
    new = not folder.exists()
    partial = folder / ".pair.partial"
    try:
        with as_output_error(folder / "reference.tif"):
            folder.mkdir(exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
        for image, name in zip((pair.hsi, pair.msi, pair.reference), PAIR_FILES, strict=True):
            whole = pair.integer and image is pair.reference
            write_dataset(
                image,
                partial / name,
                dtype="int16" if whole else "float32",
                scale=1.0 if whole else None,
                provenance=pair.provenance,
            )
        with as_output_error(folder / "reference.tif"):
            for name in PAIR_FILES:
                os.replace(partial / name, folder / name)
                # A GIS keeps statistics there: they describe the file that was replaced.
                (folder / f"{name}.aux.xml").unlink(missing_ok=True)
            partial.rmdir()
    except BaseException:
        shutil.rmtree(folder if new else partial, ignore_errors=True)
        raise
    return folder


def _optics(ratio: int, psf: str | tuple[float, ...]) -> Degradation:
    if int(ratio) != ratio or ratio < 2:
        raise InputError(f"The ratio is {ratio}: give a whole number of 2 or more.")
    return Degradation(int(ratio), psf)


def _cropped(image: xr.DataArray, ratio: int) -> tuple[xr.DataArray, GeoBox | None]:
    height, width = image.shape[1:]
    rows, cols = height // ratio, width // ratio
    if min(rows, cols) < MIN_PIXELS:
        raise InputError(
            f"The image of {height} x {width} pixels leaves {rows} x {cols} at ratio {ratio}, and "
            f"fusion needs {MIN_PIXELS} x {MIN_PIXELS}: take a smaller ratio or a larger image."
        )
    box = geobox_of(image, "HSI")
    size = rows * ratio, cols * ratio
    if size != (height, width):
        logger.info("cropped from %d x %d to %d x %d pixels", height, width, *size)
    cut = None if box is None else GeoBox(size, box.affine, box.crs)
    return image[:, : size[0], : size[1]], cut


def _hsi_bands(image: xr.DataArray, by_rank: tuple[float, float] | None) -> BandInfo:
    known = BandInfo.of_spectrum(image)
    if known.wavelength_nm is not None:
        if by_rank is not None:
            raise InputError("The HSI names its wavelengths itself: leave out --wavelengths.")
        return known
    if by_rank is None:
        raise SpectralError(
            "The HSI names no wavelengths: say which range its bands cover, for example "
            "--wavelengths 400-2500 (in Python wavelengths=(400, 2500))."
        )
    return replace(known, wavelength_nm=wavelengths_by_rank(len(known), by_rank))


def _bands_with_data(source: ArraySource) -> NDArray[np.bool_]:
    """Bands that have data anywhere: products keep empty bands where the air is opaque."""
    filled = np.zeros(source.shape[0], bool)
    for rows in _row_blocks(source, 1):
        filled |= np.isfinite(source.read(rows, slice(None))).any(axis=(1, 2))
        if filled.all():
            break
    if not filled.any():
        raise InputError("The HSI has no valid pixel: check its nodata value.")
    return filled


def _weights(
    sensor: SpectralResponse, bands: BandInfo, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(s, L) weights on all bands, zero for those that cannot be used, and the sensor bands."""
    wavelength = bands.wavelength_nm
    if wavelength is None:
        wavelength = np.full(len(usable), np.nan)
    usable = usable & np.isfinite(wavelength)
    if not usable.any():
        raise SpectralError(
            "No good band of the HSI has both data and a wavelength: check its bad bands list."
        )
    centers = wavelength[usable]
    fwhm = None if bands.fwhm_nm is None else bands.fwhm_nm[usable]
    on_usable, kept = sensor.on_bands(centers, fwhm, drop_uncovered=True)
    dropped = [n for i, n in enumerate(sensor.band_names) if i not in kept]
    if dropped:
        logger.warning(
            "the HSI (%.0f-%.0f nm) does not cover %s of %s: left out of the MSI",
            centers.min(),
            centers.max(),
            ", ".join(dropped),
            sensor.name,
        )
    weights = np.zeros((len(kept), len(usable)))
    weights[:, usable] = on_usable
    return weights, np.asarray(kept)


def _row_blocks(source: ArraySource, ratio: int) -> Iterator[slice]:
    """Bands of rows of bounded size, whole low-resolution pixels."""
    bands, height, width = source.shape
    step = max(_BLOCK_BYTES // (4 * bands * width * ratio), 1) * ratio
    for row in range(0, height, step):
        yield slice(row, min(row + step, height))


def _degrade(
    source: ArraySource,
    optics: Degradation,
    weights: NDArray[np.float64],
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """LR-HSI, MSI and whether all values are whole, block of rows by block of rows."""
    bands, height, width = source.shape
    ratio, halo = optics.ratio, optics.reach_down * optics.ratio
    low = np.empty((bands, height // ratio, width // ratio), np.float32)
    high = np.empty((len(weights), height, width), np.float32)
    integer = True
    blocks = list(_row_blocks(source, ratio))
    for number, rows in enumerate(blocks):
        # Cut at the scene's border and not beyond: there the degradation mirrors the image.
        top, bottom = max(rows.start - halo, 0), min(rows.stop + halo, height)
        cube = source.read(slice(top, bottom), slice(0, width))
        first, last = (rows.start - top) // ratio, (rows.stop - top) // ratio
        low[:, rows.start // ratio : rows.stop // ratio] = optics.down_masked(cube)[:, first:last]
        core = cube[:, rows.start - top : rows.stop - top]
        high[:, rows] = _projected(core, weights)
        integer = integer and _is_integer(core)
        if progress is not None:
            progress(number + 1, len(blocks))
    return low, high, integer


def _projected(cube: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    missing = ~np.isfinite(cube)
    result = np.tensordot(weights.astype(np.float32), np.where(missing, 0, cube), axes=1)
    if missing.any():
        for band, row in zip(result, weights, strict=True):
            band[missing[row > _NEGLIGIBLE].any(axis=0)] = np.nan
    return result


def _is_integer(cube: NDArray[np.float32]) -> bool:
    known = cube[np.isfinite(cube)]
    return bool((np.abs(known) <= _INT16).all() and (known == np.rint(known)).all())


def _add_noise(image: NDArray[np.float32], snr_db: float, rng: np.random.Generator) -> None:
    if not np.isfinite(snr_db):
        raise InputError(f"The SNR is {snr_db} dB: give a number, or leave it out for no noise.")
    for band in image:
        known = np.isfinite(band)
        if known.any():
            power = float(np.mean(np.square(band[known], dtype=np.float64)))
            sigma = np.sqrt(power) * 10 ** (-snr_db / 20)
            band += (sigma * rng.standard_normal(band.shape)).astype(np.float32)


def _dataset(data: Any, bands: BandInfo, box: GeoBox | None, name: str | None) -> xr.Dataset:
    image = make_image(data, bands, None if box is None else grid_coords(box))
    dataset = image.to_dataset(name=IMAGE)
    if name:
        dataset.attrs["source"] = name
    return dataset
