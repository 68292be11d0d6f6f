"""What two fingerprints of runs differ in, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
