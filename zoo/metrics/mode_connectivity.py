"""Mode connectivity: change of the error along a curve between two seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.engine.evaluate import Evaluation, Score
from zoo.engine.refresh import refresh
from zoo.engine.stack import best_size, network_bytes
from zoo.landscape.curve import Curves
from zoo.landscape.pair_means import pair_columns, pair_means
from zoo.merging.joint_view import Inputs, joint_views, subsample
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress
from zoo.options.optimizer import check_optimizer

JUDGED = ("train", "test")

RATES = {"sgd": 0.1, "adam": 3e-3, "adamw": 3e-3}
"""Default learning rate of a curve by optimiser."""

ACCELERATOR_BYTES = 4 << 30
"""Largest size of a stack of curves in bytes on an accelerator."""

_MEANING = (
    "mean of the ends' errors minus the error of the point between them on the {path} "
    "that differs most from it, on {split}; negative is a barrier; mean over the cell's "
    "other seeds"
)

VALUES = {
    "mode_connectivity": (
        "fraction",
        _MEANING.format(path="curve", split="the training split"),
    ),
    "mode_connectivity_test": (
        "fraction",
        _MEANING.format(path="curve", split="the test split"),
    ),
    "mode_connectivity_loss": (
        "of the loss",
        "mode_connectivity with the training loss in place of the error",
    ),
    "linear_barrier": (
        "fraction",
        _MEANING.format(path="straight line", split="the training split"),
    ),
}
"""Unit and meaning of the values of a pair."""


def _columns() -> Iterator[Column]:
    for name, (unit, meaning) in VALUES.items():
        yield from pair_columns(name, unit, meaning)
    count = "number of pairs in the mean mode_connectivity of this network"
    yield Column("mode_connectivity_pairs", pa.int64(), "-", count)


@dataclass(frozen=True)
class ModeConnectivity(Metric):
    """Error along a quadratic Bezier curve between every two seeds of a cell.

    Let e(t) be the error, 1 - accuracy or relative error, on a fixed sample, and u the t
    between 0 and 1 where abs(e(t) - (e(0) + e(1)) / 2) is largest. The value is
    (e(0) + e(1)) / 2 - e(u), a fraction of samples: negative if there is a barrier between
    the ends, positive if the curve is better than its ends, about 0 if the ends are
    connected.

    Parameters
    ----------
    steps : int, default=2000
        Number of batches per curve. On the digits MLPs (widths 2 to 64, six learning
        rates) 2000 batches of 32 gave losses along the curve at least as low as 1000 of
        128, in two thirds of the time; larger data and networks need more.
    epochs : float, optional
        Number of passes over the curve's training data, in place of ``steps``.
    batch_size : int, default=32
        Batch size, or all samples if there are fewer.
    lr : float, optional
        Learning rate before the schedule `zoo.landscape.curve.annealed`; by default that
        of `RATES`. All cells have the same rate, so that the cells of a zoo over learning
        rates are comparable. On the digits MLPs SGD with 0.03 needs four times the steps
        and 0.3 gains nothing.
    momentum : float, default=0.9
        Momentum of SGD, or beta_1 of Adam.
    optimizer : str, default="auto"
        Optimiser of the curve. ``"auto"`` is the optimiser of the ends, because for
        example SGD does not train transformers.
    points : int, default=11
        Number of evenly spaced t at which errors are measured, ends included. The number
        is odd, so that the middle is included.
    samples : int, default=5000
        Largest number of samples of each split.
    refreshed : int, default=2048
        Number of training samples from which the statistics of batch normalisation are
        estimated anew at every point, the ends included.

    References
    ----------
    .. [1] Garipov et al. 2018, arXiv:1802.10026 (the curve); Yang et al. 2021,
       arXiv:2107.11228 (the value). Differences: the value is a fraction, not percent;
       there are 11 points, not 5, between which narrow barriers hide; the ends are no
       candidates for u, because they differ from their mean by equal amounts of opposite
       sign, so that ends of unequal errors alone are no barrier; the learning rate is
       annealed as in [1], while in a published port the decay compounds; curves take
       2000 steps of 32, not 10 or 50 epochs at 128, which are few steps on small data
       (``epochs=10, batch_size=128, points=5`` are the published settings); weight decay
       is that of the runs; errors are those on the networks' training labels, including
       noisy labels.
    """

    name = "mode_connectivity"
    summary = "error along a trained Bezier curve between the seeds of a cell"
    columns = tuple(_columns())
    paired = True
    version = 2

    steps: int = 2000
    epochs: float | None = None
    batch_size: int = 32
    lr: float | None = None
    momentum: float = 0.9
    optimizer: str = "auto"
    points: int = 11
    samples: int = 5000
    refreshed: int = 2048

    def __post_init__(self) -> None:
        if self.points < 3 or self.points % 2 == 0:
            Setting.of(self, "points").wrong("must be odd and at least 3")
        if self.optimizer != "auto":
            check_optimizer(self.optimizer)
        check_least(self, steps=1, batch_size=1, samples=1, refreshed=1)
        Setting.of(self, "momentum").number(0, 1, ends="[)")
        for name in ("lr", "epochs"):
            if getattr(self, name) is not None:
                Setting.of(self, name).number(0, ends="()")

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column; NaN for networks without a finite pair."""
        pairs = networks.pairs()
        values: dict[str, Array] = {}
        done = 0
        for rows in self._stacks(networks, pairs):
            curves = Curves(networks, pairs[rows], seed=seed)

            def report(share: float, done: int = done, count: int = len(rows)) -> None:
                progress((done + share * count) / len(pairs))

            for name, column in self._values(networks, curves, seed, report).items():
                values.setdefault(name, np.full(len(pairs), np.nan))[rows] = column
            done += len(rows)
            progress(done / len(pairs))
        missing = np.full(len(pairs), np.nan)
        out: dict[str, Array] = {}
        for name in VALUES:
            column = values.get(name, missing)
            out[name], out[f"{name}_se"] = pair_means(pairs, column, len(networks))
        finite_pairs = pairs[np.isfinite(values.get("mode_connectivity", missing))]
        counts = np.bincount(finite_pairs.reshape(-1), minlength=len(networks))
        return {**out, "mode_connectivity_pairs": counts}

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: the fit, and forward passes at a third of a gradient.

        Two paths are evaluated, the line and the curve.
        """
        batch, steps = self._lengths(train_samples)
        # The test split is assumed to be as large as the sample of the training split.
        samples_per_point = 2 * min(self.samples, train_samples) + min(
            self.refreshed, train_samples
        )
        return float(pairs * (steps * batch + 2 * self.points * samples_per_point / 3))

    def _lengths(self, samples: int) -> tuple[int, int]:
        """Return the batch size and the number of steps of a curve."""
        batch = min(self.batch_size, samples)
        if self.epochs is None:
            return batch, self.steps
        return batch, max(1, round(self.epochs * (samples // batch)))

    def _stacks(self, networks: Networks, pairs: Array) -> Iterator[Array]:
        """Yield rows of pairs with equally many samples and the same optimiser."""
        views = joint_views(networks, pairs, "train")
        kinds = [
            (networks.runs[i].optimizer, len(pair_view.index))
            for i, pair_view in zip(pairs[:, 0].tolist(), views, strict=True)
        ]
        for kind in sorted(set(kinds)):
            rows = np.array([row for row, row_kind in enumerate(kinds) if row_kind == kind])
            parts = -(-len(rows) // self._most(networks, kind[1]))
            yield from np.array_split(rows, parts)

    def _most(self, networks: Networks, samples: int) -> int:
        """Return the largest number of curves of one stack."""
        batch = self._lengths(samples)[0]
        run = replace(networks.runs[0], batch_size=batch)
        if networks.device.type == "cpu":
            return best_size(run, networks.architecture)
        bytes_per_curve = network_bytes(run, networks.architecture, samples)
        return max(1, ACCELERATOR_BYTES // bytes_per_curve)

    def _values(
        self, networks: Networks, curves: Curves, seed: int, progress: Progress
    ) -> dict[str, Array]:
        """Return the values (m,) of a stack of curves, by column.

        ``progress`` is called with the share of the stack that is done.
        """
        views_by_split = {split: curves.views(split) for split in JUDGED}
        judges = {
            split: Evaluation(
                networks.data,
                split,
                curves.runs,
                [
                    subsample(curve_view, self.samples, f"judged on {split}", seed)
                    for curve_view in split_views
                ],
                networks.device,
            )
            for split, split_views in views_by_split.items()
        }
        batch, steps = self._lengths(len(views_by_split["train"][0].index))
        views = [
            subsample(curve_view, self.refreshed, "refreshed", seed)
            for curve_view in views_by_split["train"]
        ]
        statistics = Inputs(networks, curves.runs, views, batch)
        # A point costs about the forward passes of its samples, a third of a gradient.
        point_cost = (
            min(self.samples, len(views_by_split["train"][0].index)) + len(views[0].index)
        ) / 3
        work = _Work(steps * batch + 3 * self.points * point_cost, progress)

        def scores_along(*splits: str) -> dict[str, tuple[Array, Array]]:
            """Return losses and errors (m, points) of the present path, by split."""
            scores: dict[str, list[Score]] = {split: [] for split in splits}
            for t in np.linspace(0, 1, self.points):
                curves.move(float(t))
                refresh(networks.architecture, curves.weights, statistics.batches())
                for split, split_scores in scores.items():
                    judge = judges[split]
                    split_scores.append(
                        judge.score(networks.architecture, curves.weights.tensors)
                    )
                    work.add(point_cost)
            return {
                split: (
                    np.stack([score.loss for score in split_scores], 1),
                    np.stack([score.error for score in split_scores], 1),
                )
                for split, split_scores in scores.items()
            }

        on_line = scores_along("train")["train"][1]
        auto = self.optimizer == "auto"
        optimizer = curves.runs[0].optimizer if auto else self.optimizer
        curves.fit(
            steps=steps,
            batch_size=batch,
            lr=RATES[optimizer] if self.lr is None else self.lr,
            momentum=self.momentum,
            optimizer=optimizer,
            progress=lambda taken: work.add(taken * batch),
        )
        on_curve = scores_along(*JUDGED)
        return {
            "mode_connectivity": connectivity(on_curve["train"][1]),
            "mode_connectivity_test": connectivity(on_curve["test"][1]),
            "mode_connectivity_loss": connectivity(on_curve["train"][0]),
            "linear_barrier": connectivity(on_line),
        }


def connectivity(values: Array) -> Array:
    """Return the mean of the two ends minus the value between them farthest from it.

    The result is the same for a curve and its reverse: of two equally far values, one
    above and one below the mean, the one above is taken, which is a barrier.

    Parameters
    ----------
    values : ndarray of shape (m, points)
        Errors or losses along m curves, ends included; at least 3 points.

    Returns
    -------
    ndarray of shape (m,)
        Mode connectivity; NaN where a value is not finite.
    """
    ends = (values[:, :1] + values[:, -1:]) / 2
    finite: Array = np.logical_and.reduce(np.isfinite(values), axis=1)
    over = np.where(finite[:, None], values[:, 1:-1] - ends, 0.0)
    high, low = over.max(1), over.min(1)
    return np.where(finite, 0.0 - np.where(high >= -low, high, low), np.nan)


class _Work:
    """Counter of work that reports the share done."""

    def __init__(self, total: float, progress: Progress) -> None:
        self._total, self._progress, self._done = total, progress, 0.0

    def add(self, part: float) -> None:
        """Count a part as done and report the share."""
        self._done += part
        self._progress(min(1.0, self._done / self._total))


mode_connectivity = ModeConnectivity()
