"""Cross-entropy of class labels; judged by accuracy."""

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
    """Mean cross-entropy in nats; the largest logit is the answer."""

    name = "classification"

    def loss(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        batch: Batch,
        *,
        training: bool = False,
    ) -> Tensor:
        """Mean cross-entropy in nats."""
        logits = architecture.forward(tensors, batch.x, training=training)
        return cross_entropy(logits, batch.y)

    def judge_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and whether the label is right; NaN where a logit is NaN."""
        return cross_entropy_and_hits(logits, labels)

    def chance(self, data: Data, run: Run) -> float:
        """Entropy of the run's training labels."""
        return entropy(view(run, data, "train").labels)


def cross_entropy_and_hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and hits (n, b) of logits (n, b, classes)."""
    # Classes first: a softmax over a short last axis does not vectorise.
    logits = logits.permute(2, 0, 1).contiguous()
    logp = torch.log_softmax(logits, 0)
    loss = -logp.gather(0, labels.unsqueeze(0)).squeeze(0)
    top, best = logits.max(0)
    return loss, torch.where(top.isnan(), torch.nan, (best == labels).float())


def entropy(labels: np.ndarray) -> float:
    """Entropy in nats of the empirical distribution of labels."""
    share = np.bincount(labels.reshape(-1)) / labels.size
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


classification = Classification()
