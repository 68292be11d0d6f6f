"""A child process, watched from the thread in which Processing runs an algorithm."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qgis.core import QgsProcessingException, QgsProcessingFeedback
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QProcess, QThread

from .engine import child_environment
from .texts import tr

_POLL_MS = 100
_IDLE_MS = 20
_START_MS = 30_000
#: Seconds that a child has for cleaning up once it was asked to stop.
GRACE_S = 10.0
_KEPT_LINES = 40


@dataclass
class Ending:
    """How a child ended.

    Attributes
    ----------
    code : int or None
        Exit code; None if it crashed or was killed.
    cancelled : bool
        Whether it was asked to stop.
    killed : bool
        Whether it did not stop by itself when asked.
    last_lines : list of str
        The end of what it wrote to standard error.
    """

    code: int | None = None
    cancelled: bool = False
    killed: bool = False
    last_lines: list[str] = field(default_factory=list)


class Lines:
    """Bytes as they come in, lines as they go out.

    Parameters
    ----------
    take : callable
        Given each line, without its end.
    """

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take bytes that may end in the middle of a line, or of a character."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._give(line)

    def end(self) -> None:
        """Give what came without an end of line."""
        if self._rest:
            self._give(self._rest)
        self._rest = b""

    def _give(self, line: bytes) -> None:
        self._take(line.decode("utf-8", errors="replace").rstrip("\r"))


def run_child(
    program: str,
    arguments: Sequence[str],
    feedback: QgsProcessingFeedback,
    *,
    on_output: Callable[[str], None],
    stops_on_eof: bool,
) -> Ending:
    """Run a program to its end, or until the user cancels.

    Parameters
    ----------
    program, arguments : str, sequence of str
        Each argument arrives as it is: no shell reads them.
    feedback : QgsProcessingFeedback
        Asked for cancellation, and given what the child writes to standard error.
    on_output : callable
        Given each line of standard output.
    stops_on_eof : bool
        Whether the child stops when its standard input ends; others are asked to terminate.

    Raises
    ------
    QgsProcessingException
        If the program cannot be started.
    """
    process = QProcess()
    process.setProcessEnvironment(child_environment())
    process.start(program, list(arguments))
    if not process.waitForStarted(_START_MS):
        raise QgsProcessingException(
            tr("{} could not be started ({}): check that this file is a Python.").format(
                program, process.errorString()
            )
        )
    return _Watch(process, feedback, on_output, stops_on_eof).until_the_end()


def _let_signals_through() -> None:
    """Turn the event loop where this is the main thread, as in ``qgis_process``.

    Ctrl-C arrives there as an event: without this it would be seen only when all is done.
    """
    application = QCoreApplication.instance()
    if application is not None and QThread.currentThread() == application.thread():
        application.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)


class _Watch:
    """The loop that reads both channels of a child and looks for a cancellation."""

    def __init__(
        self,
        process: QProcess,
        feedback: QgsProcessingFeedback,
        on_output: Callable[[str], None],
        stops_on_eof: bool,
    ) -> None:
        self._process = process
        self._feedback = feedback
        self._stops_on_eof = stops_on_eof
        self._last: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._output = Lines(on_output)
        self._errors = Lines(self._take_error)
        self._asked_at: float | None = None
        self._killed = False

    def until_the_end(self) -> Ending:
        """Watch until the child has ended."""
        try:
            while self._process.state() != QProcess.ProcessState.NotRunning:
                if not self._process.waitForReadyRead(_POLL_MS):
                    # It returns at once where the child has closed its output and goes on.
                    self._process.waitForFinished(_IDLE_MS)
                self._drain()
                _let_signals_through()
                self._look_for_cancellation()
            self._drain()
        finally:
            self._leave_nobody_behind()
        self._output.end()
        self._errors.end()
        normal = self._process.exitStatus() == QProcess.ExitStatus.NormalExit
        code = self._process.exitCode() if normal and not self._killed else None
        return Ending(code, self._asked_at is not None, self._killed, list(self._last))

    def _drain(self) -> None:
        self._output.feed(bytes(self._process.readAllStandardOutput()))
        self._errors.feed(bytes(self._process.readAllStandardError()))

    def _take_error(self, line: str) -> None:
        self._last.append(line)
        self._feedback.pushConsoleInfo(line)

    def _look_for_cancellation(self) -> None:
        if not self._feedback.isCanceled():
            return
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            # The end of its input also reaches the child when QGIS dies: the same way out.
            self._process.closeWriteChannel()
            if not self._stops_on_eof:
                self._process.terminate()
        elif now - self._asked_at > GRACE_S and not self._killed:
            self._killed = True
            self._process.kill()

    def _leave_nobody_behind(self) -> None:
        if self._process.state() != QProcess.ProcessState.NotRunning:  # the loop was broken
            self._process.kill()
            self._process.waitForFinished()
