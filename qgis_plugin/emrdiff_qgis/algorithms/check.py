"""``emrdiff:check``."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputString,
)

from ..engine import Engine, EngineMissingError, find_engine
from ..process import run_child
from ..texts import tr
from .base import EmrdiffAlgorithm, Values


class Check(EmrdiffAlgorithm):
    """What is installed, and what to do about what is not."""

    ID = "check"
    TITLE = "Check the engine"
    SUMMARY = (
        "Tells where the engine is, its versions, GPU, memory and weights, and what is missing."
    )
    HELP = (
        "<p>The engine is looked for in this order: the Python named in Settings > Options > "
        "Processing > Providers > EMR-Diff; the environment variable EMRDIFF_PYTHON; the "
        "environment that 'Install the engine' made. What it finds, and what to do where something "
        "is missing, is in the log. Nothing is changed.</p>"
    )
    TAGS = ("doctor", "diagnosis", "installation", "CUDA", "GPU")
    NEEDS_ENGINE = False

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the outputs."""
        self.addOutput(QgsProcessingOutputBoolean("OK", tr("Whether the essentials work")))
        self.addOutput(QgsProcessingOutputString("ENGINE", tr("Python of the engine")))
        self.addOutput(QgsProcessingOutputString("VERSION", tr("Version of the engine")))
        self.addOutput(QgsProcessingOutputString("PROBLEMS", tr("What is wrong, and the cures")))

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Look."""
        try:
            engine = find_engine()
        except EngineMissingError as missing:
            return _verdict(feedback, False, "", "", [str(missing)])
        feedback.pushInfo(tr("Engine: {} ({})").format(engine.python, engine.origin))
        found, ended_well = _diagnosis(engine, feedback)
        if feedback.isCanceled():
            return {}
        if found is None:
            problem = tr(
                "{} cannot run the engine: run 'Install the engine', or install emrdiff-geo there."
            ).format(engine.python)
            return _verdict(feedback, False, engine.python, "", [problem])
        _tell(feedback, found)
        problems = [f"{f['problem']}: {f['cure']}" for f in found.get("findings", [])]
        version = found.get("program", {}).get("emrdiff-geo", "")
        fine = bool(found.get("ok")) and ended_well
        return _verdict(feedback, fine, engine.python, version, problems)


def _diagnosis(
    engine: Engine, feedback: QgsProcessingFeedback
) -> tuple[dict[str, Any] | None, bool]:
    lines: list[str] = []
    ending = run_child(
        engine.python,
        engine.command("doctor", "--json"),
        feedback,
        on_output=lines.append,
        stops_on_eof=False,
    )
    try:
        return json.loads("\n".join(lines)), ending.code == 0
    except ValueError:
        return None, False


def _tell(feedback: QgsProcessingFeedback, found: dict[str, Any]) -> None:
    for section, values in found.items():
        if isinstance(values, dict):
            feedback.pushInfo(f"{section}:")
            for name, value in values.items():
                feedback.pushInfo(f"    {name}: {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or tr("none")
    return tr("none") if value is None else str(value)


def _verdict(
    feedback: QgsProcessingFeedback, fine: bool, engine: str, version: str, problems: list[str]
) -> dict[str, Any]:
    for problem in problems:
        if fine:
            feedback.pushWarning(problem)
        else:
            feedback.reportError(problem)
    feedback.pushInfo(
        tr("All essentials work.") if fine else tr("Something essential does not work: see above.")
    )
    return {"OK": fine, "ENGINE": engine, "VERSION": version, "PROBLEMS": "\n".join(problems)}
