"""Designs of the universal variant, each trained for the same few steps from the same seed.

    python -m benchmarks.designs SHARED_DATA [--steps 500] [--only ROW ...] [--out designs.csv]

SHARED_DATA is the folder with `cave` and `bench` scenes. Measured are three random pairs of each of
five scenes of the training list that are held out; scenes for validation are not touched. PSNR is
that of the whole result, so that rows with another prior can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from emrdiff_geo.degradation.degrade import bicubic_up
from emrdiff_geo.methods.local_regression import fuse_local_regression
from emrdiff_geo.methods.options import WHOLE, MethodOptions, Place
from emrdiff_geo.methods.regression import fuse_regression
from emrdiff_geo.scene.focus import SHARP, Focus
from emrdiff_geo.spectra.nodes import NODES_NM, NodeBasis, node_indices
from emrdiff_geo.training import train
from emrdiff_geo.training.focus import fit_focus
from emrdiff_geo.training.train import _model_config
from emrdiff_geo.training.trainer import TrainConfig
from emrdiff_geo.training.validate import validation_pairs

from .ablations import scenes as cave_scenes

STATE, DRAWS, TRAIN, BLOCKS = (
    f"emrdiff_geo.{module}"
    for module in ("methods.state", "training.draws", "training.train", "model.blocks")
)
BENCH = ("airport-1", "airport-2", "airport-3", "urban-1", "urban-2", "urban-4", "urban-5")
HELD = ("hydice", "abu-beach-3", "abu-airport-4")

Change = tuple[dict[str, object], dict[str, object]]


def _prior(fuse) -> dict[str, object]:
    """A classical method where the Gaussian process stands."""

    def explained(lr, hr, statistics, origin, part):
        return fuse(lr, hr, statistics, MethodOptions(), Place(origin, part))

    return {f"{STATE}.posterior_mean": explained}


def _bicubic(lr, hr, statistics, options, place):
    return place.cut(bicubic_up(lr, statistics.ratio), WHOLE)


def _no_filter(statistics, shape: tuple[int, ...]):
    whole = tuple(np.zeros((n * statistics.ratio,) * 2, np.float32) for n in shape)
    return (whole,)


def _on_nodes(nodes: tuple[float, ...]) -> dict[str, object]:
    """Other wavelength nodes everywhere."""

    def basis(statistics):
        return NodeBasis.of(statistics.wavelength_nm, statistics.fwhm_nm, nodes)

    found = partial(node_indices, nodes_nm=nodes)
    return {
        f"{STATE}.NODES_NM": nodes,
        f"{TRAIN}.NODES_NM": nodes,
        f"{STATE}.node_basis": basis,
        f"{STATE}.node_indices": found,
        f"{DRAWS}.node_indices": found,
    }


def _network(**changes: object) -> dict[str, object]:
    """Another network, beyond what `train` offers."""

    def model_config(*args):
        config = _model_config(*args)
        return replace(config, network=replace(config.network, **changes))

    return {f"{TRAIN}._model_config": model_config}


#: Edge of the windows over which `_pooled_in_windows` takes means, in pixels of each level.
POOLED = 16


def _pooled_in_windows(gate, a, b):
    """`BranchGate.forward` with weights of its own for every window."""
    means = torch.cat([functional.avg_pool2d(x, POOLED, ceil_mode=True) for x in (a, b)], dim=1)
    weight = gate.linear(means.permute(0, 2, 3, 1)).softmax(-1).permute(0, 3, 1, 2).to(a.dtype)
    weight = weight.repeat_interleave(POOLED, 2).repeat_interleave(POOLED, 3)
    weight = weight[..., : a.shape[2], : a.shape[3]]
    return a * weight[:, 0:1] + b * weight[:, 1:2]


def _no_norm(channels: int) -> torch.nn.Module:
    return torch.nn.Identity()


def _over_the_image(channels: int) -> torch.nn.Module:
    """Every channel by its own mean and variance over the tile."""
    return torch.nn.InstanceNorm2d(channels, affine=True)


_BETWEEN = tuple((a + b) / 2 for a, b in itertools.pairwise(NODES_NM))

#: Row: options of `train`, and what is exchanged inside the package.
ROWS: dict[str, Change] = {
    "as shipped": ({}, {}),
    "prior: local regression": ({}, _prior(fuse_local_regression)),
    "prior: global regression": ({}, _prior(fuse_regression)),
    "prior: bicubic, back-projected": ({}, _prior(_bicubic)),
    "no data consistency": ({}, {f"{STATE}._low_pass": _no_filter}),
    "no pseudo-MSI in the state": (
        {},
        {f"{STATE}.PSEUDO_MSI_NM": (), f"{DRAWS}.PSEUDO_MSI_NM": ()},
    ),
    "15 nodes, every second": ({}, _on_nodes(NODES_NM[::2])),
    "59 nodes, one more between any two": ({}, _on_nodes(tuple(sorted(NODES_NM + _BETWEEN)))),
    "MSGAB without pooling (BAF-UNet)": ({"network": "baf-unet"}, {}),
    "MSGAB pooled over the tile": ({"network": "baf-unet"}, _network(pool="tile")),
    "MSGAB pooled over windows": (
        {"network": "baf-unet"},
        {**_network(pool="tile"), f"{BLOCKS}.BranchGate.forward": _pooled_in_windows},
    ),
    "no norm": ({}, {f"{BLOCKS}.ChannelLayerNorm": _no_norm}),
    "norm over the image, not over channels": (
        {},
        {f"{BLOCKS}.ChannelLayerNorm": _over_the_image},
    ),
    "one encoder (UNet)": ({"network": "unet"}, {}),
    "width 16": ({"width": 16}, {}),
    "width 32": ({"width": 32}, {}),
    "5 levels": ({}, _network(levels=5, scales=(1, 2, 4, 8))),
    "bands equally sharp": ({}, {f"{TRAIN}.fit_focus": lambda *_: SHARP}),
    "noise: pure": ({"noise": "pure"}, {}),
    "noise: kappa = 2": ({}, {f"{TRAIN}.KAPPA": 2.0}),
    "T = 5": ({"chain_steps": 5}, {}),
    "T = 10": ({"chain_steps": 10}, {}),
    "loss: full size only": ({}, _network(scales=(1,))),
    "loss: top-left decimation": (
        {},
        {f"{TRAIN}.TrainConfig": partial(TrainConfig, alignment="topleft")},
    ),
}


def scenes(folder: Path) -> tuple[list[str], list[str]]:
    """Training and held-out scenes, with ranges of wavelengths."""
    data, held = cave_scenes(folder / "cave")
    data += [f"{folder}/bench/abu-{name}.npz@400-2500" for name in BENCH]
    data += [f"{folder}/bench/abu-beach-1.npz@430-860", f"{folder}/bench/sandiego.npz@400-2500"]
    return data, held + [f"{folder}/bench/{name}.npz@400-2500" for name in HELD]


_fitted: list[Focus] = []


def _fit_once(*args) -> Focus:
    """The cameras' focus, which is the same for all rows and takes a minute."""
    if not _fitted:
        _fitted.append(fit_focus(*args))
    return _fitted[0]


@contextlib.contextmanager
def exchanged(parts: dict[str, object]) -> Iterator[None]:
    """Put other parts in place for one row."""
    more: dict[str, Callable] = {
        f"{TRAIN}.validation_pairs": partial(validation_pairs, count=3),
        f"{TRAIN}.fit_focus": _fit_once,
    }
    with contextlib.ExitStack() as stack:
        for name, part in {**more, **parts}.items():
            stack.enter_context(mock.patch(name, part))
        yield


def main() -> None:
    """Train every row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("designs.csv"))
    options = parser.parse_args()
    data, held = scenes(options.folder)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["row", "psnr", "gain_over_prior", "steps", "seconds"])
        for row in options.only:
            choices, parts = ROWS[row]
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as folder, exchanged(parts):
                # No worker processes: they would not see what was exchanged.
                result = train(
                    data,
                    folder,
                    val=held,
                    steps=options.steps,
                    seed=options.seed,
                    workers=0,
                    **choices,
                )
            seconds = round(time.process_time() - begun)
            found = f"{result['psnr']:.3f}", f"{result['gain']:.3f}"
            table.writerow([row, *found, options.steps, seconds])
            file.flush()
            print(row, *found, f"{seconds} s", flush=True)


if __name__ == "__main__":
    main()
