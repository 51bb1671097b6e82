"""Averages over the last checkpoints of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.merging.derived import Shard, derived_shard, judged_splits
from zoo.merging.gains import OVER_BEST, OVER_MEAN, gain_columns, gains
from zoo.merging.made_weights import judge_own, judge_weights, refresh_weights
from zoo.metric import Maker, check_least
from zoo.networks import Networks, Progress

WHAT = "the mean of the run's last checkpoints"


def _columns() -> Iterator[Column]:
    yield from gain_columns("average_steps", WHAT)
    last = f"test error of the last checkpoint minus that of {WHAT}"
    yield Column("average_steps_gain_last", pa.float64(), "fraction", last)
    error = "standard error of average_steps_gain_last over the test samples"
    yield Column("average_steps_gain_last_se", pa.float64(), "fraction", error)
    count = "number of averaged checkpoints"
    yield Column("average_steps_count", pa.int64(), "checkpoints", count)


@dataclass(frozen=True)
class AverageSteps(Maker):
    """Mean of the last checkpoints of every run, as a value of the last checkpoint.

    Units need no alignment within a run. Statistics of batch normalisation are estimated
    anew on training inputs. The means are stored with their parents in a separate zoo.

    Parameters
    ----------
    count : int, default=5
        Largest number of checkpoints, including the last.
    since : float, default=0.25
        Share of the run before which checkpoints are left out, because early checkpoints
        lie far from the last.
    samples : int, default=2048
        Largest number of training inputs for statistics.

    References
    ----------
    .. [1] Schürholt et al. 2025, arXiv:2504.18072, averages the last five epochs.
    """

    name: ClassVar[str] = "average_steps"
    summary: ClassVar[str] = "the mean of the last checkpoints of every run"
    columns: ClassVar[tuple[Column, ...]] = tuple(_columns())
    along: ClassVar[bool] = True

    count: int = 5
    since: float = 0.25
    samples: int = 2048

    def __post_init__(self) -> None:
        check_least(self, count=2, samples=2)
        Setting.of(self, "since").number(0, 1, ends="[)")

    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Return values (n,) by column, and the means; NaN except for last checkpoints."""
        n = len(networks)
        out = self.blank(n)
        checkpoint_errors = judge_own(networks)
        finite = np.isfinite(checkpoint_errors["validation"].loss)
        groups = [g for g in self._groups(networks) if finite[g].all()]
        if not groups:
            return out, []
        progress(0.4)
        means = np.stack([networks.weights[g].mean(0, dtype=np.float64) for g in groups])
        means = refresh_weights(
            networks, means.astype(np.float32), groups, samples=self.samples, seed=seed
        )
        splits = judged_splits(networks)
        judged = judge_weights(networks, means, groups, splits)
        error = checkpoint_errors["validation"].error
        best = [int(g[np.argmin(error[g])]) for g in groups]
        mean_gains = gains(checkpoint_errors["test"], judged["test"], groups, best)
        last = np.array([int(g[-1]) for g in groups])
        gains_over_last = gains(checkpoint_errors["test"], judged["test"], groups, last)
        for name, values in mean_gains.items():
            out[f"average_steps_{name}"][last] = values
        out["average_steps_gain_last"][last] = gains_over_last["gain_best"]
        out["average_steps_gain_last_se"][last] = gains_over_last["gain_best_se"]
        out["average_steps_count"][last] = [len(g) for g in groups]
        progress(1.0)
        settings = {"version": self.version, **asdict(self)}
        over = {OVER_MEAN: mean_gains["gain"], OVER_BEST: mean_gains["gain_best"]}
        return out, derived_shard(
            networks, self.name, settings, groups, means, judged, over, seed=seed
        )

    def _groups(self, networks: Networks) -> list[Array]:
        """Return the rows of the averaged checkpoints of each run, in order of steps."""
        # Networks that are in no catalogue (as in tests) are identified by configuration.
        if networks.table is None:
            names = [name.rpartition("@")[0] for name in networks.names]
        else:
            names = networks.table["run_id"].to_pylist()
        runs: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            runs.setdefault(name, []).append(i)
        result = []
        for rows in runs.values():
            rows.sort(key=lambda i: networks.steps[i])
            first = self.since * networks.steps[rows[-1]]
            averaged = [i for i in rows if networks.steps[i] >= first][-self.count :]
            if len(averaged) > 1 and networks.alive[averaged].all():
                result.append(np.array(averaged, np.int64))
        return result

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes of scores and statistics."""
        return networks * (min(self.samples, train_samples) + 2 * train_samples) / 3


average_steps = AverageSteps()
