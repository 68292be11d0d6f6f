"""The HSI's own pixels: where they lie on the MSI's grid, and what they see of an image there.

Fusion works on a low-resolution grid that nests in the MSI's. The HSI's own pixels need not: a
ratio of 8.33, another origin, a rotation, another CRS. What a pixel sees is the sum of the fine
pixels around its centre, wherever that lies, weighted by the PSF.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from affine import Affine
from scipy import sparse

from ..degradation.degrade import Degradation
from ..grids.displacement import Displacement
from ..grids.pair import Pair
from ..grids.resample import PixelMap
from ..grids.sources import ResampledSource, Source, Windowed
from ..grids.windows import Window, within
from ..scene.moments import Moments
from ..scene.statistics import SceneStatistics
from ..system.threads import one_blas_thread
from .seen import SEEN, Kernels, kernels_of, seen_of, seen_on_mesh
from .shift import scattered_windows

#: Edge of a window in which slopes are measured, own pixels, and windows that are enough.
EDGE, ENOUGH = 48, 9
#: Share of what a pixel sees of the MSI for it to count there.
WHOLE = 0.99
#: Lobes of the interpolating kernel, pixels to each side.
LOBES = 3
#: Points that are interpolated at a time.
POINTS = 1 << 16


@dataclass(frozen=True)
class OwnPixels:
    """The HSI's own pixels around the frame of a pair.

    Attributes
    ----------
    source : Source
        Reads them; they need no grid that nests in the MSI's.
    first : (int, int)
        Row and column of the first of them in `source`.
    shape : (int, int)
        Rows and columns.
    ratio : int
        Of the pair: its fine pixels are the unit of length.
    onto, back : PixelMap or None
        To pixels of the frame and from them; None where they nest.
    moved : Displacement or None
        How far off they lie from there.
    off : (float, float)
        How far off the source's grid they lie besides, down and to the right, in its pixels.
    """

    source: Source
    first: tuple[int, int]
    shape: tuple[int, int]
    ratio: int
    onto: PixelMap | None = None
    back: PixelMap | None = None
    moved: Displacement | None = None
    off: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, pair: Pair) -> OwnPixels:
        """Those of a pair."""
        hsi, frame = plain_hsi(pair), pair.hr_geobox
        if not isinstance(hsi, ResampledSource) or frame is None:
            return cls(hsi, (0, 0), pair.lr_shape, pair.ratio, moved=pair.moved)
        back = PixelMap.between(frame, hsi.source_geobox)
        x, y = back.outline()
        height, width = hsi.source.shape[1:]
        top, bottom = _whole(y, height)
        left, right = _whole(x, width)
        onto = PixelMap.between(hsi.source_geobox, frame)
        shape = bottom - top, right - left
        return cls(hsi.source, (top, left), shape, pair.ratio, onto, back, pair.moved)

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window ``(L, h, w)``, see `Source.read`."""
        return self.source.read(*self.in_source(rows, cols))

    def centres(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns ``(h, w)`` of the frame at which the centres of a window lie."""
        rows, cols = self.in_source(rows, cols)
        y, x = (
            np.arange(s.start, s.stop) + 0.5 + off
            for s, off in zip((rows, cols), self.off, strict=True)
        )
        y, x = np.meshgrid(y, x, indexing="ij")
        if self.onto is None:
            y, x = y * self.ratio, x * self.ratio
        else:
            x, y = self.onto(x, y)
        return (y, x) if self.moved is None else self.moved.moved(y, x)

    def under(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns, counted from the first pixel, that see points of the frame."""
        if self.moved is not None:
            y, x = self.moved.origin(y, x)
        if self.back is None:
            y, x = y / self.ratio, x / self.ratio
        else:
            x, y = self.back(x, y)
        return y - self.first[0] - self.off[0], x - self.first[1] - self.off[1]

    def see(
        self, image: Source, rows: slice, cols: slice, kernels: Kernels, least: float = SEEN
    ) -> np.ndarray:
        """What the pixels of a window see ``(s, h, w)`` of an image on the frame, see `seen_of`."""
        y, x = self.centres(rows, cols)
        if self._parallel:
            return seen_on_mesh(image, y[:, 0], x[0], kernels, least)
        return seen_of(image, y.ravel(), x.ravel(), kernels, least).reshape(-1, *y.shape)

    def samples(
        self, image: Source, window: Window, kernels: Kernels, good: np.ndarray
    ) -> np.ndarray:
        """What pixels see of an image, and what they show in good bands, ``(s + L, n)``.

        Only of those that see `WHOLE` of it and have data.
        """
        seen = self.see(image, *window, kernels, least=WHOLE)
        both = np.concatenate([seen, self.read(*window)[good]])
        return both[:, np.isfinite(both).all(axis=0)]

    def counted(self, window: Window) -> Window:
        """A window of the source, counted from the first of these pixels."""
        top, left = self.first
        return within(window, (slice(top, None), slice(left, None)))

    @property
    def _parallel(self) -> bool:
        """Whether all pixels of a row or column lie on one line of the frame."""
        if self.moved is not None:
            return False
        linear = Affine.identity() if self.onto is None else self.onto.affine
        return linear is not None and linear.b == linear.d == 0

    def in_source(self, rows: slice, cols: slice) -> Window:
        """A window of these pixels, counted from the first of the source."""
        top, left = self.first
        return (
            slice(rows.start + top, rows.stop + top),
            slice(cols.start + left, cols.stop + left),
        )


def plain_hsi(pair: Pair) -> Source:
    """The HSI on the grid, as it is or resampled by area."""
    return pair.hsi.plain if isinstance(pair.hsi, GuidedSource) else pair.hsi


def _whole(at: np.ndarray, size: int) -> tuple[int, int]:
    """First and last whole pixels of a raster around coordinates."""
    at = at[np.isfinite(at)]
    first, last = (
        int(np.clip(f(e), 0, size)) for f, e in ((np.floor, at.min()), (np.ceil, at.max()))
    )
    return first, last


@dataclass(frozen=True, eq=False)
class SeenSource(Windowed):
    """What the HSI's own pixels would see of a fine image.

    Parameters
    ----------
    image : Source
        On the frame.
    own : OwnPixels
    kernels : (ndarray, ndarray)
        From `kernels_of`.
    least : float
        Share of what a pixel sees that must be there.
    """

    image: Source
    own: OwnPixels
    kernels: Kernels
    least: float = SEEN

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return self.image.shape[0], *self.own.shape

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        return self.own.see(self.image, rows, cols, self.kernels, self.least)


@dataclass(frozen=True, eq=False)
class GuidedSource(Windowed):
    """The HSI on the low-resolution grid, its detail kept by what the MSI shows of it.

    Interpolating coarse pixels loses contrast, more or less of it as the two grids come in and out
    of phase. What it loses of the MSI is known: both what the HSI's own pixels would have seen of
    it, and what those of the grid would have. So only the difference between the HSI and its
    regression on what its pixels see of the MSI is interpolated, and the regression on what the
    grid's pixels see is added (as in regression kriging; Odeh, McBratney and Chittleborough,
    Geoderma 67, 1995). Where either image has gaps it is the mean by area.

    Parameters
    ----------
    plain : Source
        The HSI on the grid, as it is or resampled by area.
    msi : Source
        On the frame.
    own : OwnPixels
    kernels : (ndarray, ndarray)
        From `kernels_of`.
    slopes : ndarray
        ``(L, s)`` float32 of the HSI's bands on the MSI's; of bands that are left out 0.
    good : ndarray
        ``(L,)`` bool: bands that are not left out.
    """

    plain: Source
    msi: Source
    own: OwnPixels
    kernels: Kernels
    slopes: np.ndarray
    good: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return self.plain.shape

    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        image = self.plain.read(rows, cols)
        valid = np.isfinite(image[self.good]).all(axis=0)
        if not valid.any():
            return image
        y, x = (np.arange(s.start, s.stop) + 0.5 for s in (rows, cols))
        ratio = self.own.ratio
        seen = seen_on_mesh(self.msi, y * ratio, x * ratio, self.kernels)
        row, col = np.nonzero(valid)
        at = self.own.under(y[row] * ratio, x[col] * ratio)
        found = self._regressed(seen[:, valid]) + self._rest(*at)
        usable = np.isfinite(found) & self.good[:, None]
        image[:, valid] = np.where(usable, found, image[:, valid])
        return image

    def _regressed(self, seen: np.ndarray) -> np.ndarray:
        """The regression ``(L, n)`` of the HSI on what pixels see ``(s, n)``, less its constant."""
        return np.einsum("ls,sn->ln", self.slopes, seen)

    def _rest(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """What the regression leaves of the own pixels, at points ``(n,)`` between them."""
        rows, cols = (
            slice(int(np.floor(at.min())) - LOBES, int(np.ceil(at.max())) + LOBES) for at in (y, x)
        )
        seen = self.own.see(self.msi, rows, cols, self.kernels)
        own = self.own.read(rows, cols)
        rest = own - self._regressed(seen.reshape(len(seen), -1)).reshape(own.shape)
        rest[~self.good] = 0
        return interpolated(rest, y - rows.start, x - cols.start)


def guided(pair: Pair, degradation: Degradation, good: np.ndarray) -> Pair:
    """The pair with an HSI that does not lie on the grid guided by the MSI, see `GuidedSource`.

    Parameters
    ----------
    pair : Pair
    degradation : Degradation
        How the HSI's own pixels see the MSI.
    good : ndarray
        ``(L,)`` bool: bands to use.
    """
    plain = plain_hsi(pair)
    if not isinstance(plain, ResampledSource) and pair.moved is None:
        return pair
    own, kernels = OwnPixels.of(pair), kernels_of(degradation)
    windows = itertools.islice(scattered_windows(own.shape, EDGE), ENOUGH)
    moments = reduce(Moments.merge, (_moments(pair, own, kernels, good, at) for at in windows))
    noise = np.zeros((pair.n_msi, pair.n_msi))
    known = SceneStatistics(degradation, good, moments, pair.n_msi, 0.0, (0.0, 0.0), noise)
    slopes = np.zeros((pair.n_hsi, pair.n_msi), np.float32)
    slopes[good] = known.slopes.T
    return replace(pair, hsi=GuidedSource(plain, pair.msi, own, kernels, slopes, good))


@one_blas_thread()
def _moments(
    pair: Pair, own: OwnPixels, kernels: Kernels, good: np.ndarray, window: Window
) -> Moments:
    """Joint moments of what a window's own pixels see of the MSI, and of themselves."""
    return Moments.of(own.samples(pair.msi, window, kernels, good))


def interpolated(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Interpolate ``(L, h, w)`` at points ``(n,)``, the first pixel's centre being at 0.5.

    By Lanczos' kernel of three lobes; beside gaps and edges linearly, between what is there; NaN
    where nothing is.
    """
    flat = image.reshape(len(image), -1)
    valid = np.isfinite(flat).all(axis=0)
    values = np.ascontiguousarray(np.where(valid, flat, 0).T)
    # Each point needs a kilobyte, however few the bands.
    parts = (slice(first, first + POINTS) for first in range(0, max(len(y), 1), POINTS))
    found = [_interpolated(values, valid, image.shape[1:], y[part], x[part]) for part in parts]
    return np.concatenate(found).T


def _interpolated(
    values: np.ndarray, valid: np.ndarray, shape: tuple[int, int], y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """The same of pixels ``(h w, L)``, valid or 0, as ``(n, L)``."""
    index, weight, inside = _taps(y, x, shape, _lanczos, LOBES)
    complete = (inside & valid[index]).all(axis=1)
    found = np.full((len(y), values.shape[1]), np.nan, np.float32)
    found[complete] = _summed(values, index[complete], weight[complete])
    y, x = y[~complete], x[~complete]
    index, weight, inside = _taps(y, x, shape, _hat, 1)
    weight *= inside & valid[index]
    share = weight.sum(axis=1, keepdims=True)
    weight /= np.where(share > 0, share, np.float32(np.nan))
    found[~complete] = _summed(values, index, weight)
    return found


def _taps(
    y: np.ndarray, x: np.ndarray, shape: tuple[int, int], kernel, reach: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels around points, ``(n, 4 reach reach)``: flat index, weight, whether there is one."""
    indices, weights, inside = [], [], []
    for at, size in zip((y, x), shape, strict=True):
        index = np.floor(at - 0.5).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
        weight = kernel(index + 0.5 - at[:, None])
        weights.append(weight / weight.sum(axis=1, keepdims=True))
        inside.append((index >= 0) & (index < size))
        indices.append(np.clip(index, 0, size - 1))
    n = len(y), (2 * reach) ** 2
    return (
        (indices[0][:, :, None] * shape[1] + indices[1][:, None, :]).reshape(n),
        (weights[0][:, :, None] * weights[1][:, None, :]).reshape(n).astype(np.float32),
        (inside[0][:, :, None] & inside[1][:, None, :]).reshape(n),
    )


def _summed(values: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums ``(n, L)`` of some of the values ``(m, L)`` for each point."""
    starts = np.arange(len(index) + 1) * index.shape[1]
    shape = len(index), len(values)
    return sparse.csr_array((weight.ravel(), index.ravel(), starts), shape=shape) @ values


def _lanczos(distance: np.ndarray) -> np.ndarray:
    return np.sinc(distance) * np.sinc(distance / LOBES) * (np.abs(distance) < LOBES)


def _hat(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)
