"""Scene statistics: everything that must not depend on a tile, from one pass over the pair.

The pass visits blocks of LR pixels. For each it degrades the MSI to the LR grid and adds to the
joint moments of (degraded MSI, HSI); from these follow scaling, the global regression of the HSI
bands on the MSI bands, and what it leaves unexplained. Blocks may be measured anywhere and at once;
their moments are merged in a fixed order, so that every scheduler gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np
from scipy import ndimage

from ..degradation.degrade import Degradation
from ..errors import InputError
from ..grids.windows import Window, blocks, finer, grow
from .edge import edge_magnitude
from .hsi_noise import band_noise, signal_filter
from .moments import BlockSums, Moments
from .msi_agreement import relative_response, spectral_gain
from .nodata import fill_invalid
from .noise_level import (
    bounded,
    cell_covariances,
    lattice_step,
    noise_covariance,
    noise_gain,
    noise_share,
    unexplained_by_hsi,
)

#: Relative ridge of the global regression. It keeps collinear MSI bands solvable, and bounds what
#: the MSI's noise, which degrading has averaged away, does to the detail: on seven training scenes
#: at x4 and x8, 1e-6, 5e-4 and 1e-2 gave local regression 47.9, 48.5 and 47.1 dB without noise and
#: 43.8, 45.6 and 46.1 dB at 40 dB SNR.
RIDGE = 5e-4
#: Share of what an HSI pixel sees that the MSI must see too for the pixel to count. Where an HSI
#: goes on beyond its MSI the pixels at the edge made the interior's error 20 instead of 16 units.
SEEN = 0.9
#: Edge of the blocks of the pass, LR pixels.
BLOCK = 64
#: Variance, relative to a float32 image's power, under which contrast is rounding error.
ROUNDING = 1e-10

#: RMS of what the HSI does not explain of the degraded MSI, relative to the MSI's standard
#: deviation, below which the two images agree. Simulated pairs have at most 0.003.
AGREE = 0.002

Read = Callable[[slice, slice], np.ndarray]
#: As the builtin `map`: results come in the order of the items, wherever they were computed.
Over = Callable[[Callable[[Window], Any], Iterable[Window]], Iterable[Any]]


@dataclass(frozen=True)
class SceneStatistics:
    """What a tile needs to know of the whole scene.

    Attributes
    ----------
    degradation : Degradation
        PSF and ratio that relate the fine grid to the coarse one.
    good : ndarray
        ``(L,)`` bool: HSI bands that are fused; the others have no data or are flagged bad.
    moments : Moments
        Joint moments of the degraded MSI (first ``s``) and the good HSI bands.
    n_msi : int
        Number of MSI bands ``s``.
    peak : float
        Largest HSI value, in the HSI's units.
    edge_range : (float, float)
        Least and largest edge magnitude of the MSI, see `edge_magnitude`.
    noise : ndarray
        ``(s, s)`` covariance of the noise of the MSI's pixels, see `noise_level`.
    wavelength_nm, fwhm_nm : ndarray or None
        ``(L,)`` centres and widths of the good bands.
    noise_share : float
        Share of the MSI's noise in its finest detail, 0..1, see `noise_level.noise_share`.
    coarser : bool
        Whether the fine image is a degraded one, whose pixels are no sensor's own.
    """

    degradation: Degradation
    good: np.ndarray
    moments: Moments
    n_msi: int
    peak: float
    edge_range: tuple[float, float]
    noise: np.ndarray
    wavelength_nm: np.ndarray | None = field(default=None)
    fwhm_nm: np.ndarray | None = field(default=None)
    noise_share: float = 0.0
    coarser: bool = False

    def __getstate__(self) -> dict[str, Any]:
        # What follows from the moments is computed again where it is needed, not sent along.
        return {f: self.__dict__[f] for f in self.__dataclass_fields__}

    @property
    def ratio(self) -> int:
        """HR pixels per LR pixel."""
        return self.degradation.ratio

    @cached_property
    def covariance(self) -> np.ndarray:
        """Joint covariance ``(s + L, s + L)`` of degraded MSI and HSI, float64."""
        return self.moments.scatter / max(self.moments.count - 1, 1)

    @property
    def msi_mean(self) -> np.ndarray:
        """``(s,)`` means of the degraded MSI."""
        return self.moments.mean[: self.n_msi]

    @property
    def hsi_mean(self) -> np.ndarray:
        """``(L,)`` means of the HSI."""
        return self.moments.mean[self.n_msi :]

    @cached_property
    def slopes(self) -> np.ndarray:
        """``(s, L)`` slopes of the linear regression of the HSI bands on the noisy MSI bands."""
        cross = self.covariance[: self.n_msi, self.n_msi :]
        return np.linalg.solve(self.msi_covariance + self.noise, cross)

    @cached_property
    def msi_covariance(self) -> np.ndarray:
        """``(s, s)`` covariance of the degraded MSI with a ridge that keeps it solvable.

        The ridge is relative to the variance, so that collinear bands share a slope, and to the
        power, so that the rounding errors of a scene without contrast are not taken for contrast.
        """
        s = self.n_msi
        covariance = self.covariance[:s, :s]
        power = np.trace(covariance) / s + np.mean(self.msi_mean**2)
        ridge = RIDGE * np.trace(covariance) / s + ROUNDING * power + np.finfo(float).tiny
        return covariance + ridge * np.eye(s)

    @cached_property
    def unseen_by_hsi(self) -> np.ndarray:
        """``(s, s)`` covariance of the degraded MSI that no linear function of the HSI explains.

        It is what the two images disagree about: noise, a shift, a wrong PSF, other light.
        """
        return unexplained_by_hsi(self.covariance, self.n_msi, self.moments.count)

    @property
    def agree(self) -> bool:
        """Whether the HSI explains nearly all of the degraded MSI, see `AGREE`."""
        unseen = max(np.trace(self.unseen_by_hsi), 0)
        return bool(np.sqrt(unseen / np.trace(self.msi_covariance)) < AGREE)

    @cached_property
    def residual_covariance(self) -> np.ndarray:
        """``(L, L)`` covariance of what the regression does not explain at LR."""
        s = self.n_msi
        explained = self.slopes.T @ self.covariance[:s, s:]
        predicted = self.slopes.T @ self.covariance[:s, :s] @ self.slopes
        return self.covariance[s:, s:] - explained - explained.T + predicted

    @cached_property
    def hsi_noise(self) -> np.ndarray:
        """``(L,)`` variance of the HSI bands' noise; zeros where it cannot be told."""
        s = self.n_msi
        return band_noise(self.covariance[s:, s:], self.hsi_mean, self.moments.count)

    @cached_property
    def signal(self) -> np.ndarray:
        """``(L, L)`` float32 filter that keeps the signal of what fusion leaves of the HSI."""
        return signal_filter(self.residual_covariance, self.hsi_noise)

    @cached_property
    def msi_response(self) -> np.ndarray:
        """``(s, L)`` linear function of the HSI's spectra that explains the MSI."""
        known = self.unseen_by_hsi, self.moments.count
        return relative_response(self.covariance, self.n_msi, *known)

    @property
    def msi_offset(self) -> np.ndarray:
        """``(s,)`` what that function adds."""
        return self.msi_mean - self.msi_response @ self.hsi_mean

    @cached_property
    def msi_gain(self) -> np.ndarray:
        """``(L, s)``: what a fused spectrum lacks where it does not explain the MSI."""
        left = np.trace(self.residual_covariance) / len(self.hsi_mean)
        disagreement = self.noise + self.unseen_by_hsi
        return spectral_gain(self.msi_response, disagreement, left, self.wavelength_nm)

    @cached_property
    def scale(self) -> float:
        """A typical bright value of the HSI, in its units: RMS over pixels and bands, doubled.

        Unlike the peak it does not follow a single glint.
        """
        s = self.n_msi
        power = np.diag(self.covariance)[s:] + self.hsi_mean**2
        return float(max(2 * np.sqrt(power.mean()), np.finfo(np.float32).tiny))


