"""``emrdiff:evaluate``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
)

from .. import report
from ..running import run_engine
from ..texts import tr
from .base import EmrdiffAlgorithm, Values, given, image, number

_OPTIONS = {"RATIO": "--ratio", "BORDER": "--border"}
_COMPARED = {"REFERENCE": "--reference", "HSI": "--hsi", "MSI": "--msi"}


class Evaluate(EmrdiffAlgorithm):
    """How good a fused image is."""

    ID = "evaluate"
    TITLE = "Evaluate a fused image"
    SUMMARY = "Judges a fused image by a reference, or by the pair that it was made from."
    HELP = (
        "<p>With a <b>reference</b> and the ratio of the pixel sizes: PSNR, mPSNR, SSIM, SAM, "
        "ERGAS and RMSE. With the <b>pair</b>: how well the result, made coarse again, agrees with "
        "the hyperspectral image, and its bands, put together, with the multispectral one. Both "
        "can be asked for at once.</p>"
        "<p>The report opens from the results viewer; the numbers are outputs that a model can "
        "use.</p>"
    )
    TAGS = ("quality", "PSNR", "SAM", "ERGAS", "SSIM", "validation")
    LAYERS = ("FUSED", "REFERENCE", "HSI", "MSI")

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the parameters."""
        self.addParameter(image("FUSED", "Fused image", "The result of a fusion."))
        text = "What the fused image should be: same bands, same pixels."
        self.addParameter(image("REFERENCE", "Reference", text, optional=True))
        ratio = number("RATIO", "Ratio of the pixel sizes", least=1, whole=False)
        ratio.setHelp(tr("Needed with a reference, for ERGAS."))
        self.addParameter(ratio)
        text = "The hyperspectral image that went in."
        self.addParameter(image("HSI", "Hyperspectral image", text, optional=True))
        text = "The multispectral image that went in."
        self.addParameter(image("MSI", "Multispectral image", text, optional=True))
        self.add_advanced(
            number("BORDER", "Pixels left out at each edge", least=0),
            QgsProcessingParameterBoolean(
                "FIGURE", tr("Pictures, error map and spectra"), True, True
            ),
        )
        self.addParameter(
            QgsProcessingParameterFileDestination("OUTPUT", tr("Report"), tr("HTML files (*.html)"))
        )
        for name, text in report.output_names().items():
            self.addOutput(QgsProcessingOutputNumber(name, tr(text)))

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """Refuse a comparison with nothing."""
        if given(parameters, "REFERENCE"):
            if not given(parameters, "RATIO") and not given(parameters, "HSI"):
                return tr("Give the ratio of the pixel sizes, which ERGAS needs.")
            return None
        if given(parameters, "HSI") and given(parameters, "MSI"):
            return None
        return tr("There is nothing to compare with: give a reference, or both images of the pair.")

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Evaluate."""
        output = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        compared = {n: self.file(n) for n in _COMPARED if self.file(n)}
        arguments = ["evaluate", self.file("FUSED")]
        for name, path in compared.items():
            arguments += [_COMPARED[name], path]
        arguments += self.options(parameters, context, _OPTIONS)
        with tempfile.TemporaryDirectory(prefix="emrdiff-") as folder:
            figure = Path(folder) / "figure.png"
            if self.parameterAsBool(parameters, "FIGURE", context):
                arguments += ["--figure", str(figure)]
            result = run_engine(arguments, feedback)
            if result is None:
                return {}
            found = result.get("report", {})
            files = (self.file("FUSED"), *compared.values())
            text = report.page(tr("Evaluation of a fused image"), files, found, figure)
        Path(output).write_text(text, encoding="utf-8")
        numbers = report.numbers_of(found)
        for name, value in numbers.items():
            feedback.pushInfo(f"{name}: {value:.6g}")
        known = report.output_names()
        return {"OUTPUT": output, **{n: v for n, v in numbers.items() if n in known}}
