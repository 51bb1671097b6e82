"""Grouping runs into stacks that train as one program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from catalog import CatalogError
from catalog.names import canonical_json
from zoo.architecture import Architecture
from zoo.architectures import ARCHITECTURES
from zoo.options.optimizer import OPTIMIZERS
from zoo.run import Run
from zoo.task import Data

CACHED_BYTES = 2 << 20
"""Activations of a stack's batch that a core keeps in its caches: deeper stacks are
slower on a CPU. Measured best: 32 digits MLPs at batch 64, 96 at batch 8; 2 and 8 small
CNNs at batch 32 and 8."""

MOST = 96
"""Upper bound of that rule, and `Architecture.fewest` the lower; on an accelerator only
memory bounds a stack."""

SLACK = 0.25
"""By how much of a worker's share a stack may exceed it before it is cut."""


@dataclass(frozen=True)
class Stack:
    """Runs with one compute shape.

    Attributes
    ----------
    runs : tuple of Run
        They share architecture, batch size, steps, checkpoints, optimiser and schedule.
    """

    runs: tuple[Run, ...]

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def architecture(self) -> Architecture:
        """The architecture that all runs share."""
        return build_architecture(dict(self.runs[0].architecture))

    @property
    def work(self) -> float:
        """Estimate of the time: weights and activations touched in training."""
        run, architecture = self.runs[0], self.architecture
        per_step = run.batch_size * (architecture.layout.d + architecture.activations)
        return float(len(self.runs) * max(run.steps, 1) * per_step)


def build_architecture(config: dict[str, object]) -> Architecture:
    """Architecture from its stored configuration.

    Raises
    ------
    NotFound
        If the family is unknown to this version.
    """
    return ARCHITECTURES[str(config.get("name"))].from_config(config)


def shape_key(run: Run) -> str:
    """Equal for runs that may share a stack."""
    return canonical_json(
        [
            dict(run.architecture),
            run.task,
            run.batch_size,
            run.steps,
            list(run.checkpoints),
            run.optimizer,
            run.schedule,
        ]
    )


def network_bytes(run: Run, architecture: Architecture, samples: int = 0) -> int:
    """Peak bytes that one network adds to a stack in training.

    Weights, gradient, optimiser buffers and stored checkpoints, the activations of a
    batch kept for the backward pass (with im2col copies: eight times over), and the
    planned data order, and positions and labels of its ``samples`` in all splits.
    """
    d, batch = architecture.layout.d, run.batch_size
    buffers = 4 + getattr(OPTIMIZERS[run.optimizer], "buffers", 2)
    weights = 4 * d * (buffers + 2 * len(run.checkpoints))
    planned = 16 * 4096 + 48 * samples
    return weights + 4 * 8 * batch * architecture.activations + planned


def fitting_batch(run: Run, architecture: Architecture, memory: int) -> int | None:
    """Samples per pass for a network whose batch alone does not fit the memory.

    None if it fits, as it nearly always does.

    Raises
    ------
    CatalogError
        If the network has buffers: batch normalisation over parts of a batch would train
        another network under the same identity.
    """
    each = network_bytes(run, architecture)
    if each <= memory or run.batch_size == 1:
        return None
    if any(param.role == "buffer" for param in architecture.layout):
        raise CatalogError(
            f"A batch of {run.batch_size} of {architecture.name} (cell {run.cell!r}) takes "
            f"about {each >> 20:,} MB, and {memory >> 20:,} MB are there. Its batch "
            "normalisation needs the batch in one piece: give more --memory, or fewer "
            "--workers."
        )
    activations = 4 * 8 * architecture.activations
    spare = memory - (each - activations * run.batch_size)
    return int(np.clip(spare // activations, 1, run.batch_size))


def best_size(run: Run, architecture: Architecture) -> int:
    """Networks per stack that train fastest on one core."""
    batch = 4 * run.batch_size * architecture.activations
    return int(np.clip(CACHED_BYTES // batch, architecture.fewest, MOST))


def plan(
    runs: Sequence[Run],
    data: Data,
    memory: int,
    *,
    nets: int | None = None,
    workers: int = 1,
) -> list[Stack]:
    """Stacks of all runs, the longest first.

    Parameters
    ----------
    memory : int
        Bytes that one worker may use for a stack beyond the data.
    nets : int, optional
        Most networks in a stack; default what is best on a CPU.
    workers : int, default=1
        At least so many stacks are made, if there are so many runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(shape_key(run), []).append(run)
    stacks = []
    samples = sum(data.samples(split) for split in data.y)
    for group in groups.values():
        architecture = build_architecture(dict(group[0].architecture))
        each = network_bytes(group[0], architecture, samples)
        group.sort(key=lambda run: run.transform)
        most = nets or best_size(group[0], architecture)
        size = int(np.clip(memory // each, 1, most))
        parts = max(-(-len(group) // size), min(len(group), -(-workers // len(groups))))
        for part in np.array_split(np.arange(len(group)), parts):
            for piece in _few_transforms([group[i] for i in part], data, memory):
                stacks.append(Stack(tuple(piece)))
    return sorted(_shared_out(stacks, workers), key=lambda stack: -stack.work)


def _shared_out(stacks: list[Stack], workers: int) -> list[Stack]:
    """Cut stacks that take longer than a worker's share: others would wait for them."""
    share = sum(stack.work for stack in stacks) / workers
    found = []
    for stack in stacks:
        parts = min(len(stack), max(1, ceil(stack.work / share - SLACK)))
        for part in np.array_split(np.arange(len(stack)), parts):
            found.append(Stack(tuple(stack.runs[i] for i in part)))
    return found


def _few_transforms(runs: list[Run], data: Data, memory: int) -> list[list[Run]]:
    """Cut runs so that copies of the images, one per transform, fit the memory."""
    size = sum(array.nbytes for array in data.x.values())
    most = max(1, memory // max(size, 1))
    pieces: list[list[Run]] = [[]]
    for run in runs:
        names = {r.transform for r in pieces[-1]} | {run.transform}
        if len(names) > most:
            pieces.append([])
        pieces[-1].append(run)
    return [piece for piece in pieces if piece]
