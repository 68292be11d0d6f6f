"""What comes of kills, requests to stop, full disks and folders that vanish, by the shell."""

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_scenes import make_files, run
from partial_runs import finished
from sink_scene import SUFFIXES, digest

from emrdiff_geo.run.pipeline import Run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


def child(*arguments):
    command = [sys.executable, "-u", "-m", "emrdiff_geo", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


def arguments(files, out, *more):
    options = ["--method", "regression", "--tile", 16, "--progress", "json"]
    return ["fuse", files["hsi"], files["msi"], out, *options, *more]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kills_at_random_tiles_change_no_byte(files, tmp_path, suffix):
    whole = tmp_path / "whole" / f"out.{suffix}"
    whole.parent.mkdir()
    assert run(*arguments(files, whole)) == 0
    out = tmp_path / f"out.{suffix}"
    dice = random.Random(5)
    done = set()
    # The first without --resume: also what nobody asked to keep can be continued.
    for number in range(2):
        goal = len(done) + dice.randint(2, 8)
        process = child(*arguments(files, out, *(["--resume"] if number else [])))
        while process.poll() is None and len(finished(out)) < goal:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert done <= finished(out)
        done = finished(out)
        assert goal <= len(done) < 36
    process = child(*arguments(files, out, "--resume"))
    printed, notes = process.communicate(timeout=120)
    assert process.returncode == 0, notes
    events = [json.loads(line) for line in printed.splitlines()]
    starts = [e["done"] for e in events if e.get("stage") == "fuse"]
    assert starts[0] == len(done)
    assert digest(out) == digest(whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_finishes_the_tile_in_hand(files, tmp_path, number, capsys):
    out = tmp_path / "out.tif"

    def stop(self, row, col, tile=Run.tile):
        if (row, col) == (0, 3):
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # twice, as it often comes
        return tile(self, row, col)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "tile", stop)
        assert run(*arguments(files, out, "--resume")) == 130
    assert capsys.readouterr().err == (
        "emrdiff: cancelled; 4 tiles are kept: run the same again to continue\n"
    )
    assert len(finished(out)) == 4
    assert not out.exists()
    assert run(*arguments(files, out)) == 2
    assert "--resume to continue" in capsys.readouterr().err
    assert run(*arguments(files, out, "--resume", "--psf", "area")) == 2
    assert "psf auto instead of area" in capsys.readouterr().err
    assert run(*arguments(files, out, "--resume")) == 0
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [True, False])
def test_a_full_disk_is_one_sentence_and_what_is_done_is_kept(
    files, tmp_path, suffix, keep, capsys, monkeypatch
):
    out = tmp_path / f"out.{suffix}"
    # Threads write two tiles at once: each has a number of its own.
    written = itertools.count()

    def put(path, value, exclusive=False):
        # c/0/row/col, not that of a coordinate
        if Path(path).parts[-4] == "c" and next(written) >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, value, exclusive)

    from zarr.storage import _local

    original = _local._put
    monkeypatch.setattr(_local, "_put", put)
    assert run(*arguments(files, out, *(["--resume"] if keep else []))) == 1
    sentence = f"emrdiff: the disk is full while writing {out}: free some space or choose another"
    notes = capsys.readouterr().err
    assert notes.startswith(sentence)
    assert notes.count("\n") == 1
    assert ("3 tiles are kept" in notes) == keep
    assert len(finished(out)) == (3 if keep else 0)
    assert bool(os.listdir(tmp_path)) == keep
    monkeypatch.undo()
    assert run(*arguments(files, out, "--resume")) == 0
    assert os.listdir(tmp_path) == [out.name]


def test_a_full_disk_while_the_result_is_put_together(files, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out.tif"

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("emrdiff_geo.writing.cog.copy_optimised", full)
    assert run(*arguments(files, out, "--resume")) == 1
    assert "36 tiles are kept" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(*arguments(files, out, "--resume")) == 0
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_folder_that_vanishes_is_one_sentence(files, tmp_path, capsys, monkeypatch, resume):
    folder = tmp_path / "folder"
    folder.mkdir()

    def vanish(self, row, col, tile=Run.tile):
        if (row, col) == (1, 1):
            # At once: other threads may be writing into it.
            folder.rename(tmp_path / "gone")
        return tile(self, row, col)

    monkeypatch.setattr(Run, "tile", vanish)
    assert run(*arguments(files, folder / "out.zarr", *resume)) == 1
    notes = capsys.readouterr().err
    assert "was removed while out.zarr was being written" in notes
    assert "kept" not in notes
    assert notes.count("\n") == 1
    assert not folder.exists()
