"""Where the engine is, and the environment in which it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QProcessEnvironment

from .texts import tr

#: Name of the provider's setting, and of the environment variable that is asked after it.
SETTING = VARIABLE = "EMRDIFF_PYTHON"
_SETTING_KEY = f"Processing/Configuration/{SETTING}"

# QGIS, its installers and the shell it was started from set these for their own libraries. The
# first two make rasterio fail, the next three hide numpy or the virtual environment, even from a
# Python that is told to ignore the environment; the rest loads libraries of another build.
_HARMFUL = (
    "PROJ_LIB",
    "PROJ_DATA",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "LD_LIBRARY_PATH",
)


class EngineMissingError(Exception):
    """There is no engine; the message says how to get one."""


@dataclass(frozen=True)
class Engine:
    """A Python that has the engine.

    Attributes
    ----------
    python : str
        Path of the interpreter.
    origin : str
        What named it, for people.
    """

    python: str
    origin: str

    def command(self, *arguments: str) -> list[str]:
        """Arguments for `python` that start the engine, apart from all that is the user's own."""
        return ["-I", "-u", "-X", "utf8", "-m", "emrdiff_geo", *arguments]


def find_engine() -> Engine:
    """The engine's Python: as set, as the environment variable says, or as installed.

    ``sys.executable`` is never asked: in QGIS it may be QGIS itself.

    Raises
    ------
    EngineMissingError
        If none of them names a file.
    """
    candidates = (
        (QgsSettings().value(_SETTING_KEY, "") or "", tr("the setting {}").format(SETTING)),
        (os.environ.get(VARIABLE, ""), tr("the environment variable {}").format(VARIABLE)),
    )
    for python, origin in candidates:
        if not python:
            continue
        if not Path(python).is_file():
            raise EngineMissingError(
                tr(
                    "There is no file {}, which {} names as the engine's Python: correct it."
                ).format(python, origin)
            )
        return Engine(str(Path(python).absolute()), origin)
    installed = python_of(environment_folder())
    if installed.is_file():
        return Engine(str(installed), tr("the environment in the profile"))
    raise EngineMissingError(missing_text())


def missing_text() -> str:
    """What to do where there is no engine."""
    folder = environment_folder()
    return tr(
        "The engine is not installed: run the algorithm 'Install the engine' (emrdiff:install), or "
        "make an environment by hand with the command: python3 -m venv {folder} && {python} -m pip "
        "install FOLDER_OF_EMRDIFF_GEO - or name the Python of an installation in Settings > "
        "Options > Processing > Providers > EMR-Diff or in the environment variable {variable}."
    ).format(folder=_quoted(folder), python=_quoted(python_of(folder)), variable=VARIABLE)


def environment_folder() -> Path:
    """Folder of the environment that the plugin makes, in the profile of the user."""
    return Path(QgsApplication.qgisSettingsDirPath()).absolute() / "emrdiff" / "engine"


def python_of(folder: Path) -> Path:
    """Interpreter of a virtual environment."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def child_environment() -> QProcessEnvironment:
    """The environment of QGIS without what breaks another Python and another GDAL."""
    environment = QProcessEnvironment.systemEnvironment()
    for name in _HARMFUL:
        environment.remove(name)
    return environment


def _quoted(path: Path) -> str:
    text = str(path)
    return f'"{text}"' if " " in text else text
