"""``emrdiff batch``: what a manifest may say, and what becomes of its rows."""

import argparse
import json
import shutil

import pytest
import rasterio
from cli_scenes import make_files, run

from emrdiff_geo.cli.manifest import REQUIRED, SWITCHES, VALUES, read_manifest
from emrdiff_geo.cli.parser import build_parser
from emrdiff_geo.errors import InputError
from emrdiff_geo.fusion import FusionOptions
from emrdiff_geo.run.recorded import differences, read_provenance


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def folder(files, tmp_path):
    """A folder of its own with a pair and a pair that cannot be fused."""
    for name in ("hsi", "msi", "elsewhere"):
        shutil.copy(files[name], tmp_path)
    return tmp_path


def manifest(folder, *lines, header="hsi,msi,out,method,tile"):
    path = folder / "jobs.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def rows_of(text):
    events = [json.loads(line) for line in text.splitlines()]
    return events, [e for e in events if e["event"] == "row"]


GOOD = "hsi.tif,msi.tif,{}.tif,regression,64"


def test_one_bad_row_does_not_stop_the_rest(folder, capsys):
    path = manifest(
        folder,
        "elsewhere.tif,msi.tif,a.tif,regression,",
        "nothing.tif,msi.tif,b.tif,regression,",
        "hsi.tif,msi.tif,c.tif,magic,",
        "hsi.tif,msi.tif,d.tif,regression,-3",
        ",msi.tif,e.tif,,",
        GOOD.format("good"),
    )
    assert run("batch", path) == 1
    printed, notes = capsys.readouterr()
    assert sorted(p.name for p in folder.glob("*.tif")) == [
        *("elsewhere.tif", "good.tif", "hsi.tif", "msi.tif"),
    ]
    for words in ("show the same place", "does not exist", "choose one of", "give 1 or more"):
        assert words in notes
    assert "line 6 names no hsi" in notes
    assert "5 of 6 rows failed" in notes
    assert "Traceback" not in notes
    table = " ".join(printed.split())
    assert table.count("failed") == 5
    assert table.count("done") == 1


def test_options_of_a_row_reach_the_fusion(folder):
    path = manifest(
        folder,
        "hsi.tif,msi.tif,a.tif,regression,32,area,yes",
        "hsi.tif,msi.tif,b.tif,bicubic,,,no",
        header="HSI,MSI,OUT,--method,tile,psf,coregister",
    )
    assert run("batch", path) == 0
    first, second = (read_provenance(folder / name) for name in ("a.tif", "b.tif"))
    assert (first.method, second.method) == ("regression", "bicubic")
    assert [first.parameters[k] for k in ("tile", "psf", "coregister")] == [32, "area", True]
    assert [second.parameters[k] for k in ("tile", "psf", "coregister")] == [256, "auto", False]


def test_again_skips_what_is_done_and_does_what_is_missing(folder, capsys):
    path = manifest(folder, GOOD.format("a"), GOOD.format("b"))
    assert run("batch", path) == 0
    kept = (folder / "a.tif").stat().st_mtime_ns
    (folder / "b.tif").unlink()
    capsys.readouterr()
    assert run("batch", path, "--progress", "json") == 0
    events, rows = rows_of(capsys.readouterr().out)
    assert [r["status"] for r in rows] == ["started", "skipped", "started", "done"]
    assert [r["row"] for r in rows] == [1, 1, 2, 2]
    assert events[-1]["event"] == "result"
    assert [r["status"] for r in events[-1]["report"]["rows"]] == ["skipped", "done"]
    assert (folder / "a.tif").stat().st_mtime_ns == kept
    assert run("batch", path, "--overwrite") == 0
    assert (folder / "a.tif").stat().st_mtime_ns != kept


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_result_made_differently_is_neither_taken_nor_replaced(suffix, folder, capsys):
    row = f"hsi.tif,msi.tif,a.{suffix},regression,"
    assert run("batch", manifest(folder, row + "64")) == 0
    assert run("batch", manifest(folder, row + "64")) == 0
    path = manifest(folder, row + "32")
    capsys.readouterr()
    assert run("batch", path) == 1
    assert "made differently (tile 64 instead of 32)" in capsys.readouterr().err
    assert run("batch", path, "--overwrite") == 0
    assert read_provenance(folder / f"a.{suffix}").parameters["tile"] == 32


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_result_stored_differently_is_not_taken(suffix, folder, capsys):
    header = "hsi,msi,out,method,dtype,scale,offset"
    row = f"hsi.tif,msi.tif,a.{suffix},regression,"
    assert run("batch", manifest(folder, row + "int16,0.1,2", header=header)) == 0
    capsys.readouterr()
    assert run("batch", manifest(folder, row + "int16,0.1,2", header=header)) == 0
    assert "skipped" in capsys.readouterr().out
    for other, words in {
        ",,": "dtype int16 instead of float32",
        "int16,0.5,2": "scale 0.1 instead of 0.5",
        "int16,0.1,": "offset 2 instead of 0",
        "int16,,": "int16 needs a scale",
    }.items():
        assert run("batch", manifest(folder, row + other, header=header)) == 1
        assert words in capsys.readouterr().err


