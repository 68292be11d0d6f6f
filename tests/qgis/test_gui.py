"""QGIS as a person sees it, on a virtual screen: dialog, run, layer, pictures."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

PROGRAM = shutil.which("qgis.bin") or shutil.which("qgis")
SCRIPT = Path(__file__).with_name("gui_run.py")
_SETTINGS = """\
[PythonPlugins]
emrdiff_qgis=true
processing=true

[qgis]
checkVersion=false
askToSaveMemoryLayers=false
showTips=false
"""


@pytest.fixture
def screen(tmp_path):
    """A virtual screen of its own; its name."""
    reading, writing = os.pipe()
    with (tmp_path / "xvfb.log").open("w") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x900x24", "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=log,
        )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    assert number, (tmp_path / "xvfb.log").read_text()
    yield f":{number}"
    server.terminate()
    server.wait(timeout=20)


def profile_with(plugin_zip: Path, folder: Path) -> Path:
    """A fresh profile that has the plugin, installed from the zip and enabled."""
    profile = folder / "profiles" / "default"
    (profile / "QGIS").mkdir(parents=True)
    (profile / "QGIS" / "QGIS3.ini").write_text(_SETTINGS)
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(profile / "python" / "plugins")
    return folder


def test_a_person_fuses_a_pair(plugin_zip, engine, pair, screen, tmp_path):
    # To renew the pictures of the docs: EMRDIFF_PICTURES=folder EMRDIFF_PAIR=hsi.tif:msi.tif
    pictures = Path(os.environ.get("EMRDIFF_PICTURES") or tmp_path / "pictures")
    pictures.mkdir(exist_ok=True)
    named = os.environ.get("EMRDIFF_PAIR")
    hsi, msi = named.split(":") if named else pair
    output = str((Path(hsi).parent if named else tmp_path) / "fused.tif")
    request = {"HSI": hsi, "MSI": msi, "method": "local_regression", "output": output}
    (tmp_path / "request.json").write_text(json.dumps({**request, "pictures": str(pictures)}))
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "DISPLAY": screen,
        "QT_QPA_PLATFORM": "xcb",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "XDG_RUNTIME_DIR": str(runtime),
        "EMRDIFF_PYTHON": engine,
        "EMRDIFF_GUI_RUN": str(tmp_path / "request.json"),
    }
    environment.pop("QGIS_CUSTOM_CONFIG_PATH", None)
    profiles = profile_with(plugin_zip, tmp_path / "profile")
    command = [PROGRAM, "--nologo", "--noversioncheck", "--profiles-path", str(profiles)]
    done = subprocess.run(
        [*command, "--code", str(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    answer = tmp_path / "answer.json"
    assert answer.is_file(), done.stderr[-3000:]
    found = json.loads(answer.read_text())
    assert "error" not in found, found["error"]
    assert found["succeeded"], found
    assert found["layers"] == 1
    assert found["crs"].startswith("EPSG:")
    assert len(set(found["bands"])) == 3
    assert found["bands"] != [1, 2, 3]
    assert found["pictures"] == {"dialog": True, "log": True, "window": True}
    for name in found["pictures"]:
        assert (pictures / f"{name}.png").stat().st_size > 10_000
