"""``emrdiff:adapt``."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
)

from ..running import run_engine
from ..texts import tr
from .base import (
    DEVICES,
    EmrdiffAlgorithm,
    Values,
    choice,
    image,
    number,
    span_objection,
)
from .pairs import PAIR_OPTIONS, pair_parameters

_OPTIONS = {
    "WEIGHTS": "--weights",
    "MINUTES": "--max-minutes",
    "STEPS": "--steps",
    "SEED": "--seed",
    "DEVICE": "--device",
    **PAIR_OPTIONS,
}


class Adapt(EmrdiffAlgorithm):
    """Weights for one pair."""

    ID = "adapt"
    TITLE = "Adapt to a pair"
    SUMMARY = "Continues the training of the network for minutes on one pair, without a reference."
    HELP = (
        "<p>The result is a file of weights (.safetensors) with a description (.json) beside it, "
        "for the parameter <i>Weights of the network</i> of the fusion.</p>"
        "<p>Adaptation is rehearsed: the network learns on the scene with coarser pixels and is "
        "judged on finer ones. If that did not help, the weights stay as they were, and the log "
        "says so.</p>"
    )
    TAGS = ("training", "fine-tuning", "weights", "network")
    LAYERS = ("HSI", "MSI")

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the parameters."""
        self.addParameter(image("HSI", "Hyperspectral image", "Many bands, coarse pixels."))
        self.addParameter(image("MSI", "Multispectral image", "Few bands, fine pixels."))
        minutes = number("MINUTES", "Minutes to take", least=0.01, default=5.0, whole=False)
        self.addParameter(minutes)
        weights = QgsProcessingParameterFile(
            "WEIGHTS", tr("Weights to begin with"), extension="safetensors", optional=True
        )
        self.add_advanced(
            weights,
            number("STEPS", "Steps of the optimiser", least=1),
            number("SEED", "Seed of the draws", least=0),
            choice("DEVICE", "Where the network runs", DEVICES),
            *pair_parameters(),
        )
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "OUTPUT", tr("Adapted weights"), tr("Weights (*.safetensors)")
            )
        )
        self.addOutput(QgsProcessingOutputBoolean("ADAPTED", tr("Whether adaptation helped")))
        self.addOutput(QgsProcessingOutputNumber("BEFORE", tr("PSNR before the rehearsal")))
        self.addOutput(QgsProcessingOutputNumber("AFTER", tr("PSNR after the rehearsal")))

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """Refuse a range that is none."""
        return span_objection(self.parameterAsString(parameters, "WAVELENGTHS", context))

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Adapt."""
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        arguments = ["adapt", self.file("HSI"), self.file("MSI"), "--out", output, "--overwrite"]
        arguments += self.options(parameters, context, _OPTIONS)
        result = run_engine(arguments, feedback)
        if result is None:
            return {}
        report = result.get("report", {})
        numbers = {name.upper(): report[name] for name in ("before", "after") if name in report}
        return {"OUTPUT": output, "ADAPTED": bool(report.get("adapted")), **numbers}
