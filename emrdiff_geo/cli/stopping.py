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


class Stop:
    """Signal handler: raises `Stopped`, at once or when a piece of work is done.

    Attributes
    ----------
    waits : bool
        Whether a piece of work is in hand that is worth finishing.
    wanted : bool
        Whether somebody wants the run to end meanwhile.
    """

    def __init__(self) -> None:
        self.at = -math.inf
        self.waits = self.wanted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self.at <= _PATIENCE_S:
            return
        self.at = now
        if not self.waits or self.wanted:
            raise Stopped
        self.wanted = True

    def between(self, waits: bool) -> None:
        """Tell that no piece of work is in hand just now, and whether one begins."""
        self.waits = waits
        if self.wanted:
            raise Stopped


@contextmanager
def stoppable(on_eof: bool = False, stop: Stop | None = None) -> Iterator[None]:
    """Raise `Stopped` in the main thread on SIGINT, SIGTERM and, if asked, at the end of stdin.

    Parameters
    ----------
    on_eof : bool
        Watch standard input: whoever started the run closes it to cancel, and it closes by itself
        when that program dies.
    stop : Stop, optional
        The handler, for who wants to finish something first; by default nobody does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    # Also where SIGINT is ignored, as in a shell script's background jobs: it is a wish all the
    # same.
    numbers = (signal.SIGINT, signal.SIGTERM)
    stop = stop or Stop()
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
