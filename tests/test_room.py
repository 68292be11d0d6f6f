"""No process computes more tiles at once than its memory was promised for, whoever starts them."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scenes import pair
from sink_scene import digest

from emrdiff_geo.errors import InputError
from emrdiff_geo.fusion import fuse, fuse_to_file, plan_fusion
from emrdiff_geo.run.pipeline import Run
from emrdiff_geo.run.workers import own_torch_threads
from emrdiff_geo.system.room import Room

OPTIONS = {"method": "regression", "tile": 32}


class Crowd:
    """Counts who is inside at the same time."""

    def __init__(self):
        self.most = self.inside = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exception):
        with self._lock:
            self.inside -= 1


@pytest.fixture(scope="module")
def scene():
    return pair(96, 128, 4)[:2]


@pytest.fixture
def tiles(monkeypatch):
    """How many tiles are computed at the same time."""
    crowd, tile = Crowd(), Run.tile

    def watched(self, row, col):
        with crowd:
            time.sleep(0.02)
            return tile(self, row, col)

    monkeypatch.setattr(Run, "tile", watched)
    return crowd


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one process, this one, of more threads than there is memory for."""
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "threads_per_worker": 6, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def memory(scene):
    """Memory for two tiles at once."""
    alone = plan_fusion(*scene, scheduler="synchronous", memory="1GB", **OPTIONS).memory
    return alone.working + alone.tile + 120 * 2**20


def test_copies_of_a_room_are_one_room_and_others_are_not():
    room, crowd = Room(2), Crowd()

    def stay(copy):
        with pickle.loads(copy), crowd:
            time.sleep(0.02)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(stay, 6 * [pickle.dumps(room)]))
    assert crowd.most == 2
    with Room(1), Room(1), Room():
        pass


def test_what_fails_leaves_its_place():
    room = Room(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), room:
            raise ValueError("no")


def test_lazy_tiles_keep_to_the_memory(scene, tiles, memory):
    lazy = fuse(*scene, memory=memory, **OPTIONS)
    image = lazy["image"].data.compute(scheduler="threads", num_workers=6)
    assert 1 <= tiles.most <= 2
    alone = lazy["image"].data.compute(scheduler="synchronous")
    np.testing.assert_array_equal(image, alone)


def test_lazy_tiles_leave_torch_as_it_was(scene):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        lazy = fuse(*scene, tile=128, steps=2, device="cpu", self_check=False)
        lazy["image"].data.compute(scheduler="synchronous")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_tiles_side_by_side_leave_torch_as_it_was():
    torch = pytest.importorskip("torch")

    def of_a_new_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    def second():
        with own_torch_threads():
            inside.set()
            first_is_out.wait()

    before = torch.get_num_threads()
    inside, first_is_out = threading.Event(), threading.Event()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as pool:
            with own_torch_threads():
                torch.set_num_threads(1)
                other = pool.submit(second)
                inside.wait()
            first_is_out.set()
            other.result()
        assert torch.get_num_threads() == of_a_new_thread() == 3
    finally:
        torch.set_num_threads(before)


def test_workers_of_a_cluster_keep_to_the_memory(scene, tiles, memory, cluster, tmp_path):
    options = {**OPTIONS, "memory": memory}
    plan = plan_fusion(*scene, scheduler=cluster, **options)
    assert plan.memory.at_once == 2
    assert plan.memory.working <= memory
    out = fuse_to_file(*scene, tmp_path / "out.zarr", scheduler=cluster, **options)
    assert tiles.most == 2
    crowded = digest(out)
    alone = fuse_to_file(*scene, out, overwrite=True, scheduler="synchronous", **options)
    assert crowded == digest(alone)


@pytest.mark.parametrize("memory", ["300MB", "2GB"])
def test_the_tile_does_not_depend_on_who_computes_it(scene, cluster, memory):
    schedulers = "synchronous", "threads", cluster, cluster.scheduler_address
    plans = [
        plan_fusion(*scene, scheduler=scheduler, method="gaussian_process", memory=memory)
        for scheduler in schedulers
    ]
    assert {plan.fingerprint for plan in plans} == {plans[0].fingerprint}


@pytest.mark.parametrize("scheduler", [4, object(), ["threads"]])
def test_what_computes_no_tiles_is_one_sentence(scene, scheduler, tmp_path):
    with pytest.raises(InputError, match="computes no tiles: pass 'threads'"):
        fuse_to_file(*scene, tmp_path / "out.zarr", scheduler=scheduler, **OPTIONS)


def test_a_cluster_that_is_closed_is_one_sentence(scene):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as over:
        pass
    with pytest.raises(InputError, match="no dask scheduler answers at inproc"):
        plan_fusion(*scene, scheduler=over, **OPTIONS)
