"""The high-resolution frame: which whole low-resolution cells lie over a target and around it."""

from __future__ import annotations

import numpy as np

from .resample import PixelMap

#: HSI pixels beyond the target of which the MSI is read, where it goes on: what the PSF sees.
BEYOND = 2


def cells(first: int, last: int, phase: int, ratio: int) -> tuple[int, int]:
    """Rows or columns of the low-resolution cells over a span."""
    start = first - (first - phase) % ratio
    return start, start - (start - last) // ratio * ratio


def seen_beyond(
    frame: tuple[int, int],
    target: tuple[int, int],
    hsi: tuple[float, float],
    size: int,
    ratio: int,
) -> tuple[int, int]:
    """Rows or columns of a frame, grown by cells that the HSI's outer pixels see into.

    Where the MSI goes on it is known what they see; where only the HSI does, that it is not.
    """
    grown = []
    for sign, n, edge, end, room in zip(
        (-1, 1), frame, target, hsi, (frame[0], size - frame[1]), strict=True
    ):
        goes_on = sign * (end - edge) > ratio / 4
        grown.append(n + sign * ratio * (BEYOND if goes_on else max(0, min(BEYOND, room // ratio))))
    return grown[0], grown[1]


def phase(
    onto: PixelMap, centre: np.ndarray, inner: tuple[int, int, int, int], ratio: int
) -> tuple[int, int]:
    """Row and column, modulo the ratio, at which low-resolution pixels begin.

    Grids that keep within a quarter of an HSI pixel of each other keep the HSI's lines, to resample
    nothing or little. Others drift in and out of phase anyway: there no pixel hangs out of the
    target by more than half of its height or width, so that it has data enough.
    """
    r0, c0, r1, c1 = inner
    away = np.abs(onto.jacobian(*centre) / ratio - np.eye(2)) @ [c1 - c0, r1 - r0]
    if away.max() < ratio / 2:
        col, row = (round(float(v[0])) for v in onto(*np.round(centre)[:, None]))
        return row % ratio, col % ratio
    phases = []
    for first, size in ((r0, r1 - r0), (c0, c1 - c0)):
        rest = size % ratio
        lead = 0 if rest == 0 or 2 * rest >= ratio else (ratio + rest + 1) // 2
        phases.append((first + lead) % ratio)
    return phases[0], phases[1]
