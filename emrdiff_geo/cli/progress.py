"""How a run reports: a bar, plain lines, JSON lines, or nothing.

``--progress json`` writes one JSON object a line to standard output, each with ``version`` (1) and
``event``:

=========== =====================================================================================
event       fields
=========== =====================================================================================
start       ``command``, ``emrdiff`` (version of the program)
progress    ``stage`` (text), ``done``, ``total`` (units of that stage; total 0: not known yet),
            ``elapsed_s`` (since the start), ``message``; training adds ``loss`` and, when it was
            measured, ``psnr`` and ``gain`` in dB; fusing tiles adds ``memory_mb`` (resident, of
            this process, 10^6 bytes) and, from its first tile on, ``pixels_per_s`` (of the result)
            and ``remaining_s`` (of this stage)
row         a row of a batch: ``row`` (from 1), ``rows``, ``out``, ``status`` (started, and then
            done, skipped or failed), ``seconds``, ``message``; what comes between is that row's
message     ``level`` (debug, info, warning, error), ``message``
result      ``elapsed_s``, ``path`` of what was written, or ``report``; more by command
error       ``message``, ``code`` (the exit code); 130 is a cancelled run
=========== =====================================================================================

The last line is a result or an error. Readers have to ignore fields and events that they do not
know; a change that would break them raises ``version``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from ..system.json_values import plain
from ..system.process_memory import resident_bytes

VERSION = 1
_LEAST_INTERVAL_S = 0.1
_LINE_INTERVAL_S = 15.0
_TITLES = {
    "statistics": "measuring the scene",
    "sharpen": "sharpening MSI bands",
    "fuse": "fusing tiles",
    "write": "writing",
    "simulate": "degrading",
    "evaluate": "comparing",
    "train": "training",
    "adapt": "adapting",
    "demo": "demo",
}


class Reporter:
    """Tells nobody; the others build on it."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.begun = time.monotonic()

    def start(self, command: str, version: str) -> None:
        """A command begins."""

    def progress(
        self, stage: str, done: int, total: int, message: str = "", **numbers: float
    ) -> None:
        """`done` of `total` units of a stage are done; total 0: not known."""

    def message(self, level: str, text: str) -> None:
        """A note for the user."""
        self._print(text if level in ("info", "debug") else f"{level}: {text}")

    def row(
        self, number: int, total: int, out: str, status: str, seconds: float = 0, message: str = ""
    ) -> None:
        """A row of a batch has started, or was done, skipped or failed."""
        if not self.quiet or status == "failed":
            why = f": {message}" if message else ""
            took = f" in {seconds:.1f} s" if status == "done" else ""
            self._print(f"[{number}/{total}] {out} {status}{took}{why}")

    def result(self, **fields: Any) -> None:
        """The command has done what was asked."""
        if "path" in fields and not self.quiet:
            self._print(f"wrote {fields['path']} in {self.elapsed():.1f} s")

    def error(self, message: str, code: int) -> None:
        """The command ends without a result."""

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    def close(self) -> None:
        """Nothing more comes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class LineReporter(Reporter):
    """A line now and then, for logs and pipes."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet)
        self._stage = ""
        self._told = -math.inf

    def progress(
        self, stage: str, done: int, total: int, message: str = "", **numbers: float
    ) -> None:
        last = total > 0 and done >= total
        due = self.elapsed() - self._told >= _LINE_INTERVAL_S
        if stage == self._stage and not due and not last:
            return
        self._stage, self._told = stage, self.elapsed()
        count = f" {done}/{total}" if total > 1 else f" {done}" if done and not last else ""
        text = f"{_title(stage, message)}{count}{_numbers(numbers)}"
        if not (last and total <= 1):
            self._print(text)

    def row(
        self, number: int, total: int, out: str, status: str, seconds: float = 0, message: str = ""
    ) -> None:
        self._stage = ""  # the stages begin anew
        super().row(number, total, out, status, seconds, message)


