"""An interruption finds nothing half written, and leaves nothing behind, whenever it comes."""

import os
import signal
import threading
import time
from pkgutil import resolve_name

import pytest
from scenes import pair
from sink_scene import SHAPE, SUFFIXES, TILE, fill, make_image
from zarr.storage import LocalStore

from emrdiff_geo.errors import WriteError
from emrdiff_geo.fusion import fuse_to_file
from emrdiff_geo.run.workers import Threads
from emrdiff_geo.system.to_the_end import to_the_end
from emrdiff_geo.writing import claim
from emrdiff_geo.writing.claim import Claim
from emrdiff_geo.writing.sinks import open_sink

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="no signals to threads here"
)


@needs_signals
def test_a_call_is_over_before_its_interruption_is_heard_of():
    main, over = threading.main_thread().ident, []

    def call():
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)
        over.append(True)

    with pytest.raises(KeyboardInterrupt):
        to_the_end(call)
    assert over


def test_what_a_call_gives_and_raises_arrives():
    assert to_the_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        to_the_end(divmod, 7, 0)


@needs_signals
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("moment", range(6))
def test_a_run_that_is_stopped_while_zarr_writes_leaves_nothing(
    tmp_path, monkeypatch, suffix, moment
):
    main, sets = threading.main_thread().ident, []
    write = LocalStore.set

    async def late(store, key, value):
        sets.append(key)
        if len(sets) == moment + 1:
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.1)  # the thread of Zarr: whoever waits for it hears of the signal first
        await write(store, key, value)

    def run():
        with open_sink(tmp_path / f"out.{suffix}", SHAPE, chunks=TILE) as sink:
            fill(sink, make_image())

    monkeypatch.setattr(LocalStore, "set", late)
    with pytest.raises(KeyboardInterrupt):
        run()
    time.sleep(0.2)
    assert os.listdir(tmp_path) == []


@needs_signals
def test_whoever_insists_leaves_nothing_either(tmp_path, monkeypatch):
    main, sets, ends = threading.main_thread().ident, [], []
    write = LocalStore.set

    async def late(store, key, value):
        sets.append(key)
        for _ in range(2 if len(sets) == 2 else 0):
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.2)  # the second cuts short the waiting for this
        await write(store, key, value)
        ends.append(key)

    def run():
        with open_sink(tmp_path / "out.tif", SHAPE, chunks=TILE) as sink:
            fill(sink, make_image())

    monkeypatch.setattr(LocalStore, "set", late)
    with pytest.raises(KeyboardInterrupt):
        run()
    until = time.monotonic() + 20
    while time.monotonic() < until and (len(ends) < len(sets) or os.listdir(tmp_path)):
        time.sleep(0.05)
    assert os.listdir(tmp_path) == []


@needs_signals
@pytest.mark.parametrize("scheduler", ["synchronous", Threads(2)])
def test_a_tile_that_is_being_written_is_written_to_its_end(tmp_path, monkeypatch, scheduler):
    main, sets, ends = threading.main_thread().ident, [], []
    write = LocalStore.set

    async def late(store, key, value):
        sets.append(key)
        if len(sets) == 2:  # the first is the array's, the next are those of tiles
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.1)
        await write(store, key, value)
        ends.append((tmp_path / ".out.tif.partial").exists())

    monkeypatch.setattr(LocalStore, "set", late)
    with pytest.raises(KeyboardInterrupt):
        fuse_to_file(
            *pair(96, 128, 4)[:2],
            tmp_path / "out.tif",
            method="bicubic",
            tile=32,
            scheduler=scheduler,
        )
    time.sleep(0.2)
    assert len(ends) > 1
    assert all(ends)
    assert os.listdir(tmp_path) == []


@needs_signals
@pytest.mark.parametrize("name", ["_lock", "os.path.samestat"])
@pytest.mark.parametrize("held", [False, True])
def test_an_interrupted_claim_leaves_what_it_found(tmp_path, monkeypatch, name, held):
    if held:
        pytest.importorskip("fcntl")
    others = Claim(tmp_path / "out.tif") if held else None
    main = threading.main_thread().ident
    function = resolve_name(f"{claim.__name__}:{name}")

    def interrupted(*arguments):
        monkeypatch.undo()
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)
        return function(*arguments)

    monkeypatch.setattr(f"{claim.__name__}.{name}", interrupted)
    with pytest.raises((KeyboardInterrupt, WriteError)):
        Claim(tmp_path / "out.tif")
    if others is None:
        assert os.listdir(tmp_path) == []
    else:
        assert others.is_there()
        with pytest.raises(WriteError, match="by another run"):
            Claim(tmp_path / "out.tif")


def test_an_interrupted_discard_can_be_repeated(tmp_path, monkeypatch):
    held = Claim(tmp_path / "out.tif")
    (held.folder / "region").touch()

    def interrupted(path):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(claim, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        held.discard()
    held.discard()
    assert os.listdir(tmp_path) == []
