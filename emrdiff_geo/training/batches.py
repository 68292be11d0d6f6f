"""Batches of patches from draws, out of a pool that is kept on the training device.

Simulating a pair costs a processor as much as hundreds of patches cost a GPU. So the patches of the
latest draws are kept on the device and dealt out several times, each time turned or mirrored. Which
patches a step sees depends on its number alone, never on how fast the draws come.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.util import Finalize

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import InputError
from .draws import Patches
from .trainer import Batch

#: Groups of draws that are kept where patches are reused.
KEPT = 48


class _From(Sampler):
    """Whole numbers from a start on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def _collate(draws: list[Patches]) -> Batch:
    fields = [asdict(d) for d in draws]
    return {k: torch.from_numpy(np.concatenate([f[k] for f in fields])) for k in fields[0]}


class _Pool:
    """The patches of the latest groups, on the device; a new group takes the oldest one's place."""

    def __init__(self, groups: int, size: int, device: str) -> None:
        self.groups, self.size, self.device = groups, size, device
        self.fields: Batch = {}
        self.filled = 0

    def put(self, number: int, patches: Batch) -> None:
        slot = number % self.groups * self.size
        for name, values in patches.items():
            if name not in self.fields:
                shape = (self.groups * self.size, *values.shape[1:])
                self.fields[name] = torch.empty(shape, dtype=values.dtype, device=self.device)
            self.fields[name][slot : slot + self.size].copy_(values, non_blocking=True)
        self.filled = min(self.filled + self.size, self.groups * self.size)

    def order(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of patches: all of them before any comes again."""
        rounds = -(-count // self.filled)
        return np.concatenate([rng.permutation(self.filled) for _ in range(rounds)])[:count]

    def take(self, chosen: np.ndarray) -> Batch:
        index = torch.from_numpy(chosen).to(self.device)
        return {name: _laid_out(values[index].float()) for name, values in self.fields.items()}


def batches(
    dataset: Dataset,
    step: int,
    *,
    batch: int = 4,
    draws: int = 8,
    workers: int = 1,
    device: str = "cpu",
    seed: int = 0,
    reuse: int = 1,
    turn: bool = False,
) -> Iterator[Batch]:
    """Endless batches from an optimiser step on.

    The patches of `draws` draws are shuffled together and dealt out in batches: drawing costs as
    much as several small steps, and the patches of one draw are too alike to make a batch.

    Parameters
    ----------
    dataset : Dataset
        Maps the number of a draw to its `Patches`.
    step : int
        First step; batches are numbered, so a resumed run sees what it would have seen.
    batch : int
        Patches in a batch, no more than the draws below give; what is left over is not dealt out.
    draws : int
        Draws that are shuffled together.
    workers : int
        Processes that prepare draws; 0 prepares them in this one.
    device : str
        Where the batches go.
    seed : int
        Of the shuffling and turning.
    reuse : int
        How often a patch is dealt out. More than once: the latest `KEPT` groups stay on the device,
        batches are mixed from all of them, and every batch is turned or mirrored.
    turn : bool
        Whether batches are turned or mirrored where patches are not reused.

    Raises
    ------
    InputError
        If a batch needs more patches than there are.
    """
    size = len(dataset[0].weight) * draws
    per_group = reuse * size // batch
    if not per_group:
        raise InputError(
            f"a batch of {batch} patches is more than the {reuse * size} that {draws} draws give: "
            "use a smaller batch"
        )
    group, skip = divmod(step, per_group)
    pool = _Pool(KEPT if reuse > 1 else 1, size, device)
    first = max(0, group - pool.groups + 1)
    for number, patches in enumerate(_loader(dataset, first, draws, workers, device), start=first):
        pool.put(number, patches)
        if number < group:
            continue
        rng = np.random.default_rng((seed, number))
        order = pool.order(per_group * batch, rng).reshape(per_group, batch)
        ways = 8 if turn or reuse > 1 else 1
        turns = rng.integers(ways, size=per_group)
        for chosen, way in zip(order[skip:], turns[skip:], strict=True):
            yield turned(pool.take(chosen), int(way))
        skip = 0


def _loader(dataset: Dataset, first: int, draws: int, workers: int, device: str) -> DataLoader:
    """Groups of draws, from a group on."""
    return DataLoader(
        dataset,
        batch_size=draws,
        sampler=_From(first * draws),
        collate_fn=_collate,
        num_workers=workers,
        # A forked child of a process that runs torch threads can hang.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_leave_at_once,
        pin_memory=device != "cpu",
    )


def turned(batch: Batch, turn: int) -> Batch:
    """A batch mirrored along y (1), along x (2) and across the diagonal (4), in this order.

    The low-pass filters along y and x are turned with the images: a filtered image that is turned
    is the turned image filtered.
    """
    if not turn:
        return batch
    flips, across = [-2] * (turn & 1) + [-1] * (turn >> 1 & 1), bool(turn & 4)
    result = dict(batch)
    for name, values in batch.items():
        if values.dim() == 4 and name != "low_pass":
            values = values.flip(flips)
            result[name] = _laid_out(values.transpose(-1, -2) if across else values)
    filters = [batch["low_pass"][:, axis] for axis in (0, 1)]
    along = [f.flip((-2, -1)) if axis - 2 in flips else f for axis, f in enumerate(filters)]
    result["low_pass"] = torch.stack(along[::-1] if across else along, dim=1)
    return result


def _laid_out(value: Tensor) -> Tensor:
    if value.dim() == 4 and value.shape[1] > 2:
        return value.contiguous(memory_format=torch.channels_last)
    return value


def _leave_at_once(worker: int) -> None:
    """End a worker without running the destructors of its libraries.

    One of them destroys a thread that still runs, which prints "terminate called without an active
    exception" over the user's progress; a worker holds nothing that has to be put in order.
    """
    Finalize(None, os._exit, args=(0,), exitpriority=-1000)
