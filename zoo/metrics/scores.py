"""Loss and error of every split, with standard errors over samples.

Trained checkpoints already have losses from training. This metric is for imported
checkpoints, and for standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from catalog.dtypes import Array
from catalog.schema import Column
from catalog.storage.splits import SPLITS
from zoo.engine.evaluate import CHUNK_FLOATS
from zoo.landscape.groups import groups
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress, sample_key


def _columns() -> tuple[Column, ...]:
    columns = []
    for split in SPLITS:
        for name, unit, meaning in (
            ("loss", "nats", f"mean loss on a fixed sample of the {split} split"),
            (
                "error",
                "fraction",
                "1 - accuracy, or the relative error, on the same sample",
            ),
        ):
            column = f"evaluated_{split}_{name}"
            columns.append(Column(column, pa.float64(), unit, meaning))
            columns.append(
                Column(f"{column}_se", pa.float64(), unit, f"standard error of {column}")
            )
    chance = "loss of the best constant prediction on the run's training samples"
    columns.append(Column("chance_loss", pa.float64(), "nats", chance))
    interpolation = (
        "loss of a network that makes no mistakes, for the calibration of phases"
    )
    columns.append(Column("interpolation_loss", pa.float64(), "nats", interpolation))
    return tuple(columns)


@dataclass(frozen=True)
class Scores(Metric):
    """Mean loss and error of each split.

    Parameters
    ----------
    samples : int, default=10000
        Largest number of samples of each split, at least 2, drawn with the seed. A run
        with fewer samples is evaluated on all of them, and does not limit the others.
    """

    samples: int = 10_000
    name: ClassVar[str] = "scores"
    summary: ClassVar[str] = "loss and error of every split, with standard errors"
    version: ClassVar[int] = 2
    columns: ClassVar[tuple[Column, ...]] = _columns()

    def __post_init__(self) -> None:
        check_least(self, samples=2)

    @torch.no_grad()
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column.

        Values are NaN where a network is not finite or a split is empty.
        """
        n = len(networks)
        result = {
            f"evaluated_{split}_{name}": np.full(n, np.nan)
            for split in SPLITS
            for name in ("loss", "loss_se", "error", "error_se")
        }
        done = 0
        for split in SPLITS:
            # Batches are small, so memory does not require more than one group.
            for count, rows in groups(networks, split, self.samples, n, 1, 0):
                group = networks.take(rows)
                for name, values in self._judged(group, split, count, seed).items():
                    column = f"evaluated_{split}_{name}"
                    result[column][rows] = values.mean(1)
                    if count > 1:
                        error = values.std(1, ddof=1) / np.sqrt(count)
                        result[f"{column}_se"][rows] = error
                done += len(rows)
                progress(done / (n * len(SPLITS)))
        objective, data = networks.objective, networks.data
        chance: dict[str, float] = {}
        for run in networks.runs:
            key = sample_key(run)
            if key not in chance:
                chance[key] = objective.chance(data, run)
        result["chance_loss"] = np.array([chance[sample_key(r)] for r in networks.runs])
        result["interpolation_loss"] = np.full(len(networks), objective.interpolation())
        return result

    def _judged(
        self, networks: Networks, split: str, count: int, seed: int
    ) -> dict[str, Array]:
        """Return losses and errors (n, count) of every sample, or none without samples."""
        if not count:
            return {}
        tensors = networks.stacked().tensors
        size = CHUNK_FLOATS // (len(networks) * networks.architecture.activations)
        parts = [
            networks.objective.judge(networks.architecture, tensors, batch)
            for batch in networks.samples(split, count, seed).batches(max(16, size))
        ]
        loss = torch.cat([part[0] for part in parts], 1).double().cpu().numpy()
        judged = torch.cat([part[1] for part in parts], 1).double().cpu().numpy()
        accuracy = networks.objective.judges == "accuracy"
        return {"loss": loss, "error": 1 - judged if accuracy else judged}

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes, each a third of a gradient."""
        return networks * 3 * min(self.samples, train_samples) / 3


scores = Scores()
