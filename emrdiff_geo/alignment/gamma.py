"""Pictures made for the eye: an MSI whose values are no linear measure of light.

Photographs, and orthophotos made of them, are stored with a gamma: their values are a power of the
light, 1 / 2.2 in sRGB. Spectra mix linearly, and a coarse pixel is the mean of the light, not of
its powers. The HSI tells the power: of all, it explains the degraded MSI best by the right one.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..degradation.degrade import PSFS, Degradation
from ..grids.pair import Pair
from ..grids.sources import Altered
from ..grids.windows import finer
from ..scene.statistics import SceneStatistics
from ..system.threads import one_blas_thread
from .optics import PIXELS, named_psf, principal_axes
from .shift import scattered_windows

log = logging.getLogger(__name__)

#: Powers that are tried first, and how finely one is found.
POWERS = (0.4, 0.55, 0.75, 1.0, 1.33, 1.8, 2.4)
PRECISION = 0.02
#: Share of what is left unexplained that a power may leave to be believed. Powers of 0.45, 0.8 and
#: 1.5 on seven MSI of six scenes of the training and held-out ones were found to within 0.05, and
#: their inverse left 0.0 to 0.2, on one scene 0.4 to 0.8; haze, another sun, changes and
#: distortions were "explained" by powers that left 0.75 and more.
LEFT = 0.6
#: Edge of a window, HSI pixels, and windows that are enough.
EDGE, ENOUGH = 32, 3
#: HSI pixels that a PSF reaches, on which nothing may be missing.
REACH = 2


@dataclass(frozen=True, eq=False)
class PowerSource(Altered):
    """An MSI raised to a power, with its means about as they were.

    Parameters
    ----------
    source : Source
    power : float
    mean : ndarray
        ``(s,)`` of the bands; positive.
    """

    power: float
    mean: np.ndarray

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        return raised(self.source.read(rows, cols), self.power, self.mean)


def raised(image: np.ndarray, power: float, mean: np.ndarray) -> np.ndarray:
    """Raise an image ``(s, y, x)`` to a power, relative to the means of its bands."""
    mean = mean.astype(np.float32)[:, None, None]
    values = image / mean
    np.maximum(values, 0, out=values)
    np.power(values, np.float32(power), out=values)
    values *= mean
    return values


def made_linear(pair: Pair, statistics: SceneStatistics) -> Pair:
    """The pair with its MSI made linear; as it is, where it is so."""
    mean = statistics.msi_mean
    if statistics.agree or not (mean > 0).all():
        return pair
    power = measure_power(pair, statistics)
    if power == 1:
        return pair
    note = (
        f"The MSI's values are no linear measure of light, as in pictures made for the eye: raised "
        f"to the power {power:.2f} the HSI explains them, and so they were."
    )
    log.info(note)
    return replace(pair, msi=PowerSource(pair.msi, power, mean), notes=(*pair.notes, note))


@one_blas_thread()
def measure_power(pair: Pair, statistics: SceneStatistics) -> float:
    """Power of the MSI that the HSI explains best; 1 unless another is far better."""
    # Takes a tenth of a second to load, and workers never measure.
    from scipy.optimize import minimize_scalar

    places = scattered_windows(pair.lr_shape, EDGE)
    found = (_window(pair, statistics.good, *place) for place in places)
    windows = list(itertools.islice((w for w in found if w is not None), ENOUGH))
    # A PSF that was measured through a gamma may be a wrong one.
    optics = {statistics.degradation, *(named_psf(pair, name) for name in PSFS)}
    if sum(int(whole.sum()) for _, whole, _ in windows) < PIXELS:
        return 1.0

    def left(power: float) -> float:
        return min(
            sum(_unexplained(w, power, o, statistics.msi_mean) for w in windows) for o in optics
        )

    tried = [left(power) for power in POWERS]
    at = int(np.argmin(tried))
    plain = tried[POWERS.index(1.0)]
    if POWERS[at] == 1 or tried[at] > 0.9 * plain:
        return 1.0
    bounds = POWERS[max(at - 1, 0)], POWERS[min(at + 1, len(POWERS) - 1)]
    best = minimize_scalar(left, bounds=bounds, method="bounded", options={"xatol": PRECISION})
    return round(float(best.x), 2) if best.fun < LEFT * plain else 1.0


def _window(
    pair: Pair, good: np.ndarray, rows: slice, cols: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """MSI of a window, HSI pixels ``(h, w)`` of which both images show all, and the HSI's axes."""
    hsi = pair.hsi.read(rows, cols)[good]
    msi = pair.msi.read(*finer((rows, cols), pair.ratio))
    seen = np.isfinite(msi).all(axis=0)
    cells = seen.reshape(hsi.shape[1], pair.ratio, hsi.shape[2], pair.ratio).all(axis=(1, 3))
    whole = ndimage.binary_erosion(cells, np.ones((2 * REACH + 1,) * 2))
    whole &= np.isfinite(hsi).all(axis=0)
    if whole.sum() < PIXELS // 2:
        return None
    return np.where(seen, msi, 0), whole, principal_axes(hsi[:, whole].astype(np.float64))


def _unexplained(
    window: tuple[np.ndarray, np.ndarray, np.ndarray],
    power: float,
    degradation: Degradation,
    mean: np.ndarray,
) -> float:
    """Share of a window's degraded MSI that its HSI leaves unexplained, mean over the bands."""
    msi, whole, axes = window
    values = degradation.down(raised(msi, power, mean))[:, whole].astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    rest = values - (values @ axes.T) @ axes
    total = np.maximum(np.square(values).sum(axis=1), np.finfo(float).tiny)
    return float(np.mean(np.square(rest).sum(axis=1) / total))
