"""How a result looks when it is loaded: natural colours, chosen from its wavelengths.

QGIS shows bands 1, 2 and 3 of a file whatever that says of its bands, which with hundreds of bands
are three shades of violet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsContrastEnhancement,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
)

from .compat import CUMULATIVE_CUT
from .texts import tr

_RED_GREEN_BLUE_NM = (650.0, 550.0, 450.0)
# Further than this from the wanted wavelength a band does not show that colour.
_TOLERANCE_NM = 50.0
_NM = {"nm": 1.0, "nanometers": 1.0, "um": 1000.0, "micrometers": 1000.0}


def wavelengths_nm(path: str) -> list[float | None]:
    """Wavelength of each band as the file's tags say; None where unknown or marked as bad."""
    dataset = gdal.Open(path)
    if dataset is None:
        return []
    return [_wavelength(dataset.GetRasterBand(i + 1)) for i in range(dataset.RasterCount)]


def _wavelength(band: gdal.Band) -> float | None:
    tags = band.GetMetadata()
    if tags.get("bbl") == "0":
        return None
    try:
        micrometres = band.GetMetadata("IMAGERY").get("CENTRAL_WAVELENGTH_UM")
        if micrometres is not None:
            return float(micrometres) * 1000
        return float(tags["wavelength"]) * _NM[tags.get("wavelength_units", "nm").lower()]
    except (KeyError, ValueError):
        return None


def natural_bands(wavelengths: Sequence[float | None]) -> tuple[int, int, int] | None:
    """Numbers, from 1, of the bands to show as red, green and blue; None if there are none."""
    known = [(value, number) for number, value in enumerate(wavelengths, 1) if value is not None]
    found = []
    for wanted in _RED_GREEN_BLUE_NM:
        distance, number = min(((abs(v - wanted), n) for v, n in known), default=(1e9, 0))
        if distance > _TOLERANCE_NM:
            return None
        found.append(number)
    return found[0], found[1], found[2]


def style_path(path: str) -> Path:
    """The file in which QGIS looks for the style of a raster file."""
    return Path(path).with_suffix(".qml")


def write_style(path: str) -> bool:
    """Put a style in natural colours beside an image; whether there is one.

    To be called from the thread that made the image: measuring the contrast reads pixels. An image
    without bands in the visible range keeps the style that QGIS gives it.
    """
    bands = natural_bands(wavelengths_nm(path))
    # A style that was there belonged to the image that has been replaced.
    style_path(path).unlink(missing_ok=True)
    if bands is None:
        return False
    options = QgsRasterLayer.LayerOptions()
    options.loadDefaultStyle = False
    layer = QgsRasterLayer(path, Path(path).stem, "gdal", options)
    if not layer.isValid():
        return False
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), *bands))
    stretch = QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
    layer.setContrastEnhancement(stretch, CUMULATIVE_CUT)
    layer.saveNamedStyle(os.fspath(style_path(path)), QgsMapLayer.StyleCategory.Symbology)
    return style_path(path).is_file()


class _Styled(QgsProcessingLayerPostProcessorInterface):
    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        style = style_path(layer.source().partition("|")[0])
        if isinstance(layer, QgsRasterLayer) and style.is_file():
            message, loaded = layer.loadNamedStyle(os.fspath(style))
            if not loaded:
                feedback.pushWarning(tr("The style could not be loaded: {}").format(message))
            layer.triggerRepaint()


# QGIS keeps no reference to a Python post-processor, which must outlive the algorithm.
_STYLED = _Styled()


def show_naturally(path: str, context: QgsProcessingContext) -> None:
    """Give an image its natural colours, and the layer that will be made of it."""
    write_style(path)
    if context.willLoadLayerOnCompletion(path):
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(_STYLED)
