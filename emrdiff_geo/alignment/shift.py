"""Whether the two images of a pair show the same place at the same pixels, and by how much not.

In windows spread over the scene the degraded MSI is regressed on the HSI at every shift of a
search grid: the shift that leaves the least unexplained is the one between the images. The
regression is fitted anew at every shift, so that it neither depends on how the pair was registered
nor cares about units, radiometry or the sign of the contrast. Windows by themselves tell whether
one shift explains them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..degradation.degrade import Degradation
from ..grids.pair import Pair
from ..scene.plausible import Plausible
from ..scene.whole_spectra import WholeSpectra, is_broken
from ..system.threads import one_blas_thread

#: Largest shift that is looked for, HSI pixels: PRISMA scenes are off by up to eight.
REACH = 8
#: Largest spread of the windows for which a single shift describes the scene, HSI pixels.
SPREAD = 0.35
#: Edge of a window: at most so many HSI pixels, and MSI pixels; at least so many HSI pixels.
LARGEST, LARGEST_FINE, LEAST = 64, 1024, 12
#: Windows that are enough, and the fewest on whose word a pair is refused.
ENOUGH, FEWEST = 9, 3
#: Positions of windows along an axis, quarters of the way: first the ends and the middle.
LATTICE = (0, 2, 4, 1, 3)
#: Share of the MSI's variance that the HSI has to explain for a window to count.
EXPLAINED = 0.5
#: Largest standard error of a window's shift, HSI pixels.
UNCERTAIN = 0.1
#: Shifts that are tried, of the nearest and of the best; how much worse may fit about as well.
RIVALS, AS_WELL = 3, 1.5
#: Principal components of the HSI that stand for its bands.
COMPONENTS = 6
#: Share of a window that has to have data.
FILLED = 0.4


@dataclass(frozen=True)
class Shift:
    """How far the HSI lies off the MSI.

    Attributes
    ----------
    x, y : float
        Columns to the right and rows down, in MSI pixels: medians over the windows.
    spread_x, spread_y : float
        Median absolute deviations of the windows, scaled to a normal distribution's sigma.
    windows : int
        Windows in which the shift could be measured.
    ratio : int
        MSI pixels per HSI pixel.
    """

    x: float
    y: float
    spread_x: float
    spread_y: float
    windows: int
    ratio: int

    @property
    def length(self) -> float:
        """Length of the shift, HSI pixels."""
        return math.hypot(self.x, self.y) / self.ratio

    @property
    def varies(self) -> bool:
        """Whether the windows differ by more than one shift can explain."""
        return max(self.spread_x, self.spread_y) > SPREAD * self.ratio

    @property
    def reliable(self) -> bool:
        """Whether it may decide anything: enough windows, and they agree."""
        return self.windows >= FEWEST and not self.varies

    def __str__(self) -> str:
        across, down = "left" if self.x < 0 else "right", "above" if self.y < 0 else "below"
        count = f"{self.windows} window{'s' if self.windows > 1 else ''}"
        return (
            f"{abs(self.x):.2f} MSI pixels to the {across} of the MSI and {abs(self.y):.2f} {down} "
            f"it ({self.length:.2f} HSI pixels; spread {self.spread_x:.2f} and "
            f"{self.spread_y:.2f} over {count})"
        )


@dataclass(frozen=True)
class _Window:
    """One window: predictors on the coarse grid, the blurred MSI on a finer one around it.

    `x` (k + 1, h, w) are the HSI's components and ones, zero where the HSI has no data; `y`
    (s, ..., ...) the blurred MSI and `valid` its mask, `per` samples a coarse pixel; (row, col) is
    the sample that lies at the first coarse pixel's centre when there is no shift.
    """

    x: np.ndarray
    y: np.ndarray
    valid: np.ndarray
    per: int
    origin: tuple[int, int]

    def unexplained(self, down: int, right: int) -> float:
        """Part of the MSI's variance that is left when it is moved by so many samples, 0..1."""
        shape = self.x.shape[1:]
        cut = []
        for first, size, full in zip(
            (self.origin[0] + down, self.origin[1] + right), shape, self.valid.shape, strict=True
        ):
            # Coarse pixels whose sample lies inside the array
            low = max(0, -(first // self.per))
            high = min(size, (full - 1 - first) // self.per + 1)
            if high - low < 2:
                return np.nan
            start = first + low * self.per
            fine = slice(start, start + (high - low - 1) * self.per + 1, self.per)
            cut.append((slice(low, high), fine))
        (rows, fine_rows), (cols, fine_cols) = cut
        x, weight = self.x[:, rows, cols], self.valid[fine_rows, fine_cols]
        x = (x * weight).reshape(len(x), -1)
        y = self.y[:, fine_rows, fine_cols].reshape(len(self.y), -1)
        n = x[-1].sum()
        if n < max(FILLED * shape[0] * shape[1], 8 * len(x)):
            return np.nan
        y = y * x[-1]
        cross = x @ y.T
        total = (y * y).sum(axis=1) - cross[-1] ** 2 / n
        gram = x @ x.T
        gram[np.diag_indices(len(gram))] += 1e-9 * np.trace(gram) / len(gram)
        left = (y * y).sum(axis=1) - (cross * np.linalg.solve(gram, cross)).sum(axis=0)
        seen = total > 1e-12 * np.abs(self.y).max() ** 2 * n
        return float(np.clip(left[seen] / total[seen], 0, 1).mean()) if seen.any() else np.nan


@one_blas_thread()
def measure_shift(pair: Pair) -> Shift | None:
    """Measure by how much the HSI lies off the MSI.

    At most nine windows of at most 64 x 64 HSI pixels are read of each image.

    Parameters
    ----------
    pair : Pair
        From `pair_scenes`.

    Returns
    -------
    Shift or None
        None where nothing could be measured: a scene without texture, too small, without data,
        or two images that have nothing in common.
    """
    windows = _windows(pair)
    if not windows:
        return None
    start = _start(windows)
    found = [peak for window in windows if (peak := _peak(window, start)) is not None]
    if not found:
        return None
    per = windows[0].per
    # The middle of an even number of samples lies between two of them. What lies to the right in
    # the MSI of where the HSI has it means an HSI that lies to the left.
    off = 0.5 if per % 2 == 0 else 0.0
    shifts = -(np.array(found) + off) * (pair.ratio / per)
    y, x = np.median(shifts, axis=0)
    spread_y, spread_x = 1.4826 * np.median(np.abs(shifts - [y, x]), axis=0)
    return Shift(float(x), float(y), float(spread_x), float(spread_y), len(found), pair.ratio)


def _windows(pair: Pair) -> list[_Window]:
    """Windows with data, up to `ENOUGH`."""
    edge = max(LEAST, min(LARGEST, LARGEST_FINE // pair.ratio, max(pair.lr_shape) // 3))
    blocks = []
    for rows, cols in scattered_windows(pair.lr_shape, edge):
        hsi = pair.hsi.read(rows, cols)[pair.hsi_bands.good]
        seen = np.isfinite(hsi)
        if seen.any(axis=0).mean() >= FILLED:
            blocks.append((rows, cols, hsi))
        if len(blocks) == ENOUGH:
            break
    if not blocks:
        return []
    # Bands that are empty in one window, as over water vapour, are in all.
    counts = sum(np.isfinite(hsi).sum(axis=(1, 2)) for _, _, hsi in blocks)
    bands = counts >= 0.5 * counts.max()
    images = _whole([hsi[bands] for _, _, hsi in blocks])
    basis = _components(images)
    places = [place for *place, _ in blocks]
    return [_window(pair, *place, hsi, basis) for place, hsi in zip(places, images, strict=True)]


def _whole(images: list[np.ndarray]) -> list[np.ndarray]:
    """Images ``(L, h, w)`` without implausible values, whose pixels have all bands or few."""
    plausible = Plausible.of(_thinned(images))
    lost = [plausible.implausible(image) for image in images]
    images = [
        np.where(gone, np.float32(np.nan), image) if gone.any() else image
        for gone, image in zip(lost, images, strict=True)
    ]
    spectra = [image.reshape(len(image), -1) for image in images]
    if not any(is_broken(s).any() for s in spectra):
        return images
    known = WholeSpectra.of(_thinned(images))
    return [known.completed(s).reshape(i.shape) for s, i in zip(spectra, images, strict=True)]


def _thinned(images: list[np.ndarray]) -> np.ndarray:
    """Spectra ``(L, n)`` of every fourth pixel, of all of small images."""
    step = 2 if images[0][0].size > LARGEST**2 / 4 else 1
    return np.concatenate([i[:, ::step, ::step].reshape(len(i), -1) for i in images], axis=1)


def scattered_windows(shape: tuple[int, int], edge: int) -> Iterator[tuple[slice, slice]]:
    """Windows on a lattice over the scene, without repetition where they would coincide."""
    spans = []
    for size in shape:
        length = min(edge, size)
        spans.append([(round(i * (size - length) / 4), length) for i in LATTICE])
    seen = set()
    # Every other one in both directions first: they are enough where the scene has no gaps.
    order = sorted(((i, j) for i in range(5) for j in range(5)), key=lambda ij: max(ij) > 2)
    for i, j in order:
        (top, height), (left, width) = spans[0][i], spans[1][j]
        if (top, left) not in seen:
            seen.add((top, left))
            yield slice(top, top + height), slice(left, left + width)


def _components(blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(L,)`` and leading principal axes ``(k, L)`` of all pixels that are complete."""
    # A quarter of the pixels of large windows: the axes need no more, and float64 is large.
    samples = _thinned(blocks)
    samples = samples[:, np.isfinite(samples).all(axis=0)].astype(np.float64)
    if samples.shape[1] < 2:
        return np.zeros(len(samples)), np.zeros((0, len(samples)))
    mean = samples.mean(axis=1)
    samples -= mean[:, None]
    values, vectors = np.linalg.eigh(samples @ samples.T / samples.shape[1])
    kept = np.flatnonzero(values > 1e-10 * max(values[-1], 1e-300))[-COMPONENTS:]
    return mean, (vectors[:, kept] / np.sqrt(values[kept])).T


def _window(pair: Pair, rows: slice, cols: slice, hsi: np.ndarray, basis) -> _Window:
    mean, axes = basis
    complete = np.isfinite(hsi).all(axis=0)
    scores = np.tensordot(axes, np.where(complete, hsi, 0) - mean[:, None, None], axes=1)
    x = np.concatenate([scores, np.ones((1, *complete.shape))]) * complete
    ratio = pair.ratio
    per = min(n for n in range(1, ratio + 1) if ratio % n == 0 and n >= min(4, ratio))
    margin = REACH + 2
    # Nothing beyond the frame can be read: it would be all NaN.
    low = [max(s.start - margin, 0) for s in (rows, cols)]
    high = [min(s.stop + margin, n) for s, n in zip((rows, cols), pair.lr_shape, strict=True)]
    msi = pair.msi.read(*(slice(a * ratio, b * ratio) for a, b in zip(low, high, strict=True)))
    y, valid = _blurred(msi, ratio // per, Degradation(per).sigma)
    origin = [(s.start - a) * per + per // 2 for s, a in zip((rows, cols), low, strict=True)]
    return _Window(x, y, valid, per, (origin[0], origin[1]))


def _blurred(
    msi: np.ndarray, step: int, sigma: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """MSI as the HSI's sensor would see it, a sample every `step` pixels, and where it is whole."""
    s, height, width = msi.shape
    cells = msi.astype(np.float64).reshape(s, height // step, step, width // step, step)
    y = cells.mean(axis=(2, 4))
    valid = np.isfinite(y).all(axis=0)
    middle = [np.median(band[valid]) if valid.any() else 0.0 for band in y]
    y = np.where(valid, y - np.array(middle)[:, None, None], 0)
    y = ndimage.gaussian_filter(y, (0, *sigma), mode="nearest", truncate=3)
    whole = ndimage.gaussian_filter(valid.astype(np.float64), sigma, mode="nearest", truncate=3)
    return y, whole > 0.99


def _start(windows: list[_Window]) -> tuple[int, int]:
    """Shift in samples from which the peaks of all windows are sought.

    Of all whole HSI pixels the one that the windows together like best. What repeats itself, such
    as rows of a plantation, fits at several: of those that fit about as well it is the nearest.
    """
    per = windows[0].per
    # Every other one is enough to tell whole pixels apart, and they lie all over the scene.
    some = windows[::2]
    span = range(-REACH, REACH + 1)
    left = np.array([[_common(some, i * per, j * per) for j in span] for i in span])
    lowest = left == ndimage.minimum_filter(left, 3, mode="nearest")
    places = [(int(i) - REACH, int(j) - REACH) for i, j in zip(*np.nonzero(lowest), strict=True)]
    nearest = sorted(places, key=lambda ij: ij[0] ** 2 + ij[1] ** 2)[:RIVALS]
    best = sorted(places, key=lambda ij: left[ij[0] + REACH, ij[1] + REACH])[:RIVALS]
    starts = [(i * per, j * per) for i, j in dict.fromkeys([*nearest, *best])]
    depths = [np.mean([_descent(w, start)[1] for w in some]) for start in starts]
    good = [
        start
        for start, depth in zip(starts, depths, strict=True)
        if depth <= AS_WELL * min(depths) + 1e-3
    ]
    return min(good, key=lambda ij: ij[0] ** 2 + ij[1] ** 2)


def _common(windows: list[_Window], down: int, right: int) -> float:
    """Mean of `unexplained`; what cannot be seen at this shift counts as unexplained."""
    return float(np.mean([np.nan_to_num(w.unexplained(down, right), nan=1.0) for w in windows]))


def _descent(
    window: _Window, start: tuple[int, int]
) -> tuple[tuple[int, int], float, np.ndarray | None]:
    """Downhill from `start`: where it ends, what is unexplained there, and the 3 x 3 values.

    The values are None where it runs into what cannot be seen, or further than two HSI pixels.
    """
    known: dict[tuple[int, int], float] = {}

    def left(i: int, j: int) -> float:
        if (i, j) not in known:
            known[i, j] = window.unexplained(i, j)
        return known[i, j]

    i, j = start
    while max(abs(i - start[0]), abs(j - start[1])) <= 2 * window.per:
        patch = np.array([[left(i + di, j + dj) for dj in (-1, 0, 1)] for di in (-1, 0, 1)])
        if np.isnan(patch).any():
            break
        down, right = np.unravel_index(patch.argmin(), patch.shape)
        if patch[1, 1] <= patch[down, right]:
            return (i, j), float(patch[1, 1]), patch
        i, j = i + int(down) - 1, j + int(right) - 1
    return (i, j), 1.0, None


def _peak(window: _Window, start: tuple[int, int]) -> np.ndarray | None:
    """Shift (down, right) in samples to a fraction, near `start`; None without a sharp peak."""
    place, depth, patch = _descent(window, start)
    if patch is None or depth > 1 - EXPLAINED:
        return None
    vertex, curvature = _quadric(patch)
    lowest = float(np.linalg.eigvalsh(curvature)[0])
    # Variance of a least-squares estimate along the direction in which the peak is flattest:
    # stripes tell nothing of a shift along them.
    pixels = float(window.x[-1].sum())
    if lowest <= 0 or 2 * depth / (pixels * lowest) > (UNCERTAIN * window.per) ** 2:
        return None
    return np.array(place) + vertex if np.abs(vertex).max() <= 1 else None


def _quadric(patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertex (y, x) of the quadric fitted to 3 x 3 values, from the middle one, and its Hessian."""
    y, x = (g.ravel() for g in np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"))
    terms = np.stack([np.ones(9), y, x, y * y / 2, y * x, x * x / 2], axis=1)
    _, gy, gx, yy, yx, xx = np.linalg.lstsq(terms, patch.ravel(), rcond=None)[0]
    curvature = np.array([[yy, yx], [yx, xx]])
    return -np.linalg.pinv(curvature) @ [gy, gx], curvature