def test_what_is_no_result_is_never_taken_for_one(folder, capsys):
    (folder / "a.tif").write_text("mine")
    shutil.copy(folder / "msi.tif", folder / "b.tif")
    path = manifest(folder, GOOD.format("a"), GOOD.format("b"), GOOD.format("hsi"))
    assert run("batch", path) == 1
    assert (folder / "a.tif").read_text() == "mine"
    assert capsys.readouterr().err.count("is no result: choose another name") == 3
    assert run("batch", manifest(folder, GOOD.format("hsi")), "--overwrite") == 1
    assert "is an input" in capsys.readouterr().err
    assert rasterio.open(folder / "hsi.tif").count == 12


def test_differences_are_named(folder):
    run("fuse", folder / "hsi.tif", folder / "msi.tif", folder / "a.tif", "--method", "regression")
    made = read_provenance(folder / "a.tif")
    wanted = FusionOptions(method="regression")
    assert differences(made, "elsewhere/hsi.tif", "msi.tif", wanted) == []
    # What a method without a network does not use makes no difference to it.
    assert differences(made, "hsi.hdr", "msi.tif", FusionOptions("regression", seed=9)) == []
    assert differences(made, "new.tif", "msi.tif", wanted) == [
        "made from hsi.tif instead of new.tif"
    ]
    assert differences(made, "hsi.tif", "msi.tif", FusionOptions("bicubic")) == [
        "method regression instead of bicubic"
    ]
    other = FusionOptions("regression", ratio=5, wavelengths=(400, 900))
    assert differences(made, "hsi.tif", "msi.tif", other) == [
        "wavelengths None instead of [400.0, 900.0]",
        "ratio 4 instead of 5",
    ]


def test_differences_of_a_network_are_seed_weights_and_steps(folder):
    options = ["--steps", 2, "--seed", 1, "--device", "cpu"]
    assert run("fuse", folder / "hsi.tif", folder / "msi.tif", folder / "a.tif", *options) == 0
    made = read_provenance(folder / "a.tif")
    pair = "hsi.tif", "msi.tif"
    assert differences(made, *pair, FusionOptions(seed=1, steps=2)) == []
    # The weights say it anyway.
    assert differences(made, *pair, FusionOptions(seed=1, steps=2, variant="universal")) == []
    assert differences(made, *pair, FusionOptions(steps=3)) == [
        "steps 2 instead of 3",
        "seed 1 instead of 0",
    ]


def test_json_tells_of_every_row_and_ends_with_an_error_if_one_failed(folder, capsys):
    path = manifest(folder, GOOD.format("a"), "nothing.tif,msi.tif,b.tif,,")
    assert run("batch", path, "--progress", "json") == 1
    events, rows = rows_of(capsys.readouterr().out)
    assert [(r["out"], r["status"]) for r in rows] == [
        ("a.tif", "started"),
        ("a.tif", "done"),
        ("b.tif", "started"),
        ("b.tif", "failed"),
    ]
    assert {"row", "rows", "seconds", "message"} <= rows[1].keys()
    assert "does not exist" in rows[3]["message"]
    places = [events.index(r) for r in rows]
    assert "fuse" in {e.get("stage") for e in events[places[0] : places[1]]}
    last = events[-1]
    assert (last["event"], last["code"], last["message"]) == ("error", 1, "1 of 2 rows failed")


def test_a_failure_is_told_even_to_the_quiet(folder, capsys):
    assert run("-q", "batch", manifest(folder, "nothing.tif,msi.tif,b.tif,,")) == 1
    assert "does not exist" in capsys.readouterr().err


def test_brackets_in_a_name_are_no_markup(folder, capsys):
    assert run("batch", manifest(folder, "nothing.tif,msi.tif,[/a].tif,,")) == 1
    assert "[/a].tif" in capsys.readouterr().out


@pytest.mark.parametrize(("memory", "keeps"), [("", True), ("2GB", False)])
def test_freed_memory_is_kept_only_where_no_row_bounds_it(folder, monkeypatch, memory, keeps):
    calls = []
    for module in ("emrdiff_geo.cli", "emrdiff_geo.cli.batching"):
        monkeypatch.setattr(f"{module}.keep_freed", lambda: calls.append(1))
    rows = "nothing.tif,msi.tif,a.tif,", f"nothing.tif,msi.tif,b.tif,{memory}"
    assert run("batch", manifest(folder, *rows, header="hsi,msi,out,memory")) == 1
    assert bool(calls) == keeps


