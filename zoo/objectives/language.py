"""Objective of language models: cross-entropy of the next token, measured by accuracy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.architecture import Architecture
from zoo.objective import Batch, LogitObjective
from zoo.objectives.classification import cross_entropy_and_hits, entropy
from zoo.run import Run
from zoo.stacked import cross_entropy
from zoo.task import Data


class Language(LogitObjective):
    """Mean cross-entropy in nats per token of logits (n, b, tokens, vocabulary)."""

    name = "language"

    def loss(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        batch: Batch,
        *,
        training: bool = False,
    ) -> Tensor:
        """Return the mean cross-entropy in nats per token."""
        logits = architecture.forward(tensors, batch.x, training=training)
        return cross_entropy(logits.flatten(1, 2), batch.y.flatten(1))

    def judge_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and accuracy, means over the tokens of each sample."""
        loss, hits = cross_entropy_and_hits(logits.flatten(1, 2), labels.flatten(1))
        return loss.view(labels.shape).mean(2), hits.view(labels.shape).mean(2)

    def chance(self, data: Data, run: Run) -> float:
        """Return the entropy of single tokens."""
        return entropy(data.y["train"])

    def interpolation(self) -> float:
        """Return NaN: the entropy of text bounds the loss from below and is unknown."""
        return float("nan")


language = Language()
