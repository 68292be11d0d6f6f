"""``emrdiff:install``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)

from .. import installing
from ..compat import FOLDER
from ..engine import environment_folder
from ..texts import tr
from .base import EmrdiffAlgorithm, Values, choice


class Install(EmrdiffAlgorithm):
    """The engine, in an environment of its own."""

    ID = "install"
    TITLE = "Install the engine"
    SUMMARY = "Makes an environment in the QGIS profile and installs the engine there with pip."
    HELP = (
        "<p>Nothing is installed unless you run this. It takes minutes and one to six gigabytes, "
        "and needs the network: pip fetches PyTorch and other libraries. QGIS' own Python stays as "
        "it is.</p>"
        "<p><b>Source</b>: the folder of a copy of emrdiff-geo (the one with setup.cfg), or one "
        "that holds its wheel.</p>"
        "<p><b>PyTorch</b>: <i>cpu</i> is much smaller. If pip finds no such build, give the "
        "address of PyTorch's CPU wheel index, shown on pytorch.org under 'Get started'. "
        "<i>default</i> is whatever pip finds: on Linux a build for NVIDIA GPUs.</p>"
        "<p>To remove the engine, delete the folder that the log names.</p>"
    )
    TAGS = ("setup", "pip", "environment", "PyTorch")
    NEEDS_ENGINE = False

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the parameters."""
        self.addParameter(
            QgsProcessingParameterFile("SOURCE", tr("Folder with emrdiff-geo"), FOLDER)
        )
        self.addParameter(choice("TORCH", "PyTorch", ("cpu", "default"), "cpu"))
        python = QgsProcessingParameterFile(
            "PYTHON",
            tr("Python 3.11, 3.12 or 3.13 (empty: look for one)"),
            optional=True,
            fileFilter="Python (*)",  # the filter for all files wants a dot
        )
        index = QgsProcessingParameterString(
            "INDEX", tr("Address of a further package index for pip"), optional=True
        )
        again = QgsProcessingParameterBoolean(
            "AGAIN", tr("Replace an existing environment"), False, True
        )
        self.add_advanced(python, index, again)
        self.addOutput(QgsProcessingOutputString("ENGINE", tr("Python of the engine")))

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """Refuse a folder that holds no engine."""
        source = Path(self.parameterAsFile(parameters, "SOURCE", context))
        if installing.what_to_install(source) is None:
            return tr("{} holds neither the source code nor a wheel of emrdiff-geo.").format(source)
        return None

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Install."""
        request = installing.Request(
            source=Path(self.parameterAsFile(parameters, "SOURCE", context)),
            folder=environment_folder(),
            python=self.parameterAsFile(parameters, "PYTHON", context),
            cpu=self.parameterAsEnumString(parameters, "TORCH", context) == "cpu",
            index=self.parameterAsString(parameters, "INDEX", context).strip(),
            again=self.parameterAsBool(parameters, "AGAIN", context),
        )
        python = installing.install(request, feedback)
        return {} if python is None else {"ENGINE": python}
