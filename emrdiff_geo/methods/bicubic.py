"""Bicubic interpolation of the HSI: what every other method has to beat."""

from __future__ import annotations

import numpy as np

from ..scene.statistics import SceneStatistics
from .options import WHOLE, MethodOptions, Place


def fuse_bicubic(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    options: MethodOptions,
    place: Place,
) -> np.ndarray:
    """Interpolate an LR tile, centres aligned, a = -0.5 (Keys, IEEE TASSP 29, 1981)."""
    return place.cut(statistics.degradation.up(lr), WHOLE)
