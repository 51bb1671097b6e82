"""Training process, which takes stacks as JSON lines and commits its own shards.

`zoo.training.train` runs the module as ``python -m zoo.training.worker``. The process
reads one job per line from stdin and writes one message per line to stdout.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import torch

from catalog import Population, Writer
from catalog import open as open_catalog
from zoo.engine.stack import Stack, fitting_batch, plan
from zoo.engine.train_stack import Stopped, train_stack
from zoo.recipe import spread_runs
from zoo.run import Run
from zoo.task import Data, load_task
from zoo.training.memory import stack_memory
from zoo.training.parents import Parents, read_parents
from zoo.training.request import TrainRequest
from zoo.training.result import tables
from zoo.training.trained_runs import trained_runs
from zoo.workers.process import tune_process
from zoo.workers.serving import Line, StopRequest, chosen_device, serve_parent

FLUSH_BYTES = 256 << 20
"""Maximum size in bytes of the weights of one shard. The limit is an eighth of a worker's
memory if that is less: joining, hashing and writing weights takes about three times their
size."""

FLUSH_SECONDS = 60.0

Finished = tuple[pa.Table, pa.Table, Population, str]


class Shards:
    """Collector of finished stacks, which commits them one shard at a time.

    A shard is committed when the stacks of one architecture reach 256 MB (less if memory
    is short), or when the oldest stack has waited for a minute. A kill can cost at most
    this much work.

    Parameters
    ----------
    writer : Writer
        Writer of the catalogue.
    memory : int
        Memory of the worker in bytes.
    report : callable
        Function that is called with the number of runs of each committed shard.
    """

    def __init__(self, writer: Writer, memory: int, report: Callable[[int], None]) -> None:
        self._writer, self._report = writer, report
        self._most = min(FLUSH_BYTES, memory // 8)
        self._waiting: dict[str, list[Finished]] = {}
        self._since = time.monotonic()

    def add(self, finished: Finished) -> None:
        """Add a finished stack and commit a shard if it is due."""
        if not self._waiting:
            self._since = time.monotonic()
        group = self._waiting.setdefault(finished[3], [])
        group.append(finished)
        if sum(p.weights.nbytes for _, _, p, _ in group) >= self._most:
            self._commit(finished[3])
        if time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit all stacks that wait."""
        for architecture in list(self._waiting):
            self._commit(architecture)

    def _commit(self, architecture: str) -> None:
        group = self._waiting.pop(architecture)
        runs = pa.concat_tables([g[0] for g in group], promote_options="permissive")
        checkpoints = pa.concat_tables([g[1] for g in group], promote_options="permissive")
        population = Population.concat([g[2] for g in group])
        order = pa.array(np.argsort(checkpoints["step"].to_numpy(), kind="stable"))
        checkpoints, population = checkpoints.take(order), population.select(order)
        self._writer.commit(runs, checkpoints, population, architecture)
        self._report(len(runs))


def train_into(
    shards: Shards,
    stack: Stack,
    data: Data,
    device: torch.device,
    parents: Parents,
    progress: Callable[[int], None],
    memory: int | None = None,
) -> int:
    """Train one stack, add it to the shards and return the number of diverged runs.

    Parameters
    ----------
    shards : Shards
        Collector of the finished stack.
    stack : Stack
        Stack to train.
    data : Data
        Data of the task.
    device : torch.device
        Device on which to train.
    parents : mapping of (run_id, step) to Parent
        Checkpoints that the runs start from.
    progress : callable
        Function that is called with the number of steps done since the last call.
    memory : int, optional
        Memory in bytes; batches that do not fit into it are accumulated in parts.
    """
    start = {key: parent.weights for key, parent in parents.items()}
    micro = memory and fitting_batch(stack.runs[0], stack.architecture, memory)
    trained = train_stack(
        stack, data, device, start=start, progress=progress, micro_batch=micro or None
    )
    threads = torch.get_num_threads()
    version = f"torch {torch.__version__}"
    engine = f"{device.type}, {threads} threads, {version}, stack of {len(stack)}"
    if micro:
        engine += f", batches accumulated in parts of {micro}"
    shards.add(tables(trained, data, engine, parents))
    return int((trained.diverged >= 0).sum())


def plan_stacks(
    request: TrainRequest, data: Data, memory: int, workers: int
) -> dict[str, Any]:
    """Plan stacks of the runs that the catalogue does not have yet, as JSON values.

    Parameters
    ----------
    request : TrainRequest
        Request with the recipe, the catalogue and the limits.
    data : Data
        Data of the task.
    memory : int
        Memory in bytes that the stacks of one worker may use.
    workers : int
        Number of worker processes.
    """
    recipe = request.loaded_recipe()
    store = open_catalog(request.catalog, create=True)
    parents: list[tuple[str, int]] = []
    if recipe.init_from:
        # Runs of this recipe may match the condition too, but they are children.
        rows = store.select(recipe.init_from).table.to_pylist()
        parents = [(r["run_id"], r["step"]) for r in rows if r["zoo"] != recipe.name]
    runs = spread_runs(recipe.runs(data, parents), request.limit)
    by_id = {run.run_id(data.fingerprint): run for run in runs}
    known_ids, incomplete = trained_runs(store, by_id)
    missing = [run for run_id, run in by_id.items() if run_id not in known_ids]
    nets = request.nets
    if nets is None and chosen_device(request.device).type != "cpu":
        nets, workers = max(len(missing), 1), 1
    stacks = plan(missing, data, memory, nets=nets, workers=workers)
    configs = [[run.config() for run in stack.runs] for stack in stacks]
    return {
        "planned": len(runs),
        "known": len(runs) - len(missing),
        "incomplete": incomplete,
        "stacks": configs,
    }


def _serve(setup: dict[str, Any], jobs: TextIO, line: Line) -> None:
    """Plan if this worker leads, then train stacks and commit them."""
    stop = StopRequest()
    request = TrainRequest.from_json(setup["request"])
    device = chosen_device(request.device)
    tune_process(setup["threads"])
    recipe = request.loaded_recipe()
    data = load_task(recipe.data_task, request.data_path)
    memory = stack_memory(setup["memory"], data)
    if setup["leads"]:
        line.send(accepted={"zoo": recipe.name, "device": device.type})
        if not jobs.readline():
            return
        line.send(stacks=plan_stacks(request, data, memory, setup["workers"]))
    line.send(ready=True)
    first = jobs.readline()
    if not first:
        return
    with Writer(Path(request.catalog)) as writer:
        shards = Shards(writer, memory, lambda runs: line.send(committed=runs))

        def progress(steps: int) -> None:
            line.send(steps=steps * size)
            if stop.made:
                raise Stopped

        try:
            for text in itertools.chain([first], jobs):
                job = json.loads(text)
                stack = Stack(tuple(Run.from_config(run) for run in job["runs"]))
                size = len(stack)
                parents = read_parents(str(request.catalog), stack)
                diverged = train_into(
                    shards, stack, data, device, parents, progress, memory
                )
                line.send(done=True, diverged=diverged)
        except Stopped:
            pass
        shards.flush()


if __name__ == "__main__":
    serve_parent(_serve)
