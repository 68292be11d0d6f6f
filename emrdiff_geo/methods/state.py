"""The two ways to build the state of the chain from a tile: `published` and `universal`.

One chain and one network class serve both. What differs is the meaning of the channels:

published
    the state is ``[X, pseudo-MSI]`` in the HSI's own ``L`` bands plus ``s``; the chain starts at
    ``A_0 = [Y, Z]`` (interpolated HSI, MSI), which is also what the guide encoder reads. The result
    is the chain's end, or a weighted mean of it and the prior below.
universal
    the state lives on fixed wavelength nodes and is the deviation from the prior, that of
    `gaussian_process` with bands as sharp as the camera's (`focus`), in units of what the global
    regression leaves unexplained in this scene.
    The chain starts at ``A_0 = [0, M - P]``: no deviation from the prior ``P`` on the nodes, and
    for the pseudo-MSI nodes what the MSI alone predicts, ``M``. The result is the prior in all
    bands plus the deviation, evaluated at the bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..degradation.degrade import bicubic_up
from ..errors import MethodError
from ..grids.windows import coarser, within
from ..scene.edge import edge_weights
from ..scene.focus import SHARP, Focus
from ..scene.statistics import SceneStatistics
from ..scene.wald_pair import WaldPair
from ..spectra.nodes import NODES_NM, PSEUDO_MSI_NM, NodeBasis, node_indices
from .gaussian_process import MARGIN, posterior_mean
from .options import TILE, Part, Place
from .regression import agree_with_msi, back_project, covered

#: Variance of a band's noise, relative to the median of all, above which it counts less for the
#: nodes: a dead band that nobody flagged cost its neighbours 0.3 to 0.8 dB.
NOISIEST = 100.0
#: Margin in HR pixels beyond which the network's input does not matter: with 16, 24, 32 and 48 a
#: part differs from the whole by 0.6, 0.13, 0.035 and 0.002 % of what the network adds.
REACH = 32
#: Least unit of a node's deviation, relative to the scene's scale.
LEAST_UNIT = 2e-3
#: Numbers of a scene that the universal network reads, see `scene_scalars`.
SCALARS = 3
#: Channels beside those on nodes that the universal guide reads: edge weight and these numbers.
EXTRA_GUIDE = 1 + SCALARS


@dataclass(frozen=True)
class ChainState:
    """What the chain needs of one tile, or of a part of it; all arrays float32.

    Attributes
    ----------
    a0 : ndarray
        ``(C, H, W)`` start of the chain, of the part.
    guide : ndarray
        ``(G, H, W)`` input of the guide encoder.
    edge : ndarray
        ``(H, W)`` weight of the noise, 0..1.
    scalars : ndarray
        ``(n,)`` numbers that enter beside the time embedding.
    n_hsi : int
        The first channels, which stand for the HSI.
    mask : ndarray
        ``(C,)`` 0 or 1: channels that this sensor has.
    low_pass : tuple of (ndarray, ndarray), or None
        Matrices along y and x: ``(h, H)`` and ``(w, W)``, which degrade, then ``(H, h)`` and
        ``(W, w)``, which interpolate again. A deviation that is consistent with the HSI is one that
        they send to nearly zero.
    start : ndarray
        ``(L, y, x)`` the image at the start of the chain, of the frame.
    to_bands : ndarray
        ``(L, n_hsi)``: the chain adds ``to_bands @ (x_0 - A_0)[:n_hsi]`` to the image.
    frame, part : (slice, slice)
        Of the tile: where the image is known, and within that, where the chain runs.
    """

    a0: np.ndarray
    guide: np.ndarray
    edge: np.ndarray
    scalars: np.ndarray
    n_hsi: int
    mask: np.ndarray
    low_pass: tuple[tuple[np.ndarray, np.ndarray], ...] | None
    start: np.ndarray
    to_bands: np.ndarray
    frame: Part
    part: Part

    def change(self, x0: np.ndarray) -> np.ndarray:
        """What the end of the chain ``(C, H, W)`` adds to the image, ``(L, H, W)``, HSI units."""
        return np.tensordot(self.to_bands, (x0 - self.a0)[: self.n_hsi], axes=1)

    def result(self, x0: np.ndarray) -> np.ndarray:
        """Image ``(L, y, x)`` of the frame from the end of the chain ``(C, H, W)``."""
        image = self.start.copy()
        image[:, *within(self.part, self.frame)] += self.change(x0)
        return image


def universal_channels() -> tuple[int, int]:
    """Channels of the universal state and of its guide."""
    return len(NODES_NM) + len(PSEUDO_MSI_NM), 5 * len(NODES_NM) + EXTRA_GUIDE


def node_units(statistics: SceneStatistics, basis: NodeBasis) -> tuple[np.ndarray, np.ndarray]:
    """Unit of a deviation and spread of the scene on every node, HSI units.

    Returns
    -------
    unit : ndarray
        ``(K,)`` standard deviation at LR of what the global regression does not explain.
    spread : ndarray
        ``(K,)`` standard deviation at LR of the scene itself.
    """
    floor = LEAST_UNIT * statistics.scale
    s = statistics.n_msi
    n = basis.to_nodes.astype(np.float64)

    def deviation(covariance: np.ndarray) -> np.ndarray:
        variance = np.einsum("kl,lm,km->k", n, covariance, n)
        return np.maximum(np.sqrt(np.maximum(variance, 0)), floor).astype(np.float32)

    return deviation(statistics.residual_covariance), deviation(statistics.covariance[s:, s:])


def disagreement_on_nodes(statistics: SceneStatistics) -> np.ndarray:
    """Share ``(K,)`` of what the regression leaves unexplained that the images disagree about."""
    basis = node_basis(statistics)
    unit, _ = node_units(statistics, basis)
    slopes = statistics.slopes @ basis.to_nodes.T.astype(np.float64)
    variance = np.einsum("sk,st,tk->k", slopes, statistics.unseen_by_hsi, slopes)
    return np.maximum(variance, 0) / np.square(unit)


def node_basis(statistics: SceneStatistics) -> NodeBasis:
    """Basis of the scene's good bands.

    Raises
    ------
    MethodError
        If the wavelengths are unknown.
    """
    if statistics.wavelength_nm is None:
        raise MethodError(
            "the universal weights need the HSI's wavelengths: add them to the file, name a range "
            "with --wavelengths 400-2500 (in Python wavelengths=(400, 2500)), or use --method "
            "gaussian_process"
        )
    noise = statistics.hsi_noise
    usual = NOISIEST * np.median(noise)
    trust = np.divide(usual, noise, out=np.ones_like(noise), where=noise > usual)
    return NodeBasis.of(statistics.wavelength_nm, statistics.fwhm_nm, trust=trust)


def universal_state(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    place: Place = TILE,
    focus: Focus = SHARP,
) -> ChainState:
    """State of the `universal` variant for one tile.

    Parameters
    ----------
    lr, hr : ndarray
        ``(L, h, w)`` and ``(s, r h, r w)`` float32, without NaN.
    statistics : SceneStatistics
        Of the whole scene.
    place : Place
        Of the tile; the chain runs on its inner part and a margin.
    focus : Focus
        How sharp the bands are; it is for images at the sensor's own pixels.
    """
    frame, part = _frame_and_part(hr, statistics, place)
    basis = node_basis(statistics)
    unit, spread = (v[:, None, None] for v in node_units(statistics, basis))
    mask = basis.mask.astype(np.float32)
    degradation, slopes = statistics.degradation, statistics.slopes.astype(np.float32)
    explained = _explained(lr, hr, statistics, place.origin, frame, focus)
    coarse = coarser(frame, statistics.ratio)
    prior = back_project(
        explained, lr[:, *coarse], statistics, sure=covered(coarse, lr, degradation)
    )
    inside = within(part, frame)
    on_nodes = basis.project(prior[:, *inside])
    # What no relation to the MSI explains, and back-projection only spread over the pixels.
    spread_out = on_nodes - basis.project(explained[:, *inside])
    upsampled = degradation.up(basis.project(lr))[:, *part]
    msi = hr[:, *part] - statistics.msi_mean.astype(np.float32)[:, None, None]
    alone = np.tensordot(basis.to_nodes @ slopes.T, msi, axes=1)
    alone += (basis.to_nodes @ statistics.hsi_mean.astype(np.float32))[:, None, None]
    alone -= on_nodes
    pseudo = node_indices(PSEUDO_MSI_NM)
    edge = edge_weights(hr, statistics.edge_range)[part]
    size = edge.shape
    scalars = scene_scalars(statistics, basis, unit[:, 0, 0])
    k = len(mask)
    guide = np.empty((universal_channels()[1], *size), np.float32)
    on_all_nodes = guide[: 5 * k].reshape(5, k, *size)
    np.divide(on_nodes, np.float32(statistics.scale), out=on_all_nodes[0])
    np.divide(on_nodes - upsampled, spread, out=on_all_nodes[1])
    np.divide(alone, unit, out=on_all_nodes[2])
    np.divide(spread_out, unit, out=on_all_nodes[3])
    on_all_nodes[4] = mask[:, None, None]
    guide[5 * k] = edge
    guide[5 * k + 1 :] = scalars[:, None, None]
    a0 = np.zeros((k + len(pseudo), *size), np.float32)
    a0[k:] = on_all_nodes[2][pseudo]
    return ChainState(
        a0=a0,
        guide=guide,
        edge=edge,
        scalars=scalars,
        n_hsi=k,
        mask=np.concatenate([mask, mask[pseudo]]),
        low_pass=_low_pass(statistics, [n // statistics.ratio for n in size]),
        start=prior,
        to_bands=_unseen_by_msi(basis.to_bands * unit[:, 0, 0], statistics),
        frame=frame,
        part=part,
    )


def _frame_and_part(hr: np.ndarray, statistics: SceneStatistics, place: Place) -> tuple[Part, Part]:
    """Where in a tile the image is computed, and where the chain runs, whole LR pixels."""
    shape, ratio = hr.shape[1:], statistics.ratio
    frame, part = (place.around(shape, n, ratio) for n in (frame_margin(ratio), REACH))
    return frame, part


def frame_margin(ratio: int) -> int:
    """HR pixels around the wanted part of a tile in which the image is computed."""
    return max(REACH, MARGIN * ratio)


def _explained(
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    origin: tuple[int, int],
    part: Part,
    focus: Focus,
) -> np.ndarray:
    """What the process explains of a part, in the camera's focus and in agreement with the MSI."""
    image = focus.applied(posterior_mean(lr, hr, statistics, origin, part), statistics)
    return agree_with_msi(image, hr[:, *part], statistics)


