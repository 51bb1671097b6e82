"""Loop of gradient descent: batches, gradients, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.engine.batch_gradient import BatchGradient
from zoo.objective import Batch
from zoo.options.optimizer import Optimizer
from zoo.samples import Batches

PROGRESS_EVERY = 64
"""Number of steps between two calls of ``progress`` and two checks for divergence."""


class Stopped(Exception):
    """Request to stop training; the stack in progress is dropped."""


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
        Schedule: the factor of the learning rate, given the step and the number of steps.
    at_step : callable, optional
        Called with 0 before the first step, then with the number of steps taken.
    before, after : callable, optional
        Called before and after each gradient. `zoo.landscape.curve` moves the point on
        the curve in ``before`` and scales the gradient in ``after``.
    progress : callable, optional
        Called with the number of steps taken since the last call; may raise
        `Stopped`.

    Returns
    -------
    Tensor of shape (n,)
        First step with a non-finite loss, -1 for networks without such a step.
    """
    n, device = len(gradient.values), gradient.values.device
    history = torch.empty(PROGRESS_EVERY, n, device=device)
    diverged = torch.full((n,), -1, device=device)
    unreported = 0
    for step in range(steps):
        at_step(step)
        batches.fill(batch.x, batch.y)
        before()
        history[unreported] = gradient()
        after()
        optimizer.step(gradient.values, factor(step, steps))
        unreported += 1
        if unreported == PROGRESS_EVERY or step + 1 == steps:
            _mark_diverged(diverged, history[:unreported], step + 1 - unreported)
            progress(unreported)
            unreported = 0
    at_step(steps)
    return diverged


def _mark_diverged(diverged: Tensor, losses: Tensor, start: int) -> None:
    """Record the first non-finite loss of networks that had none before ``start``."""
    non_finite = ~losses.isfinite()
    newly_diverged = non_finite.any(0) & (diverged < 0)
    if newly_diverged.any():
        diverged[newly_diverged] = start + non_finite[:, newly_diverged].int().argmax(0)
