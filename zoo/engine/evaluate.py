"""Loss and accuracy of a stack on whole splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array
from zoo.architecture import Architecture
from zoo.objective import Batch, LogitObjective
from zoo.objectives import OBJECTIVES
from zoo.run import Run
from zoo.samples import Images, View
from zoo.task import Data

CHUNK_FLOATS = 1 << 21
"""Number of activations per forward pass that stay in the cache."""
FEWEST = 16
"""Smallest number of samples per forward pass."""


def networks_in_cache(architecture: Architecture) -> int:
    """Return how many networks stay in the cache with their activations, at least 1.

    The activations are those of one forward pass on the smallest number of samples.
    """
    return max(1, CHUNK_FLOATS // (FEWEST * architecture.activations))


@dataclass(frozen=True)
class Score:
    """Results of n networks on one split.

    Attributes
    ----------
    loss : ndarray of shape (n,)
        Mean loss; cross-entropy in nats.
    value : ndarray of shape (n,)
        Value of the measure that ``judged_by`` names. Accuracy is NaN where a logit is
        NaN.
    judged_by : {"accuracy", "relative_error"}
        Name of the measure; see `zoo.objective.Objective`.
    """

    loss: Array
    value: Array
    judged_by: str = "accuracy"

    @property
    def error(self) -> Array:
        """Error (n,): 1 - accuracy, or the relative error."""
        return 1 - self.value if self.judged_by == "accuracy" else self.value


class Evaluation:
    """Evaluation of a stack on one split, at any step.

    Parameters
    ----------
    views : sequence of View
        Samples and labels of the split for each run; runs may have different samples.
    """

    def __init__(
        self,
        data: Data,
        split: str,
        runs: Sequence[Run],
        views: Sequence[View],
        device: torch.device,
    ) -> None:
        self._images = Images(data, split, runs, device)
        self._objective = OBJECTIVES[data.task.objective]
        self._constants = self._objective.constants(runs, device)
        length = max(len(split_view.index) for split_view in views)
        index = np.zeros((len(views), length), np.int64)
        labels = np.zeros((*index.shape, *views[0].labels.shape[1:]), np.int64)
        counted = np.zeros(index.shape, bool)
        for i, split_view in enumerate(views):
            size = len(split_view.index)
            index[i, :size] = split_view.index + self._images.start[i]
            labels[i, :size], counted[i, :size] = split_view.labels, True
        self._shared = bool((index == index[:1]).all() and counted.all())
        self._index = torch.from_numpy(index[:1] if self._shared else index).to(device)
        self._labels = torch.from_numpy(labels).to(device)
        self._counted = torch.from_numpy(counted).to(device)

    @property
    def labels(self) -> Tensor:
        """Labels (n, length, ...), padded by 0 where a network has fewer samples."""
        return self._labels

    @property
    def counted(self) -> Tensor:
        """Mask (n, length) of the samples that each network has."""
        return self._counted

    def batches(self, architecture: Architecture) -> Iterator[tuple[slice, Batch]]:
        """Yield batches that stay in the cache, each with the slice of its samples."""
        n, length = self._counted.shape
        size = max(FEWEST, CHUNK_FLOATS // (n * architecture.activations))
        for start in range(0, length, size):
            columns = slice(start, start + size)
            x = self._images.gather(self._index[:, columns])
            yield (
                columns,
                Batch(x.expand(n, *x.shape[1:]), self._labels[:, columns], self._constants),
            )

    @torch.no_grad()
    def score(self, architecture: Architecture, tensors: Mapping[str, Tensor]) -> Score:
        """Return the scores of n networks."""
        n = len(self._counted)
        loss = torch.zeros(n, dtype=torch.float64, device=self._labels.device)
        value = torch.zeros_like(loss)
        for columns, batch in self.batches(architecture):
            sample_loss, sample_value = self._objective.judge(architecture, tensors, batch)
            counted = self._counted[:, columns]
            loss += torch.where(counted, sample_loss, 0.0).sum(1, dtype=torch.float64)
            value += torch.where(counted, sample_value, 0.0).sum(1, dtype=torch.float64)
        return self._score(loss, value)

    @torch.no_grad()
    def each(
        self, architecture: Architecture, tensors: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the value (n, length) of every sample.

        Entries outside the mask `counted` have no meaning.
        """
        parts = [
            self._objective.judge(architecture, tensors, batch)
            for _, batch in self.batches(architecture)
        ]
        return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)

    @torch.no_grad()
    def logits(self, architecture: Architecture, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the logits of n networks, shape (n, length, ..., classes)."""
        parts = [
            architecture.forward(tensors, batch.x)
            for _, batch in self.batches(architecture)
        ]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def score_logits(self, logits: Tensor) -> Score:
        """Return the score of logits (n, length, ..., classes) in the order of the samples.

        Raises
        ------
        ValueError
            If the objective of the task does not use logits.
        """
        if not isinstance(self._objective, LogitObjective):
            raise ValueError(f"Networks of {self._objective.name} have no logits to score.")
        loss, value = self._objective.judge_logits(logits, self._labels)
        return self._score(
            *(
                torch.where(self._counted, by_sample, 0.0).sum(1, dtype=torch.float64)
                for by_sample in (loss, value)
            )
        )

    def _score(self, loss: Tensor, value: Tensor) -> Score:
        """Return the score from sums (n,) over the counted samples."""
        total = self._counted.sum(1)
        return Score(
            (loss / total).cpu().numpy(),
            (value / total).cpu().numpy(),
            self._objective.judges,
        )
