"""Evaluation of many networks at once on the data of the judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from catalog.dtypes import Array
from zoo import Evaluator, stream

INPUTS = 512
"""Maximum number of test inputs whose logits span the function space."""


@dataclass(frozen=True)
class Answers:
    """Predictions of n networks on the m inputs of a split.

    Attributes
    ----------
    loss, accuracy : ndarray of shape (n,)
        Cross-entropy in nats, and accuracy.
    labels : ndarray of shape (n, m), int16
        Predicted classes; -1 where a logit is not finite.
    wrong : ndarray of bool, shape (n, m)
        Whether each prediction is wrong.
    function : ndarray of shape (n, k c), float32
        Logits of c classes for k inputs, minus their mean over classes, divided by their
        norm. Networks at distance 0 compute the same function, up to the scale of their
        logits, which a copy can change by a factor on its last layer.
    """

    loss: Array
    accuracy: Array
    labels: Array
    wrong: Array
    function: Array

    def take(self, rows: Array) -> Answers:
        """Return the predictions of some of the networks."""
        return Answers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class Exam(Evaluator):
    """Evaluator that also returns the function that networks compute.

    Function space is spanned by inputs of the test split, without their labels: networks
    have fitted the training inputs, on which they all agree, and random inputs say nothing
    about the task. It uses logits rather than classes: two networks with the same errors
    can still be distinguished, and two copies cannot. The scale of the logits is removed
    because a copy can choose it freely.
    """

    def answers(self, weights: Array, split: str = "test") -> Answers:
        """Return predictions of networks (n, d); a logit that is not finite is wrong."""
        n, m, truth = len(weights), self.samples(split), self.labels(split)
        spanning = _spanning_inputs(m)
        position = np.full(m, -1)
        position[spanning] = np.arange(len(spanning))
        target = torch.from_numpy(truth).to(self.device)
        loss, labels = np.zeros(n), np.empty((n, m), np.int16)
        function = np.zeros((n, len(spanning), 1), np.float32)
        for rows, part, logits in self.logits(weights, split):
            index = target[part].expand(len(logits), -1)[..., None]
            logs = torch.log_softmax(logits, -1).gather(-1, index)
            loss[rows] -= logs.sum((1, 2), dtype=torch.float64).cpu().numpy()
            predicted = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
            labels[rows, part] = predicted.to(torch.int16).cpu().numpy()
            if function.shape[-1] != logits.shape[-1]:
                function = np.zeros((n, len(spanning), logits.shape[-1]), np.float32)
            in_span = position[part] >= 0
            if in_span.any():
                spanning_logits = logits[:, torch.from_numpy(in_span)].cpu().numpy()
                function[rows, position[part][in_span]] = spanning_logits
        for row in function:
            _to_direction(row)
        wrong = labels != truth
        return Answers(loss / m, 1 - wrong.mean(1), labels, wrong, function.reshape(n, -1))


def _to_direction(logits: Array) -> None:
    """Centre the logits (k, c) of one network over classes and normalise them, in place."""
    # Logits that are not finite say nothing of the function: 0 is far from all networks.
    logits[~np.isfinite(logits).all(1)] = 0
    logits /= max(float(np.abs(logits).max(initial=0)), np.finfo(np.float32).tiny)
    logits -= logits.mean(1, keepdims=True)
    norm = float(np.linalg.norm(logits.astype(np.float64)))
    if norm > 0:
        logits /= norm


def _spanning_inputs(m: int) -> Array:
    """Return the rows of the inputs that span the function space, the same for all."""
    return np.sort(stream(0, "function space").permutation(m)[:INPUTS])
