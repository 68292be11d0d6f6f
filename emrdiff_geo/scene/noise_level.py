"""Noise of the MSI, measured on the image itself, where the ground is calm.

A regression learned at LR sees an MSI whose noise the degradation has averaged away; the detail
that its slopes are then applied to has all of it. With its covariance known, the slopes that are
best for noisy detail follow: it is added to the MSI's covariance in every system of equations.

The noise is what a Laplacian that is blind to planes leaves (Immerkaer, "Fast noise variance
estimation", CVIU 1996), as a covariance over the bands, in cells of a few pixels. The calmest
cells tell the noise; the others show the ground. Where even those are rough, as over a forest, the
HSI tells: what it does not explain of the degraded MSI bounds the noise.
"""

from __future__ import annotations

import numpy as np

from ..degradation.degrade import REACH_UP, Degradation

#: Edge of a cell in HR pixels.
CELL = 8
#: Cells that a scene is sampled with, about: a lattice of them, the same for every scheduler.
CELLS = 4096
#: Share of the cells that is taken for calm.
CALM = 0.25


def lattice_step(shape: tuple[int, int]) -> int:
    """Every how many cells one is measured along each axis, in a scene of ``shape`` pixels."""
    cells = (shape[0] // CELL) * (shape[1] // CELL)
    return max(1, int(np.ceil(np.sqrt(cells / CELLS))))


def cell_covariances(
    msi: np.ndarray, valid: np.ndarray, origin: tuple[int, int], step: int
) -> np.ndarray:
    """Covariance of the Laplacian over the bands in the sampled cells of a block.

    Parameters
    ----------
    msi : ndarray
        ``(s, h, w)``, MSI units, without NaN.
    valid : ndarray
        ``(h, w)`` bool; cells with an invalid pixel are left out.
    origin : (int, int)
        Of the block in the scene, in pixels.
    step : int
        From `lattice_step`, for the scene.

    Returns
    -------
    ndarray
        ``(n, s, s)`` float64, MSI units squared.
    """
    first = [-(-o // CELL) for o in origin]
    last = [(o + n) // CELL for o, n in zip(origin, msi.shape[1:], strict=True)]
    at = [np.arange(-(-f // step) * step, stop, step) for f, stop in zip(first, last, strict=True)]
    rows, cols = (a * CELL - o for a, o in zip(at, origin, strict=True))
    found = [
        _covariance(msi[:, y : y + CELL, x : x + CELL])
        for y in rows
        for x in cols
        if valid[y : y + CELL, x : x + CELL].all()
    ]
    return np.stack(found) if found else np.zeros((0, len(msi), len(msi)))


def _covariance(cell: np.ndarray) -> np.ndarray:
    cell = cell.astype(np.float64)
    along_y = cell[:, :-2] - 2 * cell[:, 1:-1] + cell[:, 2:]
    laplacian = (along_y[..., :-2] - 2 * along_y[..., 1:-1] + along_y[..., 2:]) / 6
    samples = laplacian.reshape(len(cell), -1)
    return samples @ samples.T / samples.shape[1]


def noise_covariance(cells: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Covariance ``(s, s)`` of the MSI's noise from all sampled cells ``(n, s, s)``.

    Parameters
    ----------
    cells : ndarray
        From `cell_covariances`, of the whole scene.
    variance : ndarray
        ``(s,)`` variance of the MSI bands, which makes their noise comparable.
    """
    if not len(cells):
        return np.zeros(cells.shape[1:])
    variance = np.maximum(variance, np.finfo(float).tiny)
    energy = (np.einsum("nss->ns", cells) / variance).sum(axis=1)
    calm = np.argsort(energy, kind="stable")[: max(1, round(CALM * len(cells)))]
    return cells[calm].mean(axis=0)


def noise_share(noise: np.ndarray, cells: np.ndarray) -> float:
    """Share of noise ``(s, s)`` in what a Laplacian leaves of sampled cells ``(n, s, s)``."""
    if not len(cells):
        return 0.0
    level, whole = np.diag(noise), np.einsum("nss->s", cells) / len(cells)
    # A band of one value says nothing of the others.
    varies = whole > 0
    return float((level[varies] / whole[varies]).mean()) if varies.any() else 0.0


def noise_gain(degradation: Degradation) -> float:
    """Share of the variance of white noise that degrading leaves."""
    size = 2 * degradation.reach + 1
    rows = [degradation.matrix_down(size, axis)[size // 2] for axis in (0, 1)]
    return float(np.prod([np.sum(np.square(row)) for row in rows]))


def detail_gain(degradation: Degradation) -> float:
    """Share of the variance of white noise in the detail, what degrading takes away.

    Mean over the fine pixels of a coarse one.
    """
    size = 2 * (degradation.reach_down + REACH_UP) + 1
    ratio = degradation.ratio
    own = slice(size // 2 * ratio, (size // 2 + 1) * ratio)
    kept = [
        (degradation.matrix_up(size) @ degradation.matrix_down(size, axis))[own] for axis in (0, 1)
    ]
    # What is kept of a pixel is a product of both axes, and the detail is the pixel less that.
    itself = np.prod([np.mean(np.diag(k[:, own])) for k in kept])
    power = np.prod([np.mean(np.square(k).sum(axis=1)) for k in kept])
    return float(1 - 2 * itself + power)


def bounded(noise: np.ndarray, unexplained: np.ndarray, gain: float) -> np.ndarray:
    """Scale a noise covariance down to what the HSI leaves room for.

    Parameters
    ----------
    noise : ndarray
        ``(s, s)`` from `noise_covariance`.
    unexplained : ndarray
        ``(s, s)`` covariance of the degraded MSI that no linear function of the HSI explains.
    gain : float
        From `noise_gain`.

    Returns
    -------
    ndarray
        ``(s, s)``.
    """
    level = np.diag(noise)
    if not level.any():
        return noise
    room = np.maximum(np.diag(unexplained), 0) / gain
    return noise * min(1.0, float((room[level > 0] / level[level > 0]).mean()))


def unexplained_by_hsi(covariance: np.ndarray, n_msi: int, count: int) -> np.ndarray:
    """What the HSI does not explain of the degraded MSI, ``(s, s)``.

    Parameters
    ----------
    covariance : ndarray
        ``(s + L, s + L)`` joint covariance of degraded MSI and HSI.
    n_msi : int
        Number of MSI bands ``s``.
    count : int
        LR pixels it was measured on. As many principal components of the HSI explain as these can
        carry: too few leave the bound high, too many would fit the noise.
    """
    values, vectors = np.linalg.eigh(covariance[n_msi:, n_msi:])
    keep = values > 1e-9 * values[-1]
    keep[: max(0, len(values) - max(count // 10, 1))] = False
    cross = covariance[:n_msi, n_msi:] @ vectors[:, keep]
    rest = covariance[:n_msi, :n_msi] - (cross / values[keep]) @ cross.T
    return rest * (count / max(count - int(keep.sum()) - 1, 1))
