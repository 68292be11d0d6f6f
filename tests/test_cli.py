"""The command line on good input: what it writes, what it prints, how it stops."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli_scenes import MSI_GRID, NM, make_files, run

from emrdiff_geo import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


def events(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_fuse_writes_the_bands_of_the_hsi_on_the_grid_of_the_msi(suffix, files, tmp_path, capsys):
    out = tmp_path / f"out.{suffix}"
    assert run("fuse", files["hsi"], files["msi"], out, "--method", "local_regression") == 0
    printed, notes = capsys.readouterr()
    assert printed == ""
    assert "HSI 40 m used on its own grid, 4 pixels of 10 m." in notes
    assert str(out) in notes
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    if suffix == "tif":
        with rasterio.open(out) as fused:
            assert fused.shape == (96, 96)
            assert fused.transform == MSI_GRID
            assert float(fused.tags(12)["wavelength"]) == NM[-1]


def test_a_misregistered_pair_is_corrected_or_forced(files, tmp_path, capsys):
    out = tmp_path / "out.tif"
    arguments = ["fuse", files["shifted"], files["msi"], out, "--method", "regression"]
    assert run(*arguments) == 2
    assert not out.exists()
    assert run(*arguments, "--coregister") == 0
    assert "its grid was moved" in capsys.readouterr().err
    with rasterio.open(out) as fused:
        assert fused.shape == (96, 96)
    assert run(*arguments, "--overwrite", "--force") == 0
    assert "fused as they are" in capsys.readouterr().err
    with rasterio.open(out) as fused:
        assert fused.shape == (96, 88)


def test_fuse_by_the_network_repeats_itself_and_obeys_the_seed(files, tmp_path):
    images = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"{number}.tif"
        options = ["--device", "cpu", "--steps", 2, "--seed", seed, "--progress", "none"]
        assert run("fuse", files["hsi"], files["msi"], out, *options) == 0
        images.append(out.read_bytes())
    assert images[0] == images[1] != images[2]


def test_fuse_replaces_a_result_only_when_told(files, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("old")
    arguments = ["fuse", files["hsi"], files["msi"], out, "--method", "bicubic"]
    assert run(*arguments) == 2
    assert out.read_text() == "old"
    assert run(*arguments, "--overwrite") == 0
    assert rasterio.open(out).count == 12


def test_wavelengths_by_rank_go_into_the_result(files, tmp_path):
    out = tmp_path / "out.tif"
    arguments = ["fuse", files["no_wavelengths"], files["msi"], out, "--method", "bicubic"]
    assert run(*arguments, "--wavelengths", "430-900") == 0
    with rasterio.open(out) as fused:
        assert float(fused.tags(1)["wavelength"]) == 430
        assert float(fused.tags(12)["wavelength"]) == 900


def test_json_lines_end_with_the_result(files, tmp_path, capsys):
    out = tmp_path / "out.tif"
    arguments = ["fuse", files["hsi"], files["msi"], out, "--method", "bicubic", "--tile", 32]
    assert run(*arguments, "--progress", "json") == 0
    printed, _ = capsys.readouterr()
    found = events(printed)
    assert found[0] == {"version": 1, "event": "start", "command": "fuse", "emrdiff": __version__}
    assert found[-1]["event"] == "result"
    assert found[-1]["path"] == str(out)
    stages = [e["stage"] for e in found if e["event"] == "progress"]
    assert list(dict.fromkeys(stages)) == ["statistics", "fuse", "write"]
    assert any("HSI 40 m" in e["message"] for e in found if e["event"] == "message")


def test_json_lines_end_with_the_error(files, tmp_path, capsys):
    arguments = ["fuse", files["elsewhere"], files["msi"], tmp_path / "out.tif"]
    assert run(*arguments, "--progress", "json") == 2
    printed, notes = capsys.readouterr()
    last = events(printed)[-1]
    assert (last["event"], last["code"]) == ("error", 2)
    assert notes == f"emrdiff: {last['message']}\n"


def test_what_a_library_prints_breaks_no_json_line(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "emrdiff_geo.cli.fusing.fuse_to_file", lambda *a, **k: print("hello") or a[2]
    )
    assert run("fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--progress", "json") == 0
    printed, notes = capsys.readouterr()
    assert "hello" not in printed
    assert "hello" in notes


def test_quiet_says_nothing_and_verbose_more(files, tmp_path, capsys):
    arguments = ["fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--method", "bicubic"]
    assert run(*arguments, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("-q", *arguments) == 2  # errors are not nothing
    assert "exists" in capsys.readouterr().err
    assert run(*arguments, "-vv", "--overwrite") == 0
    assert "HSI 40 m" in capsys.readouterr().err


def test_simulate_then_fuse_then_evaluate(files, tmp_path, capsys):
    pair = tmp_path / "pair"
    simulate = [
        "simulate",
        files["reference"],
        pair,
        "--ratio",
        4,
        "--srf",
        "sentinel2a:B02,B03,B04",
    ]
    assert run(*simulate, "--psf", "paper") == 0
    with rasterio.open(files["reference"]) as given, rasterio.open(pair / "reference.tif") as kept:
        assert kept.dtypes[0] == "int16"
        np.testing.assert_array_equal(kept.read(), given.read())
    assert run(*simulate) == 2
    assert run(*simulate, "--overwrite", "--snr-db", 30) == 0
    fused, figure = tmp_path / "fused.tif", tmp_path / "figure.png"
    hsi, msi, reference = (pair / f"{name}.tif" for name in ("hsi", "msi", "reference"))
    assert run("fuse", hsi, msi, fused, "--method", "regression") == 0
    capsys.readouterr()
    against = ["evaluate", fused, "--reference", reference, "--ratio", 4]
    assert run(*against, "--json", "--figure", figure) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["PSNR"] > 20
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert run(*against) == 0
    assert f"{scores['PSNR']:.3f}" in capsys.readouterr().out
    assert run("evaluate", fused, "--hsi", hsi, "--msi", msi, "--progress", "json") == 0
    report = events(capsys.readouterr().out)[-1]["report"]
    assert report["consistency"]["spectral"]["correlation"] > 0.9


def test_plan_reads_headers_only(files, capsys, monkeypatch):
    def pixels(*arguments, **options):
        raise AssertionError("a pixel was read")

    monkeypatch.setattr("emrdiff_geo.grids.sources.ArraySource.read", pixels)
    assert run("plan", files["hsi"], files["msi"], "--json", "--tile", 48) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["ratio"] == 4
    assert plan["tiles"]["count"] == 4
    assert run("plan", files["hsi"], files["msi"]) == 0
    text = capsys.readouterr().out
    assert "ratio: 4" in text
    assert "WGS 84 / UTM zone 33N (EPSG:32633)" in text


def test_plan_keeps_to_the_memory_and_tells_the_time(files, capsys):
    arguments = ["plan", files["hsi"], files["msi"], "--method", "regression"]
    assert run(*arguments, "--memory", "400MB", "--calibrate") == 0
    text = capsys.readouterr().out
    assert "peak memory" in text
    assert "estimated time" in text
    assert run(*arguments, "--memory", "400MB", "--json") == 0
    assert json.loads(capsys.readouterr().out)["memory"]["working"] <= 400e6
    assert run(*arguments, "--memory", "5MB") == 2
    assert "pass --memory" in capsys.readouterr().err
    assert run(*arguments, "--memory", "much") == 2
    assert "such as 2GB" in capsys.readouterr().err


def test_whatever_fuse_does_can_be_planned(files, capsys):
    taken = {}
    for command in ("fuse", "plan"):
        assert run(command, "--help") == 0
        taken[command] = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert taken["fuse"] - taken["plan"] == {
        "--progress",
        "--stop-on-eof",
        "--resume",
        "--overwrite",
    }
    arguments = ["plan", files["hsi"], files["msi"], "--method", "bicubic", "--json"]
    options = ["--no-normalise", "--fill-gaps", "--coregister", "--force"]
    options += ["--dtype", "int16", "--scale", 0.5]
    assert run(*arguments, *options) == 0
    plan = json.loads(capsys.readouterr().out)
    assert not plan["options"]["normalise"]
    assert plan["options"]["fill_gaps"]
    assert plan["options"]["coregister"]
    assert plan["options"]["force"]
    assert plan["stored"] == {"dtype": "int16", "scale": 0.5, "offset": 0.0}
    assert run(*arguments, "--dtype", "int16") == 2
    assert "int16 needs a scale" in capsys.readouterr().err


def test_results_can_be_whole_numbers(files, tmp_path, capsys):
    out = tmp_path / "out.tif"
    arguments = ["fuse", files["hsi"], files["msi"], out, "--method", "bicubic", "--dtype", "int16"]
    assert run(*arguments) == 2
    assert "int16 needs a scale" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run(*arguments, "--scale", 0.5, "--offset", 10) == 0
    with rasterio.open(out) as file:
        assert file.dtypes[0] == "int16"
        assert (file.scales[0], file.offsets[0]) == (0.5, 10)


def test_methods_lists_what_can_be_named(capsys):
    assert run("methods") == 0
    text = capsys.readouterr().out
    for name in ("bicubic", "regression", "gaussian_process", "emrdiff", "sentinel2a", "universal"):
        assert name in text
    assert run("methods", "--json") == 0
    assert "nikon_d700" in json.loads(capsys.readouterr().out)["responses"]


def test_doctor_says_whether_all_is_well(capsys, monkeypatch):
    assert run("doctor", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    monkeypatch.setattr("emrdiff_geo.doctor._LIBRARIES", ("no-such-library",))
    assert run("doctor") == 1
    assert "error: no-such-library is not installed: pip install" in capsys.readouterr().out


def test_train_and_adapt_hand_over_what_was_asked_for(files, tmp_path, capsys, monkeypatch):
    calls = []

    def fake(*arguments, progress, **options):
        progress(1, 2, 0.5, None)
        progress(2, 2, 0.25, {"psnr": 40.0, "gain": 0.5})
        calls.append((arguments, options))
        return {"weights": "w.safetensors", "adapted": False}

    monkeypatch.setattr("emrdiff_geo.cli.training.train_weights", fake)
    monkeypatch.setattr("emrdiff_geo.cli.training.adapt_weights", fake)
    data = [files["reference"], "scene.npz@400-2500"]
    options = ["--out", tmp_path / "run", "--max-minutes", 1.5, "--ratio", 4, "--noise", "pure"]
    assert run("train", *data, *options, "--val", files["hsi"], "--progress", "json") == 0
    found = events(capsys.readouterr().out)
    assert [e.get("psnr") for e in found if e["event"] == "progress"] == [None, 40.0]
    asked = {"max_minutes": 1.5, "ratio": 4, "noise": "pure", "val": [files["hsi"]]}
    assert calls[0][0] == (data, str(tmp_path / "run"))
    assert calls[0][1] == {"variant": "universal", "resume": False, **asked}
    weights = tmp_path / "w.safetensors"
    options = ["--out", weights, "--max-minutes", 2, "--coregister", "--no-normalise"]
    assert run("adapt", files["hsi"], files["msi"], *options) == 0
    asked = {"max_minutes": 2.0, "coregister": True, "normalise": False}
    assert calls[1][1] == {"overwrite": False, **asked}
    assert "did not help" in capsys.readouterr().err


def test_demo_hands_over_its_folder_and_prints_the_table(tmp_path, capsys, monkeypatch):
    scores = {"bicubic": {"PSNR": 30.0, "SSIM": 0.9, "SAM": 3.0, "ERGAS": 5.0}}

    def fake(out, *, progress, minutes=None):
        assert minutes == 0.5
        learned = {"before": 30.0, "after": 31.0, "adapted": True, "steps": 3}
        files = {"result": "somewhere/fused.tif"}
        return {"scores": scores, "best": "bicubic", "files": files, "adaptation": learned}

    monkeypatch.setattr("emrdiff_geo.demo.run_demo", fake)
    assert run("demo", "--out", tmp_path, "--max-minutes", 0.5) == 0
    assert "30.00" in capsys.readouterr().out


def test_cancelling_is_130_and_not_an_error_of_the_program(files, tmp_path, capsys, monkeypatch):
    def cancelled(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("emrdiff_geo.cli.fusing.fuse_to_file", cancelled)
    arguments = ["fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--progress", "json", "-v"]
    assert run(*arguments) == 130
    printed, notes = capsys.readouterr()
    assert events(printed)[-1]["code"] == 130
    assert notes == "emrdiff: cancelled\n"


@pytest.mark.parametrize("arguments", [["--help"], ["fuse", "--help"], ["train", "--help"]])
def test_help_is_no_error(arguments, capsys):
    assert run(*arguments) == 0
    assert "usage: emrdiff" in capsys.readouterr().out


def test_version_and_no_command(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"emrdiff-geo {__version__}\n"
    assert run() == 2
    assert "COMMAND" in capsys.readouterr().err


def child(*arguments, **options):
    command = [sys.executable, "-u", "-m", "emrdiff_geo", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from emrdiff_geo.cli import main; main(['fuse', '--help']);"
        "print([m for m in ('torch', 'rasterio', 'scipy', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "end of stdin"])
def test_a_run_that_is_stopped_leaves_nothing(how, files, tmp_path):
    # Thousands of steps: it cannot be over before it is stopped.
    options = ["--steps", 5000, "--device", "cpu", "--progress", "json", "--stop-on-eof"]
    process = child(
        *["fuse", files["hsi"], files["msi"], tmp_path / "out.tif", *options],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for line in process.stdout:
        if json.loads(line).get("stage") == "fuse":
            break
    # Whoever stops a run may do so twice: communicate ends its standard input as well.
    if how != "end of stdin":
        process.send_signal(getattr(signal, how))
    printed, notes = process.communicate(timeout=60)
    assert process.returncode == 130
    assert events(printed)[-1] == {
        "version": 1,
        "event": "error",
        "message": "cancelled",
        "code": 130,
    }
    assert notes == "emrdiff: cancelled\n"
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_crash(files):
    process = child("plan", files["hsi"], files["msi"], "--json", stderr=subprocess.PIPE)
    process.stdout.close()
    notes = process.stderr.read()
    assert process.wait(timeout=60) in (0, 130)
    assert "Traceback" not in notes
    assert "Exception ignored" not in notes
