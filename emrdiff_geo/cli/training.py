"""``emrdiff train`` and ``emrdiff adapt``."""

from __future__ import annotations

import os

from ..training import adapt as adapt_weights
from ..training import train as train_weights
from .context import Context
from .progress import for_steps

_BOTH = ("max_minutes", "steps", "seed", "device", "psf", "ratio")
_ABLATIONS = ("network", "residual", "noise", "pseudo_bands", "chain_steps")
_FEED = ("library", "workers", "batch", "reuse", "patch")
_TRAIN = (*_BOTH, *_FEED, "init", "val", "width", "learning_rate", "srf", *_ABLATIONS)
_ADAPT = (*_BOTH, "weights", "wavelengths", "coregister", "force", "normalise")


def train(context: Context) -> None:
    """Train on many scenes."""
    args = context.args
    found = train_weights(
        args.data,
        args.out,
        variant=args.variant,
        resume=args.resume,
        progress=for_steps(context.reporter, "train"),
        **context.given(_TRAIN),
    )
    context.reporter.result(path=os.path.abspath(found["weights"]), report=found)


def adapt(context: Context) -> None:
    """Adapt weights to one pair."""
    args = context.args
    found = adapt_weights(
        args.hsi,
        args.msi,
        args.out,
        overwrite=args.overwrite,
        progress=for_steps(context.reporter, "adapt"),
        **context.given(_ADAPT),
    )
    if not found["adapted"]:
        context.reporter.message(
            "warning", "adaptation did not help when rehearsed: the weights stay as they were"
        )
    context.reporter.result(path=os.path.abspath(args.out), report=found)
