"""The one loop that learns a velocity: flow matching on codes, with an early gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from catalog import CatalogError
from catalog.progress import Progress
from generators.flow.average import MovingAverage
from generators.flow.coupling import Coupling, coupled
from generators.flow.path import interpolate
from generators.flow.velocity import Velocity

Keep = Literal["validation", "lowest_batch", "last"]


@dataclass(frozen=True)
class Schedule:
    """How a velocity is learned.

    Attributes
    ----------
    iterations, batch_size : int
        Most steps of AdamW, and networks per step.
    lr, final_lr, weight_decay, betas
        Of AdamW; the rate falls to its final value along half a cosine.
    decay : float
        Of the moving average of the weights; 0: none.
    coupling : {"optimal_transport", "independent"}
        Of noise and networks within a batch.
    source : {"fresh", "fixed"}
        New noise in every step, or one vector per network drawn once, as published.
    sigma : float
        Deviation of noise added to points of the path.
    dropout : float
        Share of rows whose condition is left out; as often, each column by itself is.
    keep : {"validation", "lowest_batch", "last"}
        Which weights are kept: with the least validation loss of the average, with the
        least loss of a single batch, as published, or the last.
    every, patience : int
        Steps from one validation to the next, and validations without a better loss
        after which it stops.
    """

    iterations: int = 2000
    batch_size: int = 64
    lr: float = 5e-4
    final_lr: float = 1e-6
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    decay: float = 0.99
    coupling: Coupling = "optimal_transport"
    source: Literal["fresh", "fixed"] = "fresh"
    sigma: float = 0.0
    dropout: float = 0.2
    keep: Keep = "validation"
    every: int = 25
    patience: int = 8


@dataclass
class Curve:
    """What training saw.

    Attributes
    ----------
    iteration : list of int
        Steps done at each validation, the first before any.
    train_loss : list of float
        Mean over the steps since the validation before; NaN for the first.
    validation_loss : list of float
        Mean squared error per dimension on fixed noise and times; NaN without validation.
    kept : int
        Steps after which the weights that were kept stood.
    """

    iteration: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    kept: int = 0


@dataclass(frozen=True)
class Rows:
    """Networks as a flow sees them.

    Attributes
    ----------
    codes : Tensor of shape (n, k)
    features : Tensor of shape (n, f) or None
        Of their conditions.
    spans : tuple of slice
        Features of each column of the condition: what `Schedule.dropout` leaves out.
    """

    codes: Tensor
    features: Tensor | None = None
    spans: tuple[slice, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Some rows."""
        features = None if self.features is None else self.features[index]
        return self.codes[index], features


