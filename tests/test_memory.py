"""Memory is projected from above, and a budget decides the tiles."""

import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import pair, reference_cube, simulated

from emrdiff_geo.alignment.wald import LARGEST
from emrdiff_geo.errors import InputError, MethodError
from emrdiff_geo.fusion import fuse_to_file, plan_fusion
from emrdiff_geo.grids.pair import pair_scenes
from emrdiff_geo.methods import METHODS, MethodOptions, Place
from emrdiff_geo.run.memory import THREAD, Case, fit, tile_bytes
from emrdiff_geo.run.workers import Threads
from emrdiff_geo.system.sizes import format_bytes, parse_bytes

MB = 10**6


@pytest.fixture(scope="module")
def scene():
    return pair(192, 256, 4)[:2]


def fitted(scene, budget, method="regression", **options):
    pair = pair_scenes(*scene)
    return fit(pair, Case.of(pair, method, MethodOptions()), budget, **options)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("800m", 800 * MB), ("4096", 4096), (7, 7)],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 GBit", "-1GB", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="such as 2GB"):
        parse_bytes(text)


@given(st.integers(1, 10**13))
def test_a_size_that_is_told_is_enough(size):
    assert size <= parse_bytes(format_bytes(size)) <= max(1.1 * size + 10**8, MB)


@pytest.mark.parametrize(
    "method", ["bicubic", "regression", "local_regression", "gaussian_process"]
)
@pytest.mark.parametrize(("bands", "ratio"), [(12, 4), (48, 8), (24, 2)])
def test_a_tile_stays_within_its_projection(method, bands, ratio):
    lr, hr, statistics = simulated(reference_cube(192, 192, bands), ratio)
    case = Case(bands, 4, ratio, False, (192, 192), method, MethodOptions())
    fuse = METHODS[method].fuse_tile
    fuse(lr, hr, statistics, MethodOptions(), Place())  # matrices that stay are made once
    tracemalloc.start()
    fuse(lr, hr, statistics, MethodOptions(), Place())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= tile_bytes(case, 192 * 192)
    # What does not grow with the tile is left out: a projection far too large would be no contract.
    grows = tile_bytes(case, 2 * 192 * 192) - tile_bytes(case, 192 * 192)
    assert 0.3 * grows < peak


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_tile_of_the_network_stays_within_its_projection():
    command = [sys.executable, "-m", "benchmarks.peaks", "--one", "emrdiff", "128", "24", "4", "8"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    peak, projected, _ = map(int, done.stdout.split())
    assert peak <= projected


@settings(max_examples=30, deadline=None)
@given(st.integers(120 * MB, 4000 * MB), st.integers(1, 8))
def test_what_fits_is_within_the_budget_and_more_memory_never_gives_less(scene, budget, threads):
    found = fitted(scene, budget, at_once=threads)
    assert found.projection.working <= budget
    assert found.at_once <= threads
    more = fitted(scene, 2 * budget, at_once=threads)
    assert more.tile >= found.tile


@settings(max_examples=20, deadline=None)
@given(st.integers(120 * MB, 4000 * MB), st.integers(2, 64))
def test_the_tile_does_not_depend_on_the_cores(scene, budget, cores):
    alone, many = (fitted(scene, budget, at_once=n) for n in (1, cores))
    assert many.tile == alone.tile
    assert many.at_once >= alone.at_once == 1


def test_the_self_check_does_not_depend_on_the_cores(scene):
    edges = {fitted(scene, None, at_once=n).check_edge for n in (1, 8)}
    assert edges == {LARGEST}


def test_without_a_budget_threads_take_a_part_of_the_machine(scene, monkeypatch):
    one = fitted(scene, None, tile=32).projection
    three = 3 * one.tile + 2 * THREAD
    monkeypatch.setattr("emrdiff_geo.run.memory.memory_bytes", lambda: 2 * three + MB)
    assert fitted(scene, None, tile=32, at_once=16).at_once == 3
    monkeypatch.setattr("emrdiff_geo.run.memory.memory_bytes", lambda: None)
    assert fitted(scene, None, tile=32, at_once=16).at_once == 1


def test_without_a_budget_nothing_is_refused(scene):
    assert fitted(scene, None).tile == 256
    assert fitted(scene, None, tile=5000).tile == 5000


def test_a_refusal_names_values_that_fit(scene):
    with pytest.raises(MethodError, match="this fusion cannot be done in 20MB") as refused:
        fitted(scene, 20 * MB)
    enough = parse_bytes(re.search(r"--memory ([\w.]+) or more", str(refused.value))[1])
    assert fitted(scene, enough).projection.working <= enough
    budget = 500 * MB
    with pytest.raises(MethodError, match="tiles of 4096 pixels need") as refused:
        fit_large(budget, tile=4096)
    tile, size = re.search(
        r"--tile (\d+) or less, or --memory ([\w.]+)", str(refused.value)
    ).groups()
    assert fit_large(budget, tile=int(tile)).tile == int(tile)
    assert fit_large(parse_bytes(size), tile=4096).tile == 4096


def fit_large(budget, **options):
    hsi, msi, _ = pair(32, 32, 4)
    large = pair_scenes(
        hsi.isel(x=np.zeros(512, int), y=np.zeros(512, int)).drop_vars(["x", "y", "spatial_ref"]),
        msi.isel(x=np.zeros(2048, int), y=np.zeros(2048, int)).drop_vars(["x", "y", "spatial_ref"]),
    )
    return fit(large, Case.of(large, "regression", MethodOptions()), budget, **options)


def test_threads_share_the_memory(scene):
    options = {"method": "regression", "memory": "1GB", "tile": 32}
    alone = plan_fusion(*scene, scheduler="synchronous", **options).memory
    shared = plan_fusion(*scene, scheduler=Threads(4), **options).memory
    assert (alone.at_once, shared.at_once) == (1, 4)
    assert shared.working <= parse_bytes("1GB")


def test_too_little_memory_is_refused_before_any_pixel_is_read(scene, tmp_path):
    events = []
    with pytest.raises(MethodError, match="pass --memory"):
        fuse_to_file(
            *scene, tmp_path / "o.tif", method="regression", memory="9MB", progress=events.append
        )
    assert [e.done for e in events] == [0]
    assert list(tmp_path.iterdir()) == []
