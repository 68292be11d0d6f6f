"""``emrdiff:simulate``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from ..running import run_engine
from ..style import show_naturally
from ..texts import tr
from .base import (
    PSF,
    EmrdiffAlgorithm,
    Values,
    choice,
    image,
    number,
    span_objection,
    tif_objection,
)

RESPONSES = (
    "aster",
    "landsat4",
    "landsat5",
    "landsat7",
    "landsat8",
    "landsat9",
    "modis_aqua",
    "modis_terra",
    "nikon_d700",
    "planetscope_superdove",
    "rapideye",
    "sentinel2a",
    "sentinel2b",
    "spot5",
)
_OPTIONS = {
    "RATIO": "--ratio",
    "PSF": "--psf",
    "SNR": "--snr-db",
    "SEED": "--seed",
    "WAVELENGTHS": "--wavelengths",
}
_RESULTS = {
    "OUTPUT_HSI": ("hsi.tif", "Coarse hyperspectral image"),
    "OUTPUT_MSI": ("msi.tif", "Multispectral image"),
    "OUTPUT_REFERENCE": ("reference.tif", "Reference"),
}


class Simulate(EmrdiffAlgorithm):
    """A pair and its reference from one image."""

    ID = "simulate"
    TITLE = "Simulate a pair"
    SUMMARY = "Makes a pair and its reference from one hyperspectral image (Wald's protocol)."
    HELP = (
        "<p>The image is made coarse, which gives the hyperspectral image of the pair, and its "
        "bands are put together as another sensor would see them, which gives the multispectral "
        "one. What a fusion of the two should give is known: the reference, for "
        "'Evaluate a fused image'.</p>"
        "<p>Some bands of a sensor, or a response of your own: choose a CSV file, or write "
        "<i>sentinel2a:B02,B03</i> under Advanced.</p>"
    )
    TAGS = ("simulation", "Wald", "spectral response", "benchmark")
    LAYERS = ("HSI",)

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Declare the parameters."""
        self.addParameter(image("HSI", "Hyperspectral image", "It becomes the reference."))
        ratio = number("RATIO", "Ratio of the pixel sizes", least=2, default=4, optional=False)
        self.addParameter(ratio)
        sensor = choice("SENSOR", "Sensor of the multispectral image", RESPONSES, "sentinel2a")
        self.addParameter(sensor)
        self.add_advanced(
            QgsProcessingParameterString(
                "BANDS", tr("Sensor and bands, as sentinel2a:B02,B03"), optional=True
            ),
            QgsProcessingParameterFile(
                "RESPONSE", tr("Spectral response (CSV)"), extension="csv", optional=True
            ),
            choice("PSF", "How coarse pixels see the fine grid", PSF),
            number("SNR", "Noise to add: signal-to-noise ratio in dB", least=-100, whole=False),
            number("SEED", "Seed of that noise", least=0),
            QgsProcessingParameterString(
                "WAVELENGTHS", tr("Range of wavelengths in nm, as 400-2500"), optional=True
            ),
        )
        for name, (_, description) in _RESULTS.items():
            self.addParameter(QgsProcessingParameterRasterDestination(name, tr(description)))

    def objection(self, parameters: Values, context: QgsProcessingContext) -> str | None:
        """Refuse a range that is none."""
        return span_objection(self.parameterAsString(parameters, "WAVELENGTHS", context))

    def run_it(
        self, parameters: Values, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Simulate."""
        outputs = {n: self.parameterAsOutputLayer(parameters, n, context) for n in _RESULTS}
        self.refuse(*(tif_objection(path) for path in outputs.values()))
        response = (
            self.parameterAsFile(parameters, "RESPONSE", context)
            or self.parameterAsString(parameters, "BANDS", context)
            or self.parameterAsEnumString(parameters, "SENSOR", context)
        )
        # The engine writes a folder; beside the results, so that moving them copies nothing.
        beside = Path(outputs["OUTPUT_HSI"]).parent
        with tempfile.TemporaryDirectory(prefix=".emrdiff-", dir=beside) as folder:
            arguments = ["simulate", self.file("HSI"), folder, "--srf", response, "--overwrite"]
            arguments += self.options(parameters, context, _OPTIONS)
            if run_engine(arguments, feedback) is None:
                return {}
            for name, (made, _) in _RESULTS.items():
                _move(Path(folder) / made, Path(outputs[name]))
        for path in outputs.values():
            show_naturally(path, context)
        return outputs


def _move(source: Path, target: Path) -> None:
    try:
        shutil.move(source, target)
    except OSError as error:
        raise QgsProcessingException(
            tr("{} could not be written: {}").format(target, error.strerror or error)
        ) from None