@torch.enable_grad()
def learn(
    velocity: Velocity,
    rows: Rows,
    validation: Rows | None,
    schedule: Schedule,
    *,
    seed: int = 0,
    label: str | None = None,
) -> Curve:
    """Learn a velocity; the weights that are kept are left in it.

    Parameters
    ----------
    seed : int
        Of noise, times and batches. Weights to begin with, and what layers drop out, come
        from torch's own stream, which is the caller's to seed.
    label : str, optional
        Start of the progress line; None: no progress.

    Raises
    ------
    CatalogError
        If the loss is no longer finite.
    """
    draw = torch.Generator().manual_seed(seed)
    n, k = rows.codes.shape
    batch = min(schedule.batch_size, n)
    zero = torch.zeros(1, 1)
    fixed = torch.randn(n, k, generator=draw) if schedule.source == "fixed" else None
    of_data, of_noise = _batches(n, batch, draw), _batches(n, batch, draw)
    optimizer = torch.optim.AdamW(
        velocity.parameters(),
        lr=schedule.lr,
        betas=schedule.betas,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    gate = _Gate(velocity, validation, schedule, seed)
    bar = Progress(schedule.iterations, "steps", label) if label else None
    velocity.train()
    done = 0
    for done in range(1, schedule.iterations + 1):
        data, features = rows.take(next(of_data))
        if fixed is None:
            noise = torch.randn(batch, k, generator=draw)
        else:
            noise = fixed[next(of_noise)]
        noise = velocity.start.scale(zero) * noise
        noise = coupled(noise, data, schedule.coupling, features)
        t = torch.rand(batch, 1, generator=draw)
        x = interpolate(noise, data, t)
        if schedule.sigma:
            x = x + schedule.sigma * torch.randn(batch, k, generator=draw)
        if features is not None:
            features = _dropped(features, rows.spans, schedule.dropout, draw)
        for group in optimizer.param_groups:
            group["lr"] = _rate(schedule, done - 1)
        loss = ((velocity(x, t, features) - (data - noise)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        if gate.stops(done, float(loss.detach()), optimizer):
            break
        if bar:
            bar.update(done)
    if bar:
        bar.close(done)
    gate.restore()
    velocity.eval()
    return gate.curve


def _batches(n: int, size: int, draw: torch.Generator) -> Iterator[Tensor]:
    """Rows of batches, shuffled anew in each epoch; the rest of an epoch is left out."""
    while True:
        yield from torch.randperm(n, generator=draw)[: n - n % size].split(size)


class _Gate:
    """Decides which weights are kept, and when no better ones are to be expected."""

    def __init__(
        self, velocity: Velocity, validation: Rows | None, schedule: Schedule, seed: int
    ) -> None:
        self._velocity, self._schedule = velocity, schedule
        self._average = MovingAverage(velocity, schedule.decay)
        self._fixed = (
            None if validation is None else _fixed(velocity, validation, schedule, seed)
        )
        self.curve = Curve()
        self._best, self._since = math.inf, 0
        self._kept: dict[str, Tensor] | None = None
        self._losses: list[float] = []
        self._validate(0)

    def stops(self, done: int, loss: float, optimizer: torch.optim.Optimizer) -> bool:
        """Take the step whose gradients are there; True if it was the last one."""
        if not math.isfinite(loss):
            raise CatalogError(
                f"The training loss is {loss} at step {done}: steps are too long. Pass a "
                f"smaller rate, such as lr={self._schedule.lr / 10:g}."
            )
        schedule = self._schedule
        optimizer.step()
        self._average.update()
        self._losses.append(loss)
        if schedule.keep == "lowest_batch" and loss < self._best:
            self._keep(done, loss)
        if done % schedule.every == 0 or done == schedule.iterations:
            self._validate(done)
        return schedule.keep == "validation" and self._since >= schedule.patience

    def restore(self) -> None:
        """Leave the weights that were kept in the velocity."""
        if self._kept is None:
            self.curve.kept = self.curve.iteration[-1]
            self._kept = self._average.state
        self._velocity.load_state_dict(self._kept)

    def _validate(self, done: int) -> None:
        losses, curve = self._losses, self.curve
        curve.iteration.append(done)
        curve.train_loss.append(sum(losses) / len(losses) if losses else math.nan)
        losses.clear()
        found = math.nan
        if self._fixed is not None:
            found = _loss(self._velocity, self._average.state, self._fixed)
        curve.validation_loss.append(found)
        if self._schedule.keep == "validation":
            self._since += 1
            if found < self._best:
                self._keep(done, found)

    def _keep(self, done: int, loss: float) -> None:
        self._best, self._since, self.curve.kept = loss, 0, done
        self._kept = {name: v.clone() for name, v in self._average.state.items()}


@dataclass(frozen=True)
class _Fixed:
    """Points, times, features and velocities that every validation sees."""

    x: Tensor
    t: Tensor
    features: Tensor | None
    target: Tensor


DRAWS = 4
"""Times of each validation network."""


def _fixed(velocity: Velocity, rows: Rows, schedule: Schedule, seed: int) -> _Fixed:
    """Noise coupled as in training, and times spread evenly over [0, 1]."""
    draw = torch.Generator().manual_seed(seed + 1)
    n, k = rows.codes.shape
    spread = torch.randperm(n * DRAWS, generator=draw)[:, None]
    t = (spread + torch.rand(n * DRAWS, 1, generator=draw)) / (n * DRAWS)
    noise = velocity.start.scale(torch.zeros(1, 1)) * torch.randn(
        n * DRAWS, k, generator=draw
    )
    data, features = rows.take(torch.arange(n).repeat(DRAWS))
    for part in torch.arange(len(data)).split(schedule.batch_size):
        own = None if features is None else features[part]
        noise[part] = coupled(noise[part], data[part], schedule.coupling, own)
    if features is not None:
        features = _dropped(features, rows.spans, schedule.dropout, draw)
    return _Fixed(interpolate(noise, data, t), t, features, data - noise)


@torch.no_grad()
def _loss(velocity: Velocity, state: dict[str, Tensor], fixed: _Fixed) -> float:
    """Mean squared error of a state of the velocity."""
    own = {name: value.clone() for name, value in velocity.state_dict().items()}
    velocity.load_state_dict(state)
    velocity.eval()
    total = 0.0
    for rows in torch.arange(len(fixed.x)).split(1024):
        features = None if fixed.features is None else fixed.features[rows]
        off = velocity(fixed.x[rows], fixed.t[rows], features) - fixed.target[rows]
        total += float((off**2).sum(dtype=torch.float64))
    velocity.load_state_dict(own)
    velocity.train()
    return total / fixed.x.numel()


def _dropped(
    features: Tensor, spans: tuple[slice, ...], share: float, draw: torch.Generator
) -> Tensor:
    """Features with conditions left out: of a row, and of single columns."""
    b = len(features)
    kept = torch.rand(b, 1, generator=draw) >= share
    features = features * kept
    if len(spans) > 1:
        for span in spans:
            features[:, span] *= torch.rand(b, 1, generator=draw) >= share
    return features


def _rate(schedule: Schedule, done: int) -> float:
    share = (1 + math.cos(math.pi * done / schedule.iterations)) / 2
    return schedule.final_lr + (schedule.lr - schedule.final_lr) * share
