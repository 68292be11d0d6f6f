"""Features of MSI pixels in which a spectrum is close to linear: random Fourier features.

Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007: the mean product
of cosines and sines of random projections is a Gaussian kernel. Two such kernels look at an MSI
pixel: at its values beside those of its surroundings, and at its hue, that is, its bands relative
to its own brightness, times that brightness, since shading scales a whole spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from ..scene.statistics import SceneStatistics
from .options import WHOLE, Part

#: Features of each of the two kernels. 50, 100, 200 and 400 gave 1.89, 1.99, 1.98 and 1.99 dB over
#: local regression on six CAVE training scenes at x8, and 0.28, 0.44, 0.46 and 0.50 dB on five
#: remote-sensing ones at x4.
FEATURES = 100
#: Width of the kernels, in standard deviations of the whitened values.
WIDTH = 2.0
#: How far bands are brought to the same variance: 0 leaves them, 1 whitens.
WHITENING = 0.6
#: Least brightness of which a hue is taken, relative to the scene's.
DARKEST = 0.05
#: Features that are held at once at full resolution.
CHUNK = 20


@dataclass(frozen=True)
class Colours:
    """Maps MSI pixels to features; the same for all tiles of a scene.

    Attributes
    ----------
    mean : ndarray
        ``(s,)`` of the MSI.
    to_axes : ndarray
        ``(s, s)`` from deviations of the bands to axes of unit variance on the mean.
    bright : ndarray
        ``(s,)`` positive values that a hue is relative to.
    hue_axes : ndarray
        ``(s, s)`` as `to_axes`, for hues.
    sigma : float
        Width of the surroundings, HR pixels.
    """

    mean: np.ndarray
    to_axes: np.ndarray
    bright: np.ndarray
    hue_axes: np.ndarray
    sigma: float

    @classmethod
    def of(cls, statistics: SceneStatistics) -> Colours:
        """Features that suit a scene."""
        covariance = statistics.msi_covariance + statistics.noise
        mean = statistics.msi_mean
        # A band of zeros has no hue.
        least = np.finfo(np.float32).tiny
        bright = np.maximum(np.maximum(mean, 0.1 * np.sqrt(np.diag(covariance))), least)
        s = len(mean)
        # To first order a hue, r / mean(r) of r = band / bright, deviates by r less its mean.
        centring = (np.eye(s) - 1 / s) / bright
        hues = centring @ covariance @ centring.T
        return cls(
            mean.astype(np.float32)[:, None, None],
            _axes(covariance),
            bright.astype(np.float32)[:, None, None],
            _axes(hues),
            max(1.0, statistics.ratio / 4),
        )

    def axes(self, hr: np.ndarray) -> np.ndarray:
        """Deviations of MSI pixels ``(s, y, x)`` on axes of unit variance, as ``(s, y, x)``."""
        return np.tensordot(self.to_axes, hr - self.mean, axes=1)

    def inputs(self, hr: np.ndarray, near: np.ndarray) -> Inputs:
        """What the features of an image are computed from; `near` are its `axes`."""
        around = ndimage.gaussian_filter(near, (0, self.sigma, self.sigma), mode="nearest")
        relative = hr / self.bright
        brightness = np.maximum(relative.mean(axis=0), DARKEST).astype(np.float32)
        hue = np.tensordot(self.hue_axes, (relative - relative.mean(axis=0)) / brightness, axes=1)
        return Inputs(np.concatenate([near, around]) * np.float32(np.sqrt(0.5)), hue, brightness)


@dataclass(frozen=True)
class Inputs:
    """Values whose projections are the arguments of the features, float32.

    Attributes
    ----------
    values : ndarray
        ``(2 s, y, x)`` of pixels and of their surroundings.
    hue : ndarray
        ``(s, y, x)``.
    brightness : ndarray
        ``(y, x)``.
    """

    values: np.ndarray
    hue: np.ndarray
    brightness: np.ndarray

    def features(self, window: Part = WHOLE) -> Iterator[np.ndarray]:
        """All features in small parts ``(n, y, x)`` float32, of a window of the image.

        The mean square of each is about ``1 / FEATURES``.
        """
        for hues in (False, True):
            for start in range(0, FEATURES // 2, CHUNK // 2):
                yield self._part(hues, slice(start, start + CHUNK // 2), window)

    def _part(self, hues: bool, some: slice, window: Part) -> np.ndarray:
        values = (self.hue if hues else self.values)[:, *window]
        directions = _directions(len(values), hues)[some]
        angle = np.tensordot(directions, values, axes=1)
        features = np.empty((2 * len(angle), *angle.shape[1:]), np.float32)
        cosines, sines = features[::2], features[1::2]
        np.cos(angle, out=cosines)
        np.sin(angle, out=sines)
        # The mean cosine is that of normal values.
        power = np.sum(np.square(directions), axis=1)
        cosines -= np.exp(-power / 2)[:, None, None]
        scale = np.float32(np.sqrt(2 / FEATURES))
        features *= scale * self.brightness[window] if hues else scale
        return features


@lru_cache(maxsize=64)
def _directions(size: int, hues: bool) -> np.ndarray:
    """Projections ``(FEATURES / 2, size)``, each of them for a cosine and for a sine."""
    rng = np.random.default_rng([size, hues])
    drawn = (rng.standard_normal((FEATURES // 2, size)) / WIDTH).astype(np.float32)
    drawn.flags.writeable = False
    return drawn


def _axes(covariance: np.ndarray) -> np.ndarray:
    """Matrix to axes whose variances are nearer to each other and 1 on the mean.

    Axes along which nothing varies are zero.
    """
    values, vectors = np.linalg.eigh(covariance)
    varies = values > 1e-6 * max(values[-1], np.finfo(np.float32).tiny)
    scale = np.where(varies, np.where(varies, values, 1) ** (-WHITENING / 2), 0)
    total = np.sum(values * scale**2)
    if total > 0:
        scale *= np.sqrt(len(values) / total)
    return (vectors * scale).T.astype(np.float32)
