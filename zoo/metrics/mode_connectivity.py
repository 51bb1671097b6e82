"""Mode connectivity: how the error changes along a curve between two seeds."""

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
from zoo.landscape.pair_means import pair_means
from zoo.merging.joint_view import Inputs, joint_views, subsample
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress
from zoo.options.optimizer import check_optimizer

JUDGED = ("train", "test")

RATES = {"sgd": 0.1, "adam": 3e-3, "adamw": 3e-3}
"""Learning rate of a curve by its optimiser."""

ACCELERATOR_BYTES = 4 << 30
"""What a stack of curves may take where caches do not bound it."""

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
"""Unit and meaning of what a pair has."""


def _columns() -> Iterator[Column]:
    for name, (unit, meaning) in VALUES.items():
        error = f"standard error of the cell's mean {name}: jackknife over 3 seeds or more"
        yield Column(name, pa.float64(), unit, meaning)
        yield Column(f"{name}_se", pa.float64(), unit, error)
    count = "pairs that mode_connectivity of this network is the mean of"
    yield Column("mode_connectivity_pairs", pa.int64(), "-", count)


@dataclass(frozen=True)
class ModeConnectivity(Metric):
    """Error along a quadratic Bezier curve between every two seeds of a cell.

    With u the t between 0 and 1 where abs(e(t) - (e(0) + e(1)) / 2) is largest, the value
    is (e(0) + e(1)) / 2 - e(u), a fraction of samples: negative where a barrier is
    between the ends, positive where the curve is better than its ends, about 0 where they
    are connected. e(t) is the error, 1 - accuracy or relative error, on a fixed sample.

    Parameters
    ----------
    steps : int, default=2000
        Batches per curve. On the digits MLPs (widths 2 to 64, six learning rates) 2000
        batches of 32 gave losses along the curve at least as low as 1000 of 128, for
        two thirds of the time; larger data and networks need more.
    epochs : float, optional
        Passes over the curve's training data, in place of ``steps``.
    batch_size : int, default=32
        Or all samples, if there are fewer.
    lr : float, optional
        Before the schedule `zoo.landscape.curve.annealed`; default that of `RATES`. One for
        all cells, so that a zoo over learning rates is not measured with different rulers.
        On the digits MLPs SGD with 0.03 needs four times the steps and 0.3 gains nothing.
    momentum : float, default=0.9
        beta_1 of Adam.
    optimizer : str, default="auto"
        Of the curve; ``"auto"`` is what trained the ends, as SGD does not train
        transformers, say.
    points : int, default=11
        Evenly spaced t at which errors are taken, ends included; odd, so that the
        middle is one of them.
    samples : int, default=5000
        Of each split, at most.
    refreshed : int, default=2048
        Training samples from which the statistics of batch normalisation are estimated
        anew at every point, the ends included.

    References
    ----------
    .. [1] Garipov et al. 2018, arXiv:1802.10026 (the curve); Yang et al. 2021,
       arXiv:2107.11228 (the value). Differs: a fraction and not percent; 11 points and
       not 5, between which narrow barriers hide; the ends are no candidates for u, as they
       differ from their mean by equal amounts, of which neither sign means anything, so
       that ends of unequal errors alone are no barrier; the learning rate is annealed as in
       [1], while a published port lets its decay compound; 2000 steps of 32 and not 10
       or 50 epochs at 128, which are few steps on small data (``epochs=10,
       batch_size=128, points=5`` are the published settings); weight decay is that of
       the runs; errors on the networks' own labels, noisy ones included.
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
        """Values (n,) by column; NaN where no pair has finite errors all along."""
        pairs = networks.pairs()
        values: dict[str, Array] = {}
        done = 0
        for rows in self._stacks(networks, pairs):
            curves = Curves(networks, pairs[rows], seed=seed)

            def tell(share: float, done: int = done, count: int = len(rows)) -> None:
                progress((done + share * count) / len(pairs))

            for name, found in self._values(networks, curves, seed, tell).items():
                values.setdefault(name, np.full(len(pairs), np.nan))[rows] = found
            done += len(rows)
            progress(done / len(pairs))
        nothing = np.full(len(pairs), np.nan)
        out: dict[str, Array] = {}
        for name in VALUES:
            found = values.get(name, nothing)
            out[name], out[f"{name}_se"] = pair_means(pairs, found, len(networks))
        known = pairs[np.isfinite(values.get("mode_connectivity", nothing))]
        counts = np.bincount(known.reshape(-1), minlength=len(networks))
        return {**out, "mode_connectivity_pairs": counts}

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Fit and, at a third of a gradient, forward passes; two paths are evaluated."""
        batch, steps = self._lengths(train_samples)
        # The test split is taken to be as large as the sample of the training split.
        seen = 2 * min(self.samples, train_samples) + min(self.refreshed, train_samples)
        return float(pairs * (steps * batch + 2 * self.points * seen / 3))

    def _lengths(self, samples: int) -> tuple[int, int]:
        """Batch size and steps of a curve."""
        batch = min(self.batch_size, samples)
        if self.epochs is None:
            return batch, self.steps
        return batch, max(1, round(self.epochs * (samples // batch)))

    def _stacks(self, networks: Networks, pairs: Array) -> Iterator[Array]:
        """Rows of pairs fitted together: equally many samples, and one optimiser."""
        views = joint_views(networks, pairs, "train")
        kinds = [
            (networks.runs[i].optimizer, len(seen.index))
            for i, seen in zip(pairs[:, 0].tolist(), views, strict=True)
        ]
        for kind in sorted(set(kinds)):
            rows = np.array([at for at, own in enumerate(kinds) if own == kind])
            parts = -(-len(rows) // self._most(networks, kind[1]))
            yield from np.array_split(rows, parts)

    def _most(self, networks: Networks, samples: int) -> int:
        """Curves of one stack."""
        batch = self._lengths(samples)[0]
        run = replace(networks.runs[0], batch_size=batch)
        if networks.device.type == "cpu":
            return best_size(run, networks.architecture)
        each = network_bytes(run, networks.architecture, samples)
        return max(1, ACCELERATOR_BYTES // each)

    def _values(
        self, networks: Networks, curves: Curves, seed: int, progress: Progress
    ) -> dict[str, Array]:
        """Values (m,) of a stack of curves; ``progress`` is told the share of the stack."""
        seen = {split: curves.views(split) for split in JUDGED}
        judges = {
            split: Evaluation(
                networks.data,
                split,
                curves.runs,
                [
                    subsample(each, self.samples, f"judged on {split}", seed)
                    for each in views
                ],
                networks.device,
            )
            for split, views in seen.items()
        }
        batch, steps = self._lengths(len(seen["train"][0].index))
        views = [
            subsample(each, self.refreshed, "refreshed", seed) for each in seen["train"]
        ]
        statistics = Inputs(networks, curves.runs, views, batch)
        # A point costs about the forward passes of its samples, a third of a gradient.
        point = (min(self.samples, len(seen["train"][0].index)) + len(views[0].index)) / 3
        work = _Work(steps * batch + 3 * self.points * point, progress)

        def along(*splits: str) -> dict[str, tuple[Array, Array]]:
            """Losses and errors (m, points) by split."""
            scores: dict[str, list[Score]] = {split: [] for split in splits}
            for t in np.linspace(0, 1, self.points):
                curves.move(float(t))
                refresh(networks.architecture, curves.weights, statistics.batches())
                for split, found in scores.items():
                    judge = judges[split]
                    found.append(judge.score(networks.architecture, curves.weights.tensors))
                    work.add(point)
            return {
                split: (
                    np.stack([score.loss for score in found], 1),
                    np.stack([score.error for score in found], 1),
                )
                for split, found in scores.items()
            }

        straight = along("train")["train"][1]
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
        bent = along(*JUDGED)
        return {
            "mode_connectivity": connectivity(bent["train"][1]),
            "mode_connectivity_test": connectivity(bent["test"][1]),
            "mode_connectivity_loss": connectivity(bent["train"][0]),
            "linear_barrier": connectivity(straight),
        }


def connectivity(values: Array) -> Array:
    """What the ends have on average minus the value between them farthest from that.

    The same for a curve and its reverse: of two values equally far, one above and one
    below, the one above counts, which is a barrier.

    Parameters
    ----------
    values : ndarray of shape (m, points)
        Errors or losses along m curves, ends included; 3 points at least.

    Returns
    -------
    ndarray of shape (m,)
        NaN where a value is not finite.
    """
    ends = (values[:, :1] + values[:, -1:]) / 2
    finite: Array = np.logical_and.reduce(np.isfinite(values), axis=1)
    over = np.where(finite[:, None], values[:, 1:-1] - ends, 0.0)
    high, low = over.max(1), over.min(1)
    return np.where(finite, 0.0 - np.where(high >= -low, high, low), np.nan)


class _Work:
    """Adds up parts of a task and tells which share of it is done."""

    def __init__(self, total: float, progress: Progress) -> None:
        self._total, self._progress, self._done = total, progress, 0.0

    def add(self, part: float) -> None:
        """Account for a part."""
        self._done += part
        self._progress(min(1.0, self._done / self._total))


mode_connectivity = ModeConnectivity()
