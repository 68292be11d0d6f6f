"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from ..errors import InputError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)


def parse_bytes(text: str | int) -> int:
    """Bytes of a size such as ``2GB``, ``1.5 GiB``, ``800M`` or a plain number.

    Raises
    ------
    InputError
        If it is none.
    """
    found = _SIZE.fullmatch(str(text))
    if found is None or float(found[1]) == 0:
        raise InputError(f"{text!r} is no amount of memory: give one such as 2GB or 800MB")
    unit = found[2].upper()
    factor = 1024 ** " KMGT".index(unit) if found[3] and unit else _UNITS[unit]
    return int(float(found[1]) * factor)


def format_bytes(size: float) -> str:
    """Size for people, never less than it is."""
    tenths, unit = (-(-size // 10**8), "GB") if size >= 10**9 else (-(-size // 10**6) * 10, "MB")
    return f"{tenths / 10:g}{unit}"
