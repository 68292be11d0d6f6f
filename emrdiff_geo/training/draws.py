"""Random simulated pairs from real scenes: every draw has its own sensor.

A draw takes a piece of a scene and gives it a ratio, a PSF, a spectral response, noise, a range
of wavelengths and a radiometry of its own, so that a network can only learn to fuse, not to know
a sensor. A draw is a function of (scene, seed): training repeats itself exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from scipy import ndimage

from ..degradation.degrade import Degradation
from ..methods.state import ChainState, build_state, deviation
from ..model.diffusion import PseudoBands, Residual, pseudo_msi_bands
from ..scene.focus import SHARP, Focus
from ..scene.nodata import fill_invalid
from ..scene.statistics import pair_statistics
from ..scene.wald_pair import WaldPair
from ..spectra.nodes import PSEUDO_MSI_NM, node_indices
from ..spectra.sensors import SpectralResponse
from ..system.threads import one_blas_thread
from .responses import draw_response

#: Draws whose prior is nearly right would otherwise weigh without bound in the loss.
LEAST_ERROR = 0.2


@dataclass(frozen=True)
class TrainingScene:
    """A hyperspectral image to draw from.

    Attributes
    ----------
    name : str
        For logs.
    cube : ndarray
        ``(L, y, x)`` float32, any linear units; NaN is nodata.
    wavelength_nm, fwhm_nm : ndarray
        ``(L,)``, nm.
    """

    name: str
    cube: np.ndarray
    wavelength_nm: np.ndarray
    fwhm_nm: np.ndarray


@dataclass(frozen=True)
class DrawConfig:
    """What may be drawn.

    Attributes
    ----------
    ratios : tuple of int
        Ratios; those that leave at least `least_lr` LR pixels on the short side are used.
    least_lr : int
        Least number of LR pixels on a side.
    piece : int
        Largest edge of the piece cut from a scene, HR pixels.
    max_bands : int
        More HSI bands than this are thinned out: the network sees only nodes.
    msi_bands : (int, int)
        Least and largest number of MSI bands. Few are more likely: they leave more to learn.
    real_sensors : float
        Share of the draws whose MSI has bands of a real sensor, where one fits.
    recolour : float
        Share of the draws whose spectra are changed, see `_vary_spectra`; the others keep the
        scene's own, from which alone a network can learn what spectra look like.
    coarsened : float
        Share of the draws from large scenes that see them two to four times coarser.
    composed : float
        Share of the draws from composed scenes, where there is a spectral library.
    misregistered : float
        Share of the draws whose HSI lies a fraction of its pixel off the MSI.
    noisy, snr_db : float, (float, float)
        Share of the draws with noise in both images, and the range of signal-to-noise ratios.
    patch, patches : int
        Edge of a training patch in HR pixels and how many a draw gives.
    augment : bool
        False draws only the pair (ratio, PSF, response, noise) and leaves the scene as it is.
    variant : str
        ``"universal"`` or ``"published"``: which state the patches are for.
    psf : str or None
        PSF of all draws; None draws one each time.
    response : SpectralResponse or None
        Response of all draws; None draws one each time.
    pseudo_bands, residual : str
        Of the published state, see `model.diffusion`.
    focus : Focus
        Of the universal state.
    """

    ratios: tuple[int, ...] = (2, 3, 4, 4, 5, 6, 8, 8, 10, 12, 16)
    least_lr: int = 10
    piece: int = 192
    max_bands: int = 48
    msi_bands: tuple[int, int] = (3, 12)
    real_sensors: float = 0.3
    recolour: float = 0.25
    coarsened: float = 0.2
    composed: float = 0.2
    misregistered: float = 0.05
    noisy: float = 0.15
    snr_db: tuple[float, float] = (25.0, 50.0)
    patch: int = 64
    patches: int = 8
    augment: bool = True
    variant: str = "universal"
    psf: str | None = None
    response: SpectralResponse | None = None
    pseudo_bands: PseudoBands = "first"
    residual: Residual = "multimodal"
    focus: Focus = SHARP

    @property
    def share(self) -> float:
        """A network learns the whole of its image."""
        return 1.0

    @property
    def fixed_sensor(self) -> bool:
        """Whether the channels belong to one sensor, so that bands must stay as they are."""
        return self.variant == "published"


@one_blas_thread()
def draw_pair(scene: TrainingScene, rng: np.random.Generator, config: DrawConfig) -> WaldPair:
    """Simulate one pair from a scene."""
    cube, coarser = _piece(scene.cube, rng, config)
    wavelength, fwhm = scene.wavelength_nm, scene.fwhm_nm
    if config.augment:
        cube = _orient(cube, rng)
        # Spectra that lie elsewhere may be out of sight of a response that is given.
        if config.response is None and rng.random() < config.recolour:
            cube, wavelength, fwhm = _vary_spectra(cube, wavelength, fwhm, rng)
    ratio = _ratio(cube.shape[1:], rng, config)
    cube = cube[:, : cube.shape[1] // ratio * ratio, : cube.shape[2] // ratio * ratio]
    if config.response is None:
        response = draw_response(wavelength, fwhm, rng, config.msi_bands, config.real_sensors)
    else:
        response = config.response.on_bands(wavelength, fwhm).astype(np.float32)
    hr = np.tensordot(response, cube, axes=1).astype(np.float32)
    if len(cube) > config.max_bands and not config.fixed_sensor:
        keep = np.sort(rng.choice(len(cube), config.max_bands, replace=False))
        cube, wavelength, fwhm = cube[keep], wavelength[keep], fwhm[keep]
    degradation = Degradation(ratio, config.psf) if config.psf else _degradation(ratio, rng)
    lr = degradation.down(_displaced(cube, ratio, rng, config))
    if rng.random() < config.noisy and not config.fixed_sensor:
        hr = _noisy(hr, rng.uniform(*config.snr_db), rng)
        lr = _noisy(lr, rng.uniform(*config.snr_db) + 5, rng)
    statistics = pair_statistics(lr, hr, degradation, wavelength, fwhm)
    return WaldPair(lr, hr, cube, replace(statistics, coarser=coarser))


def _displaced(
    cube: np.ndarray, ratio: int, rng: np.random.Generator, config: DrawConfig
) -> np.ndarray:
    """The scene as an HSI sees it that is not quite registered: by a tenth of its pixel or so."""
    if config.fixed_sensor or not config.augment or rng.random() >= config.misregistered:
        return cube
    offset = np.clip(rng.normal(0, 0.1, 2), -0.25, 0.25) * ratio
    return ndimage.shift(cube, (0, *offset), order=1, mode="nearest", prefilter=False)


def _piece(
    cube: np.ndarray, rng: np.random.Generator, config: DrawConfig
) -> tuple[np.ndarray, bool]:
    """A random piece, and whether it is coarser; scenes smaller than a few patches are mirrored."""
    least = max(config.patch + 16, 96)
    short = [max(0, least - n) for n in cube.shape[1:]]
    coarser = False
    if any(short):
        cube = np.pad(cube, ((0, 0), (0, short[0]), (0, short[1])), mode="symmetric")
    if config.augment and min(cube.shape[1:]) >= 2 * least and rng.random() < config.coarsened:
        factor = int(rng.integers(2, min(4, min(cube.shape[1:]) // least) + 1))
        cube, coarser = _coarsen(cube, factor), True
    return fill_invalid(_fullest(cube, rng, config.piece))[0], coarser


def _fullest(cube: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Of a few random pieces the first without nodata, or the one with least of it."""
    best, most = cube, -1.0
    for _ in range(8):
        top, left = (int(rng.integers(0, max(n - size, 0) + 1)) for n in cube.shape[1:])
        piece = cube[:, top : top + size, left : left + size]
        share = float(np.isfinite(piece).all(axis=0).mean())
        if share > most:
            best, most = piece, share
        if share == 1:
            break
    return best


