"""A program that takes the engine's place, and does what a test wants to see handled.

The script stands for the engine's Python: it is started as ``PYTHON -I -u -X utf8 -m emrdiff_geo
COMMAND ...`` and ignores all up to the command.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

_HEAD = """\
#!/usr/bin/python3
import json, os, shutil, signal, sys, threading, time

arguments = sys.argv[sys.argv.index("emrdiff_geo") + 1:]
positional = arguments[1:4]

def say(event, **fields):
    print(json.dumps({"version": 1, "event": event, **fields}), flush=True)

def progress(done, total, stage="fuse"):
    say("progress", stage=stage, done=done, total=total, elapsed_s=0.1, message="")

def succeed():
    if arguments[0] == "fuse":
        shutil.copy(positional[1], positional[2])
        if "--uncertainty" in arguments:
            shutil.copy(positional[1], arguments[arguments.index("--uncertainty") + 1])
    say("result", elapsed_s=1.0, path=positional[2])

def stop_at_end_of_input():
    def watch():
        while os.read(0, 4096):
            pass
        # First: where QGIS has died nobody listens any more.
        with open(LOG, "a") as log:
            log.write("stopped\\n")
        say("error", message="cancelled", code=130)
        os._exit(130)
    threading.Thread(target=watch, daemon=True).start()

LOG = __file__ + ".log"
with open(LOG, "a") as log:
    log.write(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}) + "\\n")
say("start", command=arguments[0], emrdiff="9.9.9")
"""

BEHAVIOURS = {
    "good": """
        progress(0, 1, "statistics")
        progress(1, 1, "statistics")
        say("message", level="info", message="a note")
        say("message", level="warning", message="a warning")
        say("news", of="a later version")
        print("a library prints", flush=True)
        print("and warns", file=sys.stderr, flush=True)
        for done in range(5):
            progress(done, 4)
        progress(1, 1, "write")
        succeed()
    """,
    "chatty": """
        for i in range(600):
            progress(i, 600)
            say("message", level="info", message=f"note {i}")
            time.sleep(0.004)
        succeed()
    """,
    "refuses": """
        say("error", message="The two images do not overlap: choose a pair of one place.", code=2)
        sys.exit(2)
    """,
    "usage": """
        print("emrdiff: unrecognized arguments: --memory 2GB", file=sys.stderr)
        sys.exit(2)
    """,
    "crashes": """
        for i in range(100):
            print(f"line {i} before the end", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    """,
    "gives_up": """
        sys.exit(7)
    """,
    "slow": """
        stop_at_end_of_input()
        progress(1, 100)
        time.sleep(60)
    """,
    "stubborn": """
        folder, name = os.path.split(positional[2])
        os.makedirs(os.path.join(folder, f".{name}.partial", "c"))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        progress(1, 100)
        time.sleep(60)
    """,
    "deaf": """
        os.close(1)
        time.sleep(1)
        sys.exit(3)
    """,
    "not_there": """
        print("/usr/bin/python3: No module named emrdiff_geo", file=sys.stderr)
        sys.exit(1)
    """,
}


def make(folder: Path, behaviour: str) -> Path:
    """Write the program; its log lies beside it."""
    path = folder / f"engine {behaviour} ü"  # a name that no shell may see
    path.write_text(_HEAD + textwrap.dedent(BEHAVIOURS[behaviour]), encoding="utf-8")
    path.chmod(0o755)
    return path


def log_of(engine: Path) -> str:
    """What a program noted when it was started, and when it stopped."""
    return Path(f"{engine}.log").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit("This is a part of the tests.")
