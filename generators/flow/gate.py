"""Early stopping by the held-out loss on fixed noise and times."""

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
"""Number of times at which each validation network is evaluated."""
BATCH = 64
"""Number of points whose loss is computed at once: learnt steps need megabytes for each."""


@dataclass
class TrainingHistory:
    """Losses of a training.

    Attributes
    ----------
    iteration : list of int
        Number of steps done at each validation; the first is before training, of the
        Gaussian itself with the network off.
    train_loss : list of float
        Mean over the steps since the previous validation; NaN for the first.
    validation_loss : list of float
        Mean squared error per dimension on fixed noise and times; NaN without validation.
    kept : int
        Number of steps after which the kept weights were reached. 0 if weights are kept by
        validation and none was better than the Gaussian: the network is off.
    """

    iteration: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    kept: int = 0


class Gate:
    """Decides which weights are kept, and when training stops.

    Parameters
    ----------
    velocity : Velocity
        Velocity that is being learned.
    validation : FlowRows or None
        Held-out networks; without them no validation loss is known, and training does not
        stop early.
    schedule : Schedule
        Settings of the training.
    seed : int
        Seed of the noise and times that all validations share.
    """

    def __init__(
        self, velocity: Velocity, validation: FlowRows | None, schedule: Schedule, seed: int
    ) -> None:
        self._velocity, self._schedule = velocity, schedule
        self._average = MovingAverage(velocity, schedule.decay)
        self._validation = (
            None
            if validation is None
            else _validation_set(velocity, validation, schedule, seed)
        )
        self.curve = TrainingHistory()
        self._best, self._without_gain = math.inf, 0
        self._kept: dict[str, Tensor] | None = None
        self._losses: list[float] = []
        # Patience counts from the untrained network, whose output need not be zero.
        self._lowest = min(math.inf, self._validation_loss(self._average.state))
        self._validate(0, {**self._average.state, "on": torch.tensor([False])})

    def stops(self, done: int, loss: float, optimizer: torch.optim.Optimizer) -> bool:
        """Apply the step whose gradients are computed; return whether it was the last one.

        Raises
        ------
        CatalogError
            If the loss is not finite.
        """
        if not math.isfinite(loss):
            raise CatalogError(
                f"The training loss is {loss} at step {done}: the learning rate is too "
                f"high. Pass a lower one, such as lr={self._schedule.lr / 10:g}."
            )
        schedule = self._schedule
        optimizer.step()
        self._average.update()
        self._losses.append(loss)
        if schedule.keep == "lowest_batch" and loss < self._best:
            self._keep(done, loss, self._average.state)
        if done % schedule.every == 0 or done == schedule.iterations:
            self._validate(done, self._average.state)
        return schedule.keep == "validation" and self._without_gain >= schedule.patience

    def restore(self) -> None:
        """Load the kept weights into the velocity network."""
        if self._kept is None:
            self.curve.kept = self.curve.iteration[-1]
            self._kept = self._average.state
        self._velocity.load_state_dict(self._kept)

    def _validate(self, done: int, state: dict[str, Tensor]) -> None:
        losses, curve = self._losses, self.curve
        curve.iteration.append(done)
        curve.train_loss.append(sum(losses) / len(losses) if losses else math.nan)
        losses.clear()
        loss = self._validation_loss(state)
        curve.validation_loss.append(loss)
        if self._schedule.keep != "validation":
            return
        if loss < self._best:
            self._keep(done, loss, state)
        if done:
            self._without_gain = 0 if loss < self._lowest else self._without_gain + 1
            self._lowest = min(loss, self._lowest)

    def _validation_loss(self, state: dict[str, Tensor]) -> float:
        return (
            math.nan
            if self._validation is None
            else _state_loss(self._velocity, state, self._validation)
        )

    def _keep(self, done: int, loss: float, state: dict[str, Tensor]) -> None:
        self._best, self.curve.kept = loss, done
        self._kept = {name: v.clone() for name, v in state.items()}


@dataclass(frozen=True)
class _ValidationSet:
    """Points, times, features and velocities that all validations share."""

    x: Tensor
    t: Tensor
    features: Tensor | None
    target: Tensor


def _validation_set(
    velocity: Velocity, rows: FlowRows, schedule: Schedule, seed: int
) -> _ValidationSet:
    """Draw noise coupled as in training, and times spread evenly over [0, 1]."""
    draw = torch.Generator().manual_seed(seed + 1)
    n, k = rows.codes.shape
    spread = torch.randperm(n * DRAWS, generator=draw)[:, None]
    t = (spread + torch.rand(n * DRAWS, 1, generator=draw)) / (n * DRAWS)
    noise = Noise(k, velocity.spread, draw).fresh(n * DRAWS)
    noise = velocity.start.scale(torch.zeros(1, 1)) * noise
    data, features = rows.take(torch.arange(n).repeat(DRAWS))
    for part in torch.arange(len(data)).split(schedule.batch_size):
        part_features = None if features is None else features[part]
        noise[part] = coupled(noise[part], data[part], schedule.coupling, part_features)
    if features is not None:
        features = rows.dropped(features, schedule.dropout, draw)
    return _ValidationSet(interpolate(noise, data, t), t, features, data - noise)


@torch.no_grad()
def _state_loss(
    velocity: Velocity, state: dict[str, Tensor], validation: _ValidationSet
) -> float:
    """Return the mean squared error of a state of the velocity."""
    current = {name: value.clone() for name, value in velocity.state_dict().items()}
    velocity.load_state_dict(state)
    velocity.eval()
    total = 0.0
    for rows in torch.arange(len(validation.x)).split(BATCH):
        features = None if validation.features is None else validation.features[rows]
        errors = (
            velocity(validation.x[rows], validation.t[rows], features)
            - validation.target[rows]
        )
        total += float((errors**2).sum(dtype=torch.float64))
    velocity.load_state_dict(current)
    velocity.train()
    return total / validation.x.numel()


class MovingAverage:
    """Exponential moving average of all parameters.

    Parameters
    ----------
    network : nn.Module
        Module whose parameters are averaged.
    decay : float
        Share of the average that is kept per step, once ``(1 + i) / (10 + i)`` of step i
        has reached it: early steps are forgotten faster. 0: no averaging.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._steps = network, decay, 0
        self.state: dict[str, Tensor] = _copied_state(network)

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the weights after one more step."""
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, share)
            else:
                self.state[name].copy_(value)


def _copied_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
