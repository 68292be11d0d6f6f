"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def plain(value: Any, text: Callable[[Any], str] = str) -> Any:
    """Turn `value` into JSON types; NaN and infinities, which JSON does not know, become None.

    Parameters
    ----------
    value : object
        Mappings, sequences, sets, arrays, numbers, ...
    text : callable
        What becomes of strings, and of whatever else is no JSON type.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry, text) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # arrays and their numbers; numpy is slow to import
        return plain(value.tolist(), text)
    if isinstance(value, list | tuple):
        return [plain(entry, text) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(entry, text) for entry in value), key=str)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else text(value)
