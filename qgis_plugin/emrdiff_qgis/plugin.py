"""The plugin: it adds one provider of Processing algorithms, and nothing else."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import EmrdiffProvider


class EmrdiffPlugin:
    """What QGIS starts and stops.

    Parameters
    ----------
    iface : QgisInterface or None
        The main window; None in ``qgis_process``.
    """

    def __init__(self, iface: object) -> None:
        self.iface = iface
        self.provider: EmrdiffProvider | None = None

    def initProcessing(self) -> None:
        """Register the provider; called alone by ``qgis_process``."""
        self.provider = EmrdiffProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Register the provider in the main window."""
        self.initProcessing()

    def unload(self) -> None:
        """Take the provider back."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
