"""One run at a time has the folder beside a result, at every moment of its life."""

import os
import pickle
import threading

import numpy as np
import pytest
from partial_runs import partial
from sink_scene import SHAPE, SUFFIXES, TILE, fill, make_grid, make_image, read

from emrdiff_geo.errors import WriteError
from emrdiff_geo.writing import claim
from emrdiff_geo.writing.claim import Claim
from emrdiff_geo.writing.sinks import open_sink

pytest.importorskip("fcntl")


def test_a_claim_keeps_others_out_until_it_is_released(tmp_path):
    out = tmp_path / "out.tif"
    first = Claim(out)
    with pytest.raises(WriteError, match="by another run: wait for it"):
        Claim(out)
    copy = pickle.loads(pickle.dumps(first))
    copy.discard()
    copy.release()
    with pytest.raises(WriteError):
        Claim(out)
    (first.folder / "kept").touch()
    first.release()
    second = Claim(out)
    assert (second.folder / "kept").exists()
    first.discard()
    assert second.is_there()
    second.discard()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_goes_while_it_is_claimed_is_made_anew(tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    first = Claim(out)
    lock = claim._lock

    def late(file):
        # The other's end lies between opening the marker and locking it.
        first.discard()
        lock(file)

    monkeypatch.setattr(claim, "_lock", late)
    second = Claim(out)
    assert second.is_there()
    with pytest.raises(WriteError):
        Claim(out)


def test_many_at_once_never_share_the_folder(tmp_path):
    out = tmp_path / "out.tif"
    shared, won = [], []

    def run(number):
        for _ in range(200):
            try:
                claim = Claim(out)
            except WriteError:
                continue
            own = claim.folder / f"{number}"
            own.touch()
            won.append(number)
            names = {path.name for path in claim.folder.iterdir()}
            if names != {own.name, "in-progress"}:
                shared.append(names)
            claim.discard()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won
    assert not shared
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("when", ["begins", "is aborted", "is closed"])
def test_no_second_run_gets_in_while_one_empties_its_folder(tmp_path, monkeypatch, suffix, when):
    out, image = tmp_path / f"out.{suffix}", make_image()
    refused = []

    def crowded(path, remove=claim.remove):
        with pytest.raises(WriteError, match="by another run"):
            open_sink(out, SHAPE, overwrite=True)
        refused.append(path)
        remove(path)

    if when == "begins":
        partial(out).mkdir()
    else:
        sink = open_sink(out, SHAPE, chunks=TILE, geobox=make_grid())
        fill(sink, image)
    left = partial(out) / "left"
    left.touch()
    monkeypatch.setattr(claim, "remove", crowded)
    if when == "begins":
        sink = open_sink(out, SHAPE, chunks=TILE, geobox=make_grid())
        monkeypatch.undo()
        fill(sink, image)
    if when == "is aborted":
        sink.abort()
        assert os.listdir(tmp_path) == []
    else:
        sink.close()
        np.testing.assert_array_equal(read(out), image)
        assert os.listdir(tmp_path) == [out.name]
    assert left in refused
