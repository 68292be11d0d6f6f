"""``qgis_process``: no window, no main loop, the real engine."""

import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import fake_engine
import numpy as np
import pairs
import pytest

# Debian's `qgis_process` is a script that passes an option which the program itself refuses.
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")


@pytest.fixture(scope="session")
def environment(plugin_zip, engine, tmp_path_factory) -> dict[str, str]:
    """A profile with the plugin from the zip, and nothing else."""
    folder = tmp_path_factory.mktemp("profile")
    profile = folder / "profiles" / "default"
    (profile / "QGIS").mkdir(parents=True)
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(profile / "python" / "plugins")
    settings = "[PythonPlugins]\nemrdiff_qgis=true\nprocessing=true\n"
    (profile / "QGIS" / "QGIS3.ini").write_text(settings)
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    return {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_CUSTOM_CONFIG_PATH": str(folder),
        "XDG_RUNTIME_DIR": str(runtime),
        "EMRDIFF_PYTHON": engine,
    }


def call(environment, *arguments, **more):
    command = [PROGRAM, *arguments]
    return subprocess.run(
        command, env={**environment, **more}, capture_output=True, text=True, timeout=500
    )


def arguments_for(pair, output, method):
    values = {"HSI": pair[0], "MSI": pair[1], "METHOD": method, "OUTPUT": output}
    return ["run", "emrdiff:fuse", "--", *(f"{name}={value}" for name, value in values.items())]


def results(text: str) -> dict[str, str]:
    """What stands under the heading Results."""
    _, _, found = text.partition("Results\n----------------\n")
    return dict(re.findall(r"^(\w+):\t(.*)$", found, re.MULTILINE))


def by_command_line(engine, pair, output, method):
    command = [engine, "-I", "-m", "emrdiff_geo", "fuse", *pair, str(output), "--method", method]
    subprocess.run([*command, "--progress", "none"], check=True, timeout=500)


def test_list_and_help(environment):
    listed = call(environment, "list").stdout
    for name in ("fuse", "adapt", "evaluate", "simulate", "check", "install"):
        assert f"emrdiff:{name}\t" in listed
    helped = call(environment, "help", "emrdiff:fuse").stdout
    for word in ("HSI: ", "MSI: ", "METHOD: ", "local_regression", "UNCERTAINTY: "):
        assert word in helped


def test_the_real_pair_gives_the_bytes_of_the_command_line(environment, engine, berlin, tmp_path):
    method = "local_regression"
    done = call(environment, *arguments_for(berlin, tmp_path / "qgis.tif", method))
    assert results(done.stdout) == {"OUTPUT": str(tmp_path / "qgis.tif")}, done.stderr
    by_command_line(engine, berlin, tmp_path / "shell.tif", method)
    assert (tmp_path / "qgis.tif").read_bytes() == (tmp_path / "shell.tif").read_bytes()
    assert (tmp_path / "qgis.qml").is_file()
    for path in tmp_path.glob("*.tif"):  # hundreds of megabytes
        path.unlink()


def test_a_generated_pair_gives_them_too_where_proj_is_poisoned(
    environment, engine, pair, tmp_path
):
    values = arguments_for(pair, tmp_path / "qgis.tif", "emrdiff")
    # An empty folder would do harm to QGIS too; its own database is what installers set.
    system = next(iter(Path("/usr/share").glob("proj")), tmp_path)
    done = call(environment, *values, PROJ_DATA=str(system), PROJ_LIB=str(system))
    assert results(done.stdout) == {"OUTPUT": str(tmp_path / "qgis.tif")}, done.stderr
    by_command_line(engine, pair, tmp_path / "shell.tif", "emrdiff")
    assert np.array_equal(pairs.pixels(tmp_path / "qgis.tif"), pairs.pixels(tmp_path / "shell.tif"))
    assert (tmp_path / "qgis.tif").read_bytes() == (tmp_path / "shell.tif").read_bytes()


def test_the_bands_can_be_read_by_other_programs(environment, pair, tmp_path):
    from osgeo import gdal

    call(environment, *arguments_for(pair, tmp_path / "fused.tif", "bicubic"))
    file = gdal.Open(str(tmp_path / "fused.tif"))
    band = file.GetRasterBand(3)
    assert band.GetDescription() == f"{pairs.HSI_NM[2]:.1f} nm"
    micrometres = float(band.GetMetadata("IMAGERY")["CENTRAL_WAVELENGTH_UM"])
    assert micrometres == pytest.approx(pairs.HSI_NM[2] / 1000, abs=1e-6)
    assert band.GetNoDataValue() is not None
    assert "32633" in file.GetProjection()


def test_an_interrupted_run_leaves_nothing(environment, tmp_path):
    pair = pairs.make_pair(tmp_path, 384)
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [PROGRAM, *arguments_for(pair, folder / "fused.tif", "emrdiff")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "Measuring" not in (line := process.stdout.readline()):
            assert line or process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=200)
    finally:
        process.kill()  # nothing, if it has ended
    # The exit code is 0 all the same.
    assert "Cancelled" in output
    assert results(output) == {}
    assert list(folder.iterdir()) == []


def test_the_engine_ends_when_qgis_dies(environment, pair, tmp_path):
    engine = fake_engine.make(tmp_path, "slow")
    process = subprocess.Popen(
        [PROGRAM, *arguments_for(pair, tmp_path / "fused.tif", "bicubic")],
        env={**environment, "EMRDIFF_PYTHON": str(engine)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = Path(f"{engine}.log")
    wait_for(log.is_file)
    process.kill()
    process.wait()
    wait_for(lambda: log.read_text(encoding="utf-8").endswith("stopped\n"))


def wait_for(condition, seconds=60):
    """Wait until something is so."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.05)


def test_a_missing_engine_fails_in_a_sentence(environment, pair, tmp_path):
    without = {k: v for k, v in environment.items() if k != "EMRDIFF_PYTHON"}
    done = call(without, *arguments_for(pair, tmp_path / "fused.tif", "bicubic"))
    assert done.returncode != 0
    assert "emrdiff:install" in done.stderr
    assert "Traceback" not in done.stderr
