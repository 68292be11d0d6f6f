"""How many tasks of a run a process works on at once, whoever starts them.

dask starts as many as it has threads; what the memory was promised for may be fewer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Condition
from uuid import uuid4

#: Tasks in work in this process, by the name of their room.
_IN_WORK: Counter[str] = Counter()
_LEFT = Condition()


@dataclass(frozen=True)
class Room:
    """Room for some tasks at once in every process that has it: a context that waits for a place.

    Picklable: what is counted stays in the process, and copies in one process are one room. Who
    waits has nothing in its hands that another could wait for.

    Parameters
    ----------
    places : int or None
        None: any number.
    name : str
        Tells rooms apart.
    """

    places: int | None = None
    name: str = field(default_factory=lambda: uuid4().hex)

    def __enter__(self) -> None:
        with _LEFT:
            if self.places is not None:
                places = self.places
                _LEFT.wait_for(lambda: _IN_WORK[self.name] < places)
            _IN_WORK[self.name] += 1

    def __exit__(self, *exception: object) -> None:
        with _LEFT:
            _IN_WORK[self.name] -= 1
            if not _IN_WORK[self.name]:
                del _IN_WORK[self.name]
            _LEFT.notify_all()
