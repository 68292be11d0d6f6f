"""A Gaussian process of place and MSI colour, observed at LR: what its mean and variance need.

See `gaussian_process` for the model. The process is solved in windows of LR pixels that lie on a
fixed grid of the scene and overlap by half; what is computed in them is mixed with weights that
fall off linearly from their centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from ..scene.statistics import SceneStatistics
from ._colours import Colours, Inputs
from .options import Part
from .regression import regressed

#: Edge of a window, LR pixels, and how far windows lie apart.
WINDOW = 12
STEP = WINDOW // 2
#: Spectral components of what the global regression leaves that are modelled; the rest is noise,
#: and comes back with the back-projection.
COMPONENTS = 12
#: Lengths over which the offset and the slopes vary, standard deviations in LR pixels.
OFFSET_LENGTH, SLOPE_LENGTH = 2.5, 5.0
#: Candidates for the nugget, relative to the variance of each of the three terms.
NUGGETS = 10.0 ** np.arange(-4, 1.01, 0.5)
#: Observations that count as one in the likelihood, since their errors are correlated. On the
#: scenes of `_colours.FEATURES` 1 and 4 gave 2.01 and 2.04 dB, and 0.44 and 0.46 dB; the most
#: likely nugget alone 1.99 and 0.44 dB.
CORRELATED = 4.0
#: Variance that misplaced pixels have, relative to what a first-order expansion explains of it. On
#: four training scenes 0, 1, 2 and 4 gave 40.0, 40.6, 40.8 and 40.9 dB with misplaced pixels (three
#: distortions, shifts, a wrong PSF), on three 48.4, 48.2, 48.0 and 47.8 dB with another sun. The
#: variance of all that the images disagree about, which counted once, gave 40.8 and 46.4 dB.
MISPLACED = 2.0


@dataclass(frozen=True)
class Posterior:
    """What the observations of a window tell, in the eigenvectors of their covariance.

    Attributes
    ----------
    vectors : ndarray
        ``(n, n)`` eigenvectors of the kernel.
    rotated : ndarray
        ``(n, q)`` observations in them.
    inverse : ndarray
        ``(n, q)`` inverse of their variances with nugget, relative to the amplitude.
    amplitude : ndarray
        ``(q,)`` variance of each of the three terms.
    """

    vectors: np.ndarray
    rotated: np.ndarray
    inverse: np.ndarray
    amplitude: np.ndarray

    @classmethod
    def of(cls, kernel: np.ndarray, observed: np.ndarray, floor: np.ndarray) -> Posterior:
        """Solve for observations ``(n, q)`` whose covariance is a multiple of ``(n, n)``.

        It is a mean over the candidates for the nugget that are no less than `floor`, a variance
        ``(q,)``: for every column by their likelihood, the amplitude being profiled out (Rasmussen
        and Williams, "Gaussian processes for machine learning", 2006, section 5.4).
        """
        values, vectors = np.linalg.eigh(kernel)
        rotated = vectors.T @ observed
        inverse = 1 / (np.maximum(values, 0) + NUGGETS[:, None])
        amplitude = inverse @ np.square(rotated) / len(observed)
        fit = np.log(inverse).mean(axis=1)[:, None] - np.log(amplitude + np.finfo(float).tiny)
        too_small = NUGGETS[:, None] * amplitude < floor
        too_small[-1] = False
        fit[too_small] = -np.inf
        share = np.exp((fit - fit.max(axis=0)) * (0.5 * len(observed) / CORRELATED))
        share /= share.sum(axis=0)
        return cls(vectors, rotated, inverse.T @ share, (amplitude * share).sum(axis=0))

    def dual(self) -> np.ndarray:
        """``(n, q)`` weights of the observations' covariances with a value: they give its mean."""
        return self.vectors @ (self.rotated * self.inverse)


