"""One run of the engine: start, watch, and what to say when it fails."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingException, QgsProcessingFeedback

from .engine import Engine, EngineMissingError, find_engine
from .events import Events
from .process import Ending, run_child
from .texts import tr


def engine_or_sentence() -> Engine:
    """The engine, or the exception with which an algorithm ends.

    ``qgis_process`` runs algorithms that say they cannot be executed, so each asks again.
    """
    try:
        return find_engine()
    except EngineMissingError as missing:
        raise QgsProcessingException(str(missing)) from None


def run_engine(
    arguments: Sequence[str], feedback: QgsProcessingFeedback, writes: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Run a command of the engine that reports by JSON lines.

    Parameters
    ----------
    arguments : sequence of str
        The command and its arguments.
    feedback : QgsProcessingFeedback
    writes : sequence of str
        Paths of the results. What a killed engine gathered for them is removed.

    Returns
    -------
    dict or None
        The engine's result event; None if the user cancelled.

    Raises
    ------
    QgsProcessingException
        With the engine's own sentence, or with what is known of its crash.
    """
    engine = engine_or_sentence()
    command = engine.command(*arguments, "--progress", "json", "--stop-on-eof")
    feedback.pushCommandInfo(shlex.join([engine.python, *command]))
    events = Events(feedback)
    ending = run_child(engine.python, command, feedback, on_output=events.line, stops_on_eof=True)
    if ending.killed:
        _remove_partial(writes)
    if events.result is not None and ending.code == 0:
        return events.result
    if ending.cancelled or feedback.isCanceled():
        feedback.pushInfo(tr("Cancelled: no result was written."))
        return None
    raise QgsProcessingException(_reason(events, ending, engine))


def _remove_partial(paths: Sequence[str]) -> None:
    for path in map(Path, paths):
        shutil.rmtree(path.with_name(f".{path.name}.partial"), ignore_errors=True)


def _reason(events: Events, ending: Ending, engine: Engine) -> str:
    if events.error:
        return events.error
    lines = "\n".join(ending.last_lines)
    if "No module named emrdiff_geo" in lines:
        return tr(
            "{} (from {}) is a Python without the engine: run 'Install the engine', or install "
            "emrdiff-geo there."
        ).format(engine.python, engine.origin)
    if ending.code == 2 and ending.last_lines:  # bad usage, told in one line
        return ending.last_lines[-1].partition("emrdiff: ")[2] or ending.last_lines[-1]
    how = (
        tr("crashed or was ended by the system, which may have run out of memory")
        if ending.code is None
        else tr("ended with code {} and without a word").format(ending.code)
    )
    text = tr("The engine {}: try a smaller tile, and 'Check the engine'.").format(how)
    return f"{text}\n{tr('The last lines it wrote:')}\n{lines}" if lines else text
