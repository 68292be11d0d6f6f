"""Tiles by other threads and processes: same bytes."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from cli_scenes import make_files, run
from partial_runs import finished
from scenes import pair
from sink_scene import SUFFIXES, digest

from emrdiff_geo.alignment.measuring import measure_pair
from emrdiff_geo.errors import ResumeError
from emrdiff_geo.fusion import fuse_to_file
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.run.workers import Threads, mapped
from emrdiff_geo.system.machine import cores

OPTIONS = {"method": "regression", "tile": 32}


@pytest.fixture(scope="module")
def scene():
    return pair(96, 128, 4)[:2]


@pytest.fixture(scope="module")
def unbroken(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    options = {**OPTIONS, "scheduler": "synchronous"}
    return {s: digest(fuse_to_file(*scene, folder / f"out.{s}", **options)) for s in SUFFIXES}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_by_threads(scene, unbroken, tmp_path, suffix):
    out = fuse_to_file(*scene, tmp_path / f"out.{suffix}", scheduler="threads", **OPTIONS)
    assert digest(out) == unbroken[suffix]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_by_two_processes(scene, unbroken, tmp_path, suffix, cluster):
    events = []
    out = tmp_path / f"out.{suffix}"
    fuse_to_file(*scene, out, scheduler=cluster, progress=events.append, **OPTIONS)
    assert digest(out) == unbroken[suffix]
    assert [e.done for e in events if e.stage == "fuse"] == list(range(13))


def test_one_small_task_a_tile(scene, tmp_path, cluster):
    seen = cluster.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.transition_log))
    fuse_to_file(*scene, tmp_path / "out.zarr", scheduler=cluster, **OPTIONS)

    def keys(dask_scheduler):
        log = list(dask_scheduler.transition_log)[seen:]
        return {str(entry[0]) for entry in log if entry[2] == "processing"}

    found = cluster.run_on_scheduler(keys)
    assert sum(key.startswith("_call") for key in found) == 12
    # What measures the scene before is tasks too, of some hundred pixels of the HSI.
    assert len(found) <= 2 * 12


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_the_scene_is_measured_the_same_by_any_workers(cluster, how):
    hsi, msi, _ = pair(288, 544, 4)
    scene = pair_scenes(hsi, msi)
    # Other light in the MSI: it is measured, and then the statistics once more.
    lit = msi["image"] * np.linspace(0.8, 1.2, msi.sizes["x"], dtype=np.float32)
    scene = pair_scenes(hsi, msi.assign(image=lit))
    here_pair, here = measure_pair(scene)
    workers = Threads(2) if how == "threads" else cluster
    there_pair, there = measure_pair(scene, over=mapped(workers))
    everything = slice(0, 288), slice(0, 544)
    corrected = here_pair.msi.read(*everything)
    np.testing.assert_array_equal(there_pair.msi.read(*everything), corrected)
    assert np.ptp(corrected / lit.values) > 0.2
    assert there.pixels == here.pixels
    for name in ("peak", "edge_range"):
        assert getattr(there.statistics, name) == getattr(here.statistics, name)
    for name in ("count", "mean", "scatter"):
        found = getattr(there.statistics.moments, name)
        np.testing.assert_array_equal(found, getattr(here.statistics.moments, name))


def test_the_network_gives_the_same_bytes_in_a_process_of_its_own(scene, tmp_path, cluster):
    network = {"method": "emrdiff", "tile": 64, "steps": 2, "device": "cpu", "self_check": False}
    here = fuse_to_file(*scene, tmp_path / "out.zarr", **network)
    first = digest(here)
    there = fuse_to_file(*scene, here, overwrite=True, scheduler=cluster, **network)
    assert digest(there) == first


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_a_run_that_is_stopped_goes_on_with_any_workers(scene, unbroken, tmp_path, cluster, how):
    scheduler = "threads" if how == "threads" else cluster
    out = tmp_path / "out.tif"

    def stop(event):
        if event.stage == "fuse" and event.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse_to_file(*scene, out, resume=True, scheduler=scheduler, progress=stop, **OPTIONS)
    # What threads had in hand is finished and counts.
    in_hand = cores() - 1 if how == "threads" else 0
    assert len(finished(out)) == min(5 + in_hand, 12)
    with pytest.raises(ResumeError):
        fuse_to_file(*scene, out, scheduler=scheduler, **OPTIONS)
    fuse_to_file(*scene, out, resume=True, **OPTIONS)
    assert digest(out) == unbroken["tif"]
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_worker_that_is_killed_is_replaced(scene, unbroken, tmp_path, cluster):
    before = cluster.run(os.getpid)

    def kill(event):
        if event.stage == "fuse" and event.done == 2:
            os.kill(next(iter(before.values())), signal.SIGKILL)

    out = fuse_to_file(*scene, tmp_path / "out.tif", scheduler=cluster, progress=kill, **OPTIONS)
    assert digest(out) == unbroken["tif"]
    cluster.wait_for_workers(2, timeout=30)
    assert set(cluster.run(os.getpid).values()) != set(before.values())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_an_interruption_ends_tiles_in_threads_too(scene, tmp_path, monkeypatch):
    from emrdiff_geo.run.pipeline import Run

    begun, over, ended = threading.Event(), threading.Event(), []

    def endless(self, row, col):
        try:
            while True:
                time.sleep(0.01)
                begun.set()
        except KeyboardInterrupt:
            ended.append((row, col))
            raise

    def interrupt():
        begun.wait(30)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        # One that strikes while garbage is collected is lost.
        while not over.wait(5) and not ended:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(Run, "tile", endless)
    helper = threading.Thread(target=interrupt)
    # What a shell starts in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            fuse_to_file(*scene, tmp_path / "out.tif", scheduler=Threads(2), **OPTIONS)
        over.set()
        helper.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended
    assert os.listdir(tmp_path) == []


def test_errors_of_tiles_arrive(scene, tmp_path, monkeypatch):
    from emrdiff_geo.run.pipeline import Run

    def fail(self, row, col):
        raise ValueError(f"tile {row}, {col} failed")

    monkeypatch.setattr(Run, "tile", fail)
    with pytest.raises(ValueError, match="tile 0, "):
        fuse_to_file(*scene, tmp_path / "out.tif", scheduler="threads", **OPTIONS)
    assert os.listdir(tmp_path) == []


def test_no_scheduler_is_one_sentence(tmp_path_factory, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("emrdiff_geo.run.workers._TIMEOUT_S", 0.5)
    files = make_files(tmp_path_factory.mktemp("files"))
    arguments = ["fuse", files["hsi"], files["msi"], tmp_path / "o.tif", "--method", "bicubic"]
    assert run(*arguments, "--dask", "tcp://127.0.0.1:9") == 2
    notes = capsys.readouterr().err
    assert "no dask scheduler answers at tcp://127.0.0.1:9" in notes
    assert os.listdir(tmp_path) == []
    assert run(*arguments, "--dask", "threads") == 0
