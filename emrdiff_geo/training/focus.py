"""The sharpness of the bands of cameras, fitted where the sharp image is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..methods.gaussian_process import fuse_gaussian_process
from ..methods.options import MethodOptions, Place
from ..methods.regression import unseen_detail
from ..scene.focus import BLURS, SHARP, Focus, lacking, visible
from ..scene.statistics import SceneStatistics
from ..scene.wald_pair import WaldPair
from ..system.threads import one_blas_thread
from .draws import DrawConfig, draw_pair
from .scenes import SceneFile, load_scene

#: Draws from every scene.
DRAWS = 5
#: Rounds: what the MSI lacks is known from the round before.
ROUNDS = 3
#: Distance of the wavelengths at which shares are told, nm.
STEP = 10.0
#: Weight of smallness, relative to the mean power of what blurs add.
RIDGE = 1e-3


@dataclass(frozen=True)
class _Equations:
    """Normal equations of every band of a pair, ``(L, k, k)`` and ``(L, k)``, were all lacking."""

    statistics: SceneStatistics
    squares: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, pair: WaldPair) -> _Equations:
        statistics = pair.statistics
        fused = fuse_gaussian_process(pair.lr, pair.hr, statistics, MethodOptions(), Place())
        error = pair.reference - fused
        # What back-projection would take away again does not count.
        degradation = statistics.degradation
        added = np.stack([unseen_detail(lacking(fused, blur), degradation) for blur in BLURS])
        weight = 1 / max(float(np.mean(np.square(error, dtype=np.float64))), 1e-30)
        squares = weight * np.einsum("kbyx,lbyx->bkl", added, added, dtype=np.float64)
        products = weight * np.einsum("kbyx,byx->bk", added, error, dtype=np.float64)
        return cls(statistics, squares, products)


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
    clean = replace(config, augment=False, noisy=0.0, misregistered=0.0)
    equations = [
        _Equations.of(draw_pair(scene, np.random.default_rng((seed, 1 << 41, number, draw)), clean))
        for number, scene in enumerate(scenes)
        for draw in range(DRAWS)
    ]
    low = min(scene.wavelength_nm[0] for scene in scenes)
    high = max(scene.wavelength_nm[-1] for scene in scenes)
    grid = np.arange(STEP * np.floor(low / STEP), high + STEP, STEP)
    focus = SHARP
    for _ in range(ROUNDS):
        focus = _refit(focus, equations, grid)
    return focus


def _refit(focus: Focus, equations: Sequence[_Equations], grid: np.ndarray) -> Focus:
    """Shares at wavelengths of a grid, given those of an earlier fit."""
    k = len(BLURS)
    squares, products = np.zeros((len(grid), k, k)), np.zeros((len(grid), k))
    for pair in equations:
        nearest = np.abs(pair.statistics.wavelength_nm[:, None] - grid).argmin(axis=1)
        lacked = focus.lacked(pair.statistics)[:, None]
        np.add.at(squares, nearest, lacked[:, None] ** 2 * pair.squares)
        np.add.at(products, nearest, lacked * pair.products)
    seen = np.flatnonzero(np.trace(squares, axis1=1, axis2=2) > 0)
    ridge = RIDGE * np.trace(squares[seen], axis1=1, axis2=2)[:, None, None] / k
    shares = np.linalg.solve(squares[seen] + ridge * np.eye(k), products[seen][..., None])[..., 0]
    return Focus(
        tuple(float(w) for w in grid[seen]),
        tuple(tuple(round(float(s), 3) for s in row) for row in shares),
    )
