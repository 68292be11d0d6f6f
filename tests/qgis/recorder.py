"""Feedback that remembers; imported once QGIS is there."""

from __future__ import annotations

from qgis.core import QgsProcessingFeedback


class Recorder(QgsProcessingFeedback):
    """Keeps texts by kind, and all values of the progress bar."""

    def __init__(self) -> None:
        super().__init__(False)
        self.texts: dict[str, list[str]] = {}
        self.percents: list[float] = []
        self.progressChanged.connect(self.percents.append)

    def _keep(self, kind: str, text: str) -> None:
        self.texts.setdefault(kind, []).append(text)

    def setProgressText(self, text):
        self._keep("stage", text)

    def pushInfo(self, info):
        self._keep("info", info)

    def pushWarning(self, warning):
        self._keep("warning", warning)

    def reportError(self, error, fatalError=False):
        self._keep("error", error)

    def pushCommandInfo(self, info):
        self._keep("command", info)

    def pushDebugInfo(self, info):
        self._keep("debug", info)

    def pushConsoleInfo(self, info):
        self._keep("console", info)

    def all(self, kind: str) -> str:
        """All texts of a kind."""
        return "\n".join(self.texts.get(kind, []))
