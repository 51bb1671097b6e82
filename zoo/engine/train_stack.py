"""Training of a stack of runs as one program.

Every operation treats the networks of the network axis separately, so the result of a run
does not depend on the other runs of the stack: alone or in any stack, a run gets the same
weights within float tolerance, and a run that diverges does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog import LayoutMismatch
from catalog.dtypes import Array
from catalog.storage.splits import SPLITS
from zoo.engine.batch_gradient import RECORD_FROM, BatchGradient
from zoo.engine.descent import Stopped as Stopped
from zoo.engine.descent import descend
from zoo.engine.evaluate import Evaluation, Score
from zoo.engine.stack import Stack
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch
from zoo.objectives import OBJECTIVES
from zoo.options.optimizer import make_optimizer
from zoo.options.schedule import schedule
from zoo.randomness import stream
from zoo.run import Run
from zoo.samples import Batches, View, view
from zoo.task import Data


@dataclass(frozen=True)
class Checkpoint:
    """A stack at one step.

    Attributes
    ----------
    step : int
        Number of steps taken.
    weights : ndarray of shape (n, d)
        Copy of the weights.
    scores : mapping of str to Score
        Scores by split.
    """

    step: int
    weights: Array
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Trained:
    """Result of training a stack.

    Attributes
    ----------
    stack : Stack
        Trained runs.
    checkpoints : list of Checkpoint
        Checkpoints in order of steps.
    diverged : ndarray of shape (n,)
        First step with a non-finite loss, -1 for runs without such a step.
    samples : list of int
        Number of training samples of each run.
    evaluated : list of int
        Number of training samples on which each run was evaluated.
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
    micro_batch: int | None = None,
) -> Trained:
    """Train a stack and evaluate it at its checkpoints.

    Parameters
    ----------
    start : mapping of (run_id, step) to ndarray of shape (d,), optional
        Weights of the checkpoints that runs with ``init_from`` start from.
    progress : callable, optional
        Called with the number of steps taken since the last call; may raise
        `Stopped`.
    micro_batch : int, optional
        Number of samples per pass, if a batch does not fit into memory. Batch size, steps
        and loss remain those of the whole batch.

    Returns
    -------
    Trained
    """
    runs, architecture = stack.runs, stack.architecture
    objective = OBJECTIVES[data.task.objective]
    views = [view(run, data, "train") for run in runs]
    batches = Batches(data, runs, views, device)
    evaluated = [
        evaluated_part(run_view, run.train_evaluated)
        for run_view, run in zip(views, runs, strict=True)
    ]
    evaluations = {"train": Evaluation(data, "train", runs, evaluated, device)}
    for split in SPLITS[1:]:
        split_views = [view(run, data, split) for run in runs]
        evaluations[split] = Evaluation(data, split, runs, split_views, device)

    weights = StackWeights(architecture.layout, initial_weights(stack, start or {}), device)
    optimizer = make_optimizer(
        runs[0].optimizer,
        weights.parameters,
        *(_column(runs, name, device) for name in ("lr", "momentum", "weight_decay")),
    )
    batch = Batch(*batches.empty(), objective.constants(runs, device))
    gradient = BatchGradient(architecture, objective, weights, batch, micro_batch)
    if runs[0].steps >= RECORD_FROM:
        gradient.record(batches.labels)
    checkpoints: list[Checkpoint] = []

    def evaluate_at(step: int) -> None:
        if step in runs[0].checkpoints:
            scores = {
                s: e.score(architecture, weights.tensors) for s, e in evaluations.items()
            }
            checkpoints.append(Checkpoint(step, weights.matrix(), scores))

    diverged = descend(
        gradient,
        batches,
        batch,
        optimizer,
        schedule(runs[0].schedule),
        runs[0].steps,
        at_step=evaluate_at,
        progress=progress,
    )
    first_bad = diverged.cpu().numpy()
    bad_at_end = ~np.isfinite(checkpoints[-1].scores["train"].loss) & (first_bad < 0)
    first_bad[bad_at_end] = checkpoints[-1].step
    return Trained(
        stack,
        checkpoints,
        first_bad,
        [len(run_view.index) for run_view in views],
        [len(run_view.index) for run_view in evaluated],
    )


def initial_weights(stack: Stack, start: Mapping[tuple[str, int], Array]) -> Array:
    """Return the weights (n, d) before the first step.

    Raises
    ------
    LayoutMismatch
        If a parent's weights do not fit the architecture.
    """
    architecture = stack.architecture
    weights = np.empty((len(stack), architecture.layout.d), np.float32)
    inherited = np.zeros(architecture.layout.d, bool)
    for name in architecture.inherits:
        inherited[architecture.layout.slices[name]] = True
    for i, run in enumerate(stack.runs):
        if run.init_from is None or not inherited.all():
            # Cells with a common initialisation would leak it from one split into another.
            shared = run.init_seed is not None or not run.cell
            purpose = "init" if shared else f"init of {run.cell}"
            generator = stream(run.seed_for("init"), purpose)
            centre = architecture.init_centre()
            offset = architecture.init(generator) - centre
            weights[i] = centre + offset * np.float32(run.init_scale)
        if run.init_from is None:
            continue
        parent = start[run.init_from]
        if parent.shape != weights[i].shape:
            raise LayoutMismatch(
                f"Run {run.cell!r} starts from {run.init_from[0]} with {len(parent)} "
                f"weights, but the {architecture.name} of the recipe has "
                f"{weights.shape[1]}."
            )
        weights[i, inherited] = parent[inherited] * np.float32(run.init_scale)
    return weights


def evaluated_part(run_view: View, count: int) -> View:
    """Return a fixed random sample of ``count`` samples of a run's view.

    The sample is random because files may be sorted by class.
    """
    if count >= len(run_view.index):
        return run_view
    picks = np.sort(stream(0, "evaluated").permutation(len(run_view.index))[:count])
    return View(run_view.index[picks], run_view.labels[picks])


def _column(runs: tuple[Run, ...], name: str, device: torch.device) -> Tensor:
    """Return the values of an option, one row per run."""
    values = [[float(getattr(run, name))] for run in runs]
    return torch.tensor(values, dtype=torch.float32, device=device)
