"""The one loop that moves weights: batches, gradients, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.engine.batch_gradient import BatchGradient
from zoo.objective import Batch
from zoo.options.optimizer import Optimizer
from zoo.samples import Batches

PROGRESS_EVERY = 64
"""Steps between two calls of ``progress`` and two looks for diverged networks."""


class Stopped(Exception):
    """Training was asked to stop; the stack in progress is dropped."""


def descend(
    gradient: BatchGradient,
    batches: Batches,
    batch: Batch,
    optimizer: Optimizer,
    factor: Callable[[int, int], float],
    steps: int,
    *,
    at_step: Callable[[int], None] = lambda step: None,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda steps: None,
) -> Tensor:
    """Take the steps of a stack.

    Parameters
    ----------
    batch : Batch
        Memory of the gradient, filled from ``batches`` at every step.
    factor : callable
        Schedule: of step and steps.
    at_step : callable, optional
        Called with 0 before the first step, then with the number of steps taken.
    before, after : callable, optional
        Called before and after each gradient; a curve moves its point in the one and
        scales the gradient in the other.
    progress : callable, optional
        Called with the number of steps taken since the last call; may raise
        `Stopped`.

    Returns
    -------
    Tensor of shape (n,)
        First step with a non-finite loss, -1 for networks that have none.
    """
    n, device = len(gradient.values), gradient.values.device
    history = torch.empty(PROGRESS_EVERY, n, device=device)
    diverged = torch.full((n,), -1, device=device)
    since = 0
    for step in range(steps):
        at_step(step)
        batches.fill(batch.x, batch.y)
        before()
        history[since] = gradient()
        after()
        optimizer.step(gradient.values, factor(step, steps))
        since += 1
        if since == PROGRESS_EVERY or step + 1 == steps:
            _mark_diverged(diverged, history[:since], step + 1 - since)
            progress(since)
            since = 0
    at_step(steps)
    return diverged


def _mark_diverged(diverged: Tensor, losses: Tensor, start: int) -> None:
    """Note the first non-finite loss of networks that had none before ``start``."""
    bad = ~losses.isfinite()
    news = bad.any(0) & (diverged < 0)
    if news.any():
        diverged[news] = start + bad[:, news].int().argmax(0)
