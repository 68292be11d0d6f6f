"""What the algorithms have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from .. import texts
from ..compat import ADVANCED, DOUBLE, INTEGER
from ..engine import EngineMissingError, find_engine
from ..layers import NotAFileError, file_of
from ..texts import tr

Values = Mapping[str, Any]
PSF = ("gaussian", "paper", "area")
MEASURED_PSF = ("auto", *PSF)
DEVICES = ("auto", "cpu", "cuda")
_SPAN = re.compile(r"\s*\d+(\.\d+)?\s*-\s*\d+(\.\d+)?\s*")


class EmrdiffAlgorithm(QgsProcessingAlgorithm):
    """An algorithm of the provider; subclasses say what it is called and what it does.

    Attributes
    ----------
    ID, TITLE, SUMMARY, HELP : str
        Stable name, name in the toolbox, one sentence, and HTML for the dialog.
    TAGS : tuple of str
        Words under which it is found.
    LAYERS : tuple of str
        Parameters whose layers the engine opens.
    NEEDS_ENGINE : bool
        Whether it is of no use without an engine.
    """

    ID = TITLE = SUMMARY = HELP = ""
    TAGS: tuple[str, ...] = ()
    LAYERS: tuple[str, ...] = ()
    NEEDS_ENGINE = True

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, str] = {}

    # -- what QGIS asks -----------------------------------------------------------------------

    def createInstance(self) -> EmrdiffAlgorithm:
        """Return a fresh one for each run."""
        return type(self)()

    def name(self) -> str:
        """Never to be changed: scripts and models name it."""
        return self.ID

    def displayName(self) -> str:
        """Name in the toolbox."""
        return tr(self.TITLE)

    def shortDescription(self) -> str:
        """One sentence, as a tool tip."""
        return tr(self.SUMMARY)

    def shortHelpString(self) -> str:
        """HTML beside the parameters."""
        return texts.with_picture(self.ID, f"<p>{tr(self.SUMMARY)}</p>{tr(self.HELP)}")

    def helpUrl(self) -> str:
        """Where the Help button leads: pages that come with the plugin."""
        return texts.help_url(self.ID)

    def tags(self) -> list[str]:
        """Words under which the toolbox finds it."""
        return ["hyperspectral", "multispectral", "emrdiff", *self.TAGS]

    def icon(self) -> QIcon:
        """Icon in the toolbox."""
        return texts.icon(self.ID)

    def svgIconPath(self) -> str:
        """The same, for the model designer."""
        return texts.icon_path(self.ID)

    def canExecute(self) -> tuple[bool, str]:
        """Whether there is an engine, and what to do if not; no process is started for it."""
        if self.NEEDS_ENGINE:
            try:
                find_engine()
            except EngineMissingError as missing:
                return False, str(missing)
        return True, ""

    def checkParameterValues(
        self, parameters: Values, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Refuse before anything runs what can be seen to be wrong."""
        valid, message = super().checkParameterValues(parameters, context)
        if not valid:
            return valid, message
        try:
            self._layer_files(parameters, context)
        except NotAFileError as refused:
            return False, str(refused)
        message = self.objection(parameters, context) or ""
        return not message, message

    def prepareAlgorithm(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Find the files of the layers while still in the thread to which layers belong."""
        try:
            self._files = self._layer_files(parameters, context)
        except NotAFileError as refused:
            raise QgsProcessingException(str(refused)) from None
        return True

    def processAlgorithm(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Do the work, unless something is wrong that QGIS has not asked about."""
        self.refuse(self.objection(parameters, context))
        return self.run_it(parameters, context, feedback)

    # -- what subclasses say ------------------------------------------------------------------

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """One sentence on what is wrong with the values, or None."""
        return None

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the engine; an empty result if the user cancelled."""
        raise NotImplementedError

    # -- what they need for it ----------------------------------------------------------------

    def file(self, name: str) -> str:
        """Path of the file of a layer parameter; empty if it was not given."""
        return self._files.get(name, "")

    def refuse(self, *objections: str | None) -> None:
        """End with the first objection, if there is one."""
        for objection in filter(None, objections):
            raise QgsProcessingException(objection)

    def add_advanced(self, *definitions: QgsProcessingParameterDefinition) -> None:
        """Add parameters that are folded away."""
        for definition in definitions:
            definition.setFlags(definition.flags() | ADVANCED)
            self.addParameter(definition)

    def options(
        self, parameters: Values, context: QgsProcessingContext, names: Mapping[str, str]
    ) -> list[str]:
        """Options for what the user has set; all else is left to the engine's own defaults.

        Parameters
        ----------
        names : mapping
            Option by name of parameter.
        """
        found: list[str] = []
        for name, option in names.items():
            if not given(parameters, name):
                continue
            definition = self.parameterDefinition(name)
            if definition.type() == "boolean":
                found += [option] if self.parameterAsBool(parameters, name, context) else []
            else:
                found += [option, self._text(definition, parameters, context)]
        return found

    def _text(
        self,
        definition: QgsProcessingParameterDefinition,
        parameters: Values,
        context: QgsProcessingContext,
    ) -> str:
        name, kind = definition.name(), definition.type()
        if kind == "number":
            value = self.parameterAsDouble(parameters, name, context)
            return f"{value:.10g}"
        if kind == "enum":
            return self.parameterAsEnumString(parameters, name, context)
        if kind == "file":
            return os.path.abspath(self.parameterAsFile(parameters, name, context))
        return self.parameterAsString(parameters, name, context).strip()

    def _layer_files(self, parameters: Values, context: QgsProcessingContext) -> dict[str, str]:
        layers = {
            name: self.parameterAsRasterLayer(parameters, name, context)
            for name in self.LAYERS
            if given(parameters, name)
        }
        return {name: file_of(layer) for name, layer in layers.items() if layer is not None}


def given(parameters: Values, name: str) -> bool:
    """Whether the user has set a parameter."""
    return parameters.get(name) not in (None, "")


def image(name: str, description: str, help_text: str, optional: bool = False) -> Any:
    """Parameter for a raster layer."""
    found = QgsProcessingParameterRasterLayer(name, tr(description), optional=optional)
    found.setHelp(tr(help_text))
    return found


def choice(name: str, description: str, values: Sequence[str], default: str | None = None) -> Any:
    """Parameter for one of several words, which scripts and models name as such."""
    found = QgsProcessingParameterEnum(
        name, tr(description), list(values), False, default, default is None
    )
    found.setUsesStaticStrings(True)
    return found


def number(
    name: str,
    description: str,
    *,
    least: float,
    default: float | None = None,
    whole: bool = True,
    optional: bool = True,
) -> Any:
    """Parameter for a number; without one the engine's own default holds."""
    kind = INTEGER if whole else DOUBLE
    return QgsProcessingParameterNumber(
        name, tr(description), kind, default, optional=optional, minValue=least
    )


def span_objection(text: str) -> str | None:
    """What is wrong with a range of wavelengths, if anything."""
    if not text.strip() or _SPAN.fullmatch(text):
        return None
    return tr("'{}' is no range of wavelengths: write it as 400-2500, in nm.").format(text)


def tif_objection(path: str) -> str | None:
    """What is wrong with the name of a raster result, if anything."""
    if path.lower().endswith((".tif", ".tiff")):
        return None
    return tr("The result {} cannot be written: let its name end in .tif.").format(path)
