"""An MSI with less noise, where it is noisy.

Whatever a method takes from the MSI's detail, it takes with its noise; slopes that are shrunk for
it (see `noise_level`) give up detail instead. So it is filtered out before. What degrading takes
away from the image, its detail, is rotated to axes along which the noise is white and the signal
falls off, as in Green et al., "A transformation for ordering multispectral data in terms of image
quality with implications for noise removal", IEEE TGRS 26, 1988. Along each of them a local Wiener
filter keeps what of the variance around a pixel is more than noise (Lee, "Digital image enhancement
and noise filtering by use of local statistics", IEEE TPAMI 2, 1980): edges stay, calm ground gets
calmer. What it takes away is made detail again, so that the HSI's pixels see of the image what they
saw.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..degradation.degrade import REACH_UP, Degradation
from ..grids.pair import Pair
from ..grids.sources import Altered
from ..grids.windows import Window, finer, grow, within
from ..scene.nodata import fill_invalid
from ..scene.noise_level import detail_gain
from ..scene.statistics import SceneStatistics

log = logging.getLogger(__name__)

#: Share of noise in the variance of a Laplacian from which on an MSI is changed, and from which on
#: all of it is filtered. Fine texture cannot always be told from noise: on Bavaria, whose own noise
#: both images and the reference have, shares of 0.14 and 0.2 lost 0.1 to 0.5 dB when all was
#: filtered; at 28 dB SNR all of five scenes at ratios 2, 4 and 8 gain 0.1 to 5.4 dB.
LEAST, WHOLE = 0.1, 0.3
#: Standard deviation of the surroundings in which the variance is measured, MSI pixels, and how far
#: these reach.
WINDOW, REACH = 1.5, 6
#: Noise that every band has at least, as a share of that of all.
TRACE = 1e-9


@dataclass(frozen=True, eq=False)
class DenoisedSource(Altered):
    """An MSI without what of its detail is noise.

    Parameters
    ----------
    source : Source
        The MSI on the pair's fine grid.
    degradation : Degradation
        Tells detail from what the HSI's pixels see.
    axes, back : ndarray
        ``(s, s)`` float32 to axes along which the detail's noise has unit variance, and from them
        to what is taken away.
    """

    degradation: Degradation
    axes: np.ndarray
    back: np.ndarray

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        ratio = self.degradation.ratio
        cells = (
            slice(rows.start // ratio, -(-rows.stop // ratio)),
            slice(cols.start // ratio, -(-cols.stop // ratio)),
        )
        around, _ = self._grown(cells)
        grown = finer(around, ratio)
        image = self.source.read(*grown)
        noise = self._noise(self._filled(image, around))
        inner = within((rows, cols), grown)
        return image[:, *inner] - noise[:, *inner]

    def _filled(self, image: np.ndarray, cells: Window) -> np.ndarray:
        """The image of some coarse pixels without gaps, whatever window it is read for."""
        if np.isfinite(image).all():
            return image
        ratio = self.degradation.ratio
        # What fills a gap may lie as far beyond the window as the pixels that look at it within.
        wider, inner = self._grown(cells)
        filled = fill_invalid(self.source.read(*finer(wider, ratio)))[0]
        return filled[:, *finer(inner, ratio)].copy()

    def _grown(self, cells: Window) -> tuple[Window, Window]:
        """Coarse pixels with all that decide what is noise in them, and where they lie in that."""
        height, width = (n // self.degradation.ratio for n in self.shape[1:])
        return grow(cells, reach(self.degradation), (height, width))

    def _noise(self, image: np.ndarray) -> np.ndarray:
        """What of an image ``(s, y, x)`` is taken for noise."""
        along = np.tensordot(self.axes, self._detail(image), axes=1)
        around = ndimage.gaussian_filter(
            np.square(along), (0, WINDOW, WINDOW), mode="nearest", radius=(0, REACH, REACH)
        )
        along /= np.maximum(around, 1)
        return self._detail(np.tensordot(self.back, along, axes=1))

    def _detail(self, image: np.ndarray) -> np.ndarray:
        """What degrading takes away."""
        return image - self.degradation.up(self.degradation.down(image))


def reach(degradation: Degradation) -> int:
    """Coarse pixels around one that decide what is taken for noise in it."""
    return 2 * (degradation.reach_down + REACH_UP) + math.ceil(REACH / degradation.ratio)


def denoised(pair: Pair, statistics: SceneStatistics) -> Pair:
    """The pair with an MSI that has less noise, or as it is where there is little.

    Parameters
    ----------
    pair : Pair
    statistics : SceneStatistics
        Of the pair.
    """
    share = statistics.noise_share
    if share < LEAST:
        return pair
    note = (
        f"{100 * share:.0f} % of the variance of the MSI's finest detail looks like noise: it was "
        "filtered where the ground is calm."
    )
    log.info(note)
    axes, back = _axes(statistics)
    part = np.float32(min((share - LEAST) / (WHOLE - LEAST), 1))
    source = DenoisedSource(pair.msi, statistics.degradation, axes, part * back)
    return replace(pair, msi=source, notes=(*pair.notes, note))


def _axes(statistics: SceneStatistics) -> tuple[np.ndarray, np.ndarray]:
    """To axes along which the noise of the detail is white, and back."""
    s = statistics.n_msi
    covariance = statistics.covariance[:s, :s]
    contrast = np.sqrt(np.diag(covariance))
    # Bands may come in units of their own.
    unit = np.where(contrast > 0, contrast, 1)
    noise = detail_gain(statistics.degradation) * statistics.noise / np.outer(unit, unit)
    # A band without noise of its own has at least a trace of it.
    root = np.linalg.cholesky(noise + TRACE * np.trace(noise) * np.eye(s))
    white = np.linalg.inv(root) / unit
    _, vectors = np.linalg.eigh(white @ covariance @ white.T)
    axes, back = vectors.T @ white, unit[:, None] * (root @ vectors)
    return axes.astype(np.float32), back.astype(np.float32)
