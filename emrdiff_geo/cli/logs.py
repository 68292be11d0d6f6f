"""Log records, to the person or the program that watches the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .progress import Reporter


class _ToReporter(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self.reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.reporter.message(record.levelname.lower(), self.format(record))
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)


@contextmanager
def log_to(reporter: Reporter, verbose: int, quiet: bool) -> Iterator[None]:
    """Send the library's notes to a reporter; with -vv also those of other libraries."""
    ours = logging.getLogger("emrdiff_geo")
    others = logging.getLogger()
    handler = _ToReporter(reporter)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [others] if verbose > 1 else [ours]
    before = [(logger, logger.level) for logger in (ours, others)]
    ours.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    if verbose > 1:
        others.setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        for logger, level in before:
            logger.setLevel(level)
