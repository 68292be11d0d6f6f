import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrdiff_geo.writing.journal import Journal, Record, Seal, read_journal, seal


def test_a_journal_says_what_was_added(tmp_path):
    path = tmp_path / "journal"
    assert read_journal(path) is None
    fingerprint = {"seed": 0, "wavelengths": [400.0, 900.0]}
    journal = Journal(path, Record(fingerprint, keep=True))
    assert read_journal(path) == Record(fingerprint, True)
    journal.add((0, 64), Seal(10, 20))
    journal.add((64, 0), Seal())
    journal.close()
    journal.close()
    found = read_journal(path)
    assert found == journal.record
    assert found.tiles == {(0, 64): Seal(10, 20), (64, 0): Seal()}
    # Another one takes over what it is given.
    Journal(path, found).close()
    assert read_journal(path) == found


@given(st.data())
def test_whatever_is_cut_off_no_tile_is_made_up(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "journal"
    journal = Journal(path, Record({"seed": 0}))
    for number in range(4):
        journal.add((number * 1024, 0), Seal(1000 + number, number))
    journal.close()
    text = path.read_bytes()
    path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    found = read_journal(path)
    if found is not None:
        assert list(found.tiles.items()) == list(journal.record.tiles.items())[: len(found.tiles)]


def test_a_line_that_is_cut_off_does_not_swallow_the_next_one(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    journal = Journal(path, Record({"seed": 0}))
    journal.add((0, 0), Seal(1, 1))
    write, parts = os.write, [7]

    def full(file, data):
        if not parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: parts.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        journal.add((0, 64), Seal(2, 2))
    monkeypatch.undo()
    journal.add((64, 0), Seal(3, 3))
    journal.close()
    assert read_journal(path).tiles == {(0, 0): Seal(1, 1), (64, 0): Seal(3, 3)}
    assert journal.record.tiles == read_journal(path).tiles


def test_lines_of_something_else_are_ignored(tmp_path):
    path = tmp_path / "journal"
    Journal(path, Record({"seed": 0})).close()
    with open(path, "a") as file:
        file.write('[1, 2]\n{"at": [0]}\n{"at": "x", "size": 1, "crc32": 1}\n\\\n')
        file.write('{"at": [0, 1], "size": 1, "crc32": 2}\n')
    assert read_journal(path).tiles == {(0, 1): Seal(1, 2)}
    path.write_text('{"version": 99, "fingerprint": {}}\n')
    assert read_journal(path) is None


def test_a_seal_knows_size_content_and_absence(tmp_path):
    chunk = tmp_path / "chunk"
    assert seal(chunk) == Seal()
    chunk.write_bytes(b"abc")
    first = seal(chunk)
    assert first.size == 3
    chunk.write_bytes(b"abd")
    assert seal(chunk, durable=False) != first
