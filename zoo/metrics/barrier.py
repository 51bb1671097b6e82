"""Barriers on the straight lines between the seeds of a cell, aligned or as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.landscape.barrier import JUDGED, along_lines, barrier_height
from zoo.landscape.curve import check_same_task
from zoo.landscape.pair_means import pair_means
from zoo.landscape.singular_alignment import singular_alignment
from zoo.merging.alignment import balanced, by_weights, check_alignment
from zoo.merging.made_weights import stacked_rows
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress

STARTS = {"barrier": "", "aligned_barrier": " after the second was aligned to the first"}
"""What is measured for ends as they are and for aligned ones."""

SINGULAR = {"barrier": "singular_raw", "aligned_barrier": "singular_aligned"}
"""Columns of the agreement of singular vectors."""

COPIES = 10
"""Of a network that a pair takes: its ends, aligned and not, and for singular values."""


def _columns() -> Iterator[Column]:
    error = "standard error of the cell's mean {}: jackknife over 3 seeds or more"
    for start, how in STARTS.items():
        for split in JUDGED:
            for what, unit, meaning in (
                ("loss", "of the loss", f"{split} loss"),
                ("error", "fraction", f"{split} error"),
                (
                    "calibrated",
                    "nats",
                    f"{split} loss at the temperature of each point, chosen on the "
                    "validation split",
                ),
            ):
                name = f"{start}_{split}_{what}"
                text = (
                    f"largest {meaning} on the straight line between two seeds{how}, minus "
                    "the mean of its ends; mean over the cell's other seeds"
                )
                yield Column(name, pa.float64(), unit, text)
                yield Column(f"{name}_se", pa.float64(), unit, error.format(name))
        name = SINGULAR[start]
        text = (
            "agreement of the large singular vectors of two seeds"
            f"{how}, see zoo.landscape.singular_alignment; mean over the cell's other seeds"
        )
        yield Column(name, pa.float64(), "-1 to 1", text)
        yield Column(f"{name}_se", pa.float64(), "-1 to 1", error.format(name))


@dataclass(frozen=True)
class Barrier(Metric):
    """Loss and error on the straight line between every two seeds of a cell.

    Whether networks of a cell could be averaged. Statistics of batch normalisation are
    estimated anew at every point. The second network is matched to the first by weights.

    Parameters
    ----------
    points : int, default=11
        Evenly spaced, ends included; published are 11 and 25.
    samples, refreshed : int
        Samples of each split, and training inputs for statistics, at most.
    threshold : float, default=0.3
        See `zoo.landscape.singular_alignment.singular_alignment`.
    calibrate : {"validation", "train"}, default="validation"
        Where the temperature of each point is chosen. Networks that know the training
        samples by heart have their best temperature there near 0, which makes test losses
        arbitrarily large: on digits MLPs the aligned test barrier at temperatures from
        training samples was 0.50 nats, without temperature 0.09, from validation 0.09.
    balance : bool, default=False
        Balance the scales of rectified units first. It moves the line itself, and did not
        help narrow networks on validation data (`benchmarks/barriers.py`); it helps the
        wide ones of `benchmarks/alignment.py`.
    """

    name: ClassVar[str] = "barrier"
    summary: ClassVar[str] = "barriers on lines between seeds, as they are and aligned"
    columns: ClassVar[tuple[Column, ...]] = tuple(_columns())
    paired: ClassVar[bool] = True
    version: ClassVar[int] = 2
    suite: ClassVar[str] = "downstream"

    points: int = 11
    samples: int = 2000
    refreshed: int = 2048
    threshold: float = 0.3
    calibrate: str = "validation"
    balance: bool = False

    def __post_init__(self) -> None:
        check_least(self, points=2, samples=2, refreshed=2)
        Setting.of(self, "calibrate").one_of(("validation", "train"))

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column; NaN where no pair is finite all along."""
        n, layout = len(networks), networks.architecture.layout
        every = networks.pairs()
        found = {c.name: np.full(len(every), np.nan) for c in self.columns[::2]}
        kept = np.flatnonzero(networks.alive[every].all(1))
        pairs = every[kept]
        for k, (i, j) in enumerate(pairs.tolist()):
            check_same_task(networks.runs[i], networks.runs[j])
            if networks.names[j] < networks.names[i]:
                pairs[k] = j, i
        if len(pairs):
            check_alignment(networks, scales=self.balance)
            for part in stacked_rows(len(pairs), COPIES * 4 * layout.d):

                def tell(share: float, part: slice = part) -> None:
                    wide = (part.stop - part.start) * share
                    progress((part.start + wide) / len(pairs))

                heights = self._values(networks, pairs[part], seed, tell)
                for name, each in heights.items():
                    found[name][kept[part]] = each
        out: dict[str, Array] = {}
        for name, values in found.items():
            out[name], out[f"{name}_se"] = pair_means(every, values, n)
        return out

    def _values(
        self, networks: Networks, pairs: Array, seed: int, progress: Progress
    ) -> dict[str, Array]:
        """Values (m,) of some pairs."""
        layout, found = networks.architecture.layout, {}
        own = balanced(networks) if self.balance else networks.weights
        first, other = own[pairs[:, 0]], own[pairs[:, 1]]
        ends = {
            "barrier": (networks.weights[pairs[:, 0]], networks.weights[pairs[:, 1]]),
            "aligned_barrier": (first, by_weights(other, first, layout)),
        }
        for s, (start, (a, b)) in enumerate(ends.items()):

            def tell(share: float, s: int = s) -> None:
                progress((s + share) / 2)

            lines = along_lines(
                networks, a, b, list(pairs), points=self.points, samples=self.samples,
                refreshed=self.refreshed, calibrate=self.calibrate, seed=seed,
                progress=tell,
            )  # fmt: skip
            for what, values in (
                ("loss", lines.loss),
                ("error", lines.error),
                ("calibrated", lines.calibrated),
            ):
                for split, each in values.items():
                    found[f"{start}_{split}_{what}"] = barrier_height(each)
            alike, _ = singular_alignment(a, b, layout, threshold=self.threshold)
            found[SINGULAR[start]] = alike
        return found

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Three splits and the statistics at every point of two lines, forward only."""
        seen = 3 * min(self.samples, train_samples) + min(self.refreshed, train_samples)
        return pairs * 2 * self.points * seen / 3


barrier = Barrier()
