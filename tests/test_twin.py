"""Image and uncertainty as two files of one run: they appear together and go on together."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from partial_runs import partial
from scenes import pair
from sink_scene import SUFFIXES, digest, read

from emrdiff_geo.errors import OutputError, ResumeError
from emrdiff_geo.fusion import UNCERTAINTY_NOTE, fuse_to_file
from emrdiff_geo.methods.uncertainty import TERMS
from emrdiff_geo.run.pipeline import Run
from emrdiff_geo.run.recorded import read_provenance
from emrdiff_geo.writing.claim import Claim
from emrdiff_geo.writing.gathering import GatheringSink

#: One tile after the other: where a run is broken off is counted.
OPTIONS = {"tile": 32, "samples": 2, "self_check": False, "device": "cpu"}
OPTIONS |= {"scheduler": "synchronous"}
TILES = 12


class InterruptionError(Exception):
    pass


@pytest.fixture(scope="module")
def scene():
    hsi, msi, _ = pair(96, 128, 4)
    # A corner without data: its tile has no chunk.
    msi["image"][:, :32, :32] = np.nan
    return hsi, msi


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Tiles without a network: where they go is what is tested here."""
    original = Run.tile

    def tile(self, row, col):
        plain = replace(self.options, uncertainty=False)
        image = original(replace(self, method="bicubic", options=plain), row, col)
        return np.concatenate([image, image / 100]) if self.options.uncertainty else image

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "tile", tile)
        yield


def paths(folder, suffix="tif"):
    return [folder / f"{name}.{suffix}" for name in ("out", "sigma")]


def write(scene, folder, suffix="tif", **options):
    out, sigma = paths(folder, suffix)
    fuse_to_file(*scene, out, uncertainty=sigma, **{**OPTIONS, **options})
    return out, sigma


def begin(scene, folder, suffix="tif", tiles=5, **options):
    """A run that fails after some tiles."""

    def stop(event):
        if event.stage == "fuse" and event.done == tiles:
            raise InterruptionError

    with pytest.raises(InterruptionError) as caught:
        write(scene, folder, suffix, progress=stop, **options)
    return caught.value


def go_on(scene, folder, suffix="tif", **options):
    """Continue; returns the number of tiles that were computed."""
    computed = []
    tile = Run.tile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "tile", lambda *a: computed.append(a) or tile(*a))
        write(scene, folder, suffix, resume=True, **options)
    return len(computed)


@pytest.fixture(scope="module")
def unbroken(scene, tmp_path_factory):
    found = {}
    for suffix in SUFFIXES:
        files = write(scene, tmp_path_factory.mktemp("unbroken"), suffix)
        found[suffix] = [digest(path) for path in files]
    return found


def names(folder):
    return sorted(os.listdir(folder))


def check(folder, suffix, unbroken):
    files = paths(folder, suffix)
    assert [digest(path) for path in files] == unbroken[suffix]
    assert names(folder) == [path.name for path in files]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_both_have_their_values_and_say_what_they_are(scene, tmp_path, suffix):
    out, sigma = write(scene, tmp_path, suffix)
    assert names(tmp_path) == [out.name, sigma.name]
    image, deviation = read(out), read(sigma)
    assert np.isnan(image[:, :32, :32]).all()
    np.testing.assert_allclose(deviation, image / 100, rtol=1e-6)
    made, beside = read_provenance(out), read_provenance(sigma)
    assert UNCERTAINTY_NOTE in beside.notes
    assert UNCERTAINTY_NOTE not in made.notes
    assert made.parameters == beside.parameters
    assert made.parameters["samples"] == 2
    assert len(made.parameters["calibration"]) == len(TERMS)


