"""What makes a run the same run: everything that its result depends on, in a few hundred bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .metadata import DISTRIBUTION, Provenance

if TYPE_CHECKING:
    from .pipeline import Run
    from .statistics import Read

# What cannot be shown, only named.
_DIGESTS = {
    "hsi": "other pixels in the HSI",
    "msi": "other pixels in the MSI",
    "weights": "other weights",
    "bands": "other wavelengths or good bands",
    "grid": "another grid",
    "arithmetic": "arithmetic that rounds differently (another processor or another BLAS)",
    "kept": "another outcome of the self-check",
    "calibration": "another calibration of the uncertainty",
}
# These follow from the user's options: named only if no option differs.
_CONSEQUENCES = ("hsi", "msi", "bands", "grid", "arithmetic", "kept", "calibration", "chunks")
# What goes with an option, and says nothing beside it.
_WITH = {
    "method": ("weights", "variant", "steps", "seed", "device", "overlap"),
    "weights": ("variant", "steps"),
    "ratio": ("overlap",),
    "psf": ("psf_used",),
    "hsi": ("psf_used",),
    "msi": ("psf_used",),
}
_LONGEST_VALUE = 40


class Witness:
    """Reads windows for somebody, and keeps a digest of every pixel that it has read.

    The pass over the scene that measures its statistics reads all pixels: a digest on the way
    costs little, and unlike sizes, times and names of files it is about what matters.

    Parameters
    ----------
    read : callable
        ``read(rows, cols)`` of a source.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._seen: dict[tuple[int, ...], bytes] = {}

    def __call__(self, rows: slice, cols: slice) -> np.ndarray:
        pixels = self._read(rows, cols)
        window = rows.start, rows.stop, cols.start, cols.stop
        if window not in self._seen:
            self._seen[window] = _digest(pixels)
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
        "bands": _digest(bands.wavelength_nm, bands.fwhm_nm, statistics.good).hex(),
        "grid": _digest(repr((pair.shape, pair.offset, grid))).hex(),
        "gpu": _gpu(device) if device.startswith("cuda") else None,
        "arithmetic": _digest(moments.mean, moments.scatter, *statistics.edge_range).hex(),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What an earlier run had that this one has not, for a sentence; empty if nothing."""
    names = [n for n in (*before, *now) if before.get(n) != now.get(n)]
    names = list(dict.fromkeys(names))
    implied = {n for cause in names for n in _WITH.get(cause, ())}.union(_CONSEQUENCES)
    causes = [n for n in names if n not in implied]
    if not causes:
        pixels = [n for n in names if n in ("hsi", "msi")]
        causes = pixels or names
    return " and ".join(_difference(n, before.get(n), now.get(n)) for n in causes)


def _difference(name: str, before: Any, now: Any) -> str:
    if name in _DIGESTS:
        return _DIGESTS[name]
    texts = [_text(value) for value in (before, now)]
    if max(len(t) for t in texts) > _LONGEST_VALUE:
        return f"another {name}"
    return f"{name} {texts[0]} instead of {texts[1]}"


def _gpu(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _digest(*parts: Any) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            total.update(repr(part).encode())
    return total.digest()
