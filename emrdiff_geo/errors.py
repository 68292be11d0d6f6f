"""The exceptions of the library: each message is one sentence that names the cure."""

from __future__ import annotations

from collections.abc import Iterable


class EmrdiffError(Exception):
    """Base of every error that bad input or a failing environment can cause."""


class InputError(EmrdiffError):
    """A file or an array is missing, unreadable or not of the expected form."""


class GridError(EmrdiffError):
    """Two grids cannot be brought together: CRS, extent, resolution."""


class SpectralError(EmrdiffError):
    """Wavelengths or spectral responses are missing or do not fit together."""


class WeightsError(EmrdiffError):
    """A weights file is missing, damaged or made for another configuration."""


class MethodError(EmrdiffError):
    """A fusion method does not exist or cannot be used with the options given."""


class OutputError(EmrdiffError):
    """A result cannot be written where the user asked."""


class WriteError(OutputError):
    """Writing failed though the user asked for nothing wrong: the disk, the folder, another run."""


class ResumeError(OutputError):
    """An interrupted run cannot be continued as asked, or must not be discarded unasked."""


def named(what: str, numbers: Iterable[int]) -> str:
    """Number things in a sentence: ``"band 3"``, ``"bands 3, 5"``."""
    texts = [str(n) for n in numbers]
    return f"{what}{'' if len(texts) == 1 else 's'} {', '.join(texts)}"
