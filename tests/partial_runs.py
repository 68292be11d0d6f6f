"""What an unfinished run has left beside its result."""

from emrdiff_geo.writing.journal import read_journal


def partial(out):
    return out.parent / f".{out.name}.partial"


def finished(out):
    record = read_journal(partial(out) / "journal")
    return set() if record is None else set(record.tiles)
