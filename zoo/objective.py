"""What networks of a task minimise and are judged by."""

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
"""Values of shape (n, 1) that differ between runs of a stack, such as a PDE's beta."""


@dataclass(frozen=True)
class Batch:
    """Samples of n networks.

    Attributes
    ----------
    x : Tensor of shape (n, b, *input shape)
        Inputs; one batch that all networks share may be expanded.
    y : Tensor of shape (n, b, *label shape)
        Labels.
    constants : mapping of str to Tensor of shape (n, 1)
        See `Objective.constants`.
    """

    x: Tensor
    y: Tensor
    constants: Constants = field(default_factory=dict)


class Objective(ABC):
    """Loss and error of n networks side by side; instances are in `zoo.objectives`.

    Attributes
    ----------
    name : str
        Name in `Task.objective`.
    judges : str
        What `judge` returns beside the loss: ``"accuracy"``, of which 1 is best, or
        ``"relative_error"``, of which 0 is best and 1 is what a constant gets.
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
        """Mean loss (n,) over a batch, twice differentiable in the parameters."""

    @abstractmethod
    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Loss and what `judges` says, each (n, b): their means are those of a split."""

    @abstractmethod
    def chance(self, data: Data, run: Run) -> float:
        """Loss of the best constant answer: what a network without skill gets."""

    def interpolation(self) -> float:
        """Loss of a network that is right: 0.01 log 2 is the least that 1 % wrong cost."""
        return 0.01 * log(2)

    def constants(self, runs: Sequence[Run], device: torch.device) -> Constants:
        """What differs between runs and is no weight and no sample."""
        return {}


class LogitObjective(Objective):
    """An objective of class scores: what networks answer can be averaged or rescaled."""

    @abstractmethod
    def judge_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What `judge` gives, from logits (n, b, ..., classes) and labels (n, b, ...)."""

    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and whether the label is right; NaN where a logit is NaN."""
        return self.judge_logits(architecture.forward(tensors, batch.x), batch.y)
