"""The provider ``emrdiff`` of the Processing toolbox."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import engine, texts
from .algorithms import ALGORITHMS
from .texts import tr


class EmrdiffProvider(QgsProcessingProvider):
    """Algorithms that run the engine in a process of its own."""

    def load(self) -> bool:
        """Add the setting that names the engine's Python, then the algorithms."""
        self._add_setting()
        return super().load()

    def unload(self) -> None:
        """Take the setting back."""
        try:
            from processing.core.ProcessingConfig import ProcessingConfig
        except ImportError:  # QGIS without its own Processing plugin: there was none
            return
        ProcessingConfig.removeSetting(engine.SETTING)

    def _add_setting(self) -> None:
        try:
            from processing.core.ProcessingConfig import ProcessingConfig, Setting
        except ImportError:
            return
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        description = tr("Python of the engine (empty: the one that this plugin installed)")
        ProcessingConfig.addSetting(
            Setting(self.name(), engine.SETTING, description, "", valuetype=Setting.FILE)
        )
        ProcessingConfig.readSettings()

    def loadAlgorithms(self) -> None:
        """Add one instance of each algorithm."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def id(self) -> str:
        """Never to be changed: scripts and models name it."""
        return "emrdiff"

    def name(self) -> str:
        """Name in the toolbox."""
        return "EMR-Diff"

    def longName(self) -> str:
        """Name with what it is for."""
        return tr("EMR-Diff: fusion of hyperspectral and multispectral images")

    def icon(self) -> QIcon:
        """Icon in the toolbox."""
        return texts.icon("emrdiff")

    def svgIconPath(self) -> str:
        """The same for who draws it larger."""
        return texts.icon_path("emrdiff")

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """The engine writes GeoTIFF."""
        return ["tif", "tiff"]

    def defaultRasterFileExtension(self) -> str:
        """Also where the user chose another one for all of Processing."""
        return "tif"
