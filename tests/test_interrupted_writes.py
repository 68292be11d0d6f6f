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


@pytest.fixture
def interrupting(monkeypatch):
    """Let Zarr itself send the signals, before one of its writes; what it began and finished."""

    def patched(at, times=1, ended=lambda: None):
        main, begun, ends = threading.main_thread().ident, [], []
        write = LocalStore.set

        async def late(store, key, value):
            begun.append(key)
            for _ in range(times if len(begun) == at else 0):
                signal.pthread_kill(main, signal.SIGINT)
                # In the thread of Zarr: whoever waits for it hears of the signal first.
                time.sleep(0.2)
            await write(store, key, value)
            ends.append(ended())

        monkeypatch.setattr(LocalStore, "set", late)
        return begun, ends

    return patched


def write_all(out):
    with open_sink(out, SHAPE, chunks=TILE) as sink:
        fill(sink, make_image())


@needs_signals
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("moment", range(1, 7))
def test_a_run_that_is_stopped_while_zarr_writes_leaves_nothing(
    tmp_path, interrupting, suffix, moment
):
    interrupting(at=moment)
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path / f"out.{suffix}")
    time.sleep(0.2)
    assert os.listdir(tmp_path) == []


@needs_signals
def test_whoever_insists_leaves_nothing_either(tmp_path, interrupting):
    begun, ends = interrupting(at=2, times=2)  # the second cuts short the waiting
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path / "out.tif")
    until = time.monotonic() + 20
    while time.monotonic() < until and (len(ends) < len(begun) or os.listdir(tmp_path)):
        time.sleep(0.05)
    assert os.listdir(tmp_path) == []


@needs_signals
@pytest.mark.parametrize("scheduler", ["synchronous", Threads(2)])
def test_a_tile_that_is_being_written_is_written_to_its_end(tmp_path, interrupting, scheduler):
    # The first write is the array's, the next are those of tiles.
    _, ends = interrupting(at=2, ended=(tmp_path / ".out.tif.partial").exists)
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