def _unseen_by_msi(spectra: np.ndarray, statistics: SceneStatistics) -> np.ndarray:
    """Spectra ``(L, K)`` without what the MSI would have seen of them: that is in the prior."""
    seen = statistics.msi_response.astype(np.float32) @ spectra
    return spectra - statistics.msi_gain.astype(np.float32) @ seen


def scene_scalars(statistics: SceneStatistics, basis: NodeBasis, unit: np.ndarray) -> np.ndarray:
    """What a network should know of a scene before it looks at a pixel.

    Returns
    -------
    ndarray
        ``(SCALARS,)`` float32: the ratio; how much noise of the MSI the regression carries into the
        prior, in units of its expected error (a network that cannot tell noise from detail holds
        back on clean scenes); how large that error is, relative to the scene. All within some
        units of 1.
    """
    on_nodes = statistics.slopes @ basis.to_nodes.T
    variance = np.einsum("sk,st,tk->k", on_nodes, statistics.noise, on_nodes)[basis.mask]
    unit = unit[basis.mask]
    noise = np.sqrt(np.mean(np.maximum(variance, 0) / np.square(unit)))
    error = np.log(unit.mean() / statistics.scale) + 3.5
    return np.array([np.log2(statistics.ratio) / 4, min(noise, 3.0), error / 2], np.float32)


