"""Bad input: exit code 2 and one sentence that names the cure, for everything we could think of."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from cli_scenes import make_files, run

from emrdiff_geo.run.pipeline import Run
from emrdiff_geo.writing.sinks import open_sink

FUSE = "fuse {hsi} {msi} {out}"
REGRESSION = " --method regression"
SIMULATE = "simulate {reference} {new}"


@dataclass(frozen=True)
class Bad:
    """A command line, and words of the sentence that it has to end with."""

    what: str
    command: str
    words: str


BAD = [
    Bad("HSI does not exist", "fuse {folder}/nothing.tif {msi} {out}", "does not exist: check the"),
    Bad("MSI does not exist", "fuse {hsi} {folder}/nothing.tif {out}", "does not exist: check the"),
    Bad("GeoTIFF cut off", "fuse {cut_off} {msi} {out}", "check that the file is complete"),
    Bad("a text file", "fuse {text} {msi} {out}", "of a format that GDAL or xarray opens"),
    Bad("a folder", "fuse {folder} {msi} {out}", "give the path of an image"),
    Bad("images swapped", "fuse {msi} {hsi} {out}", "swap the two"),
    Bad("one-band HSI", "fuse {one_band} {msi} {out}", "give the hyperspectral file first"),
    Bad("no common area", "fuse {elsewhere} {msi} {out}", "check that they show the same place"),
    Bad("two HSI pixels off", "fuse {shifted} {msi} {out}" + REGRESSION, "--coregister (in"),
    Bad("CRS on the MSI only", "fuse {plain_hsi} {msi} {out}", "assign the HSI its CRS"),
    Bad("CRS on the HSI only", "fuse {reference} {plain_hsi} {out}", "assign the MSI its CRS"),
    Bad("MSI coarser than HSI", "fuse {hsi} {coarser} {out}", "swap the two"),
    Bad("pixels of equal size (ratio 1)", "fuse {hsi} {same_size} {out}", "or take a finer one"),
    Bad("fewer than 3 HSI pixels", "fuse {two_pixels} {msi} {out}", "with a larger overlap"),
    Bad("spectra do not overlap", "fuse {hsi} {infrared} {out}", "check the wavelengths"),
    Bad("HSI is all nodata", "fuse {all_nodata} {msi} {out}" + REGRESSION, "nodata"),
    Bad(
        "no wavelengths, by the network",
        "fuse {no_wavelengths} {msi} {out} --device cpu",
        "wavelengths",
    ),
    Bad(
        "--wavelengths for an HSI that has them",
        FUSE + " --wavelengths 400-900",
        "leave out --wavelengths",
    ),
    Bad("OUT exists", "fuse {hsi} {msi} {exists}", "pass --overwrite"),
    Bad("OUT is an input", "fuse {hsi} {msi} {msi} --overwrite", "give the result another name"),
    Bad("OUT of unknown kind", "fuse {hsi} {msi} {folder}/out.jpg", "end the name in .tif"),
    Bad("folder of OUT missing", "fuse {hsi} {msi} {folder}/no/out.tif", "create it first"),
    Bad("unknown method", FUSE + " --method magic", "choose one of bicubic"),
    Bad("unknown weights", FUSE + " --weights magic", "one of the shipped names"),
    Bad("weights file damaged", FUSE + " --weights {bad_weights} --device cpu", "copy it again"),
    Bad("weights without JSON", FUSE + " --weights {no_json}", "copy both files"),
    Bad("weights of another variant", FUSE + " --variant published", "drop --variant or name"),
    Bad("unknown device", FUSE + " --device tpu9", "use auto, cpu or cuda"),
    Bad("ratio of 1", FUSE + " --ratio 1", "give 2 or more"),
    Bad("ratio is no whole number", FUSE + " --ratio 4.5", "not a whole number"),
    Bad("negative tile", FUSE + " --tile -64", "give 1 or more"),
    Bad("one step", FUSE + " --steps 1", "give 2 or more"),
    Bad("negative seed", FUSE + " --seed -1", "give 0 or more"),
    Bad("unknown option", FUSE + " --fast", "see emrdiff"),
    Bad("OUT forgotten", "fuse {hsi} {msi}", "required: OUT"),
    Bad("unknown command", "blend {hsi} {msi}", "choose from"),
    Bad("simulate: no --ratio", "simulate {hsi} {new} --srf landsat8", "required: --ratio"),
    Bad("simulate: ratio of 1", SIMULATE + " --srf landsat8 --ratio 1", "give 2 or more"),
    Bad(
        "simulate: ratio too large", SIMULATE + " --srf landsat8 --ratio 40", "take a smaller ratio"
    ),
    Bad(
        "simulate: unknown sensor",
        SIMULATE + " --ratio 4 --srf sentinel9",
        "did you mean sentinel2",
    ),
    Bad(
        "simulate: CSV is no table",
        SIMULATE + " --ratio 4 --srf {table}",
        "first column must be the wave",
    ),
    Bad("simulate: unknown band", SIMULATE + " --ratio 4 --srf sentinel2a:B77", "choose from"),
    Bad(
        "simulate: bands not covered",
        SIMULATE + " --ratio 4 --srf sentinel2a:B11,B12",
        "select the",
    ),
    Bad(
        "simulate: no wavelengths",
        "simulate {no_wavelengths_hr} {new} --ratio 4 --srf sentinel2a",
        "--wavelengths 400-2500",
    ),
    Bad("simulate: HSI is in OUTDIR", "simulate {hsi} {folder} --ratio 4 --srf landsat8", "input"),
    Bad(
        "simulate: files exist",
        "simulate {one_band} {folder} --ratio 4 --srf landsat8",
        "--overwrite",
    ),
    Bad("simulate: OUTDIR is a file", "simulate {hsi} {text} --ratio 4 --srf landsat8", "a folder"),
    Bad("evaluate: nothing to compare", "evaluate {reference}", "give --reference, or --hsi"),
    Bad("evaluate: no --ratio", "evaluate {reference} --reference {reference}", "give it, or"),
    Bad(
        "evaluate: other grid",
        "evaluate {reference} --reference {hsi} --ratio 4",
        "bring it onto that grid",
    ),
    Bad(
        "evaluate: other bands", "evaluate {msi} --reference {reference} --ratio 4", "same bands of"
    ),
    Bad(
        "evaluate: figure of unknown kind",
        "evaluate {reference} --reference {reference} --ratio 4 --figure {folder}/figure.tif",
        "end its name in one of .png",
    ),
    Bad("plan: images swapped", "plan {msi} {hsi}", "swap the two"),
    Bad("train: no end", "train {reference} --out {new}", "number of steps or of minutes"),
    Bad("train: nothing to resume", "train {reference} --out {new} --steps 1 --resume", "resume"),
    Bad(
        "train: no wavelengths",
        "train {no_wavelengths_hr} --out {new} --steps 1",
        "no_wavelengths_hr.tif@400-2500",
    ),
    Bad("adapt: OUT of unknown kind", "adapt {hsi} {msi} --out {folder}/w.pth", ".safetensors"),
    Bad("adapt: OUT exists", "adapt {hsi} {msi} --out {no_json}", "--overwrite"),
    Bad("adapt: scene too small", "adapt {hsi} {msi} --out {new}.safetensors", "unadapted weights"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
def test_bad_input_gets_exit_code_2_and_the_cure(bad, files, tmp_path, capsys):
    names = {**files, "out": str(tmp_path / "out.tif"), "new": str(tmp_path / "new")}
    before = snapshot(Path(files["folder"]))
    assert run(*(word.format(**names) for word in bad.command.split())) == 2
    out, err = capsys.readouterr()
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("emrdiff: ")
    assert bad.words in sentence
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.iterdir())
    assert snapshot(Path(files["folder"])) == before


def snapshot(folder):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_names_the_cure(files, tmp_path, capsys):
    assert run("fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--device", "cuda") == 2
    assert "use --device cpu" in capsys.readouterr().err


def test_a_one_band_msi_is_no_error(files, tmp_path):
    out = tmp_path / "out.tif"
    assert run("fuse", files["hsi"], files["one_band"], out, "--method", "regression") == 0


def test_a_full_disk_is_no_bad_input(files, tmp_path, capsys, monkeypatch):
    import zarr

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    code = run("fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--method", "bicubic")
    assert code == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_damaged_in_its_middle_stops_the_run(files, tmp_path, capsys):
    damaged = shutil.copy(files["msi"], tmp_path / "damaged.tif")
    with open(damaged, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    assert run("fuse", files["hsi"], damaged, tmp_path / "o.tif", "--method", "bicubic") == 2
    assert "damaged.tif" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["damaged.tif"]


def test_the_unexpected_is_one_line_and_a_hint(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("emrdiff_geo.cli.fusing.fuse_to_file", lambda *a, **k: 1 / 0)
    arguments = ["fuse", files["hsi"], files["msi"], tmp_path / "o.tif"]
    assert run(*arguments) == 1
    err = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in err
    assert "-v" in err
    assert "Traceback" not in err
    assert run("-v", *arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_package_is_named(files, tmp_path, capsys, monkeypatch):
    def missing(*arguments, **options):
        raise ModuleNotFoundError("no", name="rainbow.colours")

    monkeypatch.setattr("emrdiff_geo.cli.fusing.fuse_to_file", missing)
    assert run("fuse", files["hsi"], files["msi"], tmp_path / "o.tif") == 1
    assert "pip install rainbow" in capsys.readouterr().err


def test_out_of_memory_names_the_cure(files, tmp_path, capsys, monkeypatch):
    def greedy(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("emrdiff_geo.cli.fusing.fuse_to_file", greedy)
    assert run("fuse", files["hsi"], files["msi"], tmp_path / "o.tif") == 1
    assert "smaller --tile" in capsys.readouterr().err


def test_a_result_that_another_run_writes_is_no_bad_input(files, tmp_path, capsys):
    out = tmp_path / "o.tif"
    with open_sink(out, (1, 8, 8)):
        assert run("fuse", files["hsi"], files["msi"], out, "--method", "bicubic") == 1
    assert "by another run" in capsys.readouterr().err


def test_a_result_that_appeared_meanwhile_is_not_replaced(files, tmp_path, capsys, monkeypatch):
    out = tmp_path / "o.tif"
    tile = Run.tile
    monkeypatch.setattr(Run, "tile", lambda *a: out.write_text("mine") and tile(*a))
    assert run("fuse", files["hsi"], files["msi"], out, "--method", "bicubic") == 2
    assert "exists: choose another name" in capsys.readouterr().err
    assert out.read_text() == "mine"
