"""Ensembles of a cell's seeds: gains of averaged predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.engine.evaluate import Evaluation
from zoo.engine.stack_weights import StackWeights
from zoo.merging.gains import gain_columns, gains, spread_out
from zoo.merging.joint_view import joint_views
from zoo.merging.made_weights import STACK_BYTES, SampleErrors, judge_own
from zoo.metric import Metric
from zoo.metrics.average_seeds import sound
from zoo.networks import Networks, Progress, sample_key
from zoo.objective import LogitObjective

KINDS = {
    "ensemble": "the mean of the seeds' probabilities",
    "logit_ensemble": "the mean of the seeds' logits",
}


def _columns() -> Iterator[Column]:
    for kind, what in KINDS.items():
        yield from gain_columns(kind, what)
        yield Column(f"{kind}_loss", pa.float64(), "nats", f"test loss of {what}")
    yield Column(
        "ensemble_count",
        pa.int64(),
        "networks",
        "seeds in the ensemble, those with a finite loss",
    )


@dataclass(frozen=True)
class Ensemble(Metric):
    """Averages of the predictions of a cell's seeds; no network is made.

    An ensemble is a reference for averages of weights: it uses as many networks, but runs
    each of them. Cells of more than `zoo.networks.ALL_PAIRS` networks are taken in parts.
    Networks without logits have no values.
    """

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "averaged probabilities and logits of a cell's seeds"
    columns: ClassVar[tuple[Column, ...]] = tuple(_columns())
    paired: ClassVar[bool] = True
    version: ClassVar[int] = 2
    suite: ClassVar[str] = "downstream"

    @torch.no_grad()
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column; ``seed`` has no effect."""
        n = len(networks)
        out = self.blank(n)
        objective = networks.objective
        if not isinstance(objective, LogitObjective):
            return out
        seed_errors = judge_own(networks)
        groups = sound(networks, networks.groups(), seed_errors["validation"])
        groups = [g for g in groups if _same_samples(networks, g)]
        if not groups:
            return out
        error = seed_errors["validation"].error
        best = [int(g[np.argmin(error[g])]) for g in groups]
        progress(0.4)
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {k: [] for k in KINDS}
        for k, group in enumerate(groups):
            logits, labels, counted = self._logits(networks, group)
            for kind, ensemble_logits in (
                ("ensemble", torch.log_softmax(logits, -1).logsumexp(0, keepdim=True)),
                ("logit_ensemble", logits.mean(0, keepdim=True)),
            ):
                parts[kind].append(
                    (*objective.judge_logits(ensemble_logits, labels), counted)
                )
            progress(0.4 + 0.6 * (k + 1) / len(groups))
        width = seed_errors["test"].errors.shape[1]
        for kind, group_scores in parts.items():
            errors = _sample_errors(group_scores, width)
            values = {
                **gains(seed_errors["test"], errors, groups, best),
                "loss": errors.loss,
            }
            for name, group_values in values.items():
                spread_out(group_values, groups, n, out[f"{kind}_{name}"])
        out["ensemble_count"] = spread_out([len(g) for g in groups], groups, n)
        return out

    def _logits(self, networks: Networks, group: Array) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (m, samples, ..., classes), and labels and mask of one network."""
        parts, layout = [], networks.architecture.layout
        views = joint_views(networks, [[i] for i in group], "test")
        samples = len(views[0].index)
        size = max(1, STACK_BYTES // (12 * layout.d + 40 * samples))
        for start in range(0, len(group), size):
            rows = group[start : start + size]
            runs = [networks.runs[i] for i in rows]
            evaluation = Evaluation(
                networks.data, "test", runs, views[start : start + size], networks.device
            )
            stack = StackWeights(layout, networks.weights[rows], networks.device)
            parts.append(evaluation.logits(networks.architecture, stack.tensors))
        return torch.cat(parts), evaluation.labels[:1], evaluation.counted[:1]

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: three forward passes on splits of a fifth of the samples."""
        return networks * train_samples / 5


def _same_samples(networks: Networks, group: Array) -> bool:
    """Return whether networks have the same test samples and labels."""
    return len({sample_key(networks.runs[i], "test") for i in group}) == 1


def _sample_errors(scores: list[tuple[Tensor, Tensor, Tensor]], width: int) -> SampleErrors:
    """Return losses, values and masks of groups as errors of ``width`` samples."""
    losses, errors = np.full((2, len(scores), width), np.nan, np.float32)
    counted = np.zeros((len(scores), width), bool)
    for k, (loss, value, mask) in enumerate(scores):
        columns = slice(0, loss.shape[1])
        losses[k, columns], errors[k, columns] = (
            loss[0].cpu().numpy(),
            1 - value[0].cpu().numpy(),
        )
        counted[k, columns] = mask[0].cpu().numpy()
    return SampleErrors(losses, errors, counted)


ensemble = Ensemble()
