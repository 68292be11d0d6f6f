"""``--samples`` and ``--uncertainty`` of ``fuse`` and ``batch``."""

import json
import os
import shutil

import pytest
from cli_scenes import make_files, run

from emrdiff_geo.run.recorded import read_provenance

NETWORK = ["--steps", 2, "--device", "cpu", "--no-self-check", "--quiet"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def done(files, tmp_path_factory):
    """Folder of a finished fusion with its manifest."""
    folder = tmp_path_factory.mktemp("done")
    for name in ("hsi", "msi"):
        shutil.copy(files[name], folder)
    (folder / "pairs.csv").write_text(
        "hsi,msi,out,samples,uncertainty,steps,device,no-self-check\n"
        "hsi.tif,msi.tif,out.tif,2,sigma.zarr,2,cpu,yes\n"
    )
    assert run("batch", folder / "pairs.csv") == 0
    return folder


def test_both_are_written_and_named(files, tmp_path, capsys):
    out, sigma = tmp_path / "out.tif", tmp_path / "sigma.tif"
    words = ["--samples", 2, "--uncertainty", sigma, "--progress", "json", *NETWORK]
    assert run("fuse", files["hsi"], files["msi"], out, *words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["path"], result["uncertainty"]) == (str(out), str(sigma))
    assert sorted(os.listdir(tmp_path)) == ["out.tif", "sigma.tif"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--uncertainty", "{sigma}"], "use --samples 4 or more"),
        (["--samples", "4", "--method", "regression"], "use --method emrdiff"),
        (["--samples", "4", "--uncertainty", "{out}"], "is the result itself"),
        (["--samples", "4", "--uncertainty", "{hsi}", "--overwrite"], "is an input"),
        (["--samples", "4", "--uncertainty", "{exists}"], "exists: choose another name"),
        (["--samples", "4", "--uncertainty", "sigma.png"], "no known suffix"),
        (["--samples", "0"], "give 1 or more"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(files, tmp_path, capsys, words, says):
    names = {**files, "out": tmp_path / "out.tif", "sigma": tmp_path / "sigma.tif"}
    words = [word.format(**names) for word in words]
    assert run("fuse", files["hsi"], files["msi"], names["out"], *words) == 2
    notes = capsys.readouterr().err
    assert says in notes
    assert notes.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_row_with_both_files_is_skipped(done, capsys):
    assert run("batch", done / "pairs.csv") == 0
    assert "skipped" in capsys.readouterr().out
    assert read_provenance(done / "sigma.zarr").parameters["samples"] == 2


def test_a_row_whose_uncertainty_is_missing_is_no_finished_one(done, capsys):
    (done / "sigma.zarr").rename(done / "elsewhere.zarr")
    try:
        assert run("batch", done / "pairs.csv") == 1
        assert "without" in capsys.readouterr().err
    finally:
        (done / "elsewhere.zarr").rename(done / "sigma.zarr")


def test_rows_must_not_write_the_same_uncertainty(done, capsys):
    path = done / "twice.csv"
    path.write_text(
        "hsi,msi,out,uncertainty\nhsi.tif,msi.tif,a.tif,s.tif\nhsi.tif,msi.tif,b.tif,s.tif\n"
    )
    assert run("batch", path) == 2
    assert "both write s.tif" in capsys.readouterr().err
