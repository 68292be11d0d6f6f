"""The other algorithms, by the real engine on a small scene, and the installation of one."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pairs
import pytest
from qgis.core import QgsProcessingException

_STUB = """\
import json, sys
assert sys.argv[1] == "doctor"
print(json.dumps({"ok": True, "program": {"emrdiff-geo": "9.9.9"}, "findings": []}))
"""


def run(name, feedback, **values):
    import processing

    return processing.run(f"emrdiff:{name}", values, feedback=feedback)


@pytest.fixture
def simulated(real, feedback, tmp_path):
    cube = pairs.write(tmp_path / "cube.tif", pairs.scene(160), 10.0, pairs.HSI_NM)
    names = ("HSI", "MSI", "REFERENCE")
    outputs = {f"OUTPUT_{name}": str(tmp_path / f"sim_{name}.tif") for name in names}
    found = run(
        "simulate", feedback, HSI=cube, RATIO=4, BANDS="sentinel2a:B02,B03,B04,B08", **outputs
    )
    assert found == outputs
    return found


def test_a_pair_is_simulated_fused_and_judged(simulated, feedback, tmp_path):
    hsi, msi, reference = simulated.values()
    assert pairs.pixels(hsi).shape == (12, 40, 40)
    assert pairs.pixels(msi).shape == (4, 160, 160)
    assert not list(tmp_path.glob(".emrdiff-*"))
    assert (tmp_path / "sim_REFERENCE.qml").is_file()
    fused = str(tmp_path / "fused.tif")
    run("fuse", feedback, HSI=hsi, MSI=msi, METHOD="regression", OUTPUT=fused)
    page = tmp_path / "report ü.html"
    found = run(
        "evaluate",
        feedback,
        FUSED=fused,
        REFERENCE=reference,
        RATIO=4,
        HSI=hsi,
        MSI=msi,
        OUTPUT=str(page),
    )
    assert found["PSNR"] > 30
    assert 0 < found["SAM"] < 5
    assert found["SPECTRAL_CORRELATION"] > 0.9
    assert found["SPATIAL_CORRELATION"] > 0.9
    text = page.read_text(encoding="utf-8")
    assert "PSNR" in text
    assert "fused.tif" in text
    assert "data:image/png;base64," in text


def test_weights_are_adapted_and_used(simulated, feedback, tmp_path):
    hsi, msi, _ = simulated.values()
    weights = tmp_path / "mine.safetensors"
    found = run("adapt", feedback, HSI=hsi, MSI=msi, MINUTES=1, STEPS=2, OUTPUT=str(weights))
    assert found["OUTPUT"] == str(weights)
    assert isinstance(found["ADAPTED"], bool)
    assert found["BEFORE"] > 0
    assert weights.is_file()
    fused = str(tmp_path / "fused.tif")
    run("fuse", feedback, HSI=hsi, MSI=msi, WEIGHTS=str(weights), OUTPUT=fused)
    assert f"--weights {weights}" in feedback.all("command")
    assert pairs.pixels(fused).shape == (12, 160, 160)


def test_uncertainty_is_a_second_image(real, pair, feedback, tmp_path):
    names = {"OUTPUT": str(tmp_path / "fused.tif"), "UNCERTAINTY": str(tmp_path / "sigma.tif")}
    found = run("fuse", feedback, HSI=pair[0], MSI=pair[1], SAMPLES=4, **names)
    assert found == names
    assert pairs.pixels(names["UNCERTAINTY"]).shape == pairs.pixels(names["OUTPUT"]).shape


def test_the_engine_s_own_sentence_reaches_the_user(real, feedback, pair, tmp_path):
    with pytest.raises(QgsProcessingException) as caught:
        run("fuse", feedback, HSI=pair[1], MSI=pair[0], OUTPUT=str(tmp_path / "fused.tif"))
    assert len(str(caught.value)) > 20
    assert "Traceback" not in str(caught.value)


def test_check_tells_what_there_is(real, feedback):
    found = run("check", feedback)
    assert found["OK"] is True
    assert found["ENGINE"] == real
    assert found["VERSION"]
    told = feedback.all("info")
    for word in ("torch", "cuda available", "memory_gib", "weights", "universal"):
        assert word in told


def test_check_says_what_to_do_without_an_engine(provider, feedback, monkeypatch):
    monkeypatch.delenv("EMRDIFF_PYTHON", raising=False)
    found = run("check", feedback)
    assert found["OK"] is False
    assert "emrdiff:install" in found["PROBLEMS"]
    assert "emrdiff:install" in feedback.all("error")


def test_check_says_what_to_do_about_a_python_without_one(provider, feedback, monkeypatch):
    monkeypatch.setenv("EMRDIFF_PYTHON", "/usr/bin/python3")
    found = run("check", feedback)
    assert found["OK"] is False
    assert "cannot run the engine" in found["PROBLEMS"]


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A folder with a wheel that stands for the engine and needs nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "emrdiff_geo-9.9.9.dist-info"
    files = {
        "emrdiff_geo/__init__.py": "",
        "emrdiff_geo/__main__.py": _STUB,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: emrdiff-geo\nVersion: 9.9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "emrdiff_geo-9.9.9-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return folder


@pytest.fixture
def no_engine(provider, monkeypatch):
    from emrdiff_qgis.engine import environment_folder

    monkeypatch.delenv("EMRDIFF_PYTHON", raising=False)
    shutil.rmtree(environment_folder(), ignore_errors=True)
    yield environment_folder()
    shutil.rmtree(environment_folder(), ignore_errors=True)


def test_install_makes_an_environment_that_is_found(no_engine, wheel, feedback):
    found = run("install", feedback, SOURCE=str(wheel), PYTHON=sys.executable)
    assert Path(found["ENGINE"]).is_relative_to(no_engine)
    assert feedback.percents[-1] == 100.0
    assert "Making the environment" in feedback.texts["stage"]
    checked = run("check", feedback)
    assert checked["ENGINE"] == found["ENGINE"]
    assert checked["VERSION"] == "9.9.9"
    with pytest.raises(QgsProcessingException, match="already"):
        run("install", feedback, SOURCE=str(wheel))


def test_an_installation_that_fails_leaves_nothing(no_engine, wheel, feedback):
    (file,) = wheel.glob("*.whl")
    file.write_bytes(b"no wheel")
    with pytest.raises(QgsProcessingException, match="nothing was installed"):
        run("install", feedback, SOURCE=str(wheel), PYTHON=sys.executable)
    assert not no_engine.exists()
    assert json.dumps(feedback.texts).count("Making the environment") == 1


def test_an_installation_that_is_cancelled_leaves_the_old_one(no_engine, wheel, feedback):
    old = no_engine / "bin" / "python"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    feedback.cancel()
    assert run("install", feedback, SOURCE=str(wheel), PYTHON=sys.executable, AGAIN=True) == {}
    assert old.read_text() == "old"


def test_a_python_is_looked_for(provider, feedback):
    from emrdiff_qgis.installing import _find_python

    assert Path(_find_python(feedback)).is_file()
