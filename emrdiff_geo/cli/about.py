"""``emrdiff methods``, ``emrdiff doctor`` and ``emrdiff demo``."""

from __future__ import annotations

import json
import os

from .context import DONE, FAILED, Context
from .progress import for_events, print_table


def methods(context: Context) -> None:
    """List what can be chosen by name."""
    from ..methods import METHODS
    from ..spectra.sensors import sensor_names
    from ..weightfiles import weights_names

    found = {
        "methods": {name: method.summary for name, method in METHODS.items()},
        "weights": weights_names(),
        "responses": list(sensor_names()),
    }
    if context.args.json:
        print(json.dumps(found, indent=2))
        return
    width = max(len(name) for name in METHODS)
    for name, method in METHODS.items():
        print(f"{name:{width}}  {method.summary}")
    print(f"\nweights (--weights): {', '.join(found['weights']) or 'none in this build'}")
    print(f"responses (--srf):   {', '.join(found['responses'])}")


def doctor(context: Context) -> int:
    """Check the installation."""
    from ..doctor import diagnose

    found = diagnose()
    print(json.dumps(found.to_dict(), indent=2) if context.args.json else found.text())
    return DONE if found.ok else FAILED


def demo(context: Context) -> None:
    """Run the demonstration."""
    from ..demo import closing_lines, run_demo, scores_table

    args = context.args
    minutes = {} if args.max_minutes is None else {"minutes": args.max_minutes}
    found = run_demo(args.out, progress=for_events(context.reporter), **minutes)
    context.reporter.close()
    if args.progress != "json":
        print_table(scores_table(found["scores"], found["best"]))
        print("\n".join(closing_lines(found)))
    context.reporter.result(path=os.path.abspath(args.out), report=found)
