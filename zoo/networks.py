"""Checkpoints of one architecture with their data and device, ready to be measured."""

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
"""Largest number of networks of a cell of which all pairs are compared."""


def pairing(n: int) -> list[tuple[int, int]]:
    """Return the pairs of n networks of a cell that are compared.

    Examples
    --------
    >>> pairing(3), len(pairing(10)), len(pairing(100))
    ([(0, 1), (0, 2), (1, 2)], 45, 450)
    """
    return [(i, j) for group in compared(n) for i in group for j in group if i < j]


def compared(n: int) -> list[list[int]]:
    """Split n networks of a cell into groups, within which all pairs are compared."""
    return [part.tolist() for part in np.array_split(np.arange(n), -(-n // ALL_PAIRS))]


@dataclass(frozen=True)
class Networks:
    """Stackable checkpoints of n networks.

    Attributes
    ----------
    architecture : Architecture
        Architecture of all networks.
    data : Data
        Data of the task.
    runs : tuple of Run
        Training configuration of each network; entry i belongs to network i.
    steps : tuple of int
        Step of each checkpoint.
    cells : tuple of str
        Key of each checkpoint's cell and step; the seeds that share a key are compared.
    weights : ndarray of shape (n, d)
        Weights in the order of the layout.
    device : torch.device
        Device on which the networks run.
    table : pyarrow.Table or None
        Rows of ``models`` if the networks are from a catalogue; networks that are made
        from them inherit from these rows.
    folder : Path or None
        Folder that may hold the data of other tasks as files.
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
        """Objective of the task."""
        return OBJECTIVES[self.data.task.objective]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name ``run_id@step`` of each network, for an order independent of the rows."""
        return tuple(
            f"{run.run_id(self.data.fingerprint)}@{step}"
            for run, step in zip(self.runs, self.steps, strict=True)
        )

    @cached_property
    def alive(self) -> Array:
        """Mask (n,) of the networks whose weights are all finite."""
        return np.logical_and.reduce(np.isfinite(self.weights), axis=1)

    def groups(self) -> list[Array]:
        """Return the rows of each group of networks that are compared, see `compared`."""
        cells: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            cells.setdefault(cell, []).append(i)
        return [
            np.array([cell[i] for i in part], np.int64)
            for cell in cells.values()
            for part in compared(len(cell))
        ]

    def stacked(self) -> StackWeights:
        """Return a copy of the weights as tensors on the device."""
        return StackWeights(self.architecture.layout, self.weights, self.device)

    def take(self, rows: Sequence[int] | Array) -> Networks:
        """Return the networks of the given rows, in that order; rows may repeat."""
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
        """Return the pairs (m, 2) of networks that are compared, first < second.

        All pairs of a cell with up to `ALL_PAIRS` networks are compared. A larger cell is
        cut into groups of at most `ALL_PAIRS` networks, and all pairs within a group are
        compared, so that the cost grows linearly.
        """
        cells: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            cells.setdefault(cell, []).append(i)
        pairs = [
            (group[a], group[b]) for group in cells.values() for a, b in pairing(len(group))
        ]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def samples(self, split: str, count: int, seed: int) -> Samples:
        """Draw a fixed random subset of the samples that each run sees of a split.

        The positions depend on the seed alone, so that runs with the same view of the
        split get the same subset.
        """
        return Samples(self, split, count, seed)


def sample_key(run: Run, split: str = "train") -> str:
    """Return a key that is equal for runs with the same samples and labels of a split."""
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
        Positions in the split; one row if all networks share their positions. If a run
        sees fewer samples than requested, m is the number that this run sees.
    shared : bool
        Whether all networks see the same inputs.
    """

    def __init__(self, networks: Networks, split: str, count: int, seed: int) -> None:
        self._networks = networks
        view_of: dict[str, View] = {}
        views = []
        for run in networks.runs:
            key = sample_key(run, split)
            if key not in view_of:
                view_of[key] = view(run, networks.data, split)
            views.append(view_of[key])
        count = min(count, *(len(full.index) for full in views))
        subsets = []
        for full in views:
            order = stream(seed, f"measured on {split}").permutation(len(full.index))
            drawn = np.sort(order[:count])
            subsets.append(View(full.index[drawn], full.labels[drawn]))
        images = Images(networks.data, split, networks.runs, networks.device)
        starts = np.array(images.start)[:, None]
        self.ids: Array = np.stack([subset.index for subset in subsets])
        index = self.ids + starts
        self.shared = bool((index == index[:1]).all())
        if self.shared:
            self.ids, index = self.ids[:1], index[:1]
        self._images = images
        self._index = torch.from_numpy(index).to(networks.device)
        labels = np.stack([subset.labels for subset in subsets])
        self._labels = torch.from_numpy(labels).to(networks.device)
        self._constants = networks.objective.constants(networks.runs, networks.device)

    def __len__(self) -> int:
        return int(self._labels.shape[1])

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """Yield the samples of all networks in batches of at most ``size``."""
        size = size or len(self)
        n = len(self._networks)
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            x = self._images.gather(self._index[:, rows])
            yield Batch(x.expand(n, *x.shape[1:]), self._labels[:, rows], self._constants)


Progress = Callable[[float], None]
"""Function that is called with the share of the work done, 0 to 1."""
