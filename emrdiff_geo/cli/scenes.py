"""``emrdiff simulate`` and ``emrdiff evaluate``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import dask

from ..errors import InputError, OutputError
from ..evaluation.evaluate import evaluate as judge
from ..evaluation.simulation import PAIR_FILES, check_folder, write_pair
from ..evaluation.simulation import simulate as make_pair
from ..reading.readers import open_hsi, open_msi
from ..writing.output import check_no_input
from .context import Context
from .progress import print_table

_PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def simulate(context: Context) -> None:
    """Make a pair and its reference."""
    args, report = context.args, context.reporter
    for name in PAIR_FILES:
        check_no_input(Path(args.outdir) / name, args.hsi)
    check_folder(args.outdir, overwrite=args.overwrite)
    hsi = open_hsi(args.hsi)
    pair = make_pair(
        hsi,
        ratio=args.ratio,
        response=args.srf,
        snr_db=args.snr_db,
        wavelengths=args.wavelengths,
        progress=lambda done, total: report.progress("simulate", done, total),
        **context.given(("psf", "seed")),
    )
    report.progress("write", 0, 1)
    # One thread: none is left writing when the run is cancelled.
    with dask.config.set(scheduler="synchronous"):
        folder = write_pair(pair, args.outdir, overwrite=args.overwrite)
    report.progress("write", 1, 1)
    report.result(path=os.path.abspath(folder))


def evaluate(context: Context) -> None:
    """Compare a result with a reference, with its inputs, or with both."""
    args = context.args
    if args.reference is None and args.hsi is None:
        raise InputError("There is nothing to compare with: give --reference, or --hsi and --msi.")
    if args.figure:
        _check_figure(args.figure)
    # Whatever its number of bands: only a pair has to consist of an HSI and an MSI.
    fused, reference, hsi, msi = (
        None if path is None else open_msi(path)
        for path in (args.fused, args.reference, args.hsi, args.msi)
    )
    context.reporter.progress("evaluate", 0, 1)
    options = {"ratio": args.ratio, "border": args.border, **context.given(("psf",))}
    found = judge(fused, reference, hsi=hsi, msi=msi, **options)
    context.reporter.progress("evaluate", 1, 1)
    fields: dict[str, object] = {}
    if args.figure:
        from ..evaluation.report import evaluation_figure, save_figure

        figure = evaluation_figure(
            fused, reference, hsi=hsi, msi=msi, evaluation=found, ratio=args.ratio
        )
        fields["path"] = os.path.abspath(save_figure(figure, args.figure))
    context.reporter.close()
    if args.progress != "json":
        if args.json:
            print(found.to_json())
        else:
            print_table(found.table())
    context.reporter.result(**fields, report=found.to_dict())


def _check_figure(name: str) -> None:
    path = Path(name)
    if path.suffix.lower() not in _PICTURES:
        raise OutputError(f"{name} is no picture: end its name in one of {', '.join(_PICTURES)}.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist: create it first.")
    if find_spec("matplotlib") is None:
        raise InputError(
            "A figure needs the package matplotlib: pip install 'emrdiff-geo[figures]'."
        )
