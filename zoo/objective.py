"""Base classes of objectives: the loss that networks minimise, and their score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from zoo.architecture import Architecture

if TYPE_CHECKING:
    from zoo.run import Run
    from zoo.task import Data

Constants = Mapping[str, Tensor]
"""Values of shape (n, 1), by name, that differ between the runs of a stack, such as the
coefficient beta of a PDE."""


@dataclass(frozen=True)
class Batch:
    """Samples for n networks.

    Attributes
    ----------
    x : Tensor of shape (n, b, *input shape)
        Inputs; a batch that all networks share may be expanded.
    y : Tensor of shape (n, b, *label shape)
        Labels.
    constants : mapping of str to Tensor of shape (n, 1)
        See `Objective.constants`.
    """

    x: Tensor
    y: Tensor
    constants: Constants = field(default_factory=dict)


class Objective(ABC):
    """Base class of objectives: loss and score of n networks; see `zoo.objectives`.

    Attributes
    ----------
    name : str
        Name in `Task.objective`.
    judges : str
        Score that `judge` returns beside the loss: ``"accuracy"``, of which 1 is best, or
        ``"relative_error"``, of which 0 is best and a constant prediction gets 1.
    """

    name: ClassVar[str]
    judges: ClassVar[str] = "accuracy"

    @abstractmethod
    def loss(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        batch: Batch,
        *,
        training: bool = False,
    ) -> Tensor:
        """Return the mean loss (n,) over a batch, twice differentiable in parameters."""

    @abstractmethod
    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the score named `judges` of each sample, both (n, b).

        Their means over a split are the loss and the score of the split.
        """

    @abstractmethod
    def chance(self, data: Data, run: Run) -> float:
        """Return the loss of the best constant prediction: a network without skill."""

    def interpolation(self) -> float:
        """Return the loss at which a network counts as interpolating the training set.

        The default is 0.01 log 2, the least loss that 1 % of misclassified samples cost.
        """
        return 0.01 * log(2)

    def constants(self, runs: Sequence[Run], device: torch.device) -> Constants:
        """Return the values that differ between runs beside weights and samples."""
        return {}


class LogitObjective(Objective):
    """Base class of objectives of logits, which can be averaged or rescaled."""

    @abstractmethod
    def judge_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the result of `judge` from logits and labels.

        Parameters
        ----------
        logits : Tensor of shape (n, b, ..., classes)
            Logits of n networks on batches of b samples.
        labels : Tensor of shape (n, b, ...)
            True classes.
        """

    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and correctness of each sample; NaN where a logit is NaN."""
        return self.judge_logits(architecture.forward(tensors, batch.x), batch.y)
