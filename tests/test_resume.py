"""Runs that are killed, stopped or fail, and go on where they ended."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from partial_runs import finished, partial
from scenes import pair
from sink_scene import SUFFIXES, digest

from emrdiff_geo.errors import OutputError, ResumeError
from emrdiff_geo.fusion import fuse_to_file
from emrdiff_geo.run.pipeline import Run
from emrdiff_geo.writing.claim import Claim
from emrdiff_geo.writing.gathering import GatheringSink

#: One tile after the other: where a run is broken off is counted.
OPTIONS = {"method": "regression", "tile": 32, "scheduler": "synchronous"}
TILES = 12


@pytest.fixture(scope="module")
def scene():
    hsi, msi, _ = pair(96, 128, 4)
    # A corner without data: its tile has no chunk.
    msi["image"][:, :32, :32] = np.nan
    return hsi, msi


class InterruptionError(Exception):
    pass


def begin(scene, out, tiles=5, error=InterruptionError, resume=True, **options):
    """A run that ends after some tiles; returns what it has finished."""

    def stop(event):
        if event.stage == "fuse" and event.done == tiles:
            raise error

    with pytest.raises(error):
        fuse_to_file(*scene, out, resume=resume, progress=stop, **{**OPTIONS, **options})
    return finished(out)


def go_on(scene, out, **options):
    """Continue; returns the first pixels of the tiles that were computed."""
    computed = []
    tile = Run.tile

    def watched(self, row, col):
        computed.append((row * self.plan.tile, col * self.plan.tile))
        return tile(self, row, col)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "tile", watched)
        fuse_to_file(*scene, out, resume=True, **{**OPTIONS, **options})
    return computed


@pytest.fixture(scope="module")
def unbroken(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return {s: digest(fuse_to_file(*scene, folder / f"out.{s}", **OPTIONS)) for s in SUFFIXES}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_going_on_gives_the_same_bytes_and_computes_no_tile_twice(
    scene, unbroken, tmp_path, suffix
):
    out = tmp_path / f"out.{suffix}"
    done = begin(scene, out)
    assert len(done) == 5
    assert not out.exists()
    more = begin(scene, out, tiles=9)
    assert done < more
    computed = go_on(scene, out)
    assert len(computed) == TILES - 9
    assert not more.intersection(computed)
    assert digest(out) == unbroken[suffix]
    assert os.listdir(tmp_path) == [out.name]


def test_without_a_run_to_continue_it_starts_from_the_beginning(scene, unbroken, tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "out.zarr"
    assert len(go_on(scene, out)) == TILES
    assert "nothing to continue" in caplog.text
    assert digest(out) == unbroken["zarr"]


def test_a_run_that_has_finished_no_tile_leaves_nothing(scene, tmp_path):
    begin(scene, tmp_path / "out.tif", tiles=0)
    assert os.listdir(tmp_path) == []


def test_a_run_that_nobody_asked_to_keep_leaves_nothing(scene, tmp_path):
    begin(scene, tmp_path / "out.tif", resume=False)
    assert os.listdir(tmp_path) == []


def test_what_was_kept_is_discarded_only_when_told(scene, tmp_path):
    out = tmp_path / "out.zarr"
    done = begin(scene, out)
    with pytest.raises(ResumeError, match=r"5 tiles .*--resume .*--overwrite"):
        fuse_to_file(*scene, out, **OPTIONS)
    assert finished(out) == done
    fuse_to_file(*scene, out, overwrite=True, **OPTIONS)
    assert os.listdir(tmp_path) == [out.name]


def test_an_existing_result_stays_until_the_end(scene, unbroken, tmp_path):
    out = tmp_path / "out.zarr"
    fuse_to_file(*scene, out, method="bicubic")
    before = digest(out)
    begin(scene, out, overwrite=True)
    assert digest(out) == before
    with pytest.raises(OutputError, match="exists"):
        go_on(scene, out)
    go_on(scene, out, overwrite=True)
    assert digest(out) == unbroken["zarr"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "bicubic"}, "begun with method regression instead of bicubic:"),
        ({"tile": 48}, "begun with tile 32 instead of 48:"),
        ({"psf": "area"}, "begun with psf auto instead of area:"),
        ({"tile": 64, "overlap": 40}, "tile 32 instead of 64 and overlap "),
    ],
)
def test_other_options_are_named(scene, tmp_path, options, says):
    out = tmp_path / "out.tif"
    done = begin(scene, out)
    with pytest.raises(ResumeError, match=says):
        go_on(scene, out, **options)
    assert finished(out) == done


@pytest.mark.parametrize("which", [0, 1])
def test_one_other_pixel_is_noticed(scene, unbroken, tmp_path, which):
    out = tmp_path / "out.tif"
    begin(scene, out)
    changed = [image.copy(deep=True) for image in scene]
    changed[which]["image"][1, 10, 60 if which else 20] += 1
    with pytest.raises(ResumeError, match=f"other pixels in the {('HSI', 'MSI')[which]}:"):
        go_on(changed, out)
    # Names and chunks of the inputs do not matter.
    chunked = [image.copy().chunk(y=11) for image in scene]
    assert len(go_on(chunked, out)) == TILES - 5
    assert digest(out) == unbroken["tif"]


def test_another_seed_or_other_weights_are_named(scene, tmp_path):
    from emrdiff_geo.model.weights import load_model, save_weights
    from emrdiff_geo.weightfiles import digest as digest_of
    from emrdiff_geo.weightfiles import weights_path

    out = tmp_path / "out.zarr"
    network = {"method": "emrdiff", "tile": 64, "steps": 2, "device": "cpu", "self_check": False}
    begin(scene, out, tiles=1, **network)
    with pytest.raises(ResumeError, match="with seed 0 instead of 7:"):
        go_on(scene, out, seed=7, **network)
    shipped = weights_path("universal")
    model, config = load_model(str(shipped), digest_of(shipped), "cpu")
    state = {k: v * 1.001 if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_weights(tmp_path / "mine.safetensors", state, config)
    save_weights(tmp_path / "noisier.safetensors", model.state_dict(), replace(config, kappa=1.0))
    for name in ("mine", "noisier"):
        with pytest.raises(ResumeError, match="with other weights:"):
            go_on(scene, out, weights=str(tmp_path / f"{name}.safetensors"), **network)


def test_another_version_is_named(scene, tmp_path):
    out = tmp_path / "out.tif"
    begin(scene, out)
    journal = partial(out) / "journal"
    head, *rest = journal.read_text().splitlines(keepends=True)
    entry = json.loads(head)
    entry["fingerprint"]["numpy"] = "1.0"
    journal.write_text("".join([json.dumps(entry) + "\n", *rest]))
    with pytest.raises(ResumeError, match=r"numpy 1\.0 instead of"):
        go_on(scene, out)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_line_is_no_finished_tile(scene, unbroken, tmp_path, cut):
    out = tmp_path / "out.tif"
    done = begin(scene, out)
    journal = partial(out) / "journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert len(finished(out)) == 4
    # What is added next must not run into the torn line.
    more = begin(scene, out, tiles=6)
    assert len(more) == 6
    assert done < more
    assert len(go_on(scene, out)) == TILES - 6
    assert digest(out) == unbroken["tif"]


def test_a_journal_without_a_head_is_none(scene, unbroken, tmp_path):
    out = tmp_path / "out.tif"
    begin(scene, out)
    (partial(out) / "journal").write_text('{"version": 1, "finger')
    assert len(go_on(scene, out)) == TILES
    assert digest(out) == unbroken["tif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["truncated", "flipped", "gone", "not yet written"])
def test_a_damaged_chunk_is_computed_again(scene, unbroken, tmp_path, suffix, how):
    out = tmp_path / f"out.{suffix}"
    begin(scene, out)
    chunks = sorted(p for p in partial(out).rglob("c/0/*/*") if p.is_file())
    assert len(chunks) == 4  # that of the first tile holds no data and is no file
    data = chunks[1].read_bytes()
    if how == "truncated":
        chunks[1].write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        chunks[1].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "gone":
        chunks[1].unlink()
    else:
        # What a killed process leaves of a chunk that it was writing.
        (chunks[1].parent / "3.5f0c.partial").write_bytes(data[:100])
        (chunks[1].parents[1] / "2").mkdir()
        (chunks[1].parents[1] / "2" / "3").write_bytes(data)
    computed = go_on(scene, out)
    assert len(computed) == TILES - 5 + (how != "not yet written")
    assert digest(out) == unbroken[suffix]


def test_two_runs_cannot_write_to_one_result(scene, tmp_path):
    pytest.importorskip("fcntl")
    out = tmp_path / "out.tif"

    def second(event):
        if event.stage == "fuse" and event.done == 2:
            for resume in (True, False):
                with pytest.raises(OutputError, match="by another run"):
                    fuse_to_file(*scene, out, resume=resume, overwrite=True, **OPTIONS)

    fuse_to_file(*scene, out, progress=second, **OPTIONS)
    assert os.listdir(tmp_path) == [out.name]


class KillError(BaseException):
    pass


def killed(scene, out, step, **options):
    """A run that dies before one of the steps that move or remove something at its end."""
    steps = []

    def deadly(function):
        def call(*arguments, **options):
            steps.append(function)
            if len(steps) == step:
                raise KillError
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:

        def tell(event):
            if event.stage == "write" and not event.done:
                patch.setattr("os.replace", deadly(os.replace))
                patch.setattr("os.fsync", deadly(os.fsync))
                patch.setattr("shutil.rmtree", deadly(shutil.rmtree))
                patch.setattr(Claim, "discard", deadly(Claim.discard))

        # The dead clean up nothing; only the system takes their locks.
        patch.setattr(GatheringSink, "abort", lambda sink: sink._leave(discard=False))
        with pytest.raises(KillError):
            fuse_to_file(*scene, out, progress=tell, **OPTIONS, **options)


@pytest.mark.parametrize(
    ("suffix", "step"), [*(("tif", n) for n in range(1, 7)), ("zarr", 1), ("zarr", 2)]
)
def test_a_kill_while_the_result_is_put_together(scene, unbroken, tmp_path, suffix, step):
    out = tmp_path / f"out.{suffix}"
    killed(scene, out, step)
    if not out.exists():
        assert go_on(scene, out) == []
    assert digest(out) == unbroken[suffix]


@pytest.mark.parametrize("resume", [True, False])
def test_a_kill_in_the_middle_of_a_replacement_loses_nothing(scene, unbroken, tmp_path, resume):
    out = tmp_path / "out.zarr"
    fuse_to_file(*scene, out, method="bicubic")
    before = digest(out)
    killed(scene, out, 2, overwrite=True)
    assert not out.exists()
    with pytest.raises(OutputError, match="exists"):
        fuse_to_file(*scene, out, resume=resume, **OPTIONS)
    assert digest(out) == before
    assert go_on(scene, out, overwrite=True) == []
    assert digest(out) == unbroken["zarr"]