@dataclass(frozen=True)
class Window:
    """One window.

    Attributes
    ----------
    index, start : (int, int)
        Row and column of the window, and of its first pixel, which may lie outside the tile.
    at : (slice, slice)
        Its part inside the tile, LR pixels.
    bands, features : ndarray
        ``(s, n)`` and ``(m, n)`` degraded, float64.
    near, far : ndarray
        ``(n, n)`` correlations of the offset and of the slopes.
    posterior : Posterior
    """

    index: tuple[int, int]
    start: tuple[int, int]
    at: Part
    bands: np.ndarray
    features: np.ndarray
    near: np.ndarray
    far: np.ndarray
    posterior: Posterior

    def share(self) -> np.ndarray:
        """Weights ``(h, w)`` of this window at its LR pixels; those of all windows sum to 1."""
        y, x = (
            hat((np.arange(a.start, a.stop) + 0.5 - first) / STEP)
            for a, first in zip(self.at, self.start, strict=True)
        )
        return y[:, None] * x


@dataclass(frozen=True)
class Process:
    """The process of one tile.

    Attributes
    ----------
    spectra : ndarray
        ``(q, L)`` float32 spectral components.
    observed : ndarray
        ``(q, h, w)`` what the regression leaves of the HSI in them.
    bands, seen_bands : ndarray
        ``(s, H, W)`` whitened MSI, and degraded.
    inputs : Inputs
        Of the functions of colour.
    seen : ndarray
        ``(m, h, w)`` their features, degraded.
    disagreement : ndarray
        ``(q, h, w)`` what the HSI does not explain of the degraded MSI, carried into the
        components by the slopes of the regression.
    changes : ndarray
        ``(3, q, h, w)`` what would be carried there if the HSI's pixels lay further down, further
        to the right, and saw more sharply.
    origin : (int, int)
        Of the tile, LR pixels of the scene.
    """

    spectra: np.ndarray
    observed: np.ndarray
    bands: np.ndarray
    seen_bands: np.ndarray
    inputs: Inputs
    seen: np.ndarray
    disagreement: np.ndarray
    changes: np.ndarray
    origin: tuple[int, int]

    @classmethod
    def of(
        cls, lr: np.ndarray, hr: np.ndarray, statistics: SceneStatistics, origin: tuple[int, int]
    ) -> Process:
        """Process of a tile; arguments as for a fusion method, `origin` in HR pixels."""
        degradation = statistics.degradation
        at_lr = regressed(degradation.down(hr), statistics)
        _, vectors = np.linalg.eigh(statistics.residual_covariance)
        spectra = vectors[:, ::-1][:, :COMPONENTS].T.astype(np.float32)
        colours = Colours.of(statistics)
        axes = colours.axes(hr)
        bands = axes / np.float32(np.sqrt(len(hr)))
        inputs = colours.inputs(hr, axes)
        return cls(
            spectra=spectra,
            observed=np.tensordot(spectra, lr - at_lr, axes=1),
            bands=bands,
            seen_bands=degradation.down(bands),
            inputs=inputs,
            seen=np.concatenate([degradation.down(part) for part in inputs.features()]),
            disagreement=_disagreement(lr, at_lr, statistics, spectra),
            changes=_changes(np.tensordot(spectra, at_lr, axes=1)),
            origin=(origin[0] // statistics.ratio, origin[1] // statistics.ratio),
        )

    @property
    def phase(self) -> tuple[int, int]:
        """Where the tile begins between two windows, LR pixels."""
        return self.origin[0] % STEP, self.origin[1] % STEP

    def starts(self) -> tuple[np.ndarray, np.ndarray]:
        """First rows and columns of all windows that see the tile."""
        sizes = self.observed.shape[1:]
        y, x = (np.arange(-STEP - p, n, STEP) for p, n in zip(self.phase, sizes, strict=True))
        return y, x

    def windows(self, part: Part) -> Iterator[Window]:
        """The windows that see some of a part of the tile, LR pixels, solved one by one."""
        rows, cols = (
            [(i, int(n)) for i, n in enumerate(starts) if n < s.stop and n + WINDOW > s.start]
            for starts, s in zip(self.starts(), part, strict=True)
        )
        for (i, top), (j, left) in product(rows, cols):
            yield self._window((i, j), (top, left))

    def _window(self, index: tuple[int, int], start: tuple[int, int]) -> Window:
        at = tuple(
            slice(max(first, 0), min(first + WINDOW, n))
            for first, n in zip(start, self.observed.shape[1:], strict=True)
        )
        parts = self.observed, self.seen_bands, self.seen, self.disagreement, self.changes
        e, z, f, d, c = (a[..., *at].reshape(*a.shape[:-2], -1).astype(np.float64) for a in parts)
        y, x = (axis.ravel() for axis in np.indices(tuple(s.stop - s.start for s in at)))
        squared = np.square(y[:, None] - y) + np.square(x[:, None] - x)
        near, far = (correlation(squared, length) for length in (OFFSET_LENGTH, SLOPE_LENGTH))
        posterior = Posterior.of(near + far * (z.T @ z) + f.T @ f, e.T, least_nugget(d, c, z))
        return Window(index, start, at, z, f, near, far, posterior)


def correlation(squared: np.ndarray, length: float) -> np.ndarray:
    """Gaussian correlation at squared distances."""
    return np.exp(-squared / (2 * length**2))


def hat(position: np.ndarray) -> np.ndarray:
    """Weight at positions in a window, 0 at its edges, 1 in its middle at 1, 0 at 2."""
    return 1 - np.abs(position - 1)


def least_nugget(disagreement: np.ndarray, changes: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Variance ``(q,)`` that misplaced pixels have in every component, in a window.

    Where the HSI's pixels lie elsewhere, or see more or less sharply, than the degradation has it,
    the process would take what that makes the images differ by for structure. So it need explain no
    more than the least squares of the disagreement on the three `changes` leave. What else the
    images differ by, other light, other ground, noise of the MSI, it follows as far as is likely.
    Nor does what a line on the window's bands explains count: offset and slopes follow that.

    Parameters
    ----------
    disagreement, changes, bands : ndarray
        ``(q, n)``, ``(3, q, n)`` and ``(s, n)`` float64, see `Process`.
    """
    n = disagreement.shape[1]
    known = np.concatenate([np.ones((1, n)), bands])
    axes, _ = np.linalg.qr(known.T)
    left, moved = (a - (a @ axes) @ axes.T for a in (disagreement, changes))
    variance = np.square(left).sum(axis=1)
    # All components alike, however much of the spectrum they are.
    scale = np.where(variance > 0, 1 / np.sqrt(np.where(variance > 0, variance, 1)), 0)[:, None]
    unknown = (moved * scale).reshape(len(moved), -1).T
    amounts = np.linalg.lstsq(unknown, (left * scale).ravel(), rcond=1e-6)[0]
    explained = np.square(np.tensordot(amounts, moved, axes=1)).sum(axis=1)
    return MISPLACED * explained / max(n - len(known), 1)


def _changes(carried: np.ndarray) -> np.ndarray:
    """See `Process.changes`; of ``(q, h, w)`` what the regression tells of the components."""
    second = [ndimage.correlate1d(carried, [-1, 2, -1], axis, mode="nearest") for axis in (1, 2)]
    first = [ndimage.correlate1d(carried, [-0.5, 0, 0.5], axis, mode="nearest") for axis in (1, 2)]
    return np.stack([*first, second[0] + second[1]])


def _disagreement(
    lr: np.ndarray, regressed_lr: np.ndarray, statistics: SceneStatistics, spectra: np.ndarray
) -> np.ndarray:
    """See `Process.disagreement`; `regressed_lr` is the regression on the degraded MSI."""
    response = statistics.msi_response.astype(np.float32)
    shown = (statistics.slopes @ spectra.T).T.astype(np.float32) @ response
    mean = statistics.hsi_mean.astype(np.float32)[:, None, None]
    return np.tensordot(spectra, regressed_lr - mean, axes=1) - np.tensordot(
        shown, lr - mean, axes=1
    )
