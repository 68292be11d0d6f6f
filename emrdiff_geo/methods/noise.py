"""Gaussian noise as a pure function of (seed, step, absolute pixel, channel).

Two tiles that see the same pixel see the same noise, whatever their frames, the machine, or the
order of work. A counter-based generator (Philox 4x64: Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011) is keyed by seed and step; its counter starts at the cell of 64 x 64
pixels, so that a window costs only the cells it touches.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

CELL = 64
_MASK = (1 << 64) - 1


def _cell(seed: int, step: int, row: int, col: int, channels: int) -> np.ndarray:
    # The lowest counter word counts draws; the two highest hold the cell, so cells never overlap.
    counter = np.array([0, 0, row & _MASK, col & _MASK], dtype=np.uint64)
    key = np.array([int(seed) & _MASK, step & _MASK], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(counter=counter, key=key))
    return generator.standard_normal((channels, CELL, CELL), dtype=np.float32)


def sample_seed(seed: int, number: int) -> int:
    """Seed of one of several samples of a run; that of the first, number 0, is the run's own.

    Of the others it is a digest, so that no sample of one seed is a sample of a neighbouring seed.
    """
    if number == 0:
        return seed
    return int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()) >> 1


def pixel_noise(
    seed: int, step: int, origin: tuple[int, int], shape: tuple[int, int], channels: int
) -> np.ndarray:
    """Standard normal noise for a window of the scene.

    Parameters
    ----------
    seed, step : int
        Seed of the run and step of the chain.
    origin : (int, int)
        Row and column of the window's first pixel in the scene; may be negative.
    shape : (int, int)
        Height and width of the window in pixels.
    channels : int
        Number of channels; channel ``c`` does not depend on how many follow it.

    Returns
    -------
    ndarray
        ``(channels, height, width)`` float32.
    """
    out = np.empty((channels, *shape), dtype=np.float32)
    (top, left), (height, width) = origin, shape
    for row in range(top // CELL, -(-(top + height) // CELL)):
        for col in range(left // CELL, -(-(left + width) // CELL)):
            y0, x0 = row * CELL - top, col * CELL - left
            y, x = (
                slice(max(y0, 0), min(y0 + CELL, height)),
                slice(max(x0, 0), min(x0 + CELL, width)),
            )
            cell = _cell(seed, step, row, col, channels)
            out[:, y, x] = cell[:, y.start - y0 : y.stop - y0, x.start - x0 : x.stop - x0]
    return out
