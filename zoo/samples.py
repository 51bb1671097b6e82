"""Samples, labels and data order of each run of a stack.

Images are stored once per distinct transform, and a run indexes them. So runs that differ
in class subset, labels, noise, subset and order train side by side without copies of the
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog import CatalogError
from catalog.dtypes import Array
from zoo.options.augment import augmentation_draws, augmented
from zoo.options.transform import transform
from zoo.randomness import stream
from zoo.run import Run
from zoo.task import Data


@dataclass(frozen=True)
class View:
    """View of one run on one split.

    Attributes
    ----------
    index : ndarray of int64
        Positions in the split.
    labels : ndarray of int64
        Labels of these samples in the run's own numbering.
    """

    index: Array
    labels: Array


def view(run: Run, data: Data, split: str) -> View:
    """Return a run's samples and labels of a split.

    The view applies the class selection and the label map of the run and, to the training
    split, the subset and the label noise.

    Raises
    ------
    CatalogError
        If classes or label map do not fit the task.
    """
    _check_labels_are_classes(run, data)
    labels = data.y[split]
    index = np.arange(len(labels))
    classes = data.task.classes
    if run.one_vs_rest is not None:
        index, labels = _one_vs_rest(run.one_vs_rest, data, split)
        classes = 2
    if run.classes is not None:
        if not set(run.classes) <= set(range(classes)):
            raise CatalogError(
                f"classes must be labels of {data.task.title} below {classes}. Got "
                f"{run.classes}."
            )
        new_label = np.full(classes, -1)
        new_label[list(run.classes)] = np.arange(len(run.classes))
        index = index[new_label[labels] >= 0]
        labels, classes = new_label[labels[index]], len(run.classes)
    if run.label_map is not None:
        if len(run.label_map) != classes or not all(
            0 <= c < classes for c in run.label_map
        ):
            raise CatalogError(
                f"label_map must hold {classes} labels below {classes}. Got "
                f"{run.label_map}."
            )
        labels = np.asarray(run.label_map)[labels]
    if split == "train":
        if run.train_samples is not None:
            order = stream(run.seed_for("subset"), "subset").permutation(len(index))
            subset = np.sort(order[: run.train_samples])
            index, labels = index[subset], labels[subset]
        labels = with_noise(labels, classes, run)
    return View(index, labels.astype(np.int64))


def _one_vs_rest(chosen: int, data: Data, split: str) -> tuple[Array, Array]:
    """Return sorted positions of a class and of as many other samples; labels 1 and 0."""
    labels = data.y[split]
    if not 0 <= chosen < data.task.classes:
        raise CatalogError(
            f"one_vs_rest must be a label of {data.task.title} below {data.task.classes}. "
            f"Got {chosen}."
        )
    members, others = np.flatnonzero(labels == chosen), np.flatnonzero(labels != chosen)
    rest = stream(0, f"rest of {chosen} {split}").permutation(others)[: len(members)]
    index = np.sort(np.concatenate([members, rest]))
    return index, (labels[index] == chosen).astype(np.int64)


def _check_labels_are_classes(run: Run, data: Data) -> None:
    """Raise if settings that need classes and images are given for another task."""
    defaults: dict[str, object] = {"classes": None, "label_map": None, "label_noise": 0.0}
    defaults |= {"transform": "identity", "augment": "none", "one_vs_rest": None}
    changed = [name for name, value in defaults.items() if getattr(run, name) != value]
    if changed and data.task.objective != "classification":
        raise CatalogError(
            f"Cell {run.cell!r} sets {', '.join(changed)}, but {data.task.title} has no "
            "classes and images. Leave out these settings."
        )


def with_noise(labels: Array, classes: int, run: Run) -> Array:
    """Return labels of which exactly the run's noise share is replaced by another class."""
    count = round(run.label_noise * len(labels))
    if not count or classes < 2:
        return labels
    generator = stream(run.seed_for("noise"), "label noise")
    wrong = generator.permutation(len(labels))[:count]
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + generator.integers(1, classes, count)) % classes
    return noisy


