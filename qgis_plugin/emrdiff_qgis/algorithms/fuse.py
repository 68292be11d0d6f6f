"""``emrdiff:fuse``."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
)

from ..running import run_engine
from ..style import show_naturally
from ..texts import tr
from .base import (
    DEVICES,
    EmrdiffAlgorithm,
    Values,
    choice,
    given,
    image,
    number,
    span_objection,
    tif_objection,
)
from .pairs import PAIR_OPTIONS, pair_parameters

METHODS = ("emrdiff", "gaussian_process", "local_regression", "regression", "bicubic")
_OPTIONS = {
    "METHOD": "--method",
    "WEIGHTS": "--weights",
    "STEPS": "--steps",
    "SAMPLES": "--samples",
    "SEED": "--seed",
    "TILE": "--tile",
    "OVERLAP": "--overlap",
    "DEVICE": "--device",
    "FILL_GAPS": "--fill-gaps",
    **PAIR_OPTIONS,
}


class Fuse(EmrdiffAlgorithm):
    """The bands of one image on the pixels of another."""

    ID = "fuse"
    TITLE = "Fuse hyperspectral and multispectral image"
    SUMMARY = (
        "Makes one image that has the bands of a hyperspectral image and the pixels of a "
        "multispectral one."
    )
    HELP = (
        "<p>The images may differ in CRS, origin and extent, and the ratio of their pixels need be "
        "no whole number: the result lies on the multispectral image's own pixels. Both must show "
        "the same state of the ground.</p>"
        "<p><b>Method</b>: <i>emrdiff</i> is the diffusion model; <i>gaussian_process</i> needs no "
        "network and takes seconds; <i>local_regression</i> and <i>regression</i> are simpler; "
        "<i>bicubic</i> only interpolates.</p>"
        "<p>What is left empty under Advanced is chosen by the engine. The result is loaded in "
        "natural colours, and a style is written beside it.</p>"
    )
    TAGS = ("fusion", "sharpening", "pansharpening", "super-resolution", "EnMAP", "Sentinel-2")
    LAYERS = ("HSI", "MSI")

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the parameters."""
        self.addParameter(image("HSI", "Hyperspectral image", "Many bands, coarse pixels."))
        self.addParameter(image("MSI", "Multispectral image", "Few bands, fine pixels."))
        self.addParameter(choice("METHOD", "Method", METHODS, "emrdiff"))
        weights = QgsProcessingParameterFile(
            "WEIGHTS", tr("Weights of the network"), extension="safetensors", optional=True
        )
        weights.setHelp(tr("Made by 'Adapt to a pair'; empty: those that come with the engine."))
        self.addParameter(weights)
        self.add_advanced(*_network(), *_work(), *pair_parameters())
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", tr("Fused image")))
        uncertainty = QgsProcessingParameterRasterDestination(
            "UNCERTAINTY", tr("Uncertainty"), optional=True, createByDefault=False
        )
        uncertainty.setHelp(
            tr("Standard deviation of the error, per pixel and band; needs four samples or more.")
        )
        self.addParameter(uncertainty)

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """Refuse a range that is none."""
        return span_objection(self.parameterAsString(parameters, "WAVELENGTHS", context))

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Fuse."""
        outputs = {
            name: self.parameterAsOutputLayer(parameters, name, context)
            for name in ("OUTPUT", "UNCERTAINTY")
            if given(parameters, name)
        }
        self.refuse(*(tif_objection(path) for path in outputs.values()))
        # QGIS has asked the user whether a file is to be replaced.
        arguments = ["fuse", self.file("HSI"), self.file("MSI"), outputs["OUTPUT"], "--overwrite"]
        arguments += self.options(parameters, context, _OPTIONS)
        if given(parameters, "MEMORY"):
            memory = self.parameterAsDouble(parameters, "MEMORY", context)
            arguments += ["--memory", f"{memory:.10g}GB"]
        if "UNCERTAINTY" in outputs:
            arguments += ["--uncertainty", outputs["UNCERTAINTY"]]
        if run_engine(arguments, feedback, tuple(outputs.values())) is None:
            return {}
        for path in outputs.values():
            show_naturally(path, context)
        return outputs


def _network() -> list[Any]:
    return [
        number("STEPS", "Steps of the diffusion", least=2),
        number("SAMPLES", "Samples that are drawn and averaged", least=1),
        number("SEED", "Seed of the noise", least=0),
    ]


def _work() -> list[Any]:
    memory = number("MEMORY", "Memory to keep to, in GB", least=0.1, whole=False)
    memory.setHelp(tr("The engine then chooses the size of its tiles by it."))
    fill = QgsProcessingParameterBoolean(
        "FILL_GAPS", tr("Fill the gaps of single bands"), False, True
    )
    fill.setHelp(
        tr(
            "Where a band of the hyperspectral image has no data and others have, its values are "
            "estimated from theirs; else the result has no data there in that band."
        )
    )
    return [
        number("TILE", "Edge of a tile, in pixels", least=1),
        number("OVERLAP", "Margin around a tile, in pixels", least=0),
        memory,
        choice("DEVICE", "Where the network runs", DEVICES),
        fill,
    ]
