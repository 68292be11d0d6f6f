"""Runs of the engine, with a fake one that does what is to be handled."""

import json
import shutil
import threading
import time
from pathlib import Path

import fake_engine
import pytest


def run(feedback, pair, output, **more):
    import processing

    parameters = {"HSI": pair[0], "MSI": pair[1], "OUTPUT": str(output), **more}
    return processing.run("emrdiff:fuse", parameters, feedback=feedback)


def started(engine: Path) -> dict:
    return json.loads(fake_engine.log_of(engine).splitlines()[0])


def test_events_become_progress_and_messages(fake, feedback, pair, tmp_path):
    fake("good")
    output = tmp_path / "fused.tif"
    assert run(feedback, pair, output)["OUTPUT"] == str(output)
    assert output.is_file()
    assert feedback.percents == sorted(feedback.percents)
    assert {10.0, 30.0, 50.0, 70.0, 90.0, 100.0} <= set(feedback.percents)
    assert feedback.texts["stage"] == ["Measuring the scene", "Fusing tiles", "Writing"]
    assert "a note" in feedback.texts["info"]
    assert "Engine: emrdiff-geo 9.9.9" in feedback.texts["info"]
    assert feedback.texts["warning"] == ["a warning"]
    assert {"a library prints", "and warns"} <= set(feedback.texts["console"])
    assert "-I -u -X utf8 -m emrdiff_geo fuse" in feedback.all("command")


def test_only_what_was_set_is_passed(fake, feedback, pair, tmp_path):
    engine = fake("good")
    run(feedback, pair, tmp_path / "a b;c.tif")
    begun = started(engine)["arguments"]
    output = str(tmp_path / "a b;c.tif")
    expected = ["fuse", *pair, output, "--overwrite"]
    assert begun[:6] == ["-I", "-u", "-X", "utf8", "-m", "emrdiff_geo"]
    assert begun[6:] == [*expected, "--progress", "json", "--stop-on-eof"]


def test_what_was_set_is_passed(fake, feedback, pair, tmp_path):
    engine = fake("good")
    values = {"METHOD": "local_regression", "STEPS": 4, "SAMPLES": 3, "SEED": 0, "TILE": 128}
    values |= {
        "OVERLAP": 0,
        "MEMORY": 2.5,
        "DEVICE": "cpu",
        "COREGISTER": True,
        "FORCE": False,
        "FILL_GAPS": True,
    }
    values |= {"WAVELENGTHS": "400-900", "UNCERTAINTY": str(tmp_path / "u.tif")}
    values["WEIGHTS"] = str(tmp_path / "w.safetensors")
    Path(values["WEIGHTS"]).touch()
    found = run(feedback, pair, tmp_path / "fused.tif", **values)
    begun = " ".join(started(engine)["arguments"])
    for part in (
        "--method local_regression",
        f"--weights {values['WEIGHTS']}",
        "--steps 4",
        "--samples 3",
        "--seed 0",
        "--tile 128",
        "--overlap 0",
        "--memory 2.5GB",
        "--device cpu",
        "--fill-gaps",
        "--coregister",
        "--wavelengths 400-900",
        f"--uncertainty {values['UNCERTAINTY']}",
    ):
        assert part in begun
    assert "--force" not in begun
    assert found["UNCERTAINTY"] == values["UNCERTAINTY"]


def test_the_environment_is_scrubbed(fake, feedback, pair, tmp_path, monkeypatch):
    harmful = ("PROJ_LIB", "PROJ_DATA", "PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE")
    harmful += ("GDAL_DATA", "GDAL_DRIVER_PATH", "LD_LIBRARY_PATH")
    for name in harmful:
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("KEPT", "yes")
    engine = fake("good")
    run(feedback, pair, tmp_path / "fused.tif")
    seen = started(engine)["environment"]
    assert not set(harmful) & set(seen)
    assert seen["KEPT"] == "yes"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("refuses", "The two images do not overlap: choose a pair of one place."),
        ("usage", "unrecognized arguments: --memory 2GB"),
        ("gives_up", "ended with code 7"),
        ("deaf", "ended with code 3"),
        ("not_there", "is a Python without the engine"),
    ],
)
def test_an_error_is_told_in_its_own_words(fake, feedback, pair, tmp_path, behaviour, sentence):
    from qgis.core import QgsProcessingException

    fake(behaviour)
    with pytest.raises(QgsProcessingException) as caught:
        run(feedback, pair, tmp_path / "fused.tif")
    assert sentence in str(caught.value)
    assert not (tmp_path / "fused.tif").exists()


