"""Types of arguments: each turns text into a value or says in one phrase what it wants."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """Whole number of 1 or more."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Whole number of 0 or more."""
    return _whole(text, 0)


def two_or_more(text: str) -> int:
    """Whole number of 2 or more."""
    return _whole(text, 2)


def positive_number(text: str) -> float:
    """Number above zero."""
    value = number(text)
    if value <= 0:
        raise ArgumentTypeError(f"{text} is not above 0: give a positive number")
    return value


def number(text: str) -> float:
    """Finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is not a number")
    return value


def span(text: str) -> tuple[float, float]:
    """Range of wavelengths such as ``400-2500``, nm."""
    low, dash, high = text.partition("-")
    try:
        pair = float(low), float(high)
    except ValueError:
        pair = math.nan, math.nan
    if not dash or not pair[0] < pair[1] or pair[0] <= 0:
        raise ArgumentTypeError(f"{text!r} is not a range FROM-TO in nm such as 400-2500")
    return pair


def memory(text: str) -> int:
    """Amount of memory such as ``2GB``, in bytes."""
    from ..errors import InputError
    from ..system.sizes import parse_bytes

    try:
        return parse_bytes(text)
    except InputError as error:
        raise ArgumentTypeError(str(error)) from None


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise ArgumentTypeError(f"{text} is too small: give {least} or more")
    return value
