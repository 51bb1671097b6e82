"""The one training loop: a stack of runs as one program.

Every operation works row by row on the net axis, so what a run becomes does not depend
on its neighbours: alone or in any stack it gets the same weights within float
tolerance, and a neighbour that diverges changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog import LayoutMismatch
from catalog.dtypes import Array
from zoo.evaluate import Evaluation, Score
from zoo.optimizer import make_optimizer
from zoo.randomness import stream
from zoo.replay import replayed
from zoo.run import Run
from zoo.samples import Batches, View, view
from zoo.schedule import schedule
from zoo.stack import Stack
from zoo.stacked import cross_entropy
from zoo.task import Data

SPLITS = ("train", "validation", "test")
PROGRESS_EVERY = 64
"""Steps between two calls of ``progress`` and two looks for diverged runs."""

RECORD_FROM = 32
"""Shorter stacks are not worth the recording of their step."""


class Stopped(Exception):
    """Training was asked to stop; the stack in progress is dropped."""


@dataclass(frozen=True)
class Checkpoint:
    """A stack at one step.

    Attributes
    ----------
    step : int
        Steps taken.
    weights : ndarray of shape (n, d)
        Copies.
    scores : mapping of str to Score
        By split.
    """

    step: int
    weights: Array
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Trained:
    """A finished stack.

    Attributes
    ----------
    stack : Stack
        Its runs.
    checkpoints : list of Checkpoint
        In order of steps.
    diverged : ndarray of shape (n,)
        First step with a non-finite loss, -1 for runs that have none.
    samples : list of int
        Training samples that each run saw.
    evaluated : list of int
        Training samples on which each run was evaluated.
    """

    stack: Stack
    checkpoints: list[Checkpoint]
    diverged: Array
    samples: list[int]
    evaluated: list[int]


def train_stack(
    stack: Stack,
    data: Data,
    device: torch.device,
    *,
    start: Mapping[tuple[str, int], Array] | None = None,
    progress: Callable[[int], None] = lambda steps: None,
) -> Trained:
    """Train a stack and evaluate it at its checkpoints.

    Parameters
    ----------
    start : mapping of (run_id, step) to ndarray of shape (d,), optional
        Weights for runs with ``init_from``.
    progress : callable, optional
        Called with the number of steps taken since the last call; may raise
        `Stopped`.

    Returns
    -------
    Trained
    """
    runs, architecture = stack.runs, stack.architecture
    layout = architecture.layout
    views = [view(run, data, "train") for run in runs]
    batches = Batches(data, runs, views, device)
    evaluated = [
        _sample(seen, run.train_evaluated) for seen, run in zip(views, runs, strict=True)
    ]
    evaluations = {"train": Evaluation(data, "train", runs, evaluated, device)}
    for split in SPLITS[1:]:
        seen = [view(run, data, split) for run in runs]
        evaluations[split] = Evaluation(data, split, runs, seen, device)

    weights = torch.from_numpy(initial_weights(stack, start or {})).to(device)
    tensors = {
        name: weights[:, columns].view(len(runs), *layout[name].shape).requires_grad_()
        for name, columns in layout.slices.items()
    }
    parameters = list(tensors.values())
    gradient = torch.empty_like(weights)
    optimizer = make_optimizer(
        runs[0].optimizer,
        weights,
        *(_column(runs, name, device) for name in ("lr", "momentum", "weight_decay")),
    )
    factor, steps = schedule(runs[0].schedule), runs[0].steps
    x, y = batches.empty()
    ones = torch.ones(len(runs), device=device)

    def step_gradient() -> Tensor:
        losses = cross_entropy(architecture.forward(tensors, x), y)
        grads = torch.autograd.grad(losses, parameters, ones)
        torch.cat([g.reshape(len(runs), -1) for g in grads], 1, out=gradient)
        return losses.detach()

    trial = torch.Generator().manual_seed(0)
    classes = 1 + max(int(seen.labels.max()) for seen in views)

    def random_batch() -> None:
        x.normal_(generator=trial)
        y.random_(0, classes, generator=trial)

    gradient_of_batch = step_gradient
    if device.type == "cpu" and steps >= RECORD_FROM:
        gradient_of_batch = replayed(step_gradient, [gradient], random_batch)
    history = torch.empty(PROGRESS_EVERY, len(runs), device=device)
    diverged = torch.full((len(runs),), -1, device=device)

    found: list[Checkpoint] = []
    since = 0
    for step in range(steps + 1):
        if step in runs[0].checkpoints:
            scores = {s: e.score(architecture, tensors) for s, e in evaluations.items()}
            found.append(Checkpoint(step, weights.cpu().numpy().copy(), scores))
        if step == steps:
            break
        batches.fill(x, y)
        history[since] = gradient_of_batch()
        optimizer.step(gradient, factor(step, steps))
        since += 1
        if since == PROGRESS_EVERY or step + 1 == steps:
            _mark_diverged(diverged, history[:since], step + 1 - since)
            progress(since)
            since = 0
    first_bad = diverged.cpu().numpy()
    lost = ~np.isfinite(found[-1].scores["train"].loss) & (first_bad < 0)
    first_bad[lost] = found[-1].step
    return Trained(
        stack,
        found,
        first_bad,
        [len(seen.index) for seen in views],
        [len(seen.index) for seen in evaluated],
    )


def initial_weights(stack: Stack, start: Mapping[tuple[str, int], Array]) -> Array:
    """Weights (n, d) before the first step.

    Raises
    ------
    LayoutMismatch
        If a parent's weights do not fit the architecture.
    """
    architecture = stack.architecture
    weights = np.empty((len(stack), architecture.layout.d), np.float32)
    for i, run in enumerate(stack.runs):
        if run.init_from is None:
            # Cells that shared an initialisation would leak it across splits by cell.
            shared = run.init_seed is not None or not run.cell
            own = "init" if shared else f"init of {run.cell}"
            draw = stream(run.seed_for("init"), own)
            weights[i] = architecture.init(draw) * np.float32(run.init_scale)
            continue
        parent = start[run.init_from]
        if parent.shape != weights[i].shape:
            raise LayoutMismatch(
                f"Run {run.cell!r} starts from {run.init_from[0]} with {len(parent)} "
                f"weights, but {architecture.name} of the recipe has {weights.shape[1]}."
            )
        weights[i] = parent * np.float32(run.init_scale)
    return weights


def _mark_diverged(diverged: Tensor, losses: Tensor, start: int) -> None:
    """Note the first non-finite loss of runs that had none before ``start``."""
    bad = ~losses.isfinite()
    news = bad.any(0) & (diverged < 0)
    if news.any():
        diverged[news] = start + bad[:, news].int().argmax(0)


def _sample(seen: View, count: int) -> View:
    """A fixed random sample of a run's view; files may be sorted by class."""
    if count >= len(seen.index):
        return seen
    picks = np.sort(stream(0, "evaluated").permutation(len(seen.index))[:count])
    return View(seen.index[picks], seen.labels[picks])


def _column(runs: tuple[Run, ...], name: str, device: torch.device) -> Tensor:
    values = [[float(getattr(run, name))] for run in runs]
    return torch.tensor(values, dtype=torch.float32, device=device)
