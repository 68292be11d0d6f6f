"""Commands and options."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from . import values
from .context import BAD_INPUT, Context, one_line

_PSF = ("gaussian", "paper", "area")
_VARIANTS = ("universal", "published")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, instead of the whole usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        text = one_line(ValueError(message))
        print(f"emrdiff: {text} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        from .. import __version__

        print(f"emrdiff-geo {__version__}")
        raise SystemExit(0)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line; each command sets ``run`` to its function."""
    parser = _Parser(
        prog="emrdiff",
        description="Fuse hyperspectral and multispectral images with EMR-Diff.",
        epilog="Exit codes: 0 done, 2 bad input or usage, 130 cancelled, 1 anything else.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    _verbosity(parser, 0, False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in (
        _add_fuse,
        _add_batch,
        _add_simulate,
        _add_train,
        _add_adapt,
        _add_evaluate,
        _add_plan,
        _add_methods,
        _add_doctor,
        _add_demo,
    ):
        add(commands)
    return parser


def _verbosity(parser: argparse.ArgumentParser, verbose: object, quiet: object) -> None:
    # Before and after the command; there the default must not undo what stood before it.
    parser.add_argument(
        "-v", "--verbose", action="count", default=verbose, help="tell more; on errors, where"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=quiet, help="tell nothing but errors"
    )


def _command(
    commands: argparse._SubParsersAction, name: str, module: str, text: str, progress: bool = True
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    _verbosity(parser, argparse.SUPPRESS, argparse.SUPPRESS)
    parser.set_defaults(run=_lazy(module, name))
    if progress:
        parser.add_argument(
            "--progress",
            choices=("bar", "json", "none"),
            default="bar",
            help="bar (default; plain lines where there is no terminal), one JSON object a line "
            "on standard output, or none",
        )
        parser.add_argument(
            "--stop-on-eof",
            action="store_true",
            help="cancel when standard input ends: for programs that start this one",
        )
    return parser


def _lazy(module: str, name: str) -> Callable[[Context], int | None]:
    """Command that is imported when it runs."""

    def run(context: Context) -> int | None:
        from .. import __version__

        context.reporter.start(name, __version__)
        found = importlib.import_module(f".{module}", __package__)
        code: int | None = getattr(found, name)(context)
        return code

    return run


def _pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hsi", metavar="HSI", help="hyperspectral image: many bands, coarse pixels")
    parser.add_argument("msi", metavar="MSI", help="multispectral image: few bands, fine pixels")


def _overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def _wavelengths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wavelengths",
        type=values.span,
        metavar="FROM-TO",
        help="range in nm over which the bands are spread, for an HSI that names no wavelengths",
    )


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="where the network runs (auto)")


def _seed(
    parser: argparse.ArgumentParser, what: str = "of the noise: same seed, same bytes"
) -> None:
    parser.add_argument("--seed", type=values.not_negative, metavar="N", help=f"{what} (0)")


def _psf(parser: argparse.ArgumentParser, default: str = "gaussian") -> None:
    parser.add_argument(
        "--psf", choices=_PSF, help=f"how the HSI's pixels see the fine grid ({default})"
    )


def _ratio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ratio",
        type=values.two_or_more,
        metavar="R",
        help="pixel size of the HSI over that of the MSI (nearest whole number)",
    )


def _tiling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", metavar="NAME", help="see 'emrdiff methods' (emrdiff)")
    _ratio(parser)
    parser.add_argument(
        "--tile", type=values.positive, metavar="N", help="edge of a tile in pixels (256)"
    )
    parser.add_argument(
        "--overlap",
        type=values.not_negative,
        metavar="N",
        help="margin around a tile in pixels (as the method needs)",
    )
    _wavelengths(parser)


def _add_fuse(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "fuse", "fusing", "fuse a pair: the HSI's bands on the MSI's grid")
    _pair(parser)
    parser.add_argument(
        "out", metavar="OUT", help="result: .tif (cloud-optimised GeoTIFF) or .zarr"
    )
    _tiling(parser)
    parser.add_argument("--weights", metavar="NAME|PATH", help="of the network (universal)")
    parser.add_argument("--variant", choices=_VARIANTS, help="refuse weights of another variant")
    _device(parser)
    parser.add_argument(
        "--steps", type=values.two_or_more, metavar="N", help="of the diffusion (as trained)"
    )
    _seed(parser)
    _psf(parser)
    parser.add_argument(
        "--no-self-check",
        dest="self_check",
        action="store_const",
        const=False,
        help="keep all of the network's residual, without measuring on the pair how much helps",
    )
    parser.add_argument(
        "--coregister",
        action="store_const",
        const=True,
        help="correct a shift between the images by moving the HSI's grid",
    )
    parser.add_argument(
        "--force",
        action="store_const",
        const=True,
        help="fuse images that lie more than an HSI pixel off each other as they are",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run ended, and keep what is done if this one is",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS|threads",
        help="compute tiles by the workers of a dask cluster, or in threads (one after the other)",
    )
    _overwrite(parser)


def _add_batch(commands: argparse._SubParsersAction) -> None:
    text = "fuse the pairs of a manifest, one after the other"
    parser = _command(commands, "batch", "batching", text)
    parser.add_argument(
        "manifest",
        metavar="MANIFEST",
        help="CSV file with the columns hsi, msi, out and any option of fuse by its name; paths "
        "are relative to its folder",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="redo rows whose result exists already"
    )


