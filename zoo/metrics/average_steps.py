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
from zoo.merging.derived import Shard, derived_shard
from zoo.merging.gains import OVER_BEST, OVER_MEAN, gain_columns, gains
from zoo.merging.made_weights import judge_weights, refresh_weights
from zoo.metric import Maker, check_least
from zoo.networks import Networks, Progress

WHAT = "the mean of the run's last checkpoints"


def _columns() -> Iterator[Column]:
    yield from gain_columns("average_steps", WHAT)
    last = f"test error of the last checkpoint minus that of {WHAT}"
    yield Column("average_steps_gain_last", pa.float64(), "fraction", last)
    error = "standard error of average_steps_gain_last over the test samples"
    yield Column("average_steps_gain_last_se", pa.float64(), "fraction", error)
    count = "checkpoints that average_steps is the mean of"
    yield Column("average_steps_count", pa.int64(), "checkpoints", count)


@dataclass(frozen=True)
class AverageSteps(Maker):
    """The mean of the last checkpoints of every run; a value of its last checkpoint.

    Units need no alignment within a run. Statistics of batch normalisation are estimated
    anew on training inputs. What is made is stored, in a zoo of its own, with its parents.

    Parameters
    ----------
    count : int, default=5
        Checkpoints, at most, the last one among them.
    since : float, default=0.25
        Share of the run from which on they count: early checkpoints lie elsewhere.
    samples : int, default=2048
        Training inputs for statistics, at most.

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
        """Values (n,) by column, and the means; NaN but for last checkpoints."""
        n = len(networks)
        out = self.blank(n)
        every = [[i] for i in range(n)]
        before = judge_weights(networks, networks.weights, every, ["validation", "test"])
        finite = np.isfinite(before["validation"].loss)
        groups = [g for g in self._groups(networks) if finite[g].all()]
        if not groups:
            return out, []
        progress(0.4)
        means = np.stack([networks.weights[g].mean(0, dtype=np.float64) for g in groups])
        means = refresh_weights(
            networks, means.astype(np.float32), groups, samples=self.samples, seed=seed
        )
        stored = networks.table is not None
        splits = ["train", "validation", "test"] if stored else ["test"]
        judged = judge_weights(networks, means, groups, splits)
        error = before["validation"].error
        best = [int(g[np.argmin(error[g])]) for g in groups]
        found = gains(before["test"], judged["test"], groups, best)
        last = np.array([int(g[-1]) for g in groups])
        to_last = gains(before["test"], judged["test"], groups, last)
        for name, values in found.items():
            out[f"average_steps_{name}"][last] = values
        out["average_steps_gain_last"][last] = to_last["gain_best"]
        out["average_steps_gain_last_se"][last] = to_last["gain_best_se"]
        out["average_steps_count"][last] = [len(g) for g in groups]
        progress(1.0)
        settings = {"version": self.version, **asdict(self)}
        over = {OVER_MEAN: found["gain"], OVER_BEST: found["gain_best"]}
        return out, derived_shard(
            networks, self.name, settings, groups, means, judged, over, seed=seed
        )

    def _groups(self, networks: Networks) -> list[Array]:
        """Checkpoints of each run that are averaged, in order of steps."""
        # What is no run of a catalogue (in tests, say) is told apart by its configuration.
        if networks.table is None:
            names = [name.rpartition("@")[0] for name in networks.names]
        else:
            names = networks.table["run_id"].to_pylist()
        runs: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            runs.setdefault(name, []).append(i)
        found = []
        for rows in runs.values():
            rows.sort(key=lambda i: networks.steps[i])
            first = self.since * networks.steps[rows[-1]]
            kept = [i for i in rows if networks.steps[i] >= first][-self.count :]
            if len(kept) > 1 and networks.alive[kept].all():
                found.append(np.array(kept, np.int64))
        return found

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Forward passes of scores and statistics."""
        return networks * (min(self.samples, train_samples) + 2 * train_samples) / 3


average_steps = AverageSteps()
