"""What several commands share: how one is added, and options of the same meaning."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from .. import values
from ..context import Context

VARIANTS = ("universal", "published")
_COMMANDS = __package__.rpartition(".")[0]
_PSF = ("gaussian", "paper", "area")


def verbosity(parser: argparse.ArgumentParser, verbose: object, quiet: object) -> None:
    """Add ``-v`` and ``-q``."""
    # Before and after the command; there the default must not undo what stood before it.
    parser.add_argument(
        "-v", "--verbose", action="count", default=verbose, help="tell more; on errors, where"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=quiet, help="tell nothing but errors"
    )


def command(
    commands: argparse._SubParsersAction, name: str, module: str, text: str, progress: bool = True
) -> argparse.ArgumentParser:
    """Add a command, run by the function of its name in a module of `emrdiff_geo.cli`."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    verbosity(parser, argparse.SUPPRESS, argparse.SUPPRESS)
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
        from ... import __version__

        context.reporter.start(name, __version__)
        found = importlib.import_module(f".{module}", _COMMANDS)
        code: int | None = getattr(found, name)(context)
        return code

    return run


def pair(parser: argparse.ArgumentParser) -> None:
    """Add HSI and MSI."""
    parser.add_argument("hsi", metavar="HSI", help="hyperspectral image: many bands, coarse pixels")
    parser.add_argument("msi", metavar="MSI", help="multispectral image: few bands, fine pixels")


def overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def wavelengths(parser: argparse.ArgumentParser) -> None:
    """Add ``--wavelengths``."""
    parser.add_argument(
        "--wavelengths",
        type=values.span,
        metavar="FROM-TO",
        help="range in nm over which the bands are spread, for an HSI that names no wavelengths",
    )


def device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="where the network runs (auto)")


def seed(
    parser: argparse.ArgumentParser, what: str = "of the noise: same seed, same bytes"
) -> None:
    """Add ``--seed``; `what` says of what."""
    parser.add_argument("--seed", type=values.not_negative, metavar="N", help=f"{what} (0)")


def psf(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--psf`` where there is no pair to measure it on."""
    _add_psf(parser, _PSF, default)


def psf_of_pair(parser: argparse.ArgumentParser) -> None:
    """Add ``--psf`` where there is a pair to measure it on."""
    _add_psf(parser, ("auto", *_PSF), "auto: measured on the pair")


def _add_psf(parser: argparse.ArgumentParser, choices: tuple[str, ...], default: str) -> None:
    parser.add_argument(
        "--psf", choices=choices, help=f"how the HSI's pixels see the fine grid ({default})"
    )


def ratio(parser: argparse.ArgumentParser) -> None:
    """Add ``--ratio``."""
    parser.add_argument(
        "--ratio",
        type=values.two_or_more,
        metavar="R",
        help="pixel size of the HSI over that of the MSI (nearest whole number)",
    )


def agreeing(parser: argparse.ArgumentParser) -> None:
    """Add what is done where the images of a pair do not agree."""
    parser.add_argument(
        "--no-normalise",
        dest="normalise",
        action="store_const",
        const=False,
        help="leave both images as they are where coarse bands, clouds, displacements, haze, gamma "
        "or noise make them differ",
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
        help="take images that lie more than an HSI pixel off each other as they are",
    )
