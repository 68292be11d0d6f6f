"""How sharp the bands of a camera are.

A lens focuses some wavelengths better than others (axial chromatic aberration), and a camera that
sees the visible range with one lens worst of all its ends. A prior takes its detail from the MSI
and gives every band the same sharpness; so the bands at the ends get more detail than they have,
and those beside them less. That is linear, a property of the camera, and much the same for the
cameras of the visible range. What a band lacks or has too much is a share of the prior less its
blurred version, known from scenes of such cameras (`training.focus`), and less of it as far as the
MSI bands that a band is predicted from are out of focus themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from .statistics import SceneStatistics

#: Blurs whose shares are told: standard deviations of a Gaussian in pixels of the fine image.
BLURS = (0.7, 1.4)
#: Cameras of the visible range have no band beyond, nm.
LONGEST = 760.0
#: Least variance added by blurs that counts, square pixels.
LEAST_ADDED = 0.02
#: Shares so small are none.
NEGLIGIBLE = 0.005


@dataclass(frozen=True)
class Focus:
    """Sharpness of bands by wavelength; by default all are equally sharp.

    Attributes
    ----------
    wavelength_nm : tuple of float
        Increasing wavelengths.
    shares : tuple of tuple of float
        For each of them the shares of the `BLURS`.
    """

    wavelength_nm: tuple[float, ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Focus:
        """Focus from what JSON holds of it."""
        return cls(
            tuple(float(w) for w in values["wavelength_nm"]),
            tuple(tuple(float(s) for s in row) for row in values["shares"]),
        )

    def serves(self, statistics: SceneStatistics) -> bool:
        """Whether it tells anything about a scene: one of a visible camera, at its own pixels."""
        known = bool(self.wavelength_nm) and not statistics.coarser
        return known and visible(statistics.wavelength_nm)

    def at(self, wavelength_nm: np.ndarray) -> np.ndarray:
        """Shares ``(L, len(BLURS))`` at wavelengths ``(L,)``, interpolated between the known."""
        known = np.array(self.shares).T
        return np.stack([np.interp(wavelength_nm, self.wavelength_nm, row) for row in known], 1)

    def lacked(self, statistics: SceneStatistics) -> np.ndarray:
        """Part 0..1 of its shares that each band ``(L,)`` really lacks: the MSI lacks the rest."""
        if statistics.wavelength_nm is None or not self.wavelength_nm:
            return np.ones(len(statistics.hsi_mean))
        added = self.at(statistics.wavelength_nm) @ np.square(BLURS)
        seen, predicted = mutual_weights(statistics)
        of_prior = predicted @ np.maximum(seen @ added, 0)
        return 1 - np.clip(of_prior / np.maximum(added, LEAST_ADDED), 0, 1)

    def applied(self, image: np.ndarray, statistics: SceneStatistics) -> np.ndarray:
        """Bring an image ``(L, y, x)`` of equally sharp bands to the sharpness that they have."""
        if not self.serves(statistics):
            return image
        focused = image.copy()
        found = self.at(statistics.wavelength_nm) * self.lacked(statistics)[:, None]
        for band, shares in enumerate(found.astype(np.float32)):
            for share, blur in zip(shares, BLURS, strict=True):
                if abs(share) > NEGLIGIBLE:
                    focused[band] += share * lacking(image[band], blur)
        return focused


#: All bands equally sharp.
SHARP = Focus()


def visible(wavelength_nm: np.ndarray | None) -> bool:
    """Whether bands are those of a camera of the visible range."""
    return wavelength_nm is not None and bool(np.max(wavelength_nm) <= LONGEST)


def lacking(image: np.ndarray, blur: float) -> np.ndarray:
    """What a blur adds to an image ``(..., y, x)``; mostly negative detail."""
    axes = (0.0,) * (image.ndim - 2)
    return ndimage.gaussian_filter(image, (*axes, blur, blur), mode="nearest") - image


def mutual_weights(statistics: SceneStatistics) -> tuple[np.ndarray, np.ndarray]:
    """What the MSI bands see of the HSI's, and from which of them these can be predicted.

    Returns
    -------
    seen : ndarray
        ``(s, L)`` non-negative, rows of sum 1.
    predicted : ndarray
        ``(L, s)`` non-negative, rows of sum 1.
    """
    s, mean = statistics.n_msi, statistics.moments.mean
    moments = statistics.covariance + np.outer(mean, mean)
    msi, hsi = slice(None, s), slice(s, None)
    return _shares_of(moments, msi, hsi), _shares_of(moments, hsi, msi)


def _shares_of(moments: np.ndarray, of: slice, by: slice) -> np.ndarray:
    """Contributions of some bands to others, by non-negative least squares on second moments."""
    power = moments[by, by]
    ridge = 1e-6 * np.trace(power) / len(power) + np.finfo(float).tiny
    root = np.linalg.cholesky(power + ridge * np.eye(len(power)))
    wanted = np.linalg.solve(root, moments[by, of])
    weights = np.stack([optimize.nnls(root.T, column)[0] for column in wanted.T])
    weights *= np.sqrt(np.diag(power))
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
