"""Barriers on the straight lines between the seeds of a cell, raw and aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.landscape.barrier import JUDGED, along_lines, barrier_height
from zoo.landscape.curve import check_same_task
from zoo.landscape.pair_means import pair_columns, pair_means
from zoo.landscape.singular_alignment import singular_alignment
from zoo.merging.alignment import balanced, by_weights, check_alignment
from zoo.merging.made_weights import stacked_rows
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress

STARTS = {"barrier": "", "aligned_barrier": " after alignment of the second to the first"}
"""Starts of the column names for raw and for aligned ends, and their descriptions."""

SINGULAR = {"barrier": "singular_raw", "aligned_barrier": "singular_aligned"}
"""Names of the columns of the agreement of singular vectors."""

COPIES = 10
"""Copies of a network in memory per pair: raw and aligned ends, and singular vectors."""


def _columns() -> Iterator[Column]:
    for start, alignment in STARTS.items():
        for split in JUDGED:
            for measure, unit, meaning in (
                ("loss", "of the loss", f"{split} loss"),
                ("error", "fraction", f"{split} error"),
                (
                    "calibrated",
                    "nats",
                    f"{split} loss at the temperature of each point, chosen on the "
                    "validation split",
                ),
            ):
                name = f"{start}_{split}_{measure}"
                text = (
                    f"largest {meaning} on the straight line between two seeds{alignment}, "
                    "minus the mean of its ends; mean over the cell's other seeds"
                )
                yield from pair_columns(name, unit, text)
        name = SINGULAR[start]
        text = (
            "agreement of the large singular vectors of two seeds"
            f"{alignment}, see zoo.landscape.singular_alignment; "
            "mean over the cell's other seeds"
        )
        yield from pair_columns(name, "-1 to 1", text)


@dataclass(frozen=True)
class Barrier(Metric):
    """Loss and error on the straight line between every two seeds of a cell.

    The barriers show whether networks of a cell could be averaged. Statistics of batch
    normalisation are estimated anew at every point. The second network is matched to the
    first by weights.

    Parameters
    ----------
    points : int, default=11
        Number of evenly spaced points, ends included. Published barriers use 11 and 25.
    samples, refreshed : int, default=2000, 2048
        Largest number of samples of each split, and of training inputs for statistics.
    threshold : float, default=0.3
        See `zoo.landscape.singular_alignment.singular_alignment`.
    calibrate : {"validation", "train"}, default="validation"
        Split on which the temperature of each point is chosen. Networks that memorised
        the training samples have an optimal temperature near 0 on them, which makes test
        losses arbitrarily large. On digits MLPs the aligned test barrier was 0.50 nats at
        temperatures from training samples, 0.09 without temperature, and 0.09 at
        temperatures from validation samples.
    balance : bool, default=False
        Whether to balance the scales of rectified units first. Balancing changes the line.
        It did not help narrow networks on validation data (`benchmarks/barriers.py`); it
        helps the wide networks of `benchmarks/alignment.py`.
    """

    name: ClassVar[str] = "barrier"
    summary: ClassVar[str] = "barriers on lines between seeds, raw and aligned"
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
        """Return values (n,) by column; NaN for networks without a finite pair."""
        n, layout = len(networks), networks.architecture.layout
        all_pairs = networks.pairs()
        pair_values = {c.name: np.full(len(all_pairs), np.nan) for c in self.columns[::2]}
        finite_pairs = np.flatnonzero(networks.alive[all_pairs].all(1))
        pairs = all_pairs[finite_pairs]
        for k, (i, j) in enumerate(pairs.tolist()):
            check_same_task(networks.runs[i], networks.runs[j])
            if networks.names[j] < networks.names[i]:
                pairs[k] = j, i
        if len(pairs):
            check_alignment(networks, scales=self.balance)
            for part in stacked_rows(len(pairs), COPIES * 4 * layout.d):

                def report(share: float, part: slice = part) -> None:
                    done = (part.stop - part.start) * share
                    progress((part.start + done) / len(pairs))

                heights = self._values(networks, pairs[part], seed, report)
                for name, part_values in heights.items():
                    pair_values[name][finite_pairs[part]] = part_values
        out: dict[str, Array] = {}
        for name, values in pair_values.items():
            out[name], out[f"{name}_se"] = pair_means(all_pairs, values, n)
        return out

    def _values(
        self, networks: Networks, pairs: Array, seed: int, progress: Progress
    ) -> dict[str, Array]:
        """Return the values (m,) of some pairs, by column."""
        layout, result = networks.architecture.layout, {}
        weights = balanced(networks) if self.balance else networks.weights
        first, second = weights[pairs[:, 0]], weights[pairs[:, 1]]
        ends = {
            "barrier": (networks.weights[pairs[:, 0]], networks.weights[pairs[:, 1]]),
            "aligned_barrier": (first, by_weights(second, first, layout)),
        }
        for s, (start, (a, b)) in enumerate(ends.items()):

            def report(share: float, s: int = s) -> None:
                progress((s + share) / 2)

            lines = along_lines(
                networks, a, b, list(pairs), points=self.points, samples=self.samples,
                refreshed=self.refreshed, calibrate=self.calibrate, seed=seed,
                progress=report,
            )  # fmt: skip
            for measure, values in (
                ("loss", lines.loss),
                ("error", lines.error),
                ("calibrated", lines.calibrated),
            ):
                for split, line_values in values.items():
                    result[f"{start}_{split}_{measure}"] = barrier_height(line_values)
            agreement, _ = singular_alignment(a, b, layout, threshold=self.threshold)
            result[SINGULAR[start]] = agreement
        return result

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes at every point of two lines.

        They are those of three splits and of the statistics.
        """
        samples_per_point = 3 * min(self.samples, train_samples) + min(
            self.refreshed, train_samples
        )
        return pairs * 2 * self.points * samples_per_point / 3


barrier = Barrier()
