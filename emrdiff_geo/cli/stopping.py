"""Orderly stops: Ctrl-C, a request to terminate, the end of standard input."""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """Somebody wants the run to end; raised wherever it stands, so that it cleans up."""


# A stop often comes twice (Ctrl-C again, a signal and then the end of stdin), and the second must
# not break the cleaning up after the first; somebody who insists for longer gets his way.
_PATIENCE_S = 5.0


class _Stop:
    """Signal handler."""

    def __init__(self) -> None:
        self.at = -math.inf

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self.at > _PATIENCE_S:
            self.at = now
            raise Stopped


@contextmanager
def stoppable(on_eof: bool = False) -> Iterator[None]:
    """Raise `Stopped` in the main thread on SIGINT, SIGTERM and, if asked, at the end of stdin.

    Parameters
    ----------
    on_eof : bool
        Watch standard input: whoever started the run closes it to cancel, and it closes by itself
        when that program dies.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    # Also where SIGINT is ignored, as in a shell script's background jobs: it is a wish all the
    # same.
    numbers = (signal.SIGINT, signal.SIGTERM)
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in numbers}
    over = threading.Event()
    if on_eof:
        threading.Thread(target=_watch, args=(over,), daemon=True, name="stdin").start()
    try:
        yield
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(over: threading.Event) -> None:
    try:
        # Not sys.stdin.read: its lock, held by a daemon thread, crashes Python's exit.
        descriptor = sys.stdin.fileno()
        while os.read(descriptor, 4096):
            pass
    except (OSError, ValueError, AttributeError):
        pass  # closed, or never open: as good as its end
    if over.is_set():
        return
    if hasattr(signal, "pthread_kill"):
        # A real signal, that also wakes the main thread from waiting.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)