def _coarsen(cube: np.ndarray, factor: int) -> np.ndarray:
    bands, height, width = cube.shape
    cube = cube[:, : height // factor * factor, : width // factor * factor]
    cells = cube.reshape(bands, height // factor, factor, width // factor, factor)
    return cells.mean(axis=(2, 4), dtype=np.float32)


def _orient(cube: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cube = np.rot90(cube, int(rng.integers(4)), axes=(1, 2))
    return cube[:, :, ::-1] if rng.random() < 0.5 else cube


def _vary_spectra(
    cube: np.ndarray, wavelength: np.ndarray, fwhm: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vary gain along the spectrum, the range of bands, and for some draws where they lie."""
    position = np.linspace(-1, 1, len(wavelength))
    a, b, c = rng.normal(0, (0.25, 0.25, 0.15))
    cube = cube * np.exp(a + b * position + c * position**2)[:, None, None].astype(np.float32)
    kind = rng.random()
    if kind < 0.25:
        # The texture and mixing of one scene with its spectra at other wavelengths.
        low = rng.uniform(400, 1800)
        high = rng.uniform(low + 300, min(low + 2000, 2500))
        scale = (high - low) / (wavelength[-1] - wavelength[0])
        wavelength = low + (wavelength - wavelength[0]) * scale
        fwhm = fwhm * scale
        if rng.random() < 0.5:
            cube = cube[::-1]
    elif kind < 0.6 and len(wavelength) > 24:
        # A sensor of a narrower range.
        span = int(rng.integers(16, len(wavelength)))
        first = int(rng.integers(0, len(wavelength) - span + 1))
        part = slice(first, first + span)
        cube, wavelength, fwhm = cube[part], wavelength[part], fwhm[part]
    return np.ascontiguousarray(cube), wavelength, fwhm


def _ratio(shape: tuple[int, int], rng: np.random.Generator, config: DrawConfig) -> int:
    possible = [r for r in config.ratios if min(shape) // r >= config.least_lr]
    return int(rng.choice(possible or [min(config.ratios)]))


def _degradation(ratio: int, rng: np.random.Generator) -> Degradation:
    kind = rng.random()
    if kind < 0.25:
        return Degradation(ratio, "paper")
    if kind < 0.4:
        return Degradation(ratio, "area")
    width = rng.uniform(0.7, 1.4)
    skew = rng.uniform(0.9, 1.1)
    return Degradation(ratio, "gaussian", fwhm=(width * skew, width / skew))


def _noisy(image: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    power = np.mean(np.square(image), axis=(1, 2), keepdims=True)
    sigma = np.sqrt(power * 10 ** (-snr_db / 10))
    return image + (sigma * rng.standard_normal(image.shape)).astype(np.float32)


@dataclass(frozen=True)
class Patches:
    """Training patches of one draw; see `ChainState` for the channels.

    Attributes
    ----------
    guide, a0, x0 : ndarray
        ``(n, G, p, p)``, ``(n, C, p, p)``, ``(n, C, p, p)`` float16.
    edge : ndarray
        ``(n, 1, p, p)`` float16.
    weight : ndarray
        ``(n, C)`` float32 weight in the loss: 0 for channels the sensor lacks, else the inverse of
        how far the prior is off in this draw, so that every draw counts alike.
    scalars : ndarray
        ``(n, q)`` float32.
    low_pass : ndarray
        ``(n, 2, p, p)`` float32: the filters along y and x.
    """

    guide: np.ndarray
    a0: np.ndarray
    x0: np.ndarray
    edge: np.ndarray
    weight: np.ndarray
    scalars: np.ndarray
    low_pass: np.ndarray


def state_and_target(draw: WaldPair, config: DrawConfig) -> tuple[ChainState, np.ndarray]:
    """State of a draw and the end of its chain ``(C, H, W)`` that a perfect network would reach."""
    state = build_state(config, draw.lr, draw.hr, draw.statistics)
    if config.variant == "published":
        image = draw.reference / np.float32(draw.statistics.peak)
        if config.residual == "unimodal":
            return state, image
        bands = pseudo_msi_bands(len(image), len(draw.hr), config.pseudo_bands)
        return state, np.concatenate([image, image[bands]])
    nodes = deviation(state, draw)
    return state, np.concatenate([nodes, nodes[node_indices(PSEUDO_MSI_NM)]])


@one_blas_thread()
def cut_patches(
    draw: WaldPair,
    rng: np.random.Generator,
    config: DrawConfig,
    usable: np.ndarray | None = None,
) -> Patches:
    """Random patches of a draw, only of the pixels ``usable (H, W)`` if given."""
    return patches_of(*state_and_target(draw, config), rng, config, usable)


def patches_of(
    state: ChainState,
    x0: np.ndarray,
    rng: np.random.Generator,
    config: DrawConfig,
    usable: np.ndarray | None = None,
) -> Patches:
    """Random patches of what `state_and_target` gives, see `cut_patches`."""
    weight = state.mask / np.float32(1 if config.fixed_sensor else _prior_error(state, x0))
    p = config.patch
    corners = _corners(state.edge.shape, usable, rng, config)
    return Patches(
        guide=_cut(state.guide, corners, p),
        a0=_cut(state.a0, corners, p),
        x0=_cut(x0, corners, p),
        edge=_cut(state.edge[None], corners, p),
        weight=np.tile(weight, (len(corners), 1)),
        scalars=np.tile(state.scalars, (len(corners), 1)),
        low_pass=_cut_filters(state.low_pass, corners, p),
    )


def _corners(
    shape: tuple[int, int], usable: np.ndarray | None, rng: np.random.Generator, config: DrawConfig
) -> list[tuple[int, int]]:
    """Upper left corners of patches that lie wholly on usable pixels."""
    rows, cols = (n - config.patch + 1 for n in shape)
    if usable is None:
        return [(int(rng.integers(rows)), int(rng.integers(cols))) for _ in range(config.patches)]
    views = np.lib.stride_tricks.sliding_window_view(usable, (config.patch, config.patch))
    free = np.argwhere(views.all(axis=(2, 3)))
    chosen = free[rng.integers(len(free), size=config.patches)]
    return [(int(y), int(x)) for y, x in chosen]


def _prior_error(state: ChainState, x0: np.ndarray) -> float:
    """RMS over the covered nodes of how far the prior is off, in the state's units."""
    covered = state.mask[: state.n_hsi] > 0
    return max(float(np.sqrt(np.mean(np.square(x0[: state.n_hsi][covered])))), LEAST_ERROR)


def _cut(image: np.ndarray, corners: Sequence[tuple[int, int]], size: int) -> np.ndarray:
    # float16 halves the traffic between processes; values are of order one.
    pieces = [image[:, y : y + size, x : x + size] for y, x in corners]
    return np.clip(np.stack(pieces), -6e4, 6e4).astype(np.float16)


def _cut_filters(
    low_pass: tuple | None, corners: Sequence[tuple[int, int]], size: int
) -> np.ndarray:
    if low_pass is None:
        return np.zeros((len(corners), 2, size, size), np.float32)
    filters = [reduce(lambda first, then: then @ first, m) for m in zip(*low_pass, strict=True)]
    spans = [[slice(c, c + size) for c in corner] for corner in corners]
    pieces = [[f[s, s] for f, s in zip(filters, both, strict=True)] for both in spans]
    return np.array(pieces, np.float32)
