"""Running the command line from outside, and watching it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

_INTERVAL_S = 0.1


@dataclass
class Watched:
    """What was seen of a run.

    Attributes
    ----------
    seconds : dict
        Time by stage.
    peak : dict
        Largest resident memory of all its processes by stage, bytes; sampled.
    largest : int
        Largest resident memory of the run: the sum of its processes' own peaks as the system
        keeps them, so that no short one is missed.
    events : list of dict
        Lines of ``--progress json``.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    largest: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(self.seconds.values())


def emrdiff(*words: object) -> list[str]:
    """Command line of ``emrdiff``."""
    return [sys.executable, "-m", "emrdiff_geo", *map(str, words)]


def watch(*words: object) -> Watched:
    """Run ``emrdiff`` and watch time and memory of its whole process tree by stage."""
    seen, stage = Watched(), ["start"]
    command = emrdiff(*words, "--progress", "json")
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    over = threading.Event()
    watcher = threading.Thread(target=_sample, args=(process, seen, stage, over))
    watcher.start()
    for line in process.stdout:
        event = json.loads(line)
        seen.events.append(event)
        if event["event"] == "progress":
            stage[0] = event["stage"]
    over.set()
    watcher.join()
    if process.wait() != 0:
        raise SystemExit(f"emrdiff failed: {seen.events[-1]}")
    return seen


def _sample(
    process: psutil.Process, seen: Watched, stage: list[str], over: threading.Event
) -> None:
    before = time.perf_counter()
    while not over.wait(_INTERVAL_S):
        try:
            family = [process, *process.children(recursive=True)]
            used = sum(_memory(member.pid, "VmRSS") for member in family)
            seen.largest = max(seen.largest, sum(_memory(m.pid, "VmHWM") for m in family))
        except (psutil.Error, OSError):
            continue
        now = time.perf_counter()
        name = stage[0]
        seen.peak[name] = max(seen.peak.get(name, 0), used)
        seen.seconds[name] = seen.seconds.get(name, 0.0) + now - before
        before = now


def _memory(process: int, name: str) -> int:
    """Resident memory of a process, now or at its peak (Linux); 0 once it has ended."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def plan(*words: object) -> dict[str, Any]:
    """Output of ``emrdiff plan --json``."""
    done = subprocess.run(emrdiff("plan", *words, "--json"), capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def digest(path: Path) -> str:
    """Digest of a file, or of all files of a folder with their names."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(file.relative_to(path).as_posix().encode())
            with open(file, "rb") as stream:
                while data := stream.read(2**20):
                    total.update(data)
    return total.hexdigest()[:16]


def table(rows: list[dict[str, object]]) -> str:
    """Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[n]) for n in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
