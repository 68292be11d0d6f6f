"""The training loop: AdamW, warm-up and cosine, EMA, clipping, resumable to the step."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..model.bafunet import BAFUNet
from ..model.diffusion import forward, start
from ..model.estimate import estimate, remove_visible
from ..model.loss import Alignment, multiscale_loss
from ..model.schedule import Schedule
from ..model.weights import ModelConfig
from .checkpoint import load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.json"
#: Steps between two lines of the log.
LOG_EVERY = 50
#: Seconds after which a checkpoint is written: what a run that is killed loses at most.
SAVE_EVERY_S = 300.0

Batch = dict[str, Tensor]
#: (step, total steps, loss, validation metrics or None)
Progress = Callable[[int, int, float, dict[str, float] | None], None]


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes
    ----------
    steps : int or None
        Optimiser steps; None: as many as `max_minutes` allows, measured on the way.
    max_minutes : float or None
        Time after which the run stops; it can be resumed.
    learning_rate, weight_decay, clip : float
        Of AdamW, and the largest norm of a gradient.
    warmup : float
        Share of the steps with a rising learning rate.
    ema : float
        Decay of the averaged weights that are kept.
    last_step_share : float
        Share of samples at the chain's first and hardest step, t = T - 1; the rest is uniform.
    alignment : str
        Decimation in the multi-scale loss.
    seed : int
        Of initialisation, draws and noise.
    validate_every : int
        Steps between validations.
    amp : bool
        bfloat16 mixed precision.
    """

    steps: int | None = None
    max_minutes: float | None = None
    learning_rate: float = 2.5e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    warmup: float = 0.03
    ema: float = 0.999
    last_step_share: float = 0.75
    alignment: Alignment = "aligned"
    seed: int = 0
    validate_every: int = 2000
    amp: bool = True

    def check_end(self) -> None:
        """Raise InputError if the run would never end."""
        if self.steps is None and self.max_minutes is None:
            raise InputError("training needs an end: give a number of steps or of minutes")


class _Pace:
    """How many steps the time still allows, so that the cosine ends with it.

    The first steps, which wait for the first draws, do not count.
    """

    FIRST = 20

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.begun = 0.0

    def steps_left(self, done: int, seconds: float) -> int | None:
        """After `done` steps in `seconds`; None while it cannot be told."""
        if done <= self.FIRST:
            self.begun = seconds
            return None
        pace = (seconds - self.begun) / (done - self.FIRST)
        return max(0, int((self.seconds - seconds) / pace))