def test_cancelling_keeps_what_is_done(folder, monkeypatch, capsys):
    from emrdiff_geo.cli import batching

    fuse_pair = batching.fuse_pair

    def second_is_cancelled(context):
        if context.args.out.endswith("b.tif"):
            raise KeyboardInterrupt
        return fuse_pair(context)

    monkeypatch.setattr(batching, "fuse_pair", second_is_cancelled)
    rows = [GOOD.format(name) for name in "abc"]
    assert run("batch", manifest(folder, *rows)) == 130
    assert (folder / "a.tif").exists()
    assert not (folder / "c.tif").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("hsi,msi,out\n", "has no rows"),
        ("hsi,msi,out\n,,\n", "has no rows"),
        ("hsi,msi\na,b\n", "no column out"),
        ("hsi,msi,out,speed\na,b,c.tif,1\n", "'speed', which is no option of fuse"),
        ("hsi,msi,out,tile,--tile\na,b,c.tif,1,1\n", "two columns tile"),
        ("hsi,msi,out\na,b,c.tif\nd,e,./c.tif\n", "lines 2 and 3 of jobs.csv both write"),
        ("hsi,msi,out\na,b,c.tif,d\n", "put texts with commas into quotes"),
        ('hsi,msi,out\n"a,b,c.tif\n', "cannot be read as a manifest"),
    ],
)
def test_a_bad_manifest_is_refused_before_any_work(text, words, tmp_path, capsys):
    path = tmp_path / "jobs.csv"
    path.write_text(text)
    assert run("batch", path) == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["jobs.csv"]


def test_a_manifest_that_is_not_there_or_no_text(tmp_path, capsys):
    assert run("batch", tmp_path / "jobs.csv") == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "jobs.csv").write_bytes(b"\xff\xfe\x00")
    assert run("batch", tmp_path / "jobs.csv") == 2
    assert "CSV file in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_spreadsheets_write_marks_delimiters_and_empty_columns(delimiter, tmp_path):
    path = tmp_path / "jobs.csv"
    text = "\ufeffhsi;msi;out;seed; ;\r\na;b;c.tif;;;\r\n;;;;;\r\n"
    path.write_bytes(text.replace(";", delimiter).encode())
    (row,) = read_manifest(path)
    assert row.cells == {"hsi": "a", "msi": "b", "out": "c.tif"}
    assert row.parsed(False).hsi == str(tmp_path / "a")


def test_paths_are_relative_to_the_manifest(tmp_path):
    (tmp_path / "mine.safetensors").touch()
    path = manifest(
        tmp_path,
        "/data/a.tif,s3://bucket/b.tif,c.tif,mine.safetensors",
        "a,b,d.tif,universal",
        header="hsi,msi,out,weights",
    )
    first, second = (row.parsed(False) for row in read_manifest(path))
    assert (first.hsi, first.msi) == ("/data/a.tif", "s3://bucket/b.tif")
    assert first.out == str(tmp_path / "c.tif")
    assert (first.weights, second.weights) == (str(tmp_path / "mine.safetensors"), "universal")


def test_colons_in_a_name_make_it_none_of_gdal(tmp_path):
    path = manifest(
        tmp_path,
        'h_2020-01-01T10:30:00.tif,"HDF5:""/data/f.h5"":cube",out_2020-01-01T10:30:00.tif',
        "S2A_20200101T10:30:00.tif,NETCDF:/data/f.nc:cube,b.tif",
        header="hsi,msi,out",
    )
    first, second = (row.parsed(False) for row in read_manifest(path))
    assert first.hsi == str(tmp_path / "h_2020-01-01T10:30:00.tif")
    assert first.out == str(tmp_path / "out_2020-01-01T10:30:00.tif")
    assert second.hsi == str(tmp_path / "S2A_20200101T10:30:00.tif")
    assert (first.msi, second.msi) == ('HDF5:"/data/f.h5":cube', "NETCDF:/data/f.nc:cube")


def test_switches_are_yes_or_no(tmp_path):
    path = manifest(
        tmp_path, "a,b,c.tif,yes", "a,b,d.tif,0", "a,b,e.tif,maybe", header="hsi,msi,out,force"
    )
    rows = read_manifest(path)
    assert [row.parsed(False).force for row in rows[:2]] == [True, None]
    with pytest.raises(InputError, match="line 4 has 'maybe' for force: write yes or no"):
        rows[2].parsed(False)


def test_every_option_of_fuse_can_be_a_column():
    commands = next(
        a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)
    ).choices
    options = {o for action in commands["fuse"]._actions for o in action.option_strings}
    common = {o for action in commands["batch"]._actions for o in action.option_strings}
    assert options - common == {f"--{name}" for name in (*VALUES, *SWITCHES)}
    assert REQUIRED == ("hsi", "msi", "out")
