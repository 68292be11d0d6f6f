"""Two spectrometers in one HSI that do not lie on each other.

EnMAP, PRISMA, Hyperion and others see the visible and the short-wave infrared by two instruments,
whose pixels lie some tenths of a pixel apart: a tenth costs the bands of one of them more than any
choice of a method, since the MSI can lie on only one of the two. What the infrared's bands show is,
to first order, what the MSI and the bands below tell of them, and their gradient times the shift
(Lucas and Kanade, "An iterative image registration technique", IJCAI 1981). The gradient is that of
what the HSI's pixels see of the MSI, so that coarse pixels do not spoil it.

The infrared is then brought to where the visible lies, guided by the MSI as where the grids do not
nest (`own_pixels.GuidedSource`).
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace

import numpy as np

from ..grids.pair import Pair
from ..grids.sources import Altered, ResampledSource, Source
from ..grids.windows import Window
from ..system.threads import one_blas_thread
from .optics import AUTO, resolve_psf
from .own_pixels import LOBES, WHOLE, OwnPixels, interpolated
from .seen import Kernels, kernels_of
from .shift import scattered_windows

log = logging.getLogger(__name__)

#: Below the first wavelength bands are the visible's, above the second the infrared's, nm; between
#: them ends one spectrometer and begins the other: EnMAP 902-993, PRISMA 920-1010, Hyperion 925,
#: HySpex 960-1000, Gaofen-5 1005-1030.
LAST_VISIBLE, FIRST_INFRARED = 885.0, 1050.0
#: Bands on either side that the shift is measured with, and how far off they may lie, nm.
BELOW, ABOVE, FAR = 6, 4, 150.0
#: Edge of a window, own pixels, how many are enough, and least number of pixels in all.
EDGE, ENOUGH, LEAST = 48, 9, 150
#: Least shift that is corrected, in HSI pixels and in standard errors. Without one 0.04 at most is
#: found on 14 training scenes at ratio 4, with ten, four and three MSI bands and with noise (0.06
#: on one of 80 x 100 pixels); a shift of 0.11 is found to within 0.03, one of 0.28 to within 0.06.
SLIGHT, CERTAIN = 0.07, 4.0
#: Share of what the bands below and the MSI leave of a band that the shift has to explain.
EXPLAINED = 0.05
#: Share of the shift by which the visible itself may lie off what it sees of the MSI.
AT_HOME = 0.5
#: Largest shift that is believed, HSI pixels, and rounds to find it in.
LARGEST, ROUNDS = 1.5, 4
#: Steps of the gradient, HSI pixels.
STEP = 0.1


@dataclass(frozen=True, eq=False)
class AlignedSource(Altered):
    """An HSI some of whose bands are brought to where the others lie.

    Parameters
    ----------
    source : Source
    bands : ndarray
        ``(L,)`` bool.
    off : (float, float)
        How far off the grid their pixels lie, down and to the right, in HSI pixels.
    slopes : ndarray
        ``(n, s)`` float32 of these bands on the MSI's.
    msi : Source
        On the frame.
    own : OwnPixels
        Of the source.
    kernels : (ndarray, ndarray)
        From `kernels_of`.
    """

    bands: np.ndarray
    off: tuple[float, float]
    slopes: np.ndarray
    msi: Source
    own: OwnPixels
    kernels: Kernels

    @one_blas_thread()
    def _inside(self, rows: slice, cols: slice) -> np.ndarray:
        image = self.source.read(rows, cols)
        here = self.own.counted((rows, cols))
        reach = LOBES + int(np.ceil(np.abs(self.off).max()))
        around = tuple(slice(s.start - reach, s.stop + reach) for s in here)
        there = replace(self.own, off=self.off)
        rest = self.own.read(*around)[self.bands] - self._shown(there, around)
        y, x = (
            np.arange(s.start, s.stop) + 0.5 - off - a.start
            for s, off, a in zip(here, self.off, around, strict=True)
        )
        y, x = np.meshgrid(y, x, indexing="ij")
        found = interpolated(rest, y.ravel(), x.ravel()).reshape(-1, *y.shape)
        found += self._shown(self.own, here)
        given = image[self.bands]
        image[self.bands] = np.where(np.isfinite(found) & np.isfinite(given), found, given)
        return image

    def _shown(self, own: OwnPixels, window: Window) -> np.ndarray:
        """The regression of the bands on what pixels see of the MSI, less its constant."""
        seen = own.see(self.msi, *window, self.kernels)
        return np.einsum("ls,shw->lhw", self.slopes, seen)


@one_blas_thread()
def aligned(pair: Pair, good: np.ndarray) -> Pair:
    """The pair with the infrared of its HSI where the visible lies; as it is where it lies there.

    Parameters
    ----------
    pair : Pair
        With wavelengths, else nothing is looked for.
    good : ndarray
        ``(L,)`` bool: bands to use.
    """
    nm = pair.hsi_bands.wavelength_nm
    bands = None if nm is None else _beside_the_gap(nm, good)
    if bands is None:
        return pair
    # The PSF is that of the visible, whatever was asked for: a named one does not know where the
    # visible lies, and one of all bands lies between the two.
    visible = replace(pair.hsi_bands, good=good & (nm <= LAST_VISIBLE))
    optics = resolve_psf(replace(pair, hsi_bands=visible), AUTO)
    own, kernels = OwnPixels.of(pair), kernels_of(optics)
    below, above, between = bands
    given = _samples(pair, own, kernels, (0.0, 0.0))
    found = _measured(pair, own, kernels, given, below, above)
    if found is None:
        return pair
    both = good & (nm > FIRST_INFRARED)
    both[_moving(given, below, between, found)] = True
    slopes = _slopes(_samples(pair, own, kernels, found), both)
    source = AlignedSource(own.source, both, found, slopes, pair.msi, own, kernels)
    hsi = replace(pair.hsi, source=source) if isinstance(pair.hsi, ResampledSource) else source
    note = (
        f"The HSI's bands from {nm[both].min():.0f} nm on lie {found[1]:+.2f} HSI pixels to the "
        f"right of the others and {found[0]:+.2f} below them: brought to where those lie."
    )
    log.info(note)
    return replace(pair, hsi=hsi, notes=(*pair.notes, note))


def _beside_the_gap(
    nm: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Bands below, above and between the wavelengths where spectrometers end; None without."""
    order = [band for band in np.argsort(nm, kind="stable") if good[band]]
    near = np.array([b for b in order if LAST_VISIBLE - FAR < nm[b] < FIRST_INFRARED + FAR], int)
    below, above = near[nm[near] <= LAST_VISIBLE], near[nm[near] > FIRST_INFRARED]
    if len(below) < BELOW or len(above) < ABOVE:
        return None
    between = near[(nm[near] > LAST_VISIBLE) & (nm[near] <= FIRST_INFRARED)]
    return below[-BELOW:], above[:ABOVE], between