def scene_statistics(
    read_hsi: Read,
    read_msi: Read,
    lr_shape: tuple[int, int],
    degradation: Degradation,
    *,
    good: np.ndarray,
    wavelength_nm: np.ndarray | None = None,
    fwhm_nm: np.ndarray | None = None,
    block: int = BLOCK,
) -> SceneStatistics:
    """Measure a pair in one pass, here and now.

    Parameters
    ----------
    read_hsi, read_msi : callable
        ``(rows, cols) -> (band, y, x)`` float32 with NaN nodata, on the LR and the HR frame.
    lr_shape : (int, int)
        Height and width of the LR frame; the HR frame is ``ratio`` times that.
    degradation : Degradation
        Relates the two grids.
    good : ndarray
        ``(L,)`` bool: HSI bands to use.
    wavelength_nm, fwhm_nm : ndarray, optional
        ``(L,)`` of all HSI bands, in nm.
    block : int
        Edge of a block in LR pixels.

    Returns
    -------
    SceneStatistics

    Raises
    ------
    InputError
        If fewer than three pixels are valid in both images.
    """
    measure = partial(block_sums, read_hsi, read_msi, lr_shape, degradation, good)
    sums = map(measure, blocks(lr_shape, block))
    return concluded(sums, degradation, good, wavelength_nm, fwhm_nm)