def _add_plan(commands: argparse._SubParsersAction) -> None:
    text = "tell grids, ratio, tiles and memory of a fusion, from headers only"
    parser = _command(commands, "plan", "fusing", text, progress=False)
    _pair(parser)
    _tiling(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_simulate(commands: argparse._SubParsersAction) -> None:
    text = "make a pair and its reference from one HSI (Wald's protocol)"
    parser = _command(commands, "simulate", "scenes", text)
    parser.add_argument(
        "hsi", metavar="HSI", help="hyperspectral image, which becomes the reference"
    )
    parser.add_argument(
        "outdir", metavar="OUTDIR", help="folder for hsi.tif, msi.tif, reference.tif"
    )
    parser.add_argument(
        "--ratio", type=values.two_or_more, required=True, metavar="R", help="of the pixel sizes"
    )
    parser.add_argument(
        "--srf",
        required=True,
        metavar="NAME|CSV",
        help="spectral response of the MSI: a sensor such as sentinel2a, some of its bands as in "
        "sentinel2a:B02,B03, or a CSV file",
    )
    _psf(parser)
    parser.add_argument(
        "--snr-db",
        type=values.number,
        metavar="DB",
        help="add noise of this signal-to-noise ratio (none)",
    )
    _seed(parser, "of that noise")
    _wavelengths(parser)
    _overwrite(parser)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    text = "judge a fused image, by a reference or by the images it was made from"
    parser = _command(commands, "evaluate", "scenes", text)
    parser.add_argument("fused", metavar="FUSED", help="result of a fusion")
    parser.add_argument("--reference", metavar="REF", help="what it should be")
    parser.add_argument(
        "--ratio", type=values.positive_number, metavar="R", help="of the pixel sizes, for ERGAS"
    )
    parser.add_argument("--hsi", metavar="HSI", help="hyperspectral input")
    parser.add_argument("--msi", metavar="MSI", help="multispectral input")
    parser.add_argument(
        "--border",
        type=values.not_negative,
        default=0,
        metavar="N",
        help="pixels left out at each edge (0)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON instead of a table")
    parser.add_argument(
        "--figure",
        metavar="PNG",
        help="pictures, error map and spectra; replaces an existing picture",
    )


def _training(parser: argparse.ArgumentParser, minutes: str) -> None:
    parser.add_argument(
        "--max-minutes",
        type=values.positive_number,
        metavar="M",
        help=f"stop after this time ({minutes})",
    )
    parser.add_argument(
        "--steps", type=values.positive, metavar="N", help="optimiser steps (as the time allows)"
    )
    _seed(parser, "of the initialisation and the draws")
    _device(parser)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "train", "training", "train the network on simulated pairs of many HSIs"
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="hyperspectral images; PATH@400-2500 spreads the bands of one that names no "
        "wavelengths over that range in nm",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for weights, log and checkpoint"
    )
    parser.add_argument(
        "--variant",
        choices=_VARIANTS,
        default="universal",
        help="any sensor, or the paper's model for one sensor (universal)",
    )
    parser.add_argument(
        "--val",
        metavar="PATH",
        nargs="+",
        action="extend",
        help="images to validate on, never trained on",
    )
    _training(parser, "none")
    parser.add_argument("--resume", action="store_true", help="continue the run in DIR")
    parser.add_argument(
        "--width", type=values.positive, metavar="N", help="channels of the network"
    )
    parser.add_argument("--srf", metavar="NAME|CSV", help="spectral response of all pairs (drawn)")
    parser.add_argument(
        "--ratio", type=values.two_or_more, metavar="R", help="ratio of all pairs (drawn)"
    )
    _psf(parser, "drawn")
    _ablations(parser)


def _ablations(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("ablations of the paper, for --variant published")
    networks = ("baf-unet", "baf-unet-s", "af-unet", "b-unet", "unet")
    group.add_argument("--network", choices=networks, help="architecture")
    residuals = ("multimodal", "unimodal", "none")
    group.add_argument("--residual", choices=residuals, help="of the chain (multimodal)")
    group.add_argument("--noise", choices=("edge-aware", "pure"), help="of the chain (edge-aware)")
    group.add_argument(
        "--pseudo-bands",
        choices=("first", "last", "spread"),
        help="HSI bands that stand for the MSI in the state (first)",
    )
    group.add_argument(
        "--chain-steps", type=values.two_or_more, metavar="T", help="of the diffusion (5)"
    )


def _add_adapt(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "adapt", "training", "adapt weights to one pair, without a reference"
    )
    _pair(parser)
    parser.add_argument(
        "--out", required=True, metavar="WEIGHTS", help="file for the weights, .safetensors"
    )
    parser.add_argument("--weights", metavar="NAME|PATH", help="to begin with (universal)")
    _training(parser, "5")
    _ratio(parser)
    _psf(parser)
    _wavelengths(parser)
    _overwrite(parser)


def _add_methods(commands: argparse._SubParsersAction) -> None:
    text = "list fusion methods, weights and spectral responses"
    parser = _command(commands, "methods", "about", text, progress=False)
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    text = "check the installation and say what to do about it"
    parser = _command(commands, "doctor", "about", text, progress=False)
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_demo(commands: argparse._SubParsersAction) -> None:
    text = "fuse a real scene by all methods: table, figure and GeoTIFF in one folder"
    parser = _command(commands, "demo", "about", text)
    parser.add_argument("--out", metavar="DIR", default="demo-output", help="folder (demo-output)")
    parser.add_argument(
        "--max-minutes", type=values.positive_number, metavar="M", help="for the adaptation (1.5)"
    )