@dataclass(frozen=True)
class _Samples:
    """What pixels ``(n,)`` see of the MSI and show, without their means.

    Attributes
    ----------
    on_grid, there, down, right : ndarray
        ``(n, s)`` what they see of it where the grid has them; where they are taken to lie; and how
        that changes with their place, for an HSI pixel.
    hsi : ndarray
        ``(n, L)``.
    """

    on_grid: np.ndarray
    there: np.ndarray
    down: np.ndarray
    right: np.ndarray
    hsi: np.ndarray


def _samples(pair: Pair, own: OwnPixels, kernels: Kernels, off: tuple[float, float]) -> _Samples:
    """Pixels of some windows, as if they lay so far off the grid."""
    steps = [(0, 0), (-STEP, 0), (STEP, 0), (0, -STEP), (0, STEP)]  # above, below, left, right
    places = [own, *(replace(own, off=(off[0] + y, off[1] + x)) for y, x in steps)]
    seen_in_all = pair.n_msi * len(places)
    # What fills the gaps of some bands was estimated from others, which may lie elsewhere.
    raw = own if pair.broken is None else OwnPixels.of(replace(pair, hsi=pair.broken))
    found = []
    for window in itertools.islice(scattered_windows(own.shape, EDGE), ENOUGH):
        seen = [place.see(pair.msi, *window, kernels, least=WHOLE) for place in places]
        hsi = np.where(np.isnan(raw.read(*window)), np.nan, own.read(*window))
        both = np.concatenate([*seen, hsi]).reshape(seen_in_all + pair.n_hsi, -1)
        used = np.isfinite(both[:seen_in_all]).all(axis=0)
        found.append(both[:, used].astype(np.float64))
    pixels = np.concatenate(found, axis=1).T
    *seen, hsi = np.split(pixels, pair.n_msi * np.arange(1, len(places) + 1), axis=1)
    on_grid, there, above, below, left, right = seen
    down, across = (below - above) / (2 * STEP), (right - left) / (2 * STEP)
    return _Samples(on_grid, there, down, across, hsi)


