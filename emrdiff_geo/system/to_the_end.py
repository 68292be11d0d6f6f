"""Calls that an interruption does not leave half done behind one's back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import current_thread, main_thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def to_the_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and go on or be interrupted only when that is over.

    A library that works in threads of its own, as Zarr does, goes on there when whoever waits for
    it is interrupted: what is cleaned up then would be written again. Signals interrupt the main
    thread only; it waits for another one.
    """
    if current_thread() is not main_thread():
        return call(*args, **kwargs)
    with ThreadPoolExecutor(1) as pool:
        # So that the pool knows its thread, and waits for it, whenever the interruption comes.
        pool.submit(int).result()
        return pool.submit(call, *args, **kwargs).result()
