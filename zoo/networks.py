"""Checkpoints of one architecture, on a device and with their data: ready to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from catalog.dtypes import Array
from zoo.architecture import Architecture
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch, Objective
from zoo.objectives import OBJECTIVES
from zoo.randomness import stream
from zoo.run import Run
from zoo.samples import Images, View, view
from zoo.task import Data

ALL_PAIRS = 10
"""Networks of a cell up to which all are compared with all."""


def pairing(n: int) -> list[tuple[int, int]]:
    """Which of n networks of a cell are compared.

    Examples
    --------
    >>> pairing(3), len(pairing(10)), len(pairing(100))
    ([(0, 1), (0, 2), (1, 2)], 45, 450)
    """
    return [(i, j) for group in compared(n) for i in group for j in group if i < j]


def compared(n: int) -> list[list[int]]:
    """Groups of n networks of a cell; those of a group are compared with each other."""
    return [part.tolist() for part in np.array_split(np.arange(n), -(-n // ALL_PAIRS))]


@dataclass(frozen=True)
class Networks:
    """n checkpoints that can be stacked.

    Attributes
    ----------
    architecture : Architecture
        Shared by all.
    data : Data
        The task.
    runs : tuple of Run
        What each was trained on and how; row i belongs to network i.
    steps : tuple of int
        Step of each checkpoint.
    cells : tuple of str
        Equal for the checkpoints of one cell at one step: their seeds are compared.
    weights : ndarray of shape (n, d)
        In the order of the layout.
    device : torch.device
    table : pyarrow.Table or None
        Their rows of ``models``, if they are from a catalogue: what is made from them
        inherits from these.
    folder : Path or None
        Where the data of other tasks may be as files.
    """

    architecture: Architecture
    data: Data
    runs: tuple[Run, ...]
    steps: tuple[int, ...]
    cells: tuple[str, ...]
    weights: Array
    device: torch.device
    table: pa.Table | None = field(default=None, repr=False)
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def objective(self) -> Objective:
        """What they are judged by."""
        return OBJECTIVES[self.data.task.objective]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """run_id and step of each: an order that does not depend on that of the rows."""
        return tuple(
            f"{run.run_id(self.data.fingerprint)}@{step}"
            for run, step in zip(self.runs, self.steps, strict=True)
        )

    @cached_property
    def alive(self) -> Array:
        """Mask (n,) of the networks whose weights are all finite."""
        return np.logical_and.reduce(np.isfinite(self.weights), axis=1)

    def groups(self) -> list[Array]:
        """Rows of the networks that are compared with each other, see `compared`."""
        cells: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            cells.setdefault(cell, []).append(i)
        return [
            np.array([cell[i] for i in part], np.int64)
            for cell in cells.values()
            for part in compared(len(cell))
        ]

    def stacked(self) -> StackWeights:
        """A copy of the weights on the device, as tensors."""
        return StackWeights(self.architecture.layout, self.weights, self.device)

    def take(self, rows: Sequence[int] | Array) -> Networks:
        """Some of the networks, in that order; one may come several times."""
        rows = [int(i) for i in rows]
        return Networks(
            self.architecture,
            self.data,
            tuple(self.runs[i] for i in rows),
            tuple(self.steps[i] for i in rows),
            tuple(self.cells[i] for i in rows),
            self.weights[rows],
            self.device,
            None if self.table is None else self.table.take(pa.array(rows, pa.int64())),
            self.folder,
        )

    def pairs(self) -> Array:
        """Pairs (m, 2) of networks of one cell, first < second.

        All pairs of a cell of up to `ALL_PAIRS` networks; larger ones are cut into groups
        of at most so many, within which all are compared: the cost does not explode.
        """
        cells: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            cells.setdefault(cell, []).append(i)
        found = [
            (group[a], group[b]) for group in cells.values() for a, b in pairing(len(group))
        ]
        return np.array(found, np.int64).reshape(-1, 2)

    def samples(self, split: str, count: int, seed: int) -> Samples:
        """A fixed random sample of what each run sees of a split.

        Runs that see the same get the same: positions come from the seed alone.
        """
        return Samples(self, split, count, seed)


def sample_key(run: Run, split: str = "train") -> str:
    """Equal for runs that see the same samples of a split with the same labels."""
    key: list[object] = [run.classes, run.label_map]
    if run.one_vs_rest is not None:
        key.append(f"{run.one_vs_rest} or not")
    if split == "train" and run.train_samples is not None:
        key += [run.train_samples, run.seed_for("subset")]
    if split == "train" and run.label_noise:
        key += [run.label_noise, run.seed_for("noise")]
    return repr(key)


class Samples:
    """Samples of one split for every network.

    Attributes
    ----------
    ids : ndarray of shape (n, m) or (1, m)
        Positions in the split; one row if all networks share them. A run that sees
        fewer samples than asked for decides m for all.
    shared : bool
        Whether all networks see the same inputs.
    """

    def __init__(self, networks: Networks, split: str, count: int, seed: int) -> None:
        self._networks = networks
        views: dict[str, View] = {}
        chosen = []
        for run in networks.runs:
            key = sample_key(run, split)
            if key not in views:
                views[key] = view(run, networks.data, split)
            chosen.append(views[key])
        count = min(count, *(len(seen.index) for seen in chosen))
        picked = []
        for seen in chosen:
            draw = stream(seed, f"measured on {split}").permutation(len(seen.index))
            at = np.sort(draw[:count])
            picked.append(View(seen.index[at], seen.labels[at]))
        images = Images(networks.data, split, networks.runs, networks.device)
        starts = np.array(images.start)[:, None]
        self.ids: Array = np.stack([seen.index for seen in picked])
        index = self.ids + starts
        self.shared = bool((index == index[:1]).all())
        if self.shared:
            self.ids, index = self.ids[:1], index[:1]
        self._images = images
        self._index = torch.from_numpy(index).to(networks.device)
        labels = np.stack([seen.labels for seen in picked])
        self._labels = torch.from_numpy(labels).to(networks.device)
        self._constants = networks.objective.constants(networks.runs, networks.device)

    def __len__(self) -> int:
        return int(self._labels.shape[1])

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """The samples in parts of at most ``size``, every network's at once."""
        size = size or len(self)
        n = len(self._networks)
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            x = self._images.gather(self._index[:, rows])
            yield Batch(x.expand(n, *x.shape[1:]), self._labels[:, rows], self._constants)


Progress = Callable[[float], None]
"""Called with the share of the work done, 0 to 1."""