def concluded(
    found: Iterable[BlockSums],
    degradation: Degradation,
    good: np.ndarray,
    wavelength_nm: np.ndarray | None,
    fwhm_nm: np.ndarray | None,
) -> SceneStatistics:
    """Statistics from the sums of all blocks, in order; arguments as for `scene_statistics`."""
    sums = reduce(BlockSums.merge, found)
    if sums.moments.count < 3:
        raise InputError(sums.nothing_valid)
    noise = _noise(sums, degradation)
    return SceneStatistics(
        degradation=degradation,
        good=good,
        moments=sums.moments,
        n_msi=sums.n_msi,
        peak=sums.peak,
        edge_range=sums.edges,
        noise=noise,
        noise_share=noise_share(noise, sums.cells),
        wavelength_nm=None if wavelength_nm is None else wavelength_nm[good],
        fwhm_nm=None if fwhm_nm is None else fwhm_nm[good],
    )


def _noise(sums: BlockSums, degradation: Degradation) -> np.ndarray:
    moments, n_msi = sums.moments, sums.n_msi
    covariance = moments.scatter / max(moments.count - 1, 1)
    noise = noise_covariance(sums.cells, np.diag(covariance)[:n_msi])
    unexplained = unexplained_by_hsi(covariance, n_msi, moments.count)
    return bounded(noise, unexplained, noise_gain(degradation))


def block_sums(
    read_hsi: Read,
    read_msi: Read,
    lr_shape: tuple[int, int],
    degradation: Degradation,
    good: np.ndarray,
    block: Window,
) -> BlockSums:
    """What one block adds to the statistics; arguments as for `scene_statistics`."""
    step = lattice_step((lr_shape[0] * degradation.ratio, lr_shape[1] * degradation.ratio))
    filled: list[np.ndarray] = []

    def read(rows: slice, cols: slice) -> np.ndarray:
        msi = read_msi(rows, cols)
        filled.append(np.isfinite(msi).any(axis=(1, 2)))
        return msi

    lr_msi, valid, edges, cells = degraded_block(read, *block, lr_shape, degradation, step)
    hsi = read_hsi(*block)[good]
    valid &= np.isfinite(hsi).all(axis=0)
    return BlockSums(
        Moments.of(np.concatenate([lr_msi[:, valid], hsi[:, valid]])),
        len(lr_msi),
        float(hsi[:, valid].max()) if valid.any() else -np.inf,
        edges,
        cells,
        filled[0],
    )


def degraded_block(
    read_msi: Read,
    rows: slice,
    cols: slice,
    lr_shape: tuple[int, int],
    degradation: Degradation,
    step: int = 1 << 30,
) -> tuple[np.ndarray, np.ndarray, tuple[float, float], np.ndarray]:
    """MSI on the LR grid, where it saw all that an HSI pixel sees, its range of edges, its noise.

    The noise is sampled in every `step`-th cell along each axis.
    """
    around, inner = grow((rows, cols), degradation.reach, lr_shape)
    r = degradation.ratio
    msi, valid = fill_invalid(read_msi(*finer(around, r)))
    lr = degradation.down(msi)[:, *inner]
    # An edge next to nodata is an edge of the filling, not of the scene.
    sound = ndimage.binary_erosion(valid, np.ones((3, 3)), border_value=1)
    magnitude = edge_magnitude(msi)[sound]
    edges = float(magnitude.min(initial=np.inf)), float(magnitude.max(initial=-np.inf))
    cells = valid.reshape(valid.shape[0] // r, r, valid.shape[1] // r, r).all(axis=(1, 3))
    if not valid.all():
        cells &= degradation.down(valid.astype(np.float32)) > SEEN
    own = finer(inner, r)
    noise = cell_covariances(msi[:, *own], valid[own], (rows.start * r, cols.start * r), step)
    return lr, cells[inner], edges, noise


def pair_statistics(
    lr: np.ndarray,
    hr: np.ndarray,
    degradation: Degradation,
    wavelength_nm: np.ndarray | None,
    fwhm_nm: np.ndarray | None,
) -> SceneStatistics:
    """Statistics of a pair that lies in memory, without nodata."""
    return scene_statistics(
        lambda rows, cols: lr[:, rows, cols],
        lambda rows, cols: hr[:, rows, cols],
        lr.shape[1:],
        degradation,
        good=np.ones(len(lr), bool),
        wavelength_nm=wavelength_nm,
        fwhm_nm=fwhm_nm,
    )