@dataclass
class Trainer:
    """One training run.

    Parameters
    ----------
    model : BAFUNet
        On its device; trained in place.
    config : ModelConfig
        Goes beside the weights.
    train : TrainConfig
        How to train.
    out : Path or None
        Folder for checkpoint and log; None keeps neither.
    validate : callable, optional
        ``(model) -> metrics``; must contain ``psnr`` and ``gain``, both in dB.
    progress : callable, optional
        Told after every step.
    """

    model: BAFUNet
    config: ModelConfig
    train: TrainConfig
    out: Path | None = None
    validate: Callable[[BAFUNet], dict[str, float]] | None = None
    progress: Progress | None = None
    step: int = field(default=0, init=False)
    total: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.train.check_end()
        self.device = next(self.model.parameters()).device
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.train.learning_rate,
            weight_decay=self.train.weight_decay,
            betas=(0.9, 0.99),
            fused=self.device.type == "cuda",
        )
        self.schedule: Schedule = self.config.schedule()
        self.averaged = copy.deepcopy(self.model).eval()
        self.ema = self.averaged.state_dict()
        self.total = self.train.steps
        self.elapsed = self.elapsed_before = 0.0
        self.metrics: dict[str, float] = {}
        self.patches, self.waited = 0, 0.0

    def resume(self) -> None:
        """Continue from the folder's checkpoint."""
        if self.out is None:
            raise InputError("there is no folder to resume from: name the one of the earlier run")
        ema, values = load_checkpoint(self.out / CHECKPOINT, self.model, self.optimizer)
        self.averaged.load_state_dict(ema)
        self.step, self.elapsed = values["step"], values["elapsed"]
        # A number of steps given anew lengthens or shortens the run, and its cosine with it.
        self.total = self.train.steps or values["total"]

    def run(self, batches: Callable[[int], Iterator[Batch]]) -> dict[str, float]:
        """Train to the end, or until the time is over.

        Parameters
        ----------
        batches : callable
            ``(step) ->`` iterator over the batches from that step on.

        Returns
        -------
        dict
            Last validation metrics.
        """
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
        first, loss = self.step, math.nan
        begun, before = time.monotonic(), self.elapsed
        saved, judged_at = begun, first
        self.elapsed_before = before
        pace = _Pace(self.train.max_minutes or math.inf) if self.total is None else None
        for batch in self._waiting_for(batches(self.step)):
            if self._finished(time.monotonic() - begun):
                break
            found = self._train_step(batch)
            due = self.step % LOG_EVERY == 0
            # Reading a number makes a GPU wait.
            if due or self.device.type == "cpu":
                loss = float(found)
            self.patches += len(batch["x0"])
            self.elapsed = before + time.monotonic() - begun
            if pace is not None:
                left = pace.steps_left(self.step - first, time.monotonic() - begun)
                self.total = left if left is None else self.step + left
            metrics = None
            if self.validate and self.step % self.train.validate_every == 0:
                metrics, judged_at = self._validated(), self.step
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
            if self.progress:
                self.progress(self.step, self.total or 0, loss, metrics)
            if metrics or due:
                self._log(loss, metrics)
        if self.validate and self.step > judged_at:
            self._log(loss, self._validated())
        self.save()
        return self.metrics

    def _waiting_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass batches on and add up how long they keep the network waiting."""
        while True:
            begun = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - begun
            if batch is None:
                return
            yield batch

    def _finished(self, seconds: float) -> bool:
        minutes = self.train.max_minutes
        over = minutes is not None and seconds > 60 * minutes
        return over or (self.total is not None and self.step >= self.total)

    def _rate(self) -> float:
        total = self.total or 10_000
        warm = max(1, round(self.train.warmup * total))
        rise = min(1.0, (self.step + 1) / warm)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / total)))
        return self.train.learning_rate * rise * max(fall, 0.01)

    def _train_step(self, batch: Batch) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        generator = torch.Generator(self.device)
        generator.manual_seed(self.train.seed * 1_000_003 + self.step)
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.train.amp):
            loss = chain_loss(self.model, batch, self.config, self.schedule, generator, self.train)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.train.clip)
        self.optimizer.step()
        self.step += 1
        decay = min(self.train.ema, (1 + self.step) / (10 + self.step))
        own = self.model.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [own[k] for k in self.ema], 1 - decay)
        return loss.detach()

    def _validated(self) -> dict[str, float]:
        """Metrics of the averaged weights."""
        self.metrics = self.validate(self.averaged) if self.validate else {}
        self.save()
        return self.metrics

    def save(self) -> None:
        """Write the checkpoint, if the run has a folder."""
        if self.out is None:
            return
        values = {"step": self.step, "total": self.total, "elapsed": self.elapsed}
        save_checkpoint(self.out / CHECKPOINT, self.model, self.optimizer, self.ema, values)

    def _log(self, loss: float, metrics: dict[str, float] | None) -> None:
        if self.out is None:
            return
        path = self.out / "log.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(
                    ["step", "seconds", "learning_rate", "loss", "val_psnr", "val_gain"]
                )
            shown = [f"{metrics[k]:.3f}" if metrics else "" for k in ("psnr", "gain")]
            row = [self.step, f"{self.elapsed:.1f}", f"{self._rate():.2e}", f"{loss:.5f}"]
            writer.writerow(row + shown)

    def pace(self) -> dict[str, float]:
        """Patches a second, and the share of the time that the network waited for them."""
        seconds = max(self.elapsed - self.elapsed_before, 1e-9)
        return {
            "patches_per_second": round(self.patches / seconds, 1),
            "share_waiting": round(min(self.waited / seconds, 1.0), 3),
        }

    def card(self) -> ModelConfig:
        """Configuration of the weights with what is known of their training."""
        training = dict(self.config.training)
        training.update(
            train=asdict(self.train),
            steps_done=self.step,
            seconds=round(self.elapsed),
            pace=self.pace(),
            validation={k: round(v, 3) for k, v in self.metrics.items()},
        )
        return replace(self.config, training=training)


def chain_loss(
    model: BAFUNet,
    batch: Batch,
    config: ModelConfig,
    schedule: Schedule,
    generator: torch.Generator,
    train: TrainConfig,
) -> Tensor:
    """Multi-scale loss of one batch at random steps of the chain.

    At t = T - 1 the state is drawn as sampling starts, from A_0 and noise alone: the forward
    process would leave a trace of x_0 in it wherever the edge weight is zero.
    """
    x0, a0 = batch["x0"], batch["a0"]
    edge = batch["edge"] if config.noise == "edge-aware" else None
    last = schedule.steps - 1
    drawn = {"generator": generator, "device": generator.device}
    t = torch.randint(0, schedule.steps, (len(x0),), **drawn)
    t = torch.where(torch.rand(len(x0), **drawn) < train.last_step_share, last, t).to(x0.device)
    noise = torch.randn(x0.shape, **drawn).to(x0)
    x_t = forward(x0, a0, t, noise, edge, schedule)
    x_t = torch.where((t == last)[:, None, None, None], start(a0, noise, edge, schedule), x_t)
    x_t = x_t.contiguous(memory_format=torch.channels_last)
    scalars = batch["scalars"] if batch["scalars"].shape[1] else None
    x0_hat, coarse = estimate(
        model, x_t, a0, t, edge, model.encode_guide(batch["guide"]), scalars, schedule
    )
    outputs = [_consistent(x0_hat, batch["low_pass"]) - a0, *coarse]
    weight = batch["weight"][:, :, None, None]
    losses = multiscale_loss([o.float() for o in outputs], a0, x0, train.alignment, weight)
    return losses * weight.mean()


def _consistent(x0: Tensor, low_pass: Tensor) -> Tensor:
    """The estimate as sampling would correct it."""
    # A gradient in another layout makes every convolution behind it five times slower on CPUs.
    if x0.requires_grad:
        x0.register_hook(lambda g: g.contiguous(memory_format=torch.channels_last))
    if not low_pass.any():
        return x0
    with torch.autocast(x0.device.type, enabled=False):
        return remove_visible(x0.float(), [(low_pass[:, :1], low_pass[:, 1:])])
