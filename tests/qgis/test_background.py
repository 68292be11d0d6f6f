"""Runs beside a main thread that goes on, models, and the dialog."""

import time

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QTimer

LONGEST_GAP_S = 0.5


class Gaps:
    """The longest time in which the event loop of the main thread did not turn."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.monotonic()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(10)

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


def run_in_background(name, values, feedback, seconds=120):
    """Run an algorithm as the dialog does; (whether it succeeded, results, longest gap)."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(name)
    context = QgsProcessingContext()
    task = QgsProcessingAlgRunnerTask(algorithm, values, context, feedback)
    loop, ended = QEventLoop(), []

    def end(*outcome):
        ended.append(outcome)
        loop.quit()

    task.executed.connect(end)
    QTimer.singleShot(seconds * 1000, loop.quit)
    gaps = Gaps()
    QgsApplication.taskManager().addTask(task)
    (loop.exec if hasattr(loop, "exec") else loop.exec_)()
    assert ended, "it did not end"
    return *ended[0], gaps.longest


def pair_values(pair, output, method="local_regression"):
    return {"HSI": pair[0], "MSI": pair[1], "METHOD": method, "OUTPUT": str(output)}


def test_the_main_thread_goes_on(fake, feedback, pair, tmp_path):
    fake("chatty")
    values = pair_values(pair, tmp_path / "fused.tif")
    succeeded, found, gap = run_in_background("emrdiff:fuse", values, feedback)
    assert succeeded
    assert found["OUTPUT"] == values["OUTPUT"]
    assert len(feedback.percents) > 50
    assert gap < LONGEST_GAP_S


def test_the_main_thread_goes_on_beside_the_real_engine(real, feedback, pair, tmp_path):
    values = pair_values(pair, tmp_path / "fused.tif")
    succeeded, _, gap = run_in_background("emrdiff:fuse", values, feedback)
    assert succeeded
    assert (tmp_path / "fused.tif").is_file()
    assert (tmp_path / "fused.qml").is_file()
    assert gap < LONGEST_GAP_S


def test_a_run_in_the_background_can_be_cancelled(fake, feedback, pair, tmp_path):
    fake("slow")
    QTimer.singleShot(1500, feedback.cancel)
    values = pair_values(pair, tmp_path / "fused.tif")
    _, found, gap = run_in_background("emrdiff:fuse", values, feedback)
    assert found.get("OUTPUT") is None
    assert gap < LONGEST_GAP_S
    assert not (tmp_path / "fused.tif").exists()


@pytest.fixture
def model(provider) -> QgsProcessingModelAlgorithm:
    """Fuse, then evaluate the result by the pair."""
    made = QgsProcessingModelAlgorithm("fuse and judge", "tests")
    for name in ("coarse", "fine"):
        definition = QgsProcessingParameterRasterLayer(name, name)
        made.addModelParameter(definition, QgsProcessingModelParameter(name))
    source = QgsProcessingModelChildParameterSource
    pair = {"HSI": "coarse", "MSI": "fine"}
    inputs = {n: [source.fromModelParameter(p)] for n, p in pair.items()}
    fuse = QgsProcessingModelChildAlgorithm("emrdiff:fuse")
    fuse.setChildId("fuse")
    for name, value in {**inputs, "METHOD": [source.fromStaticValue("bicubic")]}.items():
        fuse.addParameterSources(name, value)
    output = QgsProcessingModelOutput("result", "result")
    output.setChildId("fuse")
    output.setChildOutputName("OUTPUT")
    fuse.setModelOutputs({"result": output})
    made.addChildAlgorithm(fuse)
    judge = QgsProcessingModelChildAlgorithm("emrdiff:evaluate")
    judge.setChildId("judge")
    fused = [source.fromChildOutput("fuse", "OUTPUT")]
    plain = {"FUSED": fused, "FIGURE": [source.fromStaticValue(False)], **inputs}
    for name, value in plain.items():
        judge.addParameterSources(name, value)
    page = QgsProcessingModelOutput("page", "page")
    page.setChildId("judge")
    page.setChildOutputName("OUTPUT")
    judge.setModelOutputs({"page": page})
    made.addChildAlgorithm(judge)
    return made


def test_a_model_may_hold_the_algorithms(model, real, feedback, pair, tmp_path):
    import processing

    valid, problems = model.validate()
    assert valid, problems
    values = {"coarse": pair[0], "fine": pair[1], "fuse:result": str(tmp_path / "fused.tif")}
    values["judge:page"] = str(tmp_path / "page.html")
    found = processing.run(model, values, feedback=feedback)
    assert found["fuse:result"] == values["fuse:result"]
    assert (tmp_path / "fused.tif").is_file()
    assert "spectral" in str(found) or (tmp_path / "page.html").is_file()
    # It can be saved and read again: parameters are named, not counted.
    assert model.toFile(str(tmp_path / "model.model3"))
    assert "local" not in (tmp_path / "model.model3").read_text(encoding="utf-8")


@pytest.fixture
def browsing(provider, qgis_iface, monkeypatch):
    """A main window's stand-in that has what the dialogs ask for."""
    from qgis.gui import QgsBrowserGuiModel

    model = QgsBrowserGuiModel()
    monkeypatch.setattr(qgis_iface, "browserModel", lambda: model, raising=False)


def test_the_dialog_can_be_shown(fake, pair, tmp_path, browsing):
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    fake("good")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("emrdiff:fuse")
    dialog = AlgorithmDialog(algorithm, False, None)
    dialog.resize(900, 600)
    dialog.show()
    QgsApplication.processEvents()
    picture = tmp_path / "dialog.png"
    assert dialog.grab().save(str(picture))
    assert picture.stat().st_size > 5000
    dialog.close()


def test_the_batch_dialog_can_be_shown(fake, tmp_path, browsing):
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog

    fake("good")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("emrdiff:fuse")
    dialog = BatchAlgorithmDialog(algorithm)
    dialog.show()
    QgsApplication.processEvents()
    assert dialog.grab().save(str(tmp_path / "batch.png"))
    dialog.close()
