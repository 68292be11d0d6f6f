"""Wald's protocol on a real pair: both images one ratio lower, where the HSI is the reference.

Wald, Ranchin and Mangolini, "Fusion of satellite images of different spatial resolutions",
Photogrammetric Engineering and Remote Sensing 63, 1997.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..degradation.degrade import Degradation
from ..errors import InputError
from ..grids.pair import Pair
from ..grids.windows import blocks
from ..scene.nodata import fill_explained, fill_invalid
from ..scene.statistics import BLOCK, degraded_block, pair_statistics
from ..scene.wald_pair import WaldPair, central
from .optics import at_ratio

#: Largest edge of the part of the scene that is used, LR pixels.
LARGEST = 384
#: Least edge of the twice degraded HSI, in its own pixels, where the ratio leaves a choice.
LEAST = 12
#: Least edge of the HSI, in pixels: two patches of the network's coarsest cell.
LEAST_EDGE = 32


def one_ratio_lower(
    pair: Pair, optics: Degradation, good: np.ndarray, largest: int = LARGEST
) -> tuple[WaldPair, np.ndarray]:
    """Degrade both images of a pair by the ratio once more.

    The ratio is smaller than the pair's own where the scene would become too small for it; of a
    large scene the central part is used.

    Parameters
    ----------
    pair : Pair
        The user's images.
    optics : Degradation
        Between the grids of the pair; those of the second degradation are the same.
    good : ndarray
        ``(L,)`` bool: HSI bands to use.
    largest : int
        Edge of the part of a larger scene that is used, HSI pixels.

    Returns
    -------
    lower : WaldPair
        The HSI's good bands are its reference.
    valid : ndarray
        ``(h, w)`` bool: pixels of the reference that both images have.

    Raises
    ------
    InputError
        If the scene is too small.
    """
    rows, cols = (central(n, largest) for n in pair.lr_shape)
    hsi, valid = fill_invalid(pair.hsi.read(rows, cols)[good])
    msi, msi_valid = _degraded(pair, optics, rows, cols)
    valid &= msi_valid
    if valid.any() and not valid.all():
        hsi = fill_explained(hsi, valid, _explained(hsi, msi, valid))
    wavelength, fwhm = (
        None if values is None else values[good]
        for values in (pair.hsi_bands.wavelength_nm, pair.hsi_bands.fwhm_nm)
    )
    _, height, width = _lower(valid.shape, pair.ratio)
    if min(height, width) < LEAST_EDGE:
        raise InputError(
            f"the HSI's {height} x {width} pixels are too few to learn from: adaptation needs "
            f"{LEAST_EDGE} x {LEAST_EDGE}, fuse with the unadapted weights"
        )
    lower = degraded_again(hsi, msi, optics, wavelength, fwhm)
    return lower, valid[:height, :width]


def degraded_again(
    reference: np.ndarray,
    msi: np.ndarray,
    optics: Degradation,
    wavelength_nm: np.ndarray | None,
    fwhm_nm: np.ndarray | None,
) -> WaldPair:
    """Pair of a reference ``(L, h, w)``, itself degraded by the optics, and an MSI on its grid.

    The ratio is smaller than that of the optics where the scene would become too small for it; both
    images are cut to whole multiples of it.
    """
    ratio, height, width = _lower(reference.shape[1:], optics.ratio)
    reference, msi = reference[:, :height, :width], msi[:, :height, :width]
    again = at_ratio(optics, ratio)
    lr = again.down(reference)
    statistics = pair_statistics(lr, msi, again, wavelength_nm, fwhm_nm)
    return WaldPair(lr, msi, reference, replace(statistics, coarser=True))


def _lower(shape: tuple[int, ...], largest: int) -> tuple[int, int, int]:
    """Ratio by which a scene is degraded, and its rows and columns in whole multiples of that."""
    ratio = min(largest, max(2, min(shape) // LEAST))
    height, width = (n // ratio * ratio for n in shape)
    return ratio, height, width


def _explained(hsi: np.ndarray, msi: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What a regression on the MSI, fitted to the valid pixels, tells of the HSI everywhere."""
    means = [image[:, valid].mean(axis=1)[:, None, None] for image in (msi, hsi)]
    msi, hsi = (image - mean for image, mean in zip((msi, hsi), means, strict=True))
    known = msi[:, valid]
    slopes = np.linalg.lstsq(known @ known.T, known @ hsi[:, valid].T, rcond=None)[0]
    return np.tensordot(slopes.T, msi, axes=1) + means[1]


def _degraded(
    pair: Pair, degradation: Degradation, rows: slice, cols: slice
) -> tuple[np.ndarray, np.ndarray]:
    """MSI on the HSI's grid and where it is valid, block by block: at full size it may be huge."""
    shape = rows.stop - rows.start, cols.stop - cols.start
    image = np.empty((pair.n_msi, *shape), np.float32)
    valid = np.empty(shape, bool)
    for y, x in blocks(shape, BLOCK):
        at = (slice(s.start + o.start, s.stop + o.start) for s, o in ((y, rows), (x, cols)))
        image[:, y, x], valid[y, x], *_ = degraded_block(
            pair.msi.read, *at, pair.lr_shape, degradation
        )
    return image, valid
