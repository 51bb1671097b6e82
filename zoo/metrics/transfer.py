"""Fine-tuning transfer: test error on another task, against training from scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from catalog import CatalogError
from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from zoo.engine.stack import Stack, best_size
from zoo.engine.train_stack import Trained, train_stack
from zoo.merging.derived import Shard
from zoo.merging.made_weights import SampleErrors, judge_weights
from zoo.metric import Maker, check_least
from zoo.networks import Networks, Progress
from zoo.objective import LogitObjective
from zoo.options.optimizer import check_optimizer
from zoo.options.schedule import schedule
from zoo.options.transform import check_transform
from zoo.run import Run
from zoo.task import Data, Task, load_task
from zoo.tasks import TASKS
from zoo.training.parents import SPLIT_COLUMNS, Parent
from zoo.training.result import tables

ENDING = "_transfer"
"""End of the name of the zoo of fine-tuned networks."""


@dataclass(frozen=True)
class Transfer(Maker):
    """Test error after a few steps on another task, and the gain over a new network.

    All networks are fine-tuned in the same way: the same samples and steps, independent
    of their training, and three learning rates, of which the best on the validation split
    of the other task is used. The gain is measured against a newly initialised network of
    the same cell that is trained in the same way. Fine-tuned networks are stored in a
    separate zoo, as runs that start from their parents.

    Parameters
    ----------
    task : str, default=""
        Name of a task with the same shape of inputs and number of classes; by default the
        task of the networks, so that only the transform is new.
    transform : str, default="rot90"
        Transform of the images of the new task, see `zoo.options.transform`.
    samples : int, default=200
        Number of training images.
    steps, batch_size : int, default=200, 20
        Number of steps and batch size of the fine-tuning.
    lr, apart : float, default=0.02, 4
        Middle learning rate and ratio of the rates: they are ``lr / apart``, ``lr`` and
        ``lr * apart``.
    optimizer, schedule : str, default="sgd", "cosine"
        Optimiser and schedule of the fine-tuning.

    References
    ----------
    .. [1] Schürholt et al. 2025, arXiv:2504.18072, fine-tunes on STL-10. Differences:
       by default the task needs no other data, and the baseline is a newly initialised
       network.
    """

    name: ClassVar[str] = "transfer"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "test error after fine-tuning on another task, against scratch"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "transfer_error", pa.float64(), "fraction",
            "test error of the other task after fine-tuning at the best of three rates",
        ),
        Column(
            "transfer_gain", pa.float64(), "fraction",
            "test error of a new network trained in the same way minus transfer_error; "
            "above 0, the start helped",
        ),
        Column(
            "transfer_gain_se", pa.float64(), "fraction",
            "standard error of transfer_gain over the test samples",
        ),
        Column(
            "transfer_start_error", pa.float64(), "fraction",
            "test error of the other task before fine-tuning",
        ),
    )  # fmt: skip

    task: str = ""
    transform: str = "rot90"
    samples: int = 200
    steps: int = 200
    batch_size: int = 20
    lr: float = 0.02
    apart: float = 4.0
    optimizer: str = "sgd"
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        check_least(self, samples=1, steps=1, batch_size=1)
        check_optimizer(self.optimizer)
        schedule(self.schedule)
        check_transform(self.transform)
        for name, low in (("lr", 0), ("apart", 1)):
            Setting.of(self, name).number(low, ends="()")

    def check(self, run: Run, task: Task) -> None:
        """Check that the task is new to a run and has the same shapes.

        Raises
        ------
        CatalogError
            If the task does not fit the network, or is the task it was trained on.
        """
        if self.task in ("", task.name):
            if run.transform == self.transform and task.objective == "classification":
                raise CatalogError(
                    f"Networks of cell {run.cell!r} were trained on {self.transform!r} "
                    "images of this task, so nothing would be transferred. Choose another "
                    "transform: --set transfer.transform=rot180"
                )
            return
        other_task = TASKS[self.task]
        if (task.shape, task.classes) != (other_task.shape, other_task.classes):
            raise CatalogError(
                f"{other_task.name} has inputs of shape {other_task.shape} and "
                f"{other_task.classes} classes, but the networks were made for "
                f"{task.shape} and {task.classes}. "
                "Choose a task of the same shape: --set transfer.task=NAME"
            )

    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Return values (n,) by column, and the fine-tuned networks.

        Raises
        ------
        CatalogError
            If the other task does not fit the networks, or is the task that they were
            trained on.
        """
        n = len(networks)
        out = self.blank(n)
        if not isinstance(networks.objective, LogitObjective) or not networks.alive.any():
            return out, []
        if networks.data.task.objective != "classification":
            return out, []
        for run in networks.runs:
            self.check(run, networks.data.task)
        data = self._data(networks)
        rows = np.flatnonzero(networks.alive)
        runs = [self._run(networks, int(i), seed) for i in rows]
        parents = self._parents(networks, rows)
        rates = (self.lr / self.apart, self.lr, self.lr * self.apart)
        single_rows = [[i] for i in range(len(rows))]
        best_errors: list[SampleErrors] = []
        shards: list[Shard] = []
        for kind in (runs, [replace(run, init_from=None) for run in runs]):
            validation_errors: list[Array] = []
            test_errors: list[SampleErrors] = []
            for rate in rates:
                stored = shards if kind is runs and networks.table is not None else None
                finished = len(best_errors) * len(rates) + len(validation_errors)

                def report(share: float, finished: int = finished) -> None:
                    progress((finished + share) / (2 * len(rates)))

                rate_runs = [replace(run, lr=rate) for run in kind]
                weights = self._trained(networks, data, rate_runs, parents, stored, report)
                transferred = replace(networks.take(rows), data=data, runs=tuple(rate_runs))
                judged = judge_weights(
                    transferred, weights, single_rows, ["validation", "test"]
                )
                validation_errors.append(
                    np.nan_to_num(judged["validation"].error, nan=np.inf)
                )
                test_errors.append(judged["test"])
            best = np.argmin(validation_errors, axis=0)
            best_errors.append(_chosen(test_errors, best))
        transferred = replace(networks.take(rows), data=data, runs=tuple(runs))
        start_errors = judge_weights(
            transferred, networks.weights[rows], single_rows, ["test"]
        )["test"]
        self._fill(out, rows, SampleErrors.concat([*best_errors, start_errors]))
        return out, shards

    def _trained(
        self,
        networks: Networks,
        data: Data,
        runs: list[Run],
        parents: dict[tuple[str, int], Parent],
        shards: list[Shard] | None,
        progress: Progress,
    ) -> Array:
        """Train runs and return their last weights (n, d).

        Networks to store are appended to ``shards``.
        """
        start = {key: parent.weights for key, parent in parents.items()}
        weights = np.empty((len(runs), networks.weights.shape[1]), np.float32)
        size, done = best_size(runs[0], networks.architecture), 0
        for first in range(0, len(runs), size):
            stack = Stack(tuple(runs[first : first + size]))

            def report(steps: int, nets: int = len(stack)) -> None:
                nonlocal done
                done += steps * nets
                progress(done / (len(runs) * self.steps))

            trained = train_stack(
                stack, data, networks.device, start=start, progress=report
            )
            weights[first : first + size] = trained.checkpoints[-1].weights
            if shards is not None:
                shards.append(_shard(trained, data, networks, parents))
        return weights

    def _fill(self, out: dict[str, Array], rows: Array, judged: SampleErrors) -> None:
        """Fill the columns from the errors of fine-tuned, then new, then old networks."""
        count = len(rows)
        error = judged.error.reshape(3, count)
        first = np.arange(count)
        gain = judged.gain((first + count)[:, None], first)
        out["transfer_error"][rows] = error[0]
        out["transfer_gain"][rows] = gain.values
        out["transfer_gain_se"][rows] = gain.errors
        out["transfer_start_error"][rows] = error[2]

    def _run(self, networks: Networks, i: int, seed: int) -> Run:
        """Return the run that fine-tunes network i."""
        run = networks.runs[i]
        return replace(
            run,
            zoo=run.zoo + ENDING,
            task=self.task or run.task,
            transform=self.transform,
            label_noise=0.0,
            train_samples=self.samples,
            subset_seed=seed,
            order_seed=seed,
            augment="none",
            steps=self.steps,
            checkpoints=(self.steps,),
            batch_size=self.batch_size,
            lr=self.lr,
            momentum=0.9,
            weight_decay=0.0,
            optimizer=self.optimizer,
            schedule=self.schedule,
            init_scale=1.0,
            init_from=self._keys(networks)[i],
        )

    def _keys(self, networks: Networks) -> list[tuple[str, int]]:
        """Return run_id and step of every network."""
        if networks.table is None:
            return [
                (name, s) for name, s in zip(networks.names, networks.steps, strict=True)
            ]
        ids = networks.table["run_id"].to_pylist()
        return list(zip(ids, networks.steps, strict=True))

    def _parents(self, networks: Networks, rows: Array) -> dict[tuple[str, int], Parent]:
        """Return the parents of the fine-tuned networks, by run_id and step."""
        keys, table = self._keys(networks), networks.table
        records = [{}] * len(keys) if table is None else table.to_pylist()
        return {
            keys[i]: Parent(
                networks.weights[i], {name: records[i].get(name) for name in SPLIT_COLUMNS}
            )
            for i in rows.tolist()
        }

    def _data(self, networks: Networks) -> Data:
        """Return the data of the other task."""
        if self.task in ("", networks.data.task.name):
            return networks.data
        return load_task(TASKS[self.task], networks.folder)

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: training at three rates, and forward passes on two splits.

        Both the fine-tuned and the new network are trained.
        """
        return networks * (6 * self.steps * self.batch_size + train_samples)


def _chosen(judged: list[SampleErrors], which: Array) -> SampleErrors:
    """Return the errors of network i from ``judged[which[i]]``."""
    n = len(which)
    return SampleErrors.concat(judged).take(which * n + np.arange(n))


def _shard(
    trained: Trained, data: Data, networks: Networks, parents: dict[tuple[str, int], Parent]
) -> Shard:
    """Return a trained stack as a shard."""
    engine = f"{networks.device.type}, torch {torch.__version__}, fine-tuned for transfer"
    return Shard(*tables(trained, data, engine, parents))


transfer = Transfer()
