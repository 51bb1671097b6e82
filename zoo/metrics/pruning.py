"""Magnitude pruning: share of weights that can be removed without loss of accuracy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from catalog import Layout
from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.merging.made_weights import judge_weights, refresh_weights, stacked_rows
from zoo.merging.skill import skilled
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress

SPARSITIES = (
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975,
    0.99,
)  # fmt: skip
"""Shares of the weights of all matrices that are set to zero."""

NAMED = [f"{sparsity:g}" for sparsity in SPARSITIES]


@dataclass(frozen=True)
class Pruning(Metric):
    """Error when the smallest weights of all matrices are set to zero at once.

    Biases and the vectors of normalisation layers are not pruned. Pruned networks are not
    trained further; statistics of batch normalisation are estimated anew. The cliff is the
    largest of `SPARSITIES` up to which the error on the validation split rises by no more
    than ``tolerance``. The rise at the cliff is reported on the test split.

    Parameters
    ----------
    tolerance : float, default=0.02
        Largest rise of the error, a fraction.
    refreshed : int, default=2048
        Largest number of training inputs for statistics.
    """

    name: ClassVar[str] = "pruning"
    summary: ClassVar[str] = "error against sparsity, and the sparsity before the cliff"
    version: ClassVar[int] = 2
    suite: ClassVar[str] = "downstream"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "prune_cliff", pa.float64(), "fraction",
            "largest share of weights that can be removed before the validation error "
            "rises by more than the tolerance",
        ),
        Column(
            "prune_cliff_rise", pa.float64(), "fraction",
            "rise of the test error at prune_cliff",
        ),
        Column(
            "prune_cliff_rise_se", pa.float64(), "fraction",
            "standard error of prune_cliff_rise over the test samples",
        ),
        Column(
            "prune_half", pa.float64(), "fraction",
            "rise of the test error when half of the weights are removed",
        ),
        Column("prune_curve", pa.string(), "JSON", "test error by sparsity"),
    )  # fmt: skip

    tolerance: float = 0.02
    refreshed: int = 2048

    def __post_init__(self) -> None:
        check_least(self, refreshed=2)
        Setting.of(self, "tolerance").number(0, 1, ends="[)")

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column; NaN for networks not finite or without skill.

        Networks without skill, see `zoo.merging.skill`, have only a ``prune_curve``.
        """
        n, layout = len(networks), networks.architecture.layout
        out = self.blank(n)
        alive = np.flatnonzero(networks.alive)
        count = len(SPARSITIES)
        for part in stacked_rows(len(alive), 8 * count * layout.d):
            rows = alive[part]
            weights = pruned(networks.weights[rows], layout, SPARSITIES)
            groups = [[i] for i in rows for _ in SPARSITIES]
            flat = weights.reshape(-1, layout.d)
            flat = refresh_weights(
                networks, flat, groups, samples=self.refreshed, seed=seed
            )
            judged = judge_weights(networks, flat, groups, ["validation", "test"])
            validation_error = judged["validation"].error.reshape(-1, count)
            within = validation_error <= validation_error[:, :1] + self.tolerance + 1e-9
            cliff = np.logical_and.accumulate(within, axis=1).sum(1) - 1
            errors = judged["test"].error.reshape(-1, count)
            first = np.arange(len(rows)) * count
            rise = judged["test"].gain([[i] for i in first + cliff], first)
            unpruned = judged["validation"].take(first)
            has_skill = skilled(networks.take(rows), unpruned)
            for name, values in (
                ("prune_cliff", np.array(SPARSITIES)[cliff]),
                ("prune_cliff_rise", rise.values),
                ("prune_cliff_rise_se", rise.errors),
                ("prune_half", errors[:, SPARSITIES.index(0.5)] - errors[:, 0]),
            ):
                out[name][rows[has_skill]] = values[has_skill]
            for i, curve in zip(rows, errors, strict=True):
                pairs = zip(NAMED, curve.round(6).tolist(), strict=True)
                out["prune_curve"][i] = json.dumps(dict(pairs))
            progress((rows[-1] + 1) / n)
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes on two splits at every sparsity.

        Each split is assumed to have a fifth of the samples of the training split.
        """
        return networks * len(SPARSITIES) * 2 * train_samples / 5 / 3


def pruned(weights: Array, layout: Layout, sparsities: tuple[float, ...]) -> Array:
    """Prune networks (n, d) to each sparsity, shape (n, sparsities, d).

    The smallest weights of all matrices together are set to zero. Of weights of equal
    size, the first are set to zero first.
    """
    matrices = np.zeros(layout.d, bool)
    for name, columns in layout.slices.items():
        param = layout[name]
        matrices[columns] = param.role == "parameter" and len(param.shape) > 1
    magnitude = np.abs(weights[:, matrices])
    rank = np.empty(magnitude.shape, np.int64)
    order = np.argsort(magnitude, axis=1, kind="stable")
    np.put_along_axis(rank, order, np.arange(magnitude.shape[1])[None], 1)
    out = np.repeat(weights[:, None], len(sparsities), 1)
    for k, sparsity in enumerate(sparsities):
        removed = rank < round(sparsity * magnitude.shape[1])
        sparse = out[:, k]
        sparse[:, matrices] = np.where(removed, np.float32(0), weights[:, matrices])
    return out


pruning = Pruning()
