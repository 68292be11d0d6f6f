"""Wavelength nodes: one set of channels for every sensor.

A network that shall serve any sensor needs channels that mean the same in every scene. The nodes
are fixed wavelengths over 400-2500 nm, denser in the VNIR, none in the water-vapour bands. Between
bands and nodes lies a basis of hat functions: nodes to bands by linear interpolation, bands to
nodes by least squares. Nodes that a sensor does not cover are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SpectralError

#: Centres of the nodes in nm.
NODES_NM: tuple[float, ...] = (
    *np.arange(400.0, 701.0, 30.0).tolist(),
    *(740.0, 790.0, 850.0, 910.0, 970.0),
    *(1040.0, 1120.0, 1200.0, 1280.0),
    *(1500.0, 1580.0, 1660.0, 1740.0),
    *(2000.0, 2090.0, 2180.0, 2270.0, 2370.0, 2480.0),
)
#: Nodes that stand for the MSI in the state: blue, green, red and near infrared.
PSEUDO_MSI_NM: tuple[float, ...] = (460.0, 550.0, 640.0, 850.0)
#: Weight of smallness in the least squares, relative to a band.
RIDGE = 1e-3


@dataclass(frozen=True)
class NodeBasis:
    """How the bands of one sensor relate to the nodes.

    Attributes
    ----------
    to_bands : ndarray
        ``(L, K)`` float32: values at the bands from values on the nodes. Columns of masked nodes
        are zero.
    to_nodes : ndarray
        ``(K, L)`` float32: least-squares values on the nodes; rows of masked nodes are zero.
    mask : ndarray
        ``(K,)`` bool: nodes that the sensor covers.
    """

    to_bands: np.ndarray
    to_nodes: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(
        cls,
        wavelength_nm: np.ndarray,
        fwhm_nm: np.ndarray | None = None,
        nodes_nm: Sequence[float] = NODES_NM,
        trust: np.ndarray | None = None,
    ) -> NodeBasis:
        """Basis of a sensor.

        Parameters
        ----------
        wavelength_nm, fwhm_nm : ndarray
            ``(L,)`` band centres and widths, nm; a width makes the hat functions be averaged over
            the band.
        nodes_nm : sequence of float
            Increasing centres of the nodes, nm.
        trust : ndarray, optional
            ``(L,)`` weights of the bands where nodes are made of them.

        Raises
        ------
        SpectralError
            If all bands lie outside the range of the nodes.
        """
        nodes = np.asarray(nodes_nm, float)
        bands = np.asarray(wavelength_nm, float)
        mask = _covered(nodes, bands)
        if not mask.any():
            if bands.max() < nodes[0] or bands.min() > nodes[-1]:
                raise SpectralError(
                    f"the HSI's bands ({bands.min():.0f}-{bands.max():.0f} nm) lie outside the "
                    f"range of the wavelength nodes: give wavelengths in nanometres between "
                    f"{nodes[0]:.0f} and {nodes[-1]:.0f}"
                )
            # All bands lie in one gap, such as a water band: the nearest node stands for them.
            mask[np.abs(nodes - bands.mean()).argmin()] = True
        hats = np.zeros((len(bands), len(nodes)))
        hats[:, mask] = _hats(nodes[mask], bands, fwhm_nm)
        weighted = hats.T if trust is None else hats.T * trust
        normal = weighted @ hats + RIDGE * np.eye(len(nodes))
        to_nodes = np.linalg.solve(normal, weighted) * mask[:, None]
        return cls(hats.astype(np.float32), to_nodes.astype(np.float32), mask)

    def project(self, image: np.ndarray) -> np.ndarray:
        """Bands ``(L, ...)`` to nodes ``(K, ...)``."""
        return np.tensordot(self.to_nodes, image, axes=1)

    def evaluate(self, values: np.ndarray) -> np.ndarray:
        """Nodes ``(K, ...)`` to bands ``(L, ...)``."""
        return np.tensordot(self.to_bands, values, axes=1)


def _covered(nodes: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Nodes with a band closer than half the way to the neighbouring node."""
    gaps = np.diff(nodes)
    reach = 0.5 * np.minimum(np.r_[gaps[:1], gaps], np.r_[gaps, gaps[-1:]])
    nearest = np.abs(nodes[:, None] - bands).min(axis=1)
    return nearest <= np.maximum(reach, 16.0)


def _hats(nodes: np.ndarray, bands: np.ndarray, fwhm: np.ndarray | None) -> np.ndarray:
    """Hat functions averaged over the bands' widths, flat beyond the outer nodes."""
    width = np.zeros_like(bands) if fwhm is None else np.nan_to_num(np.asarray(fwhm, float))
    offsets = np.linspace(-0.5, 0.5, 5)
    samples = bands[:, None] + width[:, None] * offsets
    eye = np.eye(len(nodes))
    return np.stack([np.interp(samples, nodes, row).mean(axis=1) for row in eye], axis=1)


def node_indices(
    wavelengths_nm: Sequence[float], nodes_nm: Sequence[float] = NODES_NM
) -> list[int]:
    """Positions of the nodes nearest to some wavelengths."""
    nodes = np.asarray(nodes_nm)
    return [int(np.abs(nodes - w).argmin()) for w in wavelengths_nm]
