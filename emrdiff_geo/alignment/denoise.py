"""An MSI with less noise, where it is noisy.

Whatever a method takes from the MSI's detail, it takes with its noise; slopes that are shrunk for
it (see `noise_level`) give up detail instead. So it is filtered out before. What degrading takes
away from the image, its detail, is rotated to axes along which the noise is white and the signal
falls off, as in Green et al., "A transformation for ordering multispectral data in terms of image
quality with implications for noise removal", IEEE TGRS 26, 1988. Along each of them a local Wiener
filter keeps what of the variance around a pixel is more than noise (Lee, "Digital image enhancement
and noise filtering by use of local statistics", IEEE TPAMI 2, 1980): edges stay, calm ground gets
calmer. What the HSI's pixels see of the image changes little, by less than its noise there at
ratios of 2 and 4, by somewhat more at 8.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..degradation.degrade import Degradation
from ..grids.pair import Pair
from ..grids.sources import Source, read_padded
from ..scene.nodata import fill_invalid
from ..scene.statistics import SceneStatistics

log = logging.getLogger(__name__)

#: Share of noise in the variance of a Laplacian from which on an MSI is changed, and from which on
#: all of it is filtered. Fine texture cannot always be told from noise: on Bavaria, whose own noise
#: both images and the reference have, shares of 0.14 and 0.2 lost 0.1 to 0.5 dB when all was
#: filtered; shares from 0.23 on gained 0.05 to 4 dB on all of five scenes at ratios 2, 4 and 8.
LEAST, WHOLE = 0.1, 0.3
#: Standard deviation of the surroundings in which the variance is measured, MSI pixels, and how far
#: these reach.
WINDOW, REACH = 1.5, 6
#: Coarse pixels that interpolation looks at, to each side.
UP = 2


@dataclass(frozen=True, eq=False)
class DenoisedSource:
    """An MSI without what of its detail is noise.

    Parameters
    ----------
    source : Source
        The MSI on the pair's fine grid.
    degradation : Degradation
        Tells detail from what the HSI's pixels see.
    axes, back : ndarray
        ``(s, s)`` float32 to axes along which the noise has unit variance, and from them to what
        is taken away.
    """

    source: Source
    degradation: Degradation
    axes: np.ndarray
    back: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return self.source.shape

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window, see `Source.read`."""
        return read_padded(self.shape, rows, cols, self._inside)

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        grown = self._grown(rows, self.shape[1]), self._grown(cols, self.shape[2])
        image = self.source.read(*grown)
        noise = self._noise(fill_invalid(image)[0])
        inner = tuple(
            slice(s.start - g.start, s.stop - g.start)
            for s, g in zip((rows, cols), grown, strict=True)
        )
        return image[:, *inner] - noise[:, *inner]

    def _grown(self, span: slice, size: int) -> slice:
        """Whole coarse pixels around a span, as many as its pixels look at."""
        ratio = self.degradation.ratio
        margin = self.degradation.reach_down + UP + math.ceil(REACH / ratio)
        first, last = span.start // ratio - margin, math.ceil(span.stop / ratio) + margin
        return slice(max(first, 0) * ratio, min(last * ratio, size))

    def _noise(self, image: np.ndarray) -> np.ndarray:
        """What of an image ``(s, y, x)`` is taken for noise."""
        degradation = self.degradation
        detail = image - degradation.up(degradation.down(image))
        along = np.tensordot(self.axes, detail, axes=1)
        around = ndimage.gaussian_filter(
            np.square(along), (0, WINDOW, WINDOW), mode="nearest", radius=(0, REACH, REACH)
        )
        # White noise, less what of it degrading keeps.
        white = np.float32(1 - 1 / degradation.ratio**2)
        along *= np.minimum(white / np.maximum(around, np.finfo(np.float32).tiny), 1)
        return np.tensordot(self.back, along, axes=1)


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
    sure = np.float32(min((share - LEAST) / (WHOLE - LEAST), 1))
    source = DenoisedSource(pair.msi, statistics.degradation, axes, sure * back)
    return replace(pair, msi=source, notes=(*pair.notes, note))


def _axes(statistics: SceneStatistics) -> tuple[np.ndarray, np.ndarray]:
    """To axes along which the noise is white, and back."""
    s = statistics.n_msi
    # A band without noise of its own has at least a trace of it.
    ridge = 1e-9 * np.trace(statistics.noise) * np.eye(s)
    root = np.linalg.cholesky(statistics.noise + ridge)
    white = np.linalg.inv(root)
    _, vectors = np.linalg.eigh(white @ statistics.covariance[:s, :s] @ white.T)
    return (vectors.T @ white).astype(np.float32), (root @ vectors).astype(np.float32)
