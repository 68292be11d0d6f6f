"""Run by QGIS itself, in its main window: fuse by the dialog, look, and leave.

Started by test_gui.py as ``qgis --code``. What is to be done and where the pictures go stands in
the JSON file that the environment variable EMRDIFF_GUI_RUN names; what came of it is written beside
it.
Every slot is in a try: an exception in one would leave a window open that nobody closes.
"""

import json
import os
import traceback
from pathlib import Path

import processing
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface

_SETTLE_MS = 1500


class Run:
    """The steps, one after the other; each begins when QGIS has done the one before."""

    def __init__(self, request: Path) -> None:
        self.request = json.loads(request.read_text(encoding="utf-8"))
        self.answer = request.with_name("answer.json")
        self.found = {"steps": []}
        self.dialog = None
        self.done = False

    def step(self, function, after_ms: int = 0) -> None:
        """Run a step later, and end the session if it fails."""

        def guarded() -> None:
            try:
                self.found["steps"].append(function.__name__)
                function()
            except Exception:
                self.found["error"] = traceback.format_exc()
                self.leave()

        QTimer.singleShot(after_ms, guarded)

    def begin(self) -> None:
        """Show the pair."""
        iface.mainWindow().resize(1280, 800)
        iface.messageBar().clearWidgets()
        for dock in iface.mainWindow().findChildren(QDockWidget):
            dock.setVisible(dock.objectName() in ("Layers", "ProcessingToolbox"))
        for name in ("MSI", "HSI"):
            layer = QgsRasterLayer(self.request[name], Path(self.request[name]).stem, "gdal")
            QgsProject.instance().addMapLayer(layer)
        iface.zoomToActiveLayer()
        self.step(self.open_dialog, _SETTLE_MS)

    def open_dialog(self) -> None:
        """Open the dialog as the toolbox does."""
        layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
        values = {name: layers[Path(self.request[name]).stem].id() for name in ("HSI", "MSI")}
        values |= {"METHOD": self.request["method"], "OUTPUT": self.request["output"]}
        self.dialog = processing.createAlgorithmDialog("emrdiff:fuse", values)
        self.dialog.resize(860, 600)
        self.dialog.algorithmFinished.connect(self.finished)
        self.dialog.show()
        self.step(self.run, _SETTLE_MS)

    def run(self) -> None:
        """Press Run."""
        self.picture(self.dialog, "dialog")
        self.dialog.runButton().click()

    def finished(self, succeeded: bool, results: dict) -> None:
        """The algorithm has ended."""
        self.found["succeeded"] = bool(succeeded)
        self.found["results"] = {k: str(v) for k, v in results.items()}
        self.step(self.show_result, _SETTLE_MS)

    def show_result(self) -> None:
        """Look at the log and at the layer."""
        self.picture(self.dialog, "log")
        self.dialog.close()
        made = [
            layer
            for layer in QgsProject.instance().mapLayers().values()
            if layer.source() == self.request["output"]
        ]
        self.found["layers"] = len(made)
        if made:
            shown = made[0].renderer()
            self.found["bands"] = [shown.redBand(), shown.greenBand(), shown.blueBand()]
            self.found["crs"] = made[0].crs().authid()
            iface.setActiveLayer(made[0])
            iface.zoomToActiveLayer()
        toolbox = iface.mainWindow().findChild(QDockWidget, "ProcessingToolbox")
        if toolbox is not None:
            toolbox.show()
            self.search(toolbox)
        iface.messageBar().clearWidgets()
        self.step(self.look, 2 * _SETTLE_MS)

    def search(self, toolbox) -> None:
        """Narrow the toolbox down to our provider."""
        from qgis.gui import QgsFilterLineEdit

        box = toolbox.findChild(QgsFilterLineEdit)
        if box is not None:
            box.setText("emrdiff")

    def look(self) -> None:
        """A picture of the window."""
        iface.messageBar().clearWidgets()
        self.picture(iface.mainWindow(), "window")
        self.leave()

    def picture(self, widget, name: str) -> None:
        """Save what a widget shows."""
        path = Path(self.request["pictures"]) / f"{name}.png"
        self.found.setdefault("pictures", {})[name] = widget.grab().save(str(path))

    def leave(self) -> None:
        """Write down what came of it and close QGIS."""
        if self.done:
            return
        self.done = True
        self.answer.write_text(json.dumps(self.found), encoding="utf-8")
        try:
            # With a project that has changed, QGIS would ask whether to save it, and wait.
            QgsProject.instance().clear()
            QTimer.singleShot(500, iface.actionExit().trigger)
        except Exception:
            os._exit(3)


_RUN = Run(Path(os.environ["EMRDIFF_GUI_RUN"]))
iface.initializationCompleted.connect(lambda: _RUN.step(_RUN.begin, _SETTLE_MS))