def test_a_crash_shows_the_last_forty_lines(fake, feedback, pair, tmp_path):
    from qgis.core import QgsProcessingException

    fake("crashes")
    with pytest.raises(QgsProcessingException) as caught:
        run(feedback, pair, tmp_path / "fused.tif")
    text = str(caught.value)
    assert "crashed" in text
    assert "line 60 before the end" in text
    assert "line 99 before the end" in text
    assert "line 59 before" not in text


def test_a_file_that_is_no_program_is_named(provider, feedback, pair, tmp_path, monkeypatch):
    from qgis.core import QgsProcessingException

    path = tmp_path / "python"
    path.write_text("no program")
    monkeypatch.setenv("EMRDIFF_PYTHON", str(path))
    with pytest.raises(QgsProcessingException, match="could not be started"):
        run(feedback, pair, tmp_path / "fused.tif")


def test_cancel_closes_standard_input(fake, feedback, pair, tmp_path):
    engine = fake("slow")
    threading.Timer(1.0, feedback.cancel).start()
    begun = time.monotonic()
    assert run(feedback, pair, tmp_path / "fused.tif") == {}
    assert time.monotonic() - begun < 5
    assert fake_engine.log_of(engine).endswith("stopped\n")
    assert not (tmp_path / "fused.tif").exists()


def test_an_engine_that_does_not_stop_is_killed_after_five_seconds(fake, feedback, pair, tmp_path):
    fake("stubborn")
    threading.Timer(1.0, feedback.cancel).start()
    begun = time.monotonic()
    assert run(feedback, pair, tmp_path / "fused.tif") == {}
    assert 5 < time.monotonic() - begun < 15
    assert not list(tmp_path.glob("*fused.tif*"))


def test_without_an_engine_the_sentence_says_how_to_get_one(
    provider, feedback, pair, tmp_path, monkeypatch
):
    from qgis.core import QgsApplication, QgsProcessingException

    monkeypatch.delenv("EMRDIFF_PYTHON", raising=False)
    found = QgsApplication.processingRegistry().createAlgorithmById("emrdiff:fuse")
    possible, sentence = found.canExecute()
    assert not possible
    assert "emrdiff:install" in sentence
    assert "-m venv" in sentence
    # qgis_process does not ask first.
    with pytest.raises(QgsProcessingException, match="emrdiff:install"):
        run(feedback, pair, tmp_path / "fused.tif")


def test_the_setting_comes_before_the_variable(fake, feedback, pair, tmp_path):
    from emrdiff_qgis.engine import find_engine
    from processing.core.ProcessingConfig import ProcessingConfig

    engine = fake("good")
    other = tmp_path / "other"
    shutil.copy(engine, other)
    ProcessingConfig.setSettingValue("EMRDIFF_PYTHON", str(other))
    try:
        assert find_engine().python == str(other)
        run(feedback, pair, tmp_path / "fused.tif")
        assert Path(f"{other}.log").is_file()
    finally:
        ProcessingConfig.setSettingValue("EMRDIFF_PYTHON", "")
    assert find_engine().python == str(engine)


def test_an_engine_that_is_named_and_not_there_is_an_error(provider, monkeypatch):
    from emrdiff_qgis.engine import EngineMissingError, find_engine

    monkeypatch.setenv("EMRDIFF_PYTHON", "/nowhere/python")
    with pytest.raises(EngineMissingError, match="/nowhere/python"):
        find_engine()


def test_a_line_may_come_in_pieces(provider):
    from emrdiff_qgis.process import Lines

    found = []
    lines = Lines(found.append)
    for piece in ("ü\r\nb".encode()[:1], "ü\r\nb".encode()[1:], b"c\n\xff"):
        lines.feed(piece)
    assert found == ["ü", "bc"]
    lines.end()
    assert found[2:] == ["�"]
