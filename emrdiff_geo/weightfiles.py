"""Where weights files are and what identifies them: known without loading torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import WeightsError

SHIPPED = Path(__file__).parent / "weights"


def weights_names() -> list[str]:
    """Names of the weights shipped with the package."""
    return sorted(p.stem for p in SHIPPED.glob("*.safetensors"))


def weights_path(name_or_path: str | Path) -> Path:
    """Path of a weights file from a shipped name or a path.

    Raises
    ------
    WeightsError
        If neither exists.
    """
    shipped = SHIPPED / f"{name_or_path}.safetensors"
    if str(name_or_path) in weights_names():
        return shipped
    path = Path(name_or_path)
    if not path.is_file():
        raise WeightsError(
            f"there are no weights '{name_or_path}': give a .safetensors file or one of the "
            f"shipped names ({', '.join(weights_names()) or 'none in this build'})"
        )
    return path


def digest(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the file and of the JSON beside it.

    The JSON has numbers that decide the result too.
    """
    path = Path(path)
    found = hashlib.sha256(path.read_bytes())
    beside = path.with_suffix(".json")
    if beside.is_file():
        found.update(beside.read_bytes())
    return found.hexdigest()[:16]
