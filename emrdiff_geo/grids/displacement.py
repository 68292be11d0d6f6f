"""A smooth field by which the pixels of one image lie beside where its grid has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

#: Steps of the fixed point that looks for where something came from; each is several times nearer.
STEPS = 5


@dataclass(frozen=True, eq=False)
class Displacement:
    """How far off the HSI's pixels lie, on straight lines between the middles of square cells.

    Attributes
    ----------
    nodes : ndarray
        ``(2, n, m)`` float32: down and to the right, in fine pixels of the frame, one for each
        cell of the frame.
    edge : int
        Of a cell, fine pixels.
    """

    nodes: np.ndarray
    edge: int

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Displacements ``(2, ...)`` of points, in fine pixels; the first pixel's centre is 0.5."""
        places = [axis / self.edge - 0.5 for axis in (y, x)]
        found = [ndimage.map_coordinates(n, places, order=1, mode="nearest") for n in self.nodes]
        return np.stack(found)

    def moved(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where what the grid has at some points lies."""
        down, right = self.at(y, x)
        return y + down, x + right

    def origin(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the grid has what lies at some points."""
        was_y, was_x = y, x
        for _ in range(STEPS):
            down, right = self.at(was_y, was_x)
            was_y, was_x = y - down, x - right
        return was_y, was_x

    def then(self, further: Displacement) -> Displacement:
        """This one and then another one, of the same cells, of what it has moved."""
        middles = [(np.arange(n) + 0.5) * self.edge for n in self.nodes.shape[1:]]
        y, x = np.meshgrid(*middles, indexing="ij")
        more = further.at(*self.moved(y, x))
        return replace(self, nodes=(self.nodes + more).astype(np.float32))
