"""What each run of a stack sees: its samples, labels and data order.

Images stand once per distinct transform; a run sees indices into them. So runs with
their own class subset, labels, noise, subset and order train side by side without
copies of the data.
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
    """One split as one run sees it.

    Attributes
    ----------
    index : ndarray of int64
        Positions in the split.
    labels : ndarray of int64
        The run's own labels of those samples.
    """

    index: Array
    labels: Array


def view(run: Run, data: Data, split: str) -> View:
    """A run's samples of a split: classes, subset, labels and, in training, noise.

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
        new = np.full(classes, -1)
        new[list(run.classes)] = np.arange(len(run.classes))
        index = index[new[labels] >= 0]
        labels, classes = new[labels[index]], len(run.classes)
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
            draw = stream(run.seed_for("subset"), "subset").permutation(len(index))
            chosen = np.sort(draw[: run.train_samples])
            index, labels = index[chosen], labels[chosen]
        labels = with_noise(labels, classes, run)
    return View(index, labels.astype(np.int64))


def _one_vs_rest(one: int, data: Data, split: str) -> tuple[Array, Array]:
    """Positions of a class and of as many others, in order, with labels 1 and 0."""
    labels = data.y[split]
    if not 0 <= one < data.task.classes:
        raise CatalogError(
            f"one_vs_rest must be a label of {data.task.title} below {data.task.classes}. "
            f"Got {one}."
        )
    own, rest = np.flatnonzero(labels == one), np.flatnonzero(labels != one)
    drawn = stream(0, f"rest of {one} {split}").permutation(rest)[: len(own)]
    index = np.sort(np.concatenate([own, drawn]))
    return index, (labels[index] == one).astype(np.int64)


def _check_labels_are_classes(run: Run, data: Data) -> None:
    plain: dict[str, object] = {"classes": None, "label_map": None, "label_noise": 0.0}
    plain |= {"transform": "identity", "augment": "none", "one_vs_rest": None}
    given = [name for name, value in plain.items() if getattr(run, name) != value]
    if given and data.task.objective != "classification":
        raise CatalogError(
            f"{', '.join(given)} of cell {run.cell!r}: {data.task.title} has no classes "
            "and images; leave out these settings."
        )


def with_noise(labels: Array, classes: int, run: Run) -> Array:
    """Labels of which exactly the run's share is replaced by another class."""
    count = round(run.label_noise * len(labels))
    if not count or classes < 2:
        return labels
    draw = stream(run.seed_for("noise"), "label noise")
    wrong = draw.permutation(len(labels))[:count]
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + draw.integers(1, classes, count)) % classes
    return noisy


class Images:
    """A split's images on the device, once per distinct transform of a stack.

    Parameters
    ----------
    data : Data
        The task.
    split : str
        Which images.
    runs : sequence of Run
        The stack.
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
        """Normalised images ``(*index.shape, channels, height, width)``."""
        shape = (*index.shape, *self.pixels.shape[1:])
        flat = None if out is None else out.view(-1, *self.pixels.shape[1:])
        if self.pixels.dtype != torch.uint8:
            return torch.index_select(self.pixels, 0, index.reshape(-1), out=flat).view(
                shape
            )
        images = self.pixels.index_select(0, index.reshape(-1)).float()
        images = images.mul_(self._scale).sub_(self._mean).div_(self._std)
        return images.view(shape) if flat is None else flat.copy_(images).view(shape)


class Batches:
    """Minibatches of a stack: every run in its own order, from its own seed.

    A run's order is one permutation of its samples per epoch; what does not fill a
    batch at the end of an epoch is left out.

    Attributes
    ----------
    labels : int
        Labels that occur: all are below it.
    """

    BLOCK = 4096
    """Samples per run that are planned ahead."""

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
        self.labels = 1 + max(int(seen.labels.max()) for seen in views)

    def empty(self) -> tuple[Tensor, Tensor]:
        """Memory for the images ``(n, b, ...)`` and labels ``(n, b)`` of a step."""
        shape = (len(self._views), self._batch)
        pixels = (*shape, *self._images.pixels.shape[1:])
        kind = self._images.pixels.dtype
        kind = torch.float32 if kind == torch.uint8 else kind
        inputs = torch.zeros(pixels, dtype=kind, device=self._device)
        own = self._views[0].labels.shape[1:]
        labels = torch.zeros(*shape, *own, dtype=torch.int64, device=self._device)
        return inputs, labels

    def fill(self, x: Tensor, y: Tensor) -> None:
        """Put images and labels of the next step into the memory of `empty`."""
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
        for i, seen in enumerate(self._views):
            picks = self._stream(i, length)
            index[i] = seen.index[picks] + self._images.start[i]
            labels[i] = seen.labels[picks]
        self._index = torch.from_numpy(index).to(self._device)
        self._labels = torch.from_numpy(labels).to(self._device)
        if set(self._kinds) != {"none"}:
            moves = zip(self._kinds, self._moves, strict=True)
            drawn = np.stack([augmentation_draws(kind, own, length) for kind, own in moves])
            self._drawn = torch.from_numpy(drawn).to(self._device)
        self._next = 0

    def _stream(self, i: int, length: int) -> Array:
        samples = len(self._views[i].index)
        usable = samples // self._batch * self._batch
        parts, have = [self._left[i]], len(self._left[i])
        while have < length:
            parts.append(self._orders[i].permutation(samples)[:usable])
            have += usable
        picks = np.concatenate(parts)
        self._left[i] = picks[length:]
        return picks[:length]
