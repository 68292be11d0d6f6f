"""Digests of what was read, taken on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Witness:
    """Reads windows for somebody, and keeps a digest of every pixel that it has read.

    The pass over the scene that measures its statistics reads all pixels: a digest on the way
    costs little, and unlike sizes, times and names of files it is about what matters.

    Parameters
    ----------
    read : callable
        ``read(rows, cols)`` of a source.
    """

    def __init__(self, read: Callable[[slice, slice], np.ndarray]) -> None:
        self._read = read
        self._seen: dict[tuple[int, ...], bytes] = {}

    def __call__(self, rows: slice, cols: slice) -> np.ndarray:
        pixels = self._read(rows, cols)
        window = rows.start, rows.stop, cols.start, cols.stop
        if window not in self._seen:
            self._seen[window] = digest_of(pixels)
        return pixels

    @property
    def seen(self) -> dict[tuple[int, ...], bytes]:
        """Digests by window, for another witness to `hear`."""
        return self._seen

    def hear(self, seen: Mapping[tuple[int, ...], bytes]) -> None:
        """Take over what a witness in another place has seen."""
        self._seen.update(seen)

    @property
    def digest(self) -> str:
        """Of all windows so far, whatever their order."""
        total = hashlib.blake2b(digest_size=16)
        for window, found in sorted(self._seen.items()):
            total.update(repr(window).encode() + found)
        return total.hexdigest()


def digest_of(*parts: Any) -> bytes:
    """Digest of arrays, bit by bit, and of whatever else has a `repr` that tells all of it."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            total.update(repr(part).encode())
    return total.digest()