def deviation(state: ChainState, pair: WaldPair) -> np.ndarray:
    """Deviation ``(K, H, W)`` from the prior on the nodes that a perfect network would reach."""
    basis = node_basis(pair.statistics)
    unit, _ = node_units(pair.statistics, basis)
    return basis.project(pair.reference - state.start) / unit[:, None, None]


def _low_pass(
    statistics: SceneStatistics, shape: Sequence[int]
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    degradation, (h, w) = statistics.degradation, shape
    down = tuple(degradation.matrix_down(n, axis, np.float32) for axis, n in enumerate((h, w)))
    return down, tuple(degradation.matrix_up(n, np.float32) for n in (h, w))


class Chain(Protocol):
    """What decides the state of a tile.

    Attributes
    ----------
    variant : str
        ``"universal"`` or ``"published"``.
    residual : str
        Of the published state: ``"multimodal"``; of the ablations ``"unimodal"`` starts at ``Y``
        alone, and ``"none"`` at zero.
    focus : Focus
        How sharp the bands are; it is for images at the sensor's own pixels.
    share : float
        Share of a published chain in the image; the rest is what the Gaussian process explains.
    """

    @property
    def variant(self) -> str: ...
    @property
    def residual(self) -> str: ...
    @property
    def focus(self) -> Focus: ...
    @property
    def share(self) -> float: ...


def published_state(
    chain: Chain,
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    place: Place = TILE,
) -> ChainState:
    """State of the `published` variant for one tile: ``A_0 = [Y, Z]``, HSI divided by its peak.

    The MSI is brought to the HSI's units by a power of ten where the two differ (reflectance
    against reflectance x 10^4).

    Parameters
    ----------
    chain : Chain
    lr, hr, statistics, place
        As for `universal_state`.
    """
    frame, part = _frame_and_part(hr, statistics, place)
    peak = np.float32(statistics.peak)
    upsampled = bicubic_up(lr, statistics.ratio) / peak
    guide = np.concatenate([upsampled, hr * (_unit_factor(statistics) / peak)]).astype(np.float32)
    a0 = guide[: len(lr)] if chain.residual == "unimodal" else guide
    if chain.residual == "none":
        a0 = np.zeros_like(a0)
    start = chain.share * peak * a0[: len(lr), *frame]
    if chain.share < 1:
        explained = _explained(lr, hr, statistics, place.origin, frame, chain.focus)
        start += (1 - chain.share) * explained
    return ChainState(
        a0=a0[:, *part],
        guide=guide[:, *part],
        edge=edge_weights(hr, statistics.edge_range)[part],
        scalars=np.zeros(0, np.float32),
        n_hsi=len(lr),
        mask=np.ones(len(a0), np.float32),
        low_pass=None,
        start=start,
        to_bands=chain.share * peak * np.eye(len(lr), dtype=np.float32),
        frame=frame,
        part=part,
    )


def _unit_factor(statistics: SceneStatistics) -> np.float32:
    """Power of ten by which the MSI's units differ from the HSI's."""
    msi, hsi = abs(statistics.msi_mean.mean()), abs(statistics.hsi_mean.mean())
    if not (msi > 0 and hsi > 0):
        return np.float32(1)
    return np.float32(10.0 ** np.round(np.log10(hsi / msi)))


def build_state(
    chain: Chain,
    lr: np.ndarray,
    hr: np.ndarray,
    statistics: SceneStatistics,
    place: Place = TILE,
) -> ChainState:
    """State of a tile for one of the two variants."""
    if chain.variant == "universal":
        return universal_state(lr, hr, statistics, place, chain.focus)
    return published_state(chain, lr, hr, statistics, place)
