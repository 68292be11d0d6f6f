"""Arguments of ``emrdiff train`` and ``adapt``."""

from __future__ import annotations

import argparse

from .. import values
from .common import (
    VARIANTS,
    agreeing,
    command,
    device,
    overwrite,
    pair,
    psf,
    psf_of_pair,
    ratio,
    seed,
    wavelengths,
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
    seed(parser, "of the initialisation and the draws")
    device(parser)


def add_train(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff train``."""
    parser = command(
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
        choices=VARIANTS,
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
    parser.add_argument("--init", metavar="NAME|PATH", help="weights to begin with (random)")
    parser.add_argument(
        "--width", type=values.positive, metavar="N", help="channels of the universal network"
    )
    parser.add_argument(
        "--library",
        metavar="SLI",
        help="ENVI spectral library: some scenes are composed of its materials (none)",
    )
    parser.add_argument(
        "--workers", type=values.positive, metavar="N", help="processes that prepare the pairs (1)"
    )
    parser.add_argument("--batch", type=values.positive, metavar="N", help="patches in a batch (4)")
    parser.add_argument(
        "--reuse",
        type=values.positive,
        metavar="N",
        help="how often a patch is used, turned and mirrored: more for a GPU (1)",
    )
    parser.add_argument(
        "--patch",
        type=values.positive,
        metavar="N",
        help="edge of a patch in pixels, a multiple of 16 (64; published: 128)",
    )
    parser.add_argument(
        "--learning-rate", type=values.positive_number, metavar="R", help="peak rate of AdamW"
    )
    parser.add_argument("--srf", metavar="NAME|CSV", help="spectral response of all pairs (drawn)")
    parser.add_argument(
        "--ratio", type=values.two_or_more, metavar="R", help="ratio of all pairs (drawn)"
    )
    psf(parser, "drawn")
    _ablations(parser)


def _ablations(parser: argparse.ArgumentParser) -> None:
    both = parser.add_argument_group("the network and its chain")
    networks = ("baf-unet", "baf-unet-s", "af-unet", "b-unet", "unet")
    both.add_argument("--network", choices=networks, help="architecture")
    both.add_argument("--noise", choices=("edge-aware", "pure"), help="of the chain (edge-aware)")
    both.add_argument(
        "--chain-steps",
        type=values.two_or_more,
        metavar="T",
        help="of the diffusion (2; published: 5)",
    )
    published = parser.add_argument_group("for --variant published alone")
    residuals = ("multimodal", "unimodal", "none")
    published.add_argument("--residual", choices=residuals, help="of the chain (multimodal)")
    published.add_argument(
        "--pseudo-bands",
        choices=("first", "last", "spread"),
        help="HSI bands that stand for the MSI in the state (first)",
    )


def add_adapt(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff adapt``."""
    parser = command(
        commands, "adapt", "training", "adapt weights to one pair, without a reference"
    )
    pair(parser)
    parser.add_argument(
        "--out", required=True, metavar="WEIGHTS", help="file for the weights, .safetensors"
    )
    parser.add_argument("--weights", metavar="NAME|PATH", help="to begin with (universal)")
    _training(parser, "5")
    ratio(parser)
    psf_of_pair(parser)
    agreeing(parser)
    wavelengths(parser)
    overwrite(parser)
