"""What is asked about a pair of images, whatever is done with it."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingParameterBoolean, QgsProcessingParameterString

from ..texts import tr
from .base import MEASURED_PSF, choice, number

PAIR_OPTIONS = {
    "PSF": "--psf",
    "RATIO": "--ratio",
    "WAVELENGTHS": "--wavelengths",
    "COREGISTER": "--coregister",
    "FORCE": "--force",
    "KEEP_LIGHT": "--no-normalise",
}


def pair_parameters() -> list[Any]:
    """Parameters that are folded away."""
    coregister = QgsProcessingParameterBoolean(
        "COREGISTER", tr("Correct a shift between the images"), False, True
    )
    force = QgsProcessingParameterBoolean(
        "FORCE", tr("Take images that lie far off each other as they are"), False, True
    )
    light = QgsProcessingParameterBoolean(
        "KEEP_LIGHT", tr("Leave both images as they are"), False, True
    )
    light.setHelp(
        tr(
            "Else bands of coarser pixels are sharpened by the others, a gamma is taken out, the "
            "image is brought to the hyperspectral one's light "
            "where haze or sun make them differ, much noise is filtered, and places are set aside "
            "where the two contradict each other, such as clouds in one of them."
        )
    )
    wavelengths = QgsProcessingParameterString(
        "WAVELENGTHS", tr("Range of wavelengths in nm, as 400-2500"), optional=True
    )
    wavelengths.setHelp(tr("For a hyperspectral image that names no wavelengths."))
    return [
        coregister,
        force,
        light,
        choice("PSF", "How coarse pixels see the fine grid", MEASURED_PSF),
        number("RATIO", "Ratio of the pixel sizes, for images without CRS", least=2),
        wavelengths,
    ]
