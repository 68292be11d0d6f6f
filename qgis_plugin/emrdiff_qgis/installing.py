"""Making the engine's environment: venv, then pip, each as a child that can be cancelled."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsProcessingException, QgsProcessingFeedback
from qgis.PyQt.QtCore import QStandardPaths

from .engine import python_of
from .process import Ending, run_child
from .texts import tr

_NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python")
_PIP = ("-I", "-u", "-m", "pip", "--disable-pip-version-check")
_SUITS = "import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
# A Python that QGIS brings along; sys.executable would be QGIS itself on Windows and macOS.
_BUNDLED = ("python.exe", "python3.exe", "bin/python3", "bin/python3.12", "bin/python3.11")


@dataclass(frozen=True)
class Request:
    """What is to be installed.

    Attributes
    ----------
    source : Path
        Folder of the engine's source code, or one with its wheel.
    folder : Path
        The environment to make.
    python : str
        Interpreter to make it with; empty: one is looked for.
    cpu : bool
        Whether PyTorch is to be the build without CUDA.
    index : str
        Address of a further package index; empty: none.
    again : bool
        Whether to replace an environment that exists.
    """

    source: Path
    folder: Path
    python: str = ""
    cpu: bool = True
    index: str = ""
    again: bool = False


def what_to_install(source: Path) -> Path | None:
    """The source code in a folder, or the newest wheel; None if there is neither."""
    if (source / "setup.cfg").is_file() and (source / "emrdiff_geo").is_dir():
        return source
    wheels = sorted(source.glob("emrdiff_geo-*.whl"), key=lambda p: p.stat().st_mtime)
    return wheels[-1] if wheels else None


def install(request: Request, feedback: QgsProcessingFeedback) -> str | None:
    """Make the environment; all of it or nothing.

    Returns
    -------
    str or None
        The engine's Python; None if the user cancelled.

    Raises
    ------
    QgsProcessingException
        If a step failed: what pip said is in the log.
    """
    folder = request.folder
    if python_of(folder).is_file() and not request.again:
        raise QgsProcessingException(
            tr(
                "There is an engine in {} already: check it with 'Check the engine', or ask to "
                "replace the environment."
            ).format(folder)
        )
    feedback.pushInfo(tr("The environment is made in {}").format(folder))
    # A virtual environment cannot be moved once it is made: the old one steps aside instead.
    aside = folder.with_name(folder.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(aside)
    done = False
    try:
        done = _steps(request, feedback)
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
            if aside.exists():
                aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    return str(python_of(folder)) if done else None


def _steps(request: Request, feedback: QgsProcessingFeedback) -> bool:
    what = what_to_install(request.source)
    if what is None:  # removed since it was checked
        raise QgsProcessingException(tr("{} is gone.").format(request.source))
    base = request.python or _find_python(feedback)
    if base is None:
        return False
    python = str(python_of(request.folder))
    pip = [*_PIP, "install", "--progress-bar=off"]
    pip += ["--extra-index-url", request.index] if request.index else []
    pip += _constraint(request, feedback)
    look = ["-I", "-X", "utf8", "-m", "emrdiff_geo", "doctor"]
    steps = [
        (tr("Making the environment"), base, ["-I", "-m", "venv", str(request.folder)], 5),
        # With what its figures need.
        (tr("Installing the engine and PyTorch"), python, [*pip, f"{what}[figures]"], 95),
        (tr("Checking the engine"), python, look, 100),
    ]
    for title, program, arguments, percent in steps:
        if not _step(title, program, arguments, feedback):
            return False
        feedback.setProgress(percent)
    return True


def _constraint(request: Request, feedback: QgsProcessingFeedback) -> list[str]:
    """Keep pip to the CPU build, if that is wanted and the source says which one it is."""
    if not request.cpu:
        return []
    file = request.source / "constraints.txt"
    if file.is_file():
        return ["--constraint", str(file)]
    feedback.pushWarning(tr("There is no {}: pip chooses the build of PyTorch.").format(file))
    return []


def _step(title: str, program: str, arguments: list[str], feedback: QgsProcessingFeedback) -> bool:
    """Run one step; False if the user cancelled."""
    if feedback.isCanceled():
        return False
    feedback.setProgressText(title)
    ending = run_child(
        program, arguments, feedback, on_output=feedback.pushConsoleInfo, stops_on_eof=False
    )
    if ending.cancelled:
        return False
    if ending.code != 0:
        raise QgsProcessingException(_failure(title, ending))
    return True


def _failure(title: str, ending: Ending) -> str:
    reason = next((line for line in reversed(ending.last_lines) if line.strip()), "")
    text = tr("This step failed and nothing was installed: {}.").format(title)
    if "torch" in reason and "matching distribution" in reason:
        text += " " + tr(
            "pip knows no CPU build of PyTorch: give the address of PyTorch's CPU wheel index, "
            "shown on pytorch.org under 'Get started', or choose the default build."
        )
    return f"{text} {reason}".strip()


def _find_python(feedback: QgsProcessingFeedback) -> str | None:
    """A Python that the engine runs on; None if the user cancelled."""
    found = [QStandardPaths.findExecutable(name) for name in _NAMES]
    found += [os.path.join(sys.prefix, name) for name in _BUNDLED]
    for python in dict.fromkeys(p for p in found if p and os.path.isfile(p)):
        ending = run_child(
            python,
            ["-I", "-c", _SUITS],
            QgsProcessingFeedback(),
            on_output=lambda line: None,
            stops_on_eof=False,
        )
        if feedback.isCanceled():
            return None
        if ending.code == 0:
            feedback.pushInfo(tr("Made with {}").format(python))
            return python
    raise QgsProcessingException(
        tr(
            "No Python 3.11, 3.12 or 3.13 with venv was found: install one (Debian, Ubuntu: apt "
            "install python3-venv), or name it under Advanced."
        )
    )