def test_one_may_be_a_geotiff_and_the_other_zarr(scene, tmp_path, unbroken):
    fuse_to_file(*scene, tmp_path / "out.tif", uncertainty=tmp_path / "sigma.zarr", **OPTIONS)
    assert digest(tmp_path / "out.tif") == unbroken["tif"][0]
    assert digest(tmp_path / "sigma.zarr") == unbroken["zarr"][1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_going_on_gives_the_same_bytes_and_computes_no_tile_twice(
    scene, unbroken, tmp_path, suffix
):
    error = begin(scene, tmp_path, suffix, resume=True)
    assert error.__notes__ == ["5 tiles are kept: run the same again to continue"]
    assert not any(path.exists() for path in paths(tmp_path, suffix))
    assert go_on(scene, tmp_path, suffix) == TILES - 5
    check(tmp_path, suffix, unbroken)


def test_a_run_that_nobody_asked_to_keep_leaves_nothing(scene, tmp_path):
    begin(scene, tmp_path)
    assert names(tmp_path) == []


def test_a_tile_is_finished_when_both_have_it(scene, unbroken, tmp_path):
    begin(scene, tmp_path, "zarr", resume=True)
    chunks = [c for c in partial(paths(tmp_path, "zarr")[1]).rglob("c/0/*/*") if c.is_file()]
    chunks[0].unlink()
    assert go_on(scene, tmp_path, "zarr") == TILES - 5 + 1
    check(tmp_path, "zarr", unbroken)


@pytest.mark.parametrize("lost", [0, 1])
def test_what_is_lost_of_one_is_computed_again(scene, unbroken, tmp_path, lost):
    killed(scene, tmp_path, "tif", 8)
    shutil.rmtree(partial(paths(tmp_path)[lost]))
    assert go_on(scene, tmp_path) == TILES
    check(tmp_path, "tif", unbroken)


def test_without_the_uncertainty_it_is_another_run(scene, tmp_path):
    begin(scene, tmp_path, resume=True)
    with pytest.raises(ResumeError, match="uncertainty True instead of False"):
        fuse_to_file(*scene, paths(tmp_path)[0], resume=True, **OPTIONS)


def test_what_is_there_is_not_replaced(scene, tmp_path, unbroken):
    out, sigma = paths(tmp_path)
    sigma.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        write(scene, tmp_path)
    assert sigma.read_bytes() == b"mine"
    begin(scene, tmp_path, overwrite=True)
    assert sigma.read_bytes() == b"mine"
    write(scene, tmp_path, overwrite=True)
    check(tmp_path, "tif", unbroken)
    out.unlink()
    with pytest.raises(OutputError, match="is the result itself"):
        fuse_to_file(*scene, out, uncertainty=tmp_path / "." / "out.tif", **OPTIONS)


class KillError(BaseException):
    pass


def killed(scene, folder, suffix, step, **options):
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
        patch.setattr("emrdiff_geo.writing.twin.remove", lambda path: None)
        with pytest.raises(KillError):
            write(scene, folder, suffix, progress=tell, **options)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("suffix", "step"),
    [*(("tif", n) for n in range(1, 13)), *(("zarr", n) for n in range(1, 5))],
)
def test_a_kill_while_the_results_are_put_together(
    scene, unbroken, tmp_path, suffix, step, overwrite
):
    out, _ = paths(tmp_path, suffix)
    if overwrite:
        write(scene, tmp_path, suffix, psf="area")
        before = digest(out)
    killed(scene, tmp_path, suffix, step, overwrite=overwrite)
    if (overwrite and out.exists() and digest(out) == before) or not out.exists():
        assert go_on(scene, tmp_path, suffix, overwrite=overwrite) == 0
    # The image comes last: where it is, all is.
    assert [digest(path) for path in paths(tmp_path, suffix)] == unbroken[suffix]


def test_when_the_image_cannot_appear_the_uncertainty_does_not_stay(scene, tmp_path, monkeypatch):
    from emrdiff_geo.writing.sinks import CogSink

    publish = CogSink._publish

    def fail(self):
        if self.path.name == "out.tif":
            raise OSError("no more")
        publish(self)

    monkeypatch.setattr(CogSink, "_publish", fail)
    with pytest.raises(OutputError, match=r"out\.tif"):
        write(scene, tmp_path)
    assert names(tmp_path) == []


def test_threads_give_the_same_bytes(scene, unbroken, tmp_path):
    write(scene, tmp_path, "zarr", scheduler="threads")
    check(tmp_path, "zarr", unbroken)
