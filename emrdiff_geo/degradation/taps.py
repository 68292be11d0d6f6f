"""Sparse linear operators along one axis: positions and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Axes longer than this are worked in blocks: a dense matrix for them would be mostly zeros.
DENSE_LIMIT = 1024
BLOCK = 256


@dataclass(frozen=True)
class Taps:
    """A sparse operator along one axis: ``out[i] = sum_k weight[i, k] * x[index[i, k]]``.

    Attributes
    ----------
    index : (n_out, k) int64, positions in the input; a position may occur twice.
    weight : (n_out, k) float64, each row sums to 1.
    n_in : length of the input axis.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float64]
    n_in: int

    @property
    def n_out(self) -> int:
        return self.index.shape[0]

    @property
    def short(self) -> bool:
        """Whether a dense matrix serves."""
        return max(self.n_out, self.n_in) <= DENSE_LIMIT

    def block(
        self, start: int, stop: int, dtype: DTypeLike = np.float64
    ) -> tuple[slice, NDArray[np.floating]]:
        """Input slice and dense ``(stop - start, slice)`` matrix of the rows ``start:stop``."""
        index = self.index[start:stop]
        first, last = int(index.min()), int(index.max()) + 1
        dense = np.zeros((stop - start, last - first))
        np.add.at(dense, (np.arange(stop - start)[:, None], index - first), self.weight[start:stop])
        return slice(first, last), dense.astype(dtype)

    def dense(self, dtype: DTypeLike = np.float64) -> NDArray[np.floating]:
        """The whole ``(n_out, n_in)`` matrix."""
        matrix = np.zeros((self.n_out, self.n_in))
        np.add.at(matrix, (np.arange(self.n_out)[:, None], self.index), self.weight)
        return matrix.astype(dtype)

    def after(self, first: Taps) -> Taps:
        """The operator that applies `first` and then this one."""
        index = first.index[self.index].reshape(self.n_out, -1)
        weight = (self.weight[:, :, None] * first.weight[self.index]).reshape(self.n_out, -1)
        return Taps(index, weight, first.n_in)

    def apply(self, x: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
        """Apply along the last (-1) or last but one (-2) axis of `x`."""
        if self.short:
            return multiply(self.dense(x.dtype), x, axis)
        shape = list(x.shape)
        shape[axis] = self.n_out
        out = np.empty(shape, x.dtype)
        for start in range(0, self.n_out, BLOCK):
            stop = min(start + BLOCK, self.n_out)
            source, matrix = self.block(start, stop, x.dtype)
            if axis == -1:
                out[..., start:stop] = multiply(matrix, x[..., source], axis)
            else:
                out[..., start:stop, :] = multiply(matrix, x[..., source, :], axis)
        return out


def multiply(
    matrix: NDArray[np.floating], x: NDArray[np.floating], axis: int
) -> NDArray[np.floating]:
    """Apply a matrix along the last (-1) or last but one (-2) axis of `x`."""
    return x @ matrix.T if axis == -1 else matrix @ x
