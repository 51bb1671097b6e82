"""Quadratic Bezier curves between pairs of networks, fitted side by side.

A curve is a network of the stack: at every step its point at a random t takes a gradient
on a batch of its own, as in Garipov et al. 2018, arXiv:1802.10026. The schedule is that
of the paper by step instead of by epoch. It is a factor of one fixed learning rate, so
that it does not compound.
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
"""Between two calls of ``progress``: steps of large networks are slow."""


def annealed(step: int, steps: int) -> float:
    """One for half of the steps, then down in a line, 0.01 for the last tenth."""
    share = step / steps
    return float(np.interp(share, (0.5, 0.9), (1.0, 0.01)))


class Curves:
    """m curves B(t) = (1 - t)^2 first + 2 t (1 - t) middle + t^2 last.

    Parameters
    ----------
    networks : Networks
        Their weights are copied and never moved.
    pairs : ndarray of shape (m, 2)
        Rows of the ends. A curve starts at the end with the smaller identity (run_id
        and step), so that it does not depend on the order of the networks.
    seed : int
        Of batches and of t. Every curve has streams of its own, named after its ends.

    Attributes
    ----------
    first, middle, last : Tensor of shape (m, p)
        Parameters. Before the fit the middle is that of the ends: a straight line of
        constant speed.
    weights : StackWeights
        The m networks at the point of the last `move`. Buffers are those of the first
        end until they are refreshed.
    runs : tuple of Run
        What each curve is trained as: its ends' run, with an order of its own.

    Raises
    ------
    ValueError
        If the ends of a pair are of different tasks.
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
        """Put the points at t into `weights`."""
        self._put(*_shares(torch.full_like(self.first[:, :1], t)))

    @torch.no_grad()
    def _put(self, first: Tensor, middle: Tensor, last: Tensor) -> None:
        here = self.weights.parameters
        torch.mul(self.first, first, out=here)
        here.addcmul_(self.middle, middle).addcmul_(self.last, last)

    def views(self, split: str) -> list[View]:
        """What each curve sees of a split.

        Where the ends saw other samples or labels (a subset or label noise by seed), the
        curve sees those of both, one after the other.
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
        """Move the middles so that the mean loss along each curve falls.

        The weight decay of the ends' run acts on the point, as part of the loss.

        Parameters
        ----------
        steps : int
            Batches per curve.
        batch_size : int
            At most what the curve with the fewest samples sees.
        lr : float
            Before the schedule, see `annealed`.
        momentum : float, default=0.9
            beta_1 of Adam.
        optimizer : str, default="sgd"
            Name in `zoo.options.optimizer`.
        progress : callable, optional
            Called with the number of steps taken since the last call, every
            `PROGRESS_SECONDS`; may raise `zoo.engine.descent.Stopped`.

        Returns
        -------
        ndarray of shape (m,)
            First step with a non-finite loss, -1 where there is none.
        """
        networks, device = self._networks, self._networks.device
        views = self.views("train")
        fewest = min(len(seen.index) for seen in views)
        if not 1 <= batch_size <= fewest:
            raise ValueError(
                f"The batch_size parameter of Curves.fit must be from 1 to {fewest}, the "
                f"samples of a curve. Got {batch_size!r}."
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
        moves = make_optimizer(optimizer, self.middle, *columns)
        decay = torch.tensor([[run.weight_decay] for run in runs], device=device)
        decays = bool(decay.any())
        shares = list(zip(*_shares(self._draws(steps)), strict=True))
        ahead, behind = iter(shares), iter(shares)
        told, taken, last = time.monotonic(), 0, 0

        def tell(count: int) -> None:
            nonlocal told, last
            told = time.monotonic()
            progress(count - last)
            last = count

        def after() -> None:
            nonlocal taken
            taken += 1
            if time.monotonic() - told >= PROGRESS_SECONDS:
                tell(taken)
            if decays:
                gradient.values.addcmul_(self.weights.parameters, decay)
            gradient.values.mul_(next(behind)[1])

        diverged = descend(
            gradient,
            batches,
            batch,
            moves,
            annealed,
            steps,
            before=lambda: self._put(*next(ahead)),
            after=after,
        )
        tell(steps)
        return diverged.cpu().numpy()

    def _draws(self, steps: int) -> Tensor:
        """Draws of t for every step and curve, shape (steps, m, 1)."""
        draws = [
            stream(self._seed, f"t of {name}").random(steps, dtype=np.float32)
            for name in self._names
        ]
        return torch.from_numpy(np.stack(draws, 1)[:, :, None]).to(self._networks.device)


def _shares(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of first, middle and last."""
    return (1 - t) ** 2, 2 * t * (1 - t), t**2


def check_same_task(one: Run, other: Run) -> None:
    """Raise `ValueError` unless two runs can be the ends of one curve."""
    for name in (
        "task",
        "classes",
        "one_vs_rest",
        "label_map",
        "transform",
        "weight_decay",
    ):
        mine, others = getattr(one, name), getattr(other, name)
        if mine != others:
            raise ValueError(
                f"The ends of a curve must share their {name}. Got {mine!r} and "
                f"{others!r} in cell {one.cell!r}."
            )
