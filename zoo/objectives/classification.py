"""Objective of classification: cross-entropy of class labels, measured by accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.objective import Batch, LogitObjective
from zoo.run import Run
from zoo.samples import view
from zoo.stacked import cross_entropy
from zoo.task import Data


class Classification(LogitObjective):
    """Mean cross-entropy in nats; the class with the largest logit is the prediction."""

    name = "classification"

    def loss(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        batch: Batch,
        *,
        training: bool = False,
    ) -> Tensor:
        """Return the mean cross-entropy in nats."""
        logits = architecture.forward(tensors, batch.x, training=training)
        return cross_entropy(logits, batch.y)

    def judge_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and hits (n, b); hits are NaN where a logit is NaN."""
        return cross_entropy_and_hits(logits, labels)

    def chance(self, data: Data, run: Run) -> float:
        """Return the entropy of the run's training labels."""
        return entropy(view(run, data, "train").labels)


def cross_entropy_and_hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and hits (n, b) of logits (n, b, classes).

    Hits are 1 where the prediction is the label, else 0, and NaN where a logit is NaN.
    """
    # Classes come first, because a softmax over a short last axis does not vectorise.
    logits = logits.permute(2, 0, 1).contiguous()
    logp = torch.log_softmax(logits, 0)
    loss = -logp.gather(0, labels.unsqueeze(0)).squeeze(0)
    largest, prediction = logits.max(0)
    return loss, torch.where(largest.isnan(), torch.nan, (prediction == labels).float())


def entropy(labels: np.ndarray) -> float:
    """Return the entropy in nats of the empirical distribution of labels."""
    share = np.bincount(labels.reshape(-1)) / labels.size
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


classification = Classification()
