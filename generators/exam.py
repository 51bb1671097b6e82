"""What networks answer on the data that judge them, for many networks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from catalog.dtypes import Array
from zoo import Evaluator, stream

INPUTS = 512
"""Test inputs, at most, whose logits span the function space."""


@dataclass(frozen=True)
class Answers:
    """What n networks say about the m samples of a split.

    Attributes
    ----------
    loss, accuracy : ndarray of shape (n,)
        Cross-entropy in nats.
    labels : ndarray of shape (n, m), int16
        Their classes.
    wrong : ndarray of bool, shape (n, m)
    function : ndarray of shape (n, k c), float32
        Logits of c classes for k inputs, less their mean over classes, all over their
        norm: 0 apart are networks with the same function, whatever the scale of their
        logits, which a copy changes by a factor on its last layer.
    """

    loss: Array
    accuracy: Array
    labels: Array
    wrong: Array
    function: Array

    def take(self, rows: Array) -> Answers:
        """Some of the networks."""
        return Answers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class Exam(Evaluator):
    """An evaluator that also says which function networks compute.

    Function space is spanned by inputs of the test split, without their labels: networks
    have fitted the training inputs, where they all agree, and random inputs tell nothing
    about the task. Logits, not classes: two networks with the same errors are still told
    apart, and two copies are not. Without their scale, which a copy can have as it likes.
    """

    def answers(self, weights: Array, split: str = "test") -> Answers:
        """Return the answers of networks (n, d); a logit that is not finite is wrong."""
        n, m, truth = len(weights), self.samples(split), self.labels(split)
        picked = _spanning(m)
        place = np.full(m, -1)
        place[picked] = np.arange(len(picked))
        target = torch.from_numpy(truth).to(self.device)
        loss, labels = np.zeros(n), np.empty((n, m), np.int16)
        function = np.zeros((n, len(picked), 1), np.float32)
        for rows, part, logits in self.logits(weights, split):
            at = target[part].expand(len(logits), -1)[..., None]
            logs = torch.log_softmax(logits, -1).gather(-1, at)
            loss[rows] -= logs.sum((1, 2), dtype=torch.float64).cpu().numpy()
            best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
            labels[rows, part] = best.to(torch.int16).cpu().numpy()
            if function.shape[-1] != logits.shape[-1]:
                function = np.zeros((n, len(picked), logits.shape[-1]), np.float32)
            inside = place[part] >= 0
            if inside.any():
                some = logits[:, torch.from_numpy(inside)].cpu().numpy()
                function[rows, place[part][inside]] = some
        for row in function:
            _to_direction(row)
        wrong = labels != truth
        return Answers(loss / m, 1 - wrong.mean(1), labels, wrong, function.reshape(n, -1))


def _to_direction(logits: Array) -> None:
    """Centre logits (k, c) of one network over classes, and bring them to norm 1."""
    # Of inputs whose logits are not finite nothing is known: 0, far from all.
    logits[~np.isfinite(logits).all(1)] = 0
    logits /= max(float(np.abs(logits).max(initial=0)), np.finfo(np.float32).tiny)
    logits -= logits.mean(1, keepdims=True)
    norm = float(np.linalg.norm(logits.astype(np.float64)))
    if norm > 0:
        logits /= norm


def _spanning(m: int) -> Array:
    """Inputs of a split of m that span the function space, drawn once for all."""
    return np.sort(stream(0, "function space").permutation(m)[:INPUTS])
