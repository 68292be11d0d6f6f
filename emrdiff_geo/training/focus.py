"""The sharpness of the bands of cameras, fitted where the sharp image is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._threads import one_blas_thread
from ..degrade import Degradation
from ..focus import BLURS, SHARP, Focus, lacking, visible
from ..methods.gaussian_process import fuse_gaussian_process
from ..methods.options import MethodOptions, Place
from ..statistics import WaldPair
from .draws import DrawConfig, TrainingScene, draw_pair
from .scenes import SceneFile, load_scene

#: Draws from every scene.
DRAWS = 5
#: Rounds: what the MSI lacks is known from the round before.
ROUNDS = 3
#: Distance of the wavelengths at which shares are told, nm.
STEP = 10.0
#: Weight of smallness, relative to the mean power of what blurs add.
RIDGE = 1e-3

#: Normal equations: ``(n, k, k)`` and ``(n, k)``.
_Sums = tuple[np.ndarray, np.ndarray]


@one_blas_thread()
def fit_focus(files: Sequence[SceneFile], config: DrawConfig, seed: int) -> Focus:
    """Fit the shares by least squares over pairs drawn from the scenes of visible cameras.

    Every pair counts alike, relative to the error of its prior. Pairs have no noise, no shift and
    the spectra as they are.

    Parameters
    ----------
    files : sequence of SceneFile
        Training scenes; those of other sensors are left out.
    config : DrawConfig
        What may be drawn.
    seed : int
        Of the draws.

    Returns
    -------
    Focus
        All bands equally sharp where there is no scene of such a camera.
    """
    scenes = [load_scene(file) for file in dict.fromkeys(files)]
    scenes = [scene for scene in scenes if visible(scene.wavelength_nm)]
    if not scenes:
        return SHARP
    focus, clean = SHARP, replace(config, augment=False, noisy=0.0, misregistered=0.0)
    for _ in range(ROUNDS):
        focus = _refit(focus, scenes, clean, seed)
    return focus


def _refit(focus: Focus, scenes: list[TrainingScene], config: DrawConfig, seed: int) -> Focus:
    """Shares, given an earlier fit."""
    low = min(scene.wavelength_nm[0] for scene in scenes)
    high = max(scene.wavelength_nm[-1] for scene in scenes)
    grid = np.arange(STEP * np.floor(low / STEP), high + STEP, STEP)
    k = len(BLURS)
    squares, products = np.zeros((len(grid), k, k)), np.zeros((len(grid), k))
    for number, scene in enumerate(scenes):
        for draw in range(DRAWS):
            rng = np.random.default_rng((seed, 1 << 41, number, draw))
            pair = draw_pair(scene, rng, config)
            nearest = np.abs(pair.statistics.wavelength_nm[:, None] - grid).argmin(axis=1)
            square, product = _sums(pair, focus)
            np.add.at(squares, nearest, square)
            np.add.at(products, nearest, product)
    seen = np.flatnonzero(np.trace(squares, axis1=1, axis2=2) > 0)
    ridge = RIDGE * np.trace(squares[seen], axis1=1, axis2=2)[:, None, None] / k
    shares = np.linalg.solve(squares[seen] + ridge * np.eye(k), products[seen][..., None])[..., 0]
    return Focus(
        tuple(float(w) for w in grid[seen]),
        tuple(tuple(round(float(s), 3) for s in row) for row in shares),
    )


def _sums(pair: WaldPair, focus: Focus) -> _Sums:
    """Normal equations of every band of a pair."""
    statistics = pair.statistics
    fused = fuse_gaussian_process(pair.lr, pair.hr, statistics, MethodOptions(), Place())
    error = pair.reference - fused
    added = np.stack([_unseen(lacking(fused, blur), statistics.degradation) for blur in BLURS])
    added *= focus.lacked(statistics).astype(np.float32)[:, None, None]
    weight = 1 / max(float(np.mean(np.square(error, dtype=np.float64))), 1e-30)
    squares = weight * np.einsum("kbyx,lbyx->bkl", added, added, dtype=np.float64)
    products = weight * np.einsum("kbyx,byx->bk", added, error, dtype=np.float64)
    return squares, products


def _unseen(image: np.ndarray, degradation: Degradation) -> np.ndarray:
    """What is left of an image after back-projection."""
    return image - degradation.up(degradation.down(image))
