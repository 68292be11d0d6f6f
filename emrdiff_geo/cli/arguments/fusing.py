"""Arguments of ``emrdiff fuse``, ``batch`` and ``plan``."""

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
    psf_of_pair,
    ratio,
    seed,
    wavelengths,
)


def _tiling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", metavar="NAME", help="see 'emrdiff methods' (emrdiff)")
    ratio(parser)
    parser.add_argument(
        "--tile", type=values.positive, metavar="N", help="edge of a tile in pixels (256)"
    )
    parser.add_argument(
        "--memory",
        type=values.memory,
        metavar="SIZE",
        help="what may be allocated beyond interpreter, libraries and model, such as 2GB: tiles "
        "and threads follow from it",
    )
    parser.add_argument(
        "--dask",
        metavar="threads|synchronous|ADDRESS",
        help="where tiles are computed: in threads, one after the other, or by the workers of a "
        "dask cluster (threads)",
    )
    parser.add_argument(
        "--overlap",
        type=values.not_negative,
        metavar="N",
        help="margin around a tile in pixels (as the method needs)",
    )
    wavelengths(parser)


def _network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="NAME|PATH", help="of the network (universal)")
    parser.add_argument("--variant", choices=VARIANTS, help="refuse weights of another variant")
    device(parser)
    parser.add_argument(
        "--steps", type=values.two_or_more, metavar="N", help="of the diffusion (as trained)"
    )
    seed(parser)
    _sampling(parser)
    psf_of_pair(parser)
    parser.add_argument(
        "--no-self-check",
        dest="self_check",
        action="store_const",
        const=False,
        help="keep all of the network's residual, without measuring on the pair how much helps",
    )
    parser.add_argument(
        "--fill-gaps",
        action="store_const",
        const=True,
        help="estimate what single bands of the HSI lack from its other bands",
    )


def _stored(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype", choices=("float32", "int16"), help="of the stored values (float32)"
    )
    parser.add_argument(
        "--scale",
        type=values.positive_number,
        metavar="X",
        help="for int16: value = stored * scale + offset; 0.0001 for reflectance from 0 to 1",
    )
    parser.add_argument("--offset", type=values.number, metavar="X", help="for int16 (0)")


def add_fuse(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff fuse``."""
    parser = command(commands, "fuse", "fusing", "fuse a pair: the HSI's bands on the MSI's grid")
    pair(parser)
    parser.add_argument(
        "out", metavar="OUT", help="result: .tif (cloud-optimised GeoTIFF) or .zarr"
    )
    _tiling(parser)
    _network(parser)
    agreeing(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run ended, and keep what is done if this one is",
    )
    _stored(parser)
    overwrite(parser)


def _sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples",
        type=values.positive,
        metavar="N",
        help="run the diffusion N times, each with noise of its own, for the mean (1)",
    )
    parser.add_argument(
        "--uncertainty",
        metavar="OUT",
        help="write the standard deviation of the error, per pixel and band, to a second .tif or "
        ".zarr; with --samples 4 or more",
    )


def add_batch(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff batch``."""
    text = "fuse the pairs of a manifest, one after the other"
    parser = command(commands, "batch", "batching", text)
    parser.add_argument(
        "manifest",
        metavar="MANIFEST",
        help="CSV file with the columns hsi, msi, out and any option of fuse by its name; paths "
        "are relative to its folder",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="redo rows whose result exists already"
    )


def add_plan(commands: argparse._SubParsersAction) -> None:
    """Add ``emrdiff plan``."""
    text = "tell grids, ratio, tiles, memory and disk of a fusion, from headers only"
    parser = command(commands, "plan", "planning", text, progress=False)
    pair(parser)
    _tiling(parser)
    _network(parser)
    agreeing(parser)
    _stored(parser)
    parser.add_argument(
        "--calibrate", action="store_true", help="fuse one tile, and estimate the time from it"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
