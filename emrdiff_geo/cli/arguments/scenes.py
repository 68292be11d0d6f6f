"""Arguments of ``emrdiff simulate`` and ``evaluate``."""

from __future__ import annotations

import argparse

from .. import values
from .common import command, overwrite, psf, psf_of_pair, seed, wavelengths


def add_simulate(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff simulate``."""
    text = "make a pair and its reference from one HSI (Wald's protocol)"
    parser = command(commands, "simulate", "scenes", text)
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
    psf(parser, "gaussian")
    parser.add_argument(
        "--snr-db",
        type=values.number,
        metavar="DB",
        help="add noise of this signal-to-noise ratio (none)",
    )
    seed(parser, "of that noise")
    wavelengths(parser)
    overwrite(parser)


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff evaluate``."""
    text = "judge a fused image, by a reference or by the images it was made from"
    parser = command(commands, "evaluate", "scenes", text)
    parser.add_argument("fused", metavar="FUSED", help="result of a fusion")
    parser.add_argument("--reference", metavar="REF", help="what it should be")
    parser.add_argument(
        "--ratio", type=values.positive_number, metavar="R", help="of the pixel sizes, for ERGAS"
    )
    parser.add_argument("--hsi", metavar="HSI", help="hyperspectral input")
    parser.add_argument("--msi", metavar="MSI", help="multispectral input")
    psf_of_pair(parser)
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
