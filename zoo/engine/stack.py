"""Grouping of runs into stacks that train as one program."""

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
"""Bytes of a stack's activations on a batch that fit the caches of one core. Larger stacks
are slower on a CPU. The fastest sizes measured: 32 digits MLPs at batch 64, 96 at batch 8;
2 and 8 small CNNs at batch 32 and 8."""

MOST = 96
"""Largest number of networks that `best_size` gives a stack; `Architecture.fewest` is the
smallest. On an accelerator only memory bounds a stack."""

SLACK = 0.25
"""Fraction of a worker's share by which a stack may exceed the share without a cut."""


@dataclass(frozen=True)
class Stack:
    """Runs of the same compute shape.

    Attributes
    ----------
    runs : tuple of Run
        Runs with the same architecture, task, batch size, steps, checkpoints, optimiser
        and schedule.
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
        """Estimate of the training time: number of weights and activations computed."""
        run, architecture = self.runs[0], self.architecture
        per_step = run.batch_size * (architecture.layout.d + architecture.activations)
        return float(len(self.runs) * max(run.steps, 1) * per_step)


def build_architecture(config: dict[str, object]) -> Architecture:
    """Build an architecture from its stored configuration.

    Raises
    ------
    NotFound
        If this version has no such family.
    """
    return ARCHITECTURES[str(config.get("name"))].from_config(config)


def shape_key(run: Run) -> str:
    """Return a key that is equal for runs that may share a stack."""
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
    """Estimate the peak bytes that one network adds to a stack in training.

    The bytes are those of weights, gradient, optimiser buffers and stored checkpoints; of
    the activations of a batch that the backward pass needs (times eight, for the im2col
    copies); of the planned data order; and of the positions and labels of the network's
    ``samples`` in all splits.
    """
    d, batch = architecture.layout.d, run.batch_size
    buffers = 4 + getattr(OPTIMIZERS[run.optimizer], "buffers", 2)
    weights = 4 * d * (buffers + 2 * len(run.checkpoints))
    planned = 16 * 4096 + 48 * samples
    return weights + 4 * 8 * batch * architecture.activations + planned


def fitting_batch(run: Run, architecture: Architecture, memory: int) -> int | None:
    """Return the number of samples per pass if one network's batch exceeds the memory.

    Return None if the batch fits, as it nearly always does.

    Raises
    ------
    CatalogError
        If the network has buffers: batch normalisation over parts of a batch would train
        a different network under the same run id.
    """
    needed = network_bytes(run, architecture)
    if needed <= memory or run.batch_size == 1:
        return None
    if any(param.role == "buffer" for param in architecture.layout):
        raise CatalogError(
            f"A batch of {run.batch_size} of {architecture.name} (cell {run.cell!r}) takes "
            f"about {needed >> 20:,} MB, but a worker has {memory >> 20:,} MB. The batch "
            "cannot be split because the network has batch normalisation. Raise --memory "
            "or lower --workers."
        )
    activations = 4 * 8 * architecture.activations
    available = memory - (needed - activations * run.batch_size)
    return int(np.clip(available // activations, 1, run.batch_size))


def best_size(run: Run, architecture: Architecture) -> int:
    """Return the number of networks per stack that trains fastest on one core."""
    batch_bytes = 4 * run.batch_size * architecture.activations
    return int(np.clip(CACHED_BYTES // batch_bytes, architecture.fewest, MOST))


def plan(
    runs: Sequence[Run],
    data: Data,
    memory: int,
    *,
    nets: int | None = None,
    workers: int = 1,
) -> list[Stack]:
    """Group runs into stacks, sorted by decreasing work.

    Parameters
    ----------
    memory : int
        Bytes that one worker may use for a stack beyond the data.
    nets : int, optional
        Largest number of networks in a stack; by default `best_size`, the fastest on a
        CPU.
    workers : int, default=1
        Number of workers. There are at least as many stacks, if there are as many runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(shape_key(run), []).append(run)
    stacks = []
    samples = sum(data.samples(split) for split in data.y)
    for group in groups.values():
        architecture = build_architecture(dict(group[0].architecture))
        bytes_per_network = network_bytes(group[0], architecture, samples)
        group.sort(key=lambda run: run.transform)
        largest = nets or best_size(group[0], architecture)
        size = int(np.clip(memory // bytes_per_network, 1, largest))
        parts = max(-(-len(group) // size), min(len(group), -(-workers // len(groups))))
        for indices in np.array_split(np.arange(len(group)), parts):
            for piece in _cut_by_transforms([group[i] for i in indices], data, memory):
                stacks.append(Stack(tuple(piece)))
    return sorted(_cut_to_share(stacks, workers), key=lambda stack: -stack.work)


def _cut_to_share(stacks: list[Stack], workers: int) -> list[Stack]:
    """Cut stacks that take longer than a worker's share, so that no worker waits."""
    share = sum(stack.work for stack in stacks) / workers
    cut_stacks = []
    for stack in stacks:
        parts = min(len(stack), max(1, ceil(stack.work / share - SLACK)))
        for indices in np.array_split(np.arange(len(stack)), parts):
            cut_stacks.append(Stack(tuple(stack.runs[i] for i in indices)))
    return cut_stacks


def _cut_by_transforms(runs: list[Run], data: Data, memory: int) -> list[list[Run]]:
    """Cut runs so that the copies of the images, one per transform, fit the memory."""
    size = sum(array.nbytes for array in data.x.values())
    largest = max(1, memory // max(size, 1))
    pieces: list[list[Run]] = [[]]
    for run in runs:
        names = {r.transform for r in pieces[-1]} | {run.transform}
        if len(names) > largest:
            pieces.append([])
        pieces[-1].append(run)
    return [piece for piece in pieces if piece]
