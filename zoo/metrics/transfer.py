"""Fine-tuning transfer: how well a network learns another task, against a new one."""

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
"""Ends the name of the zoo of fine-tuned networks."""


@dataclass(frozen=True)
class Transfer(Maker):
    """Test error after a few steps on another task, and what the start was worth.

    All networks are fine-tuned by the one training loop, alike: the same samples and
    steps, whatever trained them, and three learning rates, of which the one counts that is
    best on the validation split of the other task. A new network of the same cell that
    gets the same says what the start was worth. Fine-tuned networks are stored as runs of
    a zoo of their own that start from their parents.

    Parameters
    ----------
    task : str, default=""
        Name of a task with inputs and classes of the same shape; default the networks'
        own, so that only the transform is new.
    transform : str, default="rot90"
        Of the images of the new task, see `zoo.options.transform`.
    samples : int, default=200
        Training images.
    steps, batch_size : int
    lr, apart : float, default=0.02, 4
        Learning rates are ``lr / apart``, ``lr`` and ``lr * apart``.
    optimizer, schedule : str

    References
    ----------
    .. [1] Schürholt et al. 2025, arXiv:2504.18072, fine-tunes on STL-10. Differs: the task
       needs no further data by default, and a new start is the comparison.
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
            "test error of a new network trained alike minus transfer_error; above 0, "
            "the start helped",
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
        """Refuse a task that the networks know, or that does not fit them."""
        if self.task in ("", task.name):
            if run.transform == self.transform and task.objective == "classification":
                raise CatalogError(
                    f"Networks of cell {run.cell!r} were trained on {self.transform!r} "
                    "images of this task: nothing would be transferred. Choose another: "
                    "--set transfer.transform=rot180"
                )
            return
        other = TASKS[self.task]
        if (task.shape, task.classes) != (other.shape, other.classes):
            raise CatalogError(
                f"{other.name} has inputs of shape {other.shape} and {other.classes} "
                f"classes, the networks were made for {task.shape} and {task.classes}. "
                "Choose a task of the same shape: --set transfer.task=NAME"
            )

    def make(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> tuple[dict[str, Array], list[Shard]]:
        """Values (n,) by column, and the fine-tuned networks.

        Raises
        ------
        CatalogError
            If the other task does not fit the networks, or is the one they know.
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
        every = [[i] for i in range(len(rows))]
        found: list[SampleErrors] = []
        shards: list[Shard] = []
        for kind in (runs, [replace(run, init_from=None) for run in runs]):
            held: list[Array] = []
            tested: list[SampleErrors] = []
            for rate in rates:
                stored = shards if kind is runs and networks.table is not None else None
                told = len(found) * len(rates) + len(held)

                def tell(share: float, told: int = told) -> None:
                    progress((told + share) / (2 * len(rates)))

                own = [replace(run, lr=rate) for run in kind]
                weights = self._trained(networks, data, own, parents, stored, tell)
                there = replace(networks.take(rows), data=data, runs=tuple(own))
                judged = judge_weights(there, weights, every, ["validation", "test"])
                held.append(np.nan_to_num(judged["validation"].error, nan=np.inf))
                tested.append(judged["test"])
            best = np.argmin(held, axis=0)
            found.append(_chosen(tested, best))
        there = replace(networks.take(rows), data=data, runs=tuple(runs))
        before = judge_weights(there, networks.weights[rows], every, ["test"])["test"]
        self._fill(out, rows, SampleErrors.concat([*found, before]))
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
        """Last weights (n, d) of runs; ``shards`` gets what is to be stored."""
        start = {key: parent.weights for key, parent in parents.items()}
        weights = np.empty((len(runs), networks.weights.shape[1]), np.float32)
        size, done = best_size(runs[0], networks.architecture), 0
        for first in range(0, len(runs), size):
            stack = Stack(tuple(runs[first : first + size]))

            def tell(steps: int, nets: int = len(stack)) -> None:
                nonlocal done
                done += steps * nets
                progress(done / (len(runs) * self.steps))

            trained = train_stack(stack, data, networks.device, start=start, progress=tell)
            weights[first : first + size] = trained.checkpoints[-1].weights
            if shards is not None:
                shards.append(_shard(trained, data, networks, parents))
        return weights

    def _fill(self, out: dict[str, Array], rows: Array, judged: SampleErrors) -> None:
        """Columns from fine-tuned, new and old networks, one after the other."""
        count = len(rows)
        error = judged.error.reshape(3, count)
        first = np.arange(count)
        gain = judged.gain((first + count)[:, None], first)
        out["transfer_error"][rows] = error[0]
        out["transfer_gain"][rows] = gain.values
        out["transfer_gain_se"][rows] = gain.errors
        out["transfer_start_error"][rows] = error[2]

    def _run(self, networks: Networks, i: int, seed: int) -> Run:
        """How network i is fine-tuned."""
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
        if networks.table is None:
            return [
                (name, s) for name, s in zip(networks.names, networks.steps, strict=True)
            ]
        ids = networks.table["run_id"].to_pylist()
        return list(zip(ids, networks.steps, strict=True))

    def _parents(self, networks: Networks, rows: Array) -> dict[tuple[str, int], Parent]:
        keys, table = self._keys(networks), networks.table
        listed = [{}] * len(keys) if table is None else table.to_pylist()
        return {
            keys[i]: Parent(
                networks.weights[i], {name: listed[i].get(name) for name in SPLIT_COLUMNS}
            )
            for i in rows.tolist()
        }

    def _data(self, networks: Networks) -> Data:
        """Data of the other task."""
        if self.task in ("", networks.data.task.name):
            return networks.data
        return load_task(TASKS[self.task], networks.folder)

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Gradients of both at three rates, and forward passes on two splits."""
        return networks * (6 * self.steps * self.batch_size + train_samples)


def _chosen(judged: list[SampleErrors], which: Array) -> SampleErrors:
    """Network i as it was judged in place ``which[i]``."""
    n = len(which)
    return SampleErrors.concat(judged).take(which * n + np.arange(n))


def _shard(
    trained: Trained, data: Data, networks: Networks, parents: dict[tuple[str, int], Parent]
) -> Shard:
    engine = f"{networks.device.type}, torch {torch.__version__}, fine-tuned for transfer"
    return Shard(*tables(trained, data, engine, parents))


transfer = Transfer()
