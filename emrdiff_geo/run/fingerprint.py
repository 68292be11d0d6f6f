"""What makes a run the same run: everything that its result depends on, in a few hundred bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..alignment.witness import digest_of
from ..metadata import DISTRIBUTION, Provenance

if TYPE_CHECKING:
    from .pipeline import Run


def fingerprint(run: Run, provenance: Provenance) -> dict[str, Any]:
    """Fingerprint of a run: equal ones give equal bytes.

    Paths and names of the inputs are no part of it, their pixels are.

    Returns
    -------
    dict
        Names that a user knows to values or digests, JSON-able.
    """
    pair, statistics = run.pair, run.statistics
    bands, target, moments = pair.hsi_bands, pair.target, statistics.moments
    grid = None if target is None else (*tuple(target.affine)[:6], str(target.crs))
    device = str(provenance.parameters.get("device"))
    return {
        DISTRIBUTION: provenance.version,
        **provenance.libraries,
        **provenance.parameters,
        "method": provenance.method,
        "seed": provenance.seed,
        "ratio": provenance.ratio,
        "weights": provenance.weights_digest,
        "hsi": run.pixels[0],
        "msi": run.pixels[1],
        "bands": digest_of(bands.wavelength_nm, bands.fwhm_nm, statistics.good).hex(),
        "grid": digest_of(repr((pair.shape, pair.offset, grid))).hex(),
        "gpu": _gpu(device) if device.startswith("cuda") else None,
        "arithmetic": digest_of(moments.mean, moments.scatter, *statistics.edge_range).hex(),
    }


def _gpu(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)
