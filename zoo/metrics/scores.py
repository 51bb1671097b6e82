"""Loss and error of every split, evaluated, with standard errors over samples.

Trained checkpoints carry losses of their own from training; this is for imported ones,
and where the uncertainty of a split is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.evaluate import CHUNK_FLOATS
from zoo.metric import Metric
from zoo.networks import Networks, Progress

SPLITS = ("train", "validation", "test")


def _columns() -> tuple[Column, ...]:
    found = []
    for split in SPLITS:
        for name, unit, meaning in (
            ("loss", "nats", f"mean loss on a fixed sample of the {split} split"),
            ("error", "fraction", "1 - accuracy, or the relative error, on the same"),
        ):
            own = f"evaluated_{split}_{name}"
            found.append(Column(own, pa.float64(), unit, meaning))
            found.append(Column(f"{own}_se", pa.float64(), unit, "its standard error"))
    return tuple(found)


@dataclass(frozen=True)
class Scores(Metric):
    """Mean loss and error of each split.

    Parameters
    ----------
    samples : int
        Of each split at most; which ones is fixed by the seed.
    """

    samples: int = 10_000
    name: ClassVar[str] = "scores"
    summary: ClassVar[str] = "loss and error of every split, with standard errors"
    columns: ClassVar[tuple[Column, ...]] = _columns()

    @torch.no_grad()
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Means over samples; NaN where a network is not finite."""
        tensors = networks.stacked().tensors
        each = len(networks) * networks.architecture.activations
        found: dict[str, Array] = {}
        for i, split in enumerate(SPLITS):
            parts = []
            samples = networks.samples(split, self.samples, seed)
            for batch in samples.batches(max(16, CHUNK_FLOATS // each)):
                parts.append(
                    networks.objective.judge(networks.architecture, tensors, batch)
                )
            loss = torch.cat([part[0] for part in parts], 1).double().cpu().numpy()
            judged = torch.cat([part[1] for part in parts], 1).double().cpu().numpy()
            if networks.objective.judges == "accuracy":
                judged = 1 - judged
            for name, values in (("loss", loss), ("error", judged)):
                own = f"evaluated_{split}_{name}"
                found[own] = values.mean(1)
                found[f"{own}_se"] = values.std(1, ddof=1) / np.sqrt(values.shape[1])
            progress((i + 1) / len(SPLITS))
        return found

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Forward passes cost a third of a gradient."""
        return networks * 3 * min(self.samples, train_samples) / 3


scores = Scores()