def _with(samples: _Samples, bands: np.ndarray) -> _Samples:
    """Those of pixels that show all of some bands, without their means."""
    whole = np.isfinite(samples.hsi[:, bands]).all(axis=1)
    parts = (samples.on_grid, samples.there, samples.down, samples.right, samples.hsi[:, bands])
    used = [p[whole] for p in parts]
    return _Samples(*(p - p.mean(axis=0) if len(p) else p for p in used))


def _slopes(samples: _Samples, bands: np.ndarray) -> np.ndarray:
    """Slopes ``(n, s)`` of bands on what pixels see of the MSI."""
    used = _with(samples, bands)
    return np.linalg.lstsq(used.there, used.hsi, rcond=None)[0].T.astype(np.float32)


@dataclass(frozen=True)
class _Normal:
    """Normal equations of the shift of a band, or of several.

    Attributes
    ----------
    squares, products : ndarray
        ``(2, 2)`` and ``(2,)``, in units of the variance of what they are to explain.
    """

    squares: np.ndarray
    products: np.ndarray

    @classmethod
    def sum(cls, bands: list[_Normal]) -> _Normal:
        """Those of a shift that all bands have."""
        return cls(sum(b.squares for b in bands), sum(b.products for b in bands))

    def shift(self) -> np.ndarray:
        """Down and to the right ``(2,)``."""
        return np.linalg.lstsq(self.squares, self.products, rcond=None)[0]

    def certain(self, bands: int, pixels: int) -> bool:
        """Whether the shift of so many bands, measured on so many pixels, is to be believed."""
        if not np.linalg.cond(self.squares) < 1e6:
            return False
        # What single bands have left is nearly the same in all of them: they count as one.
        error = np.sqrt(np.diag(np.linalg.inv(self.squares / bands)).max())
        explained = float(self.shift() @ self.products) / (bands * pixels)
        return np.hypot(*self.shift()) >= max(SLIGHT, CERTAIN * error) and explained >= EXPLAINED


def _normal(samples: _Samples, below: int) -> list[_Normal]:
    """Normal equations of all bands but the first so many, beside which these are explained."""
    lower, upper = np.split(samples.hsi, [below], axis=1)
    # The bands below show where the grid has them what the MSI does not.
    on_grid = np.linalg.qr(samples.on_grid)[0]
    unseen = lower - on_grid @ (on_grid.T @ lower)
    known = np.linalg.qr(np.concatenate([samples.there, unseen], axis=1))[0]
    slopes = np.linalg.lstsq(samples.there, upper, rcond=None)[0]
    found = []
    for slope, band in zip(slopes.T, upper.T, strict=True):
        both = np.stack([samples.down @ slope, samples.right @ slope, band], axis=1)
        both -= known @ (known.T @ both)
        gradient, rest = both[:, :2], both[:, 2]
        variance = np.mean(rest**2) + 1e-9 * np.mean(band**2) + np.finfo(float).tiny
        found.append(_Normal(gradient.T @ gradient / variance, gradient.T @ rest / variance))
    return found


def _measured(
    pair: Pair,
    own: OwnPixels,
    kernels: Kernels,
    given: _Samples,
    below: np.ndarray,
    above: np.ndarray,
) -> tuple[float, float] | None:
    """How far off the bands above lie, HSI pixels; None where that is nothing, or not certain."""
    bands = np.concatenate([below, above])
    samples = _with(given, bands)
    if len(samples.hsi) < LEAST:
        return None
    normal = _Normal.sum(_normal(samples, len(below)))
    if not normal.certain(len(above), len(samples.hsi)):
        return None
    off = step = normal.shift()
    for _ in range(ROUNDS - 1):
        if np.abs(step).max() < SLIGHT / 10 or np.abs(off).max() > LARGEST:
            break
        samples = _with(_samples(pair, own, kernels, (float(off[0]), float(off[1]))), bands)
        step = _Normal.sum(_normal(samples, len(below))).shift()
        off = off + step
    # Where the visible itself lies off the MSI it is the images that do.
    lies = _Normal.sum(_normal(_with(given, below), 0)).shift()
    if np.abs(off).max() > LARGEST or np.hypot(*lies) > AT_HOME * np.hypot(*off):
        return None
    return float(off[0]), float(off[1])


def _moving(
    given: _Samples, below: np.ndarray, between: np.ndarray, off: tuple[float, float]
) -> np.ndarray:
    """Those of the bands between that lie rather where the infrared's do."""
    if not len(between):
        return between
    samples = _with(given, np.concatenate([below, between]))
    # A band's own shift minimises the form of its squares; the half of the way divides the two.
    forms = [2 * n.products @ off - off @ n.squares @ off for n in _normal(samples, len(below))]
    return between[np.array(forms) > 0]
