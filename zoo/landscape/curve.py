"""Quadratic Bezier curves between pairs of networks, fitted together in one stack.

Each curve is one network of the stack: at every step, the gradient is that of the curve's
point at a random t on a separate batch, as in Garipov et al. 2018, arXiv:1802.10026. The
schedule is that of the paper, by step instead of by epoch. The schedule is a factor of one
fixed learning rate, so that it does not compound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array
from zoo.engine.batch_gradient import RECORD_FROM, BatchGradient
from zoo.engine.descent import descend
from zoo.engine.stack_weights import StackWeights
from zoo.merging.joint_view import joint_views
from zoo.networks import Networks
from zoo.objective import Batch
from zoo.options.optimizer import make_optimizer
from zoo.randomness import stream
from zoo.run import Run
from zoo.samples import Batches, View

PROGRESS_SECONDS = 0.25
"""Seconds between two calls of ``progress``, as steps of large networks are slow."""


def annealed(step: int, steps: int) -> float:
    """Return the schedule's factor of the learning rate.

    The factor is 1 for the first half of the steps, then falls linearly, and is 0.01 for
    the last tenth.
    """
    share = step / steps
    return float(np.interp(share, (0.5, 0.9), (1.0, 0.01)))


class Curves:
    """Stack of m curves B(t) = (1 - t)^2 first + 2 t (1 - t) middle + t^2 last.

    Parameters
    ----------
    networks : Networks
        Networks to connect; their weights are copied and not changed.
    pairs : ndarray of shape (m, 2)
        Rows of the ends. A curve starts at the end with the smaller identity (run_id
        and step), so that it does not depend on the order of the networks.
    seed : int
        Seed of the batches and of t. Every curve has separate random streams, named after
        its ends.

    Attributes
    ----------
    first, middle, last : Tensor of shape (m, p)
        Parameters of the three points. Before the fit the middle is the mean of the ends,
        so the curve is a straight line of constant speed.
    weights : StackWeights
        The m networks at the point of the last `move`. Buffers are those of the first
        end until they are refreshed.
    runs : tuple of Run
        Settings that each curve is trained with: the run of its first end, with another
        seed of the data order.

    Raises
    ------
    ValueError
        If the ends of a pair have different tasks.
    """

    def __init__(self, networks: Networks, pairs: Array, *, seed: int) -> None:
        self._networks, self._seed = networks, seed
        names = networks.names
        self._ends = [sorted(pair, key=lambda i: names[i]) for pair in pairs.tolist()]
        self._names = [f"{names[i]} {names[j]}" for i, j in self._ends]
        for i, j in self._ends:
            check_same_task(networks.runs[i], networks.runs[j])
        starts, stops = np.array(self._ends).T
        layout, device = networks.architecture.layout, networks.device
        self.weights = StackWeights(layout, networks.weights[starts], device)
        self.first = self.weights.parameters.clone()
        self.last = StackWeights(layout, networks.weights[stops], device).parameters
        self.middle = torch.lerp(self.first, self.last, 0.5)
        self.runs = tuple(
            replace(
                networks.runs[i],
                order_seed=int(stream(seed, f"order of {name}").integers(1 << 62)),
            )
            for (i, _), name in zip(self._ends, self._names, strict=True)
        )

    def __len__(self) -> int:
        return len(self._ends)

    def move(self, t: float) -> None:
        """Set `weights` to the points of the curves at t."""
        self._put(*_shares(torch.full_like(self.first[:, :1], t)))

    @torch.no_grad()
    def _put(self, first: Tensor, middle: Tensor, last: Tensor) -> None:
        """Set `weights` to the points with given weights of first, middle and last."""
        parameters = self.weights.parameters
        torch.mul(self.first, first, out=parameters)
        parameters.addcmul_(self.middle, middle).addcmul_(self.last, last)

    def views(self, split: str) -> list[View]:
        """Return the samples and labels of each curve in a split.

        If the two ends have different samples or labels (a subset or label noise by seed),
        the curve has the samples of the first end followed by those of the second.
        """
        return joint_views(self._networks, self._ends, split)

    def fit(
        self,
        *,
        steps: int,
        batch_size: int,
        lr: float,
        momentum: float = 0.9,
        optimizer: str = "sgd",
        progress: Callable[[int], None] = lambda steps: None,
    ) -> Array:
        """Train the middles to lower the mean loss along each curve.

        The weight decay of the ends' run acts on the point of the curve, as part of the
        loss.

        Parameters
        ----------
        steps : int
            Number of batches per curve.
        batch_size : int
            Batch size; at most the number of samples of the curve with the fewest.
        lr : float
            Learning rate before the schedule `annealed`.
        momentum : float, default=0.9
            Momentum of SGD, or beta_1 of Adam.
        optimizer : str, default="sgd"
            Name of an optimiser in `zoo.options.optimizer`.
        progress : callable, optional
            Called with the number of steps taken since the last call, every
            `PROGRESS_SECONDS`; may raise `zoo.engine.descent.Stopped`.

        Returns
        -------
        ndarray of shape (m,)
            First step with a non-finite loss, -1 for curves without such a step.

        Raises
        ------
        ValueError
            If the batch size is below 1 or too large.
        """
        networks, device = self._networks, self._networks.device
        views = self.views("train")
        fewest = min(len(split_view.index) for split_view in views)
        if not 1 <= batch_size <= fewest:
            raise ValueError(
                f"The batch_size parameter of Curves.fit must be from 1 to {fewest}, the "
                f"smallest number of samples of a curve. Got {batch_size!r}."
            )
        runs = [replace(run, batch_size=batch_size) for run in self.runs]
        batches = Batches(networks.data, runs, views, device)
        constants = networks.objective.constants(runs, device)
        batch = Batch(*batches.empty(), constants)
        gradient = BatchGradient(
            networks.architecture, networks.objective, self.weights, batch
        )
        self.move(0.5)
        if steps >= RECORD_FROM:
            gradient.record(batches.labels)
        columns = (
            torch.full((len(self), 1), v, device=device) for v in (lr, momentum, 0.0)
        )
        middle_optimizer = make_optimizer(optimizer, self.middle, *columns)
        decay = torch.tensor([[run.weight_decay] for run in runs], device=device)
        has_decay = bool(decay.any())
        shares = list(zip(*_shares(self._draws(steps)), strict=True))
        ahead, behind = iter(shares), iter(shares)
        last_report, steps_taken, reported = time.monotonic(), 0, 0

        def report(count: int) -> None:
            nonlocal last_report, reported
            last_report = time.monotonic()
            progress(count - reported)
            reported = count

        def after() -> None:
            nonlocal steps_taken
            steps_taken += 1
            if time.monotonic() - last_report >= PROGRESS_SECONDS:
                report(steps_taken)
            if has_decay:
                gradient.values.addcmul_(self.weights.parameters, decay)
            gradient.values.mul_(next(behind)[1])

        diverged = descend(
            gradient,
            batches,
            batch,
            middle_optimizer,
            annealed,
            steps,
            before=lambda: self._put(*next(ahead)),
            after=after,
        )
        report(steps)
        return diverged.cpu().numpy()

    def _draws(self, steps: int) -> Tensor:
        """Draw t for every step and curve, shape (steps, m, 1)."""
        draws = [
            stream(self._seed, f"t of {name}").random(steps, dtype=np.float32)
            for name in self._names
        ]
        return torch.from_numpy(np.stack(draws, 1)[:, :, None]).to(self._networks.device)


def _shares(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of first, middle and last at t."""
    return (1 - t) ** 2, 2 * t * (1 - t), t**2


def check_same_task(one: Run, other: Run) -> None:
    """Check that two runs can be the ends of one curve, else raise `ValueError`."""
    for name in (
        "task",
        "classes",
        "one_vs_rest",
        "label_map",
        "transform",
        "weight_decay",
    ):
        value, other_value = getattr(one, name), getattr(other, name)
        if value != other_value:
            raise ValueError(
                f"The two ends of a curve must have the same {name}. Got {value!r} and "
                f"{other_value!r} in cell {one.cell!r}."
            )