class BarReporter(Reporter):
    """A bar for each stage."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def progress(
        self, stage: str, done: int, total: int, message: str = "", **numbers: float
    ) -> None:
        fields: dict[str, Any] = {"completed": done, "total": total or None}
        if message or stage not in self._tasks:
            fields["description"] = _title(stage, message)
        if numbers or stage not in self._tasks:
            fields["numbers"] = _numbers(numbers).strip()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(**fields)
        else:
            self._bars.update(self._tasks[stage], **fields)

    def row(
        self, number: int, total: int, out: str, status: str, seconds: float = 0, message: str = ""
    ) -> None:
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()
        super().row(number, total, out, status, seconds, message)

    def close(self) -> None:
        self._bars.stop()

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


class JsonReporter(Reporter):
    """JSON lines on standard output; see the module."""

    def __init__(self, quiet: bool = False, out: TextIO | None = None) -> None:
        super().__init__(quiet)
        self._out = out or sys.stdout
        self._told: tuple[str, float] = ("", -math.inf)

    def start(self, command: str, version: str) -> None:
        self._write("start", command=command, emrdiff=version)

    def progress(
        self, stage: str, done: int, total: int, message: str = "", **numbers: float
    ) -> None:
        now = self.elapsed()
        ends = total > 0 and done >= total
        recent = stage == self._told[0] and now - self._told[1] < _LEAST_INTERVAL_S
        if recent and not ends and not message and "psnr" not in numbers:
            return
        self._told = stage, now
        fields = {"done": done, "total": total, "elapsed_s": round(now, 3)}
        self._write("progress", stage=stage, **fields, message=message, **numbers)

    def message(self, level: str, text: str) -> None:
        self._write("message", level=level, message=text)

    def row(
        self, number: int, total: int, out: str, status: str, seconds: float = 0, message: str = ""
    ) -> None:
        fields = {"row": number, "rows": total, "out": out, "status": status}
        self._write("row", **fields, seconds=seconds, message=message)

    def result(self, **fields: Any) -> None:
        self._write("result", elapsed_s=round(self.elapsed(), 3), **fields)

    def error(self, message: str, code: int) -> None:
        self._write("error", message=message, code=code)

    def _write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"version": VERSION, "event": event, **plain(fields)}, allow_nan=False)
        print(line, file=self._out, flush=True)


def make_reporter(mode: str, quiet: bool = False) -> Reporter:
    """Reporter for a value of ``--progress``; a bar needs a terminal, else it is lines."""
    if mode == "json":
        return JsonReporter(quiet)
    if mode == "bar":
        return BarReporter(quiet) if sys.stderr.isatty() else LineReporter(quiet)
    return Reporter(quiet)


def for_events(reporter: Reporter) -> Callable[[Any], None]:
    """Progress callback of the fusion, which takes a `ProgressEvent`."""
    begun: dict[str, tuple[float, int]] = {}

    def tell(event: Any) -> None:
        now = time.monotonic()
        since, before = begun.setdefault(event.stage, (now, event.pixels))
        numbers: dict[str, float] = {}
        if event.pixels > before and now > since:
            rate = (event.pixels - before) / (now - since)
            numbers["pixels_per_s"] = round(rate)
            left = event.pixels * (event.total / event.done - 1)
            numbers["remaining_s"] = round(left / rate)
        if event.stage == "fuse":
            numbers["memory_mb"] = round(resident_bytes() / 1e6)
        reporter.progress(event.stage, event.done, event.total, event.message, **numbers)

    return tell


def for_steps(
    reporter: Reporter, stage: str
) -> Callable[[int, int, float, dict[str, float] | None], None]:
    """Progress callback of training: step, steps, loss, metrics or None."""

    def tell(step: int, total: int, loss: float, metrics: dict[str, float] | None) -> None:
        numbers: dict[str, Any] = {k: round(float(v), 3) for k, v in (metrics or {}).items()}
        reporter.progress(stage, step, total, loss=round(float(loss), 6), **numbers)

    return tell


def print_table(table: Any) -> None:
    """Print a `rich` table to standard output."""
    from rich.console import Console

    Console(file=sys.stdout).print(table)


def _title(stage: str, message: str) -> str:
    return message or _TITLES.get(stage, stage)


def _numbers(numbers: dict[str, float]) -> str:
    units = {"psnr": " dB", "gain": " dB"}
    forms = {
        "pixels_per_s": "{:,.0f} pixels/s",
        "remaining_s": "{:.0f} s left",
        "memory_mb": "{:.0f} MB",
    }
    texts = (forms.get(k, f"{k} {v:.4g}{units.get(k, '')}").format(v) for k, v in numbers.items())
    return "".join(f"  {text}" for text in texts)
