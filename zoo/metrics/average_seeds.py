"""Averages of a cell's seeds: raw, aligned, repaired, and greedy soups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.merging.alignment import ROUNDS, align_groups, balanced, check_alignment
from zoo.merging.derived import Shard, derived_shard, judged_splits
from zoo.merging.gains import OVER_BEST, OVER_MEAN, gain_columns, gains, spread_out
from zoo.merging.made_weights import SampleErrors, judge_own, judge_weights
from zoo.merging.repair import repair, repairable
from zoo.merging.soup import greedy_soups
from zoo.metric import Maker, check_least
from zoo.networks import Networks, Progress

KINDS = {
    "average_raw": "the mean of a cell's seeds without alignment",
    "average_aligned": "the mean of a cell's seeds with their units aligned",
    "average_repaired": "the aligned mean with the statistics of its parents (REPAIR)",
    "soup": "the greedy soup of aligned seeds, chosen on the validation split",
}
"""Networks made from the seeds of a cell, by kind."""


def _columns() -> Iterator[Column]:
    for kind, what in KINDS.items():
        of = "cell's seeds" if kind == "soup" else "parents"
        yield from gain_columns(kind, what, of)
    yield Column(
        "average_count", pa.int64(), "networks", "averaged seeds, those with a finite loss"
    )
    yield Column("soup_count", pa.int64(), "networks", "seeds in the greedy soup")


@dataclass(frozen=True)
class AverageSeeds(Maker):
    """Averages over the seeds of a cell at one step.

    All parameters and buffers are averaged. Networks with batch normalisation are repaired
    by new estimates of its statistics on training inputs; networks with layer
    normalisation have no ``average_repaired``. Seeds without a finite loss are left out.
    Cells of more than `zoo.networks.ALL_PAIRS` networks are averaged in parts. The
    averages are stored with their parents in a separate zoo, except soups of one network,
    which equal that network.

    Parameters
    ----------
    rounds : int, default=5
        Largest number of rounds of alignment to the mean, see
        `zoo.merging.alignment.align_groups`.
    samples : int, default=1024
        Largest number of training inputs for statistics.
    balance : bool, default=False
        Whether to balance the scales of rectified units first, see
        `zoo.metrics.barrier.Barrier`.

    References
    ----------
    .. [1] Schürholt et al. 2025, arXiv:2504.18072, averages seeds after alignment, which
       never helped there. Differences: seeds are matched to the mean of the cell,
       in an order that does not depend on the order of units, and are repaired.
    """

    name: ClassVar[str] = "average_seeds"
    summary: ClassVar[str] = "averages of a cell's seeds: raw, aligned, repaired, soups"
    columns: ClassVar[tuple[Column, ...]] = tuple(_columns())
    paired: ClassVar[bool] = True
    version: ClassVar[int] = 2

    rounds: int = ROUNDS
    samples: int = 1024
    balance: bool = False

    def __post_init__(self) -> None:
        check_least(self, rounds=0, samples=2)

    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Return values (n,) by column, and the averages.

        Values are NaN in cells with fewer than two finite seeds.
        """
        n = len(networks)
        out = self.blank(n)
        seed_errors = judge_own(networks)
        groups = sound(networks, networks.groups(), seed_errors["validation"])
        if not groups:
            return out, []
        check_alignment(networks, scales=self.balance)
        validation_error = seed_errors["validation"].error
        groups = [g[np.argsort(validation_error[g], kind="stable")] for g in groups]
        best = [int(g[0]) for g in groups]
        progress(0.1)
        raw = np.stack([networks.weights[g].mean(0, dtype=np.float64) for g in groups])
        layout = networks.architecture.layout
        weights_to_align = balanced(networks) if self.balance else networks.weights
        aligned = align_groups(weights_to_align, layout, groups, rounds=self.rounds)
        means = np.stack(
            [weights_to_align.mean(0, dtype=np.float64) for weights_to_align in aligned]
        )
        progress(0.5)
        statistics = {"samples": self.samples, "seed": seed}
        made = {
            "average_raw": raw.astype(np.float32),
            "average_aligned": means.astype(np.float32),
        }
        if repairable(networks.architecture):
            made["average_repaired"] = repair(
                networks, made["average_aligned"], groups, aligned, **statistics
            )
        progress(0.7)
        made["soup"], members = greedy_soups(
            networks, groups, aligned, validation_error, **statistics
        )
        progress(0.9)
        shards: list[Shard] = []
        for kind, weights in made.items():
            parents = members if kind == "soup" else groups
            shards += self._store(
                networks,
                kind,
                weights,
                (groups, parents, best),
                seed_errors["test"],
                seed,
                out,
            )
        out["average_count"] = spread_out([len(g) for g in groups], groups, n)
        out["soup_count"] = spread_out([len(m) for m in members], groups, n)
        progress(1.0)
        return out, shards

    def _store(
        self,
        networks: Networks,
        kind: str,
        weights: Array,
        rows: tuple[list[Array], list[Array], list[int]],
        before: SampleErrors,
        seed: int,
        out: dict[str, Array],
    ) -> list[Shard]:
        """Fill the columns of one kind of average and return its networks to store."""
        groups, parents, best = rows
        splits = judged_splits(networks)
        judged = judge_weights(networks, weights, groups, splits, samples=None, seed=seed)
        cell_gains = gains(before, judged["test"], groups, best)
        for name, values in cell_gains.items():
            spread_out(values, groups, len(networks), out[f"{kind}_{name}"])
        several = [k for k, parent_gains in enumerate(parents) if len(parent_gains) > 1]
        parent_gains = gains(before, judged["test"], parents, best)
        over = {
            OVER_MEAN: parent_gains["gain"][several],
            OVER_BEST: parent_gains["gain_best"][several],
        }
        settings = {"version": self.version, **asdict(self)}
        return derived_shard(
            networks, f"{self.name} {kind}", settings, [parents[k] for k in several],
            weights[several], {split: j.take(several) for split, j in judged.items()}, over,
            seed=seed, among=[groups[k] for k in several] if kind == "soup" else None,
        )  # fmt: skip

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes of statistics, soups and scores.

        Matching takes about as long again.
        """
        samples = min(self.samples, train_samples)
        return networks * (6 * samples + train_samples) / 3


def sound(networks: Networks, groups: list[Array], judged: SampleErrors) -> list[Array]:
    """Return the rows of each group with a finite loss, for groups of two or more.

    Rows are sorted by identity (`Networks.names`). Weights that are finite but diverged may
    overflow in a forward pass and would spoil the mean of their cell.
    """
    result: list[Array] = []
    for group in groups:
        rows = group[networks.alive[group] & np.isfinite(judged.loss[group])].tolist()
        rows.sort(key=networks.names.__getitem__)
        if len(rows) > 1:
            result.append(np.array(rows, np.int64))
    return result


average_seeds = AverageSeeds()
