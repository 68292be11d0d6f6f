"""What a method is told beside the images: where a tile lies, and what a user has chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..grids.windows import Window, within
from ..scene.wald_pair import WaldPair

#: The pair one ratio lower and its valid pixels ``(h, w)``, or None where it would be too small.
Lower = Callable[[], tuple[WaldPair, np.ndarray] | None]


#: Of a tile.
Part = Window
WHOLE: Part = (slice(None), slice(None))


@dataclass(frozen=True)
class Place:
    """Where a tile lies, and what is wanted of it.

    Attributes
    ----------
    origin : (int, int)
        Row and column of its first HR pixel in the scene.
    inner : (slice, slice)
        The part of its HR pixels that a method returns.
    """

    origin: tuple[int, int] = (0, 0)
    inner: Part = WHOLE

    def around(self, shape: tuple[int, ...], margin: int, ratio: int = 1) -> Part:
        """The inner part and a margin within a tile of some shape, in multiples of `ratio`."""
        rows, cols = (
            _widened(*s.indices(n)[:2], n, margin, ratio)
            for s, n in zip(self.inner, shape, strict=True)
        )
        return rows, cols

    def cut(self, image: np.ndarray, frame: Part) -> np.ndarray:
        """The inner part of an image ``(n, y, x)`` of a larger part of the tile, `frame`."""
        return image[:, *within(self.inner, frame)]


#: All of a tile that begins where the scene does.
TILE = Place()


def _widened(first: int, last: int, size: int, margin: int, ratio: int) -> slice:
    start = max(first - margin, 0) // ratio * ratio
    return slice(start, min(-(-(last + margin) // ratio) * ratio, size))


@dataclass(frozen=True)
class MethodOptions:
    """Options of a run; methods read what concerns them. Picklable and small: it goes with tiles.

    Attributes
    ----------
    weights : str
        Name of shipped weights or path of a ``.safetensors`` file.
    variant : str or None
        ``"universal"``, ``"published"``, or None: as the weights say.
    steps : int or None
        Steps of the chain; None: as the weights were trained.
    seed : int
        Seed of the noise.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: CUDA where there is one.
    self_check : bool
        Whether to measure on the pair itself, one ratio lower, how much of the network's residual
        to keep.
    samples : int
        Number of samples of the chain; the result is their mean.
    uncertainty : bool
        Whether a tile also has the standard deviation of its error.
    digest : str
        Digest of the weights file; filled in when a run is prepared.
    kept : tuple of float
        Share of the residual that is kept on every node, 0..1; filled in when a run is prepared,
        empty where all of it is.
    calibration : tuple of float
        Weights of the terms of the uncertainty; filled in when a run is prepared.
    """

    weights: str = "universal"
    variant: str | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    self_check: bool = True
    samples: int = 1
    uncertainty: bool = False
    digest: str = ""
    kept: tuple[float, ...] = ()
    calibration: tuple[float, ...] = ()