class Images:
    """Images of a split on the device, once per distinct transform of a stack.

    Parameters
    ----------
    data : Data
        Data of the task.
    split : str
        Name of the split.
    runs : sequence of Run
        Runs of the stack.
    device : torch.device
        Device of the images.
    """

    def __init__(
        self, data: Data, split: str, runs: Sequence[Run], device: torch.device
    ) -> None:
        names = list(dict.fromkeys(run.transform for run in runs))
        images = data.x[split]
        copies = [images if n == "identity" else transform(n, images) for n in names]
        flat = np.concatenate(copies) if len(copies) > 1 else copies[0]
        self.pixels = torch.from_numpy(np.ascontiguousarray(flat)).to(device)
        self.start = [names.index(run.transform) * len(images) for run in runs]
        self._scale = data.scale
        self._mean = torch.from_numpy(data.mean).to(device)
        self._std = torch.from_numpy(data.std).to(device)

    @property
    def black(self) -> Tensor:
        """Normalised value of a black pixel, shape (channels, 1, 1)."""
        return -self._mean / self._std

    def gather(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """Return normalised images ``(*index.shape, channels, height, width)``."""
        shape = (*index.shape, *self.pixels.shape[1:])
        flat_out = None if out is None else out.view(-1, *self.pixels.shape[1:])
        if self.pixels.dtype != torch.uint8:
            return torch.index_select(self.pixels, 0, index.reshape(-1), out=flat_out).view(
                shape
            )
        images = self.pixels.index_select(0, index.reshape(-1)).float()
        images = images.mul_(self._scale).sub_(self._mean).div_(self._std)
        return (
            images.view(shape) if flat_out is None else flat_out.copy_(images).view(shape)
        )


class Batches:
    """Minibatches of a stack: every run has its own order, drawn from its own seed.

    The order of a run is one permutation of its samples per epoch. Samples that do not
    fill a batch at the end of an epoch are left out.

    Attributes
    ----------
    labels : int
        Upper bound on the labels: the largest label that occurs, plus 1.
    """

    BLOCK = 4096
    """Number of samples per run that are planned ahead."""

    def __init__(
        self,
        data: Data,
        runs: Sequence[Run],
        views: Sequence[View],
        device: torch.device,
    ) -> None:
        self._images = Images(data, "train", runs, device)
        self._views, self._device = views, device
        self._batch = runs[0].batch_size
        self._orders = [stream(run.seed_for("order"), "order") for run in runs]
        self._kinds = [run.augment for run in runs]
        self._moves = [stream(run.seed_for("order"), "augmentation") for run in runs]
        self._drawn: Tensor | None = None
        self._left = [np.empty(0, np.int64) for _ in runs]
        self._ahead = max(1, self.BLOCK // self._batch)
        self._next = self._ahead
        self._index = self._labels = torch.empty(0)
        self.labels = 1 + max(int(split_view.labels.max()) for split_view in views)

    def empty(self) -> tuple[Tensor, Tensor]:
        """Allocate the images ``(n, b, ...)`` and labels ``(n, b)`` of a step."""
        shape = (len(self._views), self._batch)
        pixels = (*shape, *self._images.pixels.shape[1:])
        kind = self._images.pixels.dtype
        kind = torch.float32 if kind == torch.uint8 else kind
        inputs = torch.zeros(pixels, dtype=kind, device=self._device)
        per_sample = self._views[0].labels.shape[1:]
        labels = torch.zeros(*shape, *per_sample, dtype=torch.int64, device=self._device)
        return inputs, labels

    def fill(self, x: Tensor, y: Tensor) -> None:
        """Write the images and labels of the next step into the memory of `empty`."""
        if self._next == self._ahead:
            self._plan()
        rows = slice(self._next * self._batch, (self._next + 1) * self._batch)
        self._next += 1
        self._images.gather(self._index[:, rows], x)
        if self._drawn is not None:
            x.copy_(augmented(x, self._drawn[:, rows], self._images.black))
        y.copy_(self._labels[:, rows])

    def _plan(self) -> None:
        length = self._ahead * self._batch
        index = np.empty((len(self._views), length), np.int64)
        labels = np.empty((*index.shape, *self._views[0].labels.shape[1:]), np.int64)
        for i, split_view in enumerate(self._views):
            picks = self._stream(i, length)
            index[i] = split_view.index[picks] + self._images.start[i]
            labels[i] = split_view.labels[picks]
        self._index = torch.from_numpy(index).to(self._device)
        self._labels = torch.from_numpy(labels).to(self._device)
        if set(self._kinds) != {"none"}:
            pairs = zip(self._kinds, self._moves, strict=True)
            drawn = np.stack([augmentation_draws(kind, rng, length) for kind, rng in pairs])
            self._drawn = torch.from_numpy(drawn).to(self._device)
        self._next = 0

    def _stream(self, i: int, length: int) -> Array:
        samples = len(self._views[i].index)
        usable = samples // self._batch * self._batch
        orders, count = [self._left[i]], len(self._left[i])
        while count < length:
            orders.append(self._orders[i].permutation(samples)[:usable])
            count += usable
        picks = np.concatenate(orders)
        self._left[i] = picks[length:]
        return picks[:length]
