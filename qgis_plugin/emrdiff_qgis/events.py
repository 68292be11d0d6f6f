"""What the engine says while it runs, told to the person who waits for it."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import QgsProcessingFeedback

from .texts import tr

# The part of the bar, in percent, that each stage fills; stages that are not named only show their
# name.
_SPANS = {
    "statistics": (0, 10),
    "sharpen": (0, 10),
    "fuse": (10, 90),
    "write": (90, 100),
    "simulate": (0, 90),
    "evaluate": (0, 100),
    "adapt": (0, 100),
}
_TITLES = {
    "statistics": "Measuring the scene",
    "sharpen": "Sharpening bands of the multispectral image",
    "fuse": "Fusing tiles",
    "write": "Writing",
    "simulate": "Degrading",
    "evaluate": "Comparing",
    "adapt": "Adapting",
}


class Events:
    """Reads the engine's JSON lines.

    Attributes
    ----------
    result : dict or None
        The event that ends a run that succeeded.
    error : str or None
        The sentence that ends a run that failed.
    """

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._stage = ""
        self._percent = 0.0
        self.result: dict[str, Any] | None = None
        self.error: str | None = None

    def line(self, text: str) -> None:
        """Take one line; what is no event goes to the log as it is."""
        try:
            event = json.loads(text)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            if text.strip():
                self._feedback.pushConsoleInfo(text)
            return
        if kind == "progress":
            self._progress(event)
        elif kind == "message":
            self._message(event.get("level", "info"), str(event.get("message", "")))
        elif kind == "start":
            self._feedback.pushInfo(tr("Engine: emrdiff-geo {}").format(event.get("emrdiff", "?")))
        elif kind == "result":
            self.result = event
        elif kind == "error":
            self.error = str(event.get("message", ""))

    def _progress(self, event: dict[str, Any]) -> None:
        stage, done, total = event.get("stage", ""), event.get("done", 0), event.get("total", 0)
        if stage != self._stage:
            self._stage = stage
            title = tr(_TITLES[stage]) if stage in _TITLES else event.get("message") or stage
            self._feedback.setProgressText(title)
        if stage in _SPANS and total:
            first, last = _SPANS[stage]
            # Never backwards: a person takes that for a new start.
            self._percent = max(self._percent, first + (last - first) * min(done / total, 1.0))
            self._feedback.setProgress(self._percent)
        if "psnr" in event:
            self._feedback.pushInfo(
                tr("Step {} of {}: {} dB, {:+} dB over the start").format(
                    done, total, event["psnr"], event.get("gain", 0.0)
                )
            )

    def _message(self, level: str, text: str) -> None:
        if level == "warning":
            self._feedback.pushWarning(text)
        elif level == "error":
            self._feedback.reportError(text)
        elif level == "debug":
            self._feedback.pushDebugInfo(text)
        else:
            self._feedback.pushInfo(text)
