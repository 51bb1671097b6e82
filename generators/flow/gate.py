"""The early gate: held-out loss on fixed noise and times decides what is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from catalog import CatalogError
from generators.flow.coupling import coupled
from generators.flow.noise import Noise
from generators.flow.path import interpolate
from generators.flow.rows import FlowRows
from generators.flow.schedule import Schedule
from generators.flow.velocity import Velocity

DRAWS = 4
"""Times of each validation network."""
BATCH = 64
"""Points whose loss is found at once: learnt steps keep megabytes for each."""


@dataclass
class TrainingHistory:
    """What training saw.

    Attributes
    ----------
    iteration : list of int
        Steps done at each validation, the first before any: of the Gaussian itself, the
        network being off.
    train_loss : list of float
        Mean over the steps since the validation before; NaN for the first.
    validation_loss : list of float
        Mean squared error per dimension on fixed noise and times; NaN without validation.
    kept : int
        Steps after which the weights that were kept stood. 0, if they were chosen by
        validation: no network was better than the Gaussian, and it is off.
    """

    iteration: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    kept: int = 0


class Gate:
    """Decides which weights are kept, and when no better ones are to be expected.

    Parameters
    ----------
    velocity : Velocity
        Being learned.
    validation : Rows or None
        Without them no loss is known, and nothing is stopped early.
    schedule : Schedule
    seed : int
        Of the noise and times that every validation sees.
    """

    def __init__(
        self, velocity: Velocity, validation: FlowRows | None, schedule: Schedule, seed: int
    ) -> None:
        self._velocity, self._schedule = velocity, schedule
        self._average = MovingAverage(velocity, schedule.decay)
        self._fixed = (
            None if validation is None else _fixed(velocity, validation, schedule, seed)
        )
        self.curve = TrainingHistory()
        self._best, self._since = math.inf, 0
        self._kept: dict[str, Tensor] | None = None
        self._losses: list[float] = []
        # Patience counts from the untrained network, which need not be zero.
        self._reached = min(math.inf, self._loss(self._average.state))
        self._validate(0, {**self._average.state, "on": torch.tensor([False])})

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
            self._keep(done, loss, self._average.state)
        if done % schedule.every == 0 or done == schedule.iterations:
            self._validate(done, self._average.state)
        return schedule.keep == "validation" and self._since >= schedule.patience

    def restore(self) -> None:
        """Leave the weights that were kept in the velocity."""
        if self._kept is None:
            self.curve.kept = self.curve.iteration[-1]
            self._kept = self._average.state
        self._velocity.load_state_dict(self._kept)

    def _validate(self, done: int, state: dict[str, Tensor]) -> None:
        losses, curve = self._losses, self.curve
        curve.iteration.append(done)
        curve.train_loss.append(sum(losses) / len(losses) if losses else math.nan)
        losses.clear()
        found = self._loss(state)
        curve.validation_loss.append(found)
        if self._schedule.keep != "validation":
            return
        if found < self._best:
            self._keep(done, found, state)
        if done:
            self._since = 0 if found < self._reached else self._since + 1
            self._reached = min(found, self._reached)

    def _loss(self, state: dict[str, Tensor]) -> float:
        return (
            math.nan if self._fixed is None else _loss(self._velocity, state, self._fixed)
        )

    def _keep(self, done: int, loss: float, state: dict[str, Tensor]) -> None:
        self._best, self.curve.kept = loss, done
        self._kept = {name: v.clone() for name, v in state.items()}


@dataclass(frozen=True)
class _Fixed:
    """Points, times, features and velocities that every validation sees."""

    x: Tensor
    t: Tensor
    features: Tensor | None
    target: Tensor


def _fixed(velocity: Velocity, rows: FlowRows, schedule: Schedule, seed: int) -> _Fixed:
    """Noise coupled as in training, and times spread evenly over [0, 1]."""
    draw = torch.Generator().manual_seed(seed + 1)
    n, k = rows.codes.shape
    spread = torch.randperm(n * DRAWS, generator=draw)[:, None]
    t = (spread + torch.rand(n * DRAWS, 1, generator=draw)) / (n * DRAWS)
    noise = Noise(k, velocity.spread, draw).fresh(n * DRAWS)
    noise = velocity.start.scale(torch.zeros(1, 1)) * noise
    data, features = rows.take(torch.arange(n).repeat(DRAWS))
    for part in torch.arange(len(data)).split(schedule.batch_size):
        own = None if features is None else features[part]
        noise[part] = coupled(noise[part], data[part], schedule.coupling, own)
    if features is not None:
        features = rows.dropped(features, schedule.dropout, draw)
    return _Fixed(interpolate(noise, data, t), t, features, data - noise)


@torch.no_grad()
def _loss(velocity: Velocity, state: dict[str, Tensor], fixed: _Fixed) -> float:
    """Mean squared error of a state of the velocity."""
    own = {name: value.clone() for name, value in velocity.state_dict().items()}
    velocity.load_state_dict(state)
    velocity.eval()
    total = 0.0
    for rows in torch.arange(len(fixed.x)).split(BATCH):
        features = None if fixed.features is None else fixed.features[rows]
        off = velocity(fixed.x[rows], fixed.t[rows], features) - fixed.target[rows]
        total += float((off**2).sum(dtype=torch.float64))
    velocity.load_state_dict(own)
    velocity.train()
    return total / fixed.x.numel()


class MovingAverage:
    """Exponential moving average of all parameters.

    Parameters
    ----------
    network : nn.Module
    decay : float
        Share that is kept per step, once ``(1 + i) / (10 + i)`` of step i has reached it:
        early on, the beginning is forgotten faster. 0: the weights as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._steps = network, decay, 0
        self.state: dict[str, Tensor] = _copied(network)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more step."""
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, share)
            else:
                self.state[name].copy_(value)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
