"""Training a recipe: plan stacks, hand them to workers, keep what is committed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import torch

from catalog import Catalog, CatalogError
from catalog import open as open_catalog
from catalog.folder import Folder
from catalog.progress import Progress
from zoo.memory import default_memory
from zoo.recipe import Recipe, spread
from zoo.run import Run
from zoo.stack import Stack, plan
from zoo.task import Data, load_task


@dataclass
class Summary:
    """What `train` did.

    Attributes
    ----------
    zoo : str
        The recipe.
    planned, known, trained, diverged : int
        Runs asked for, found in the catalogue, trained now, and diverged among those.
    checkpoints : int
        Checkpoints committed now.
    stacks : int
        Stacks trained now.
    interrupted : bool
        Whether it was stopped before the end.
    """

    zoo: str
    planned: int = 0
    known: int = 0
    trained: int = 0
    diverged: int = 0
    checkpoints: int = 0
    stacks: int = 0
    interrupted: bool = False


def train(
    recipe: Recipe,
    catalog: str | Path,
    *,
    data: str | Path | None = None,
    limit: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    nets: int | None = None,
) -> Summary:
    """Train the runs of a recipe that the catalogue does not have yet.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    catalog : str or Path
        Folder of the catalogue; made if it is not there.
    data : str or Path, optional
        Folder with the data as files; see `zoo.task.read_files`.
    limit : int, optional
        Train only so many runs, spread over the grid.
    workers : int, optional
        Processes; default one per core, one on an accelerator.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or the best there is.
    memory : int, optional
        Bytes that all workers together may use; default half of the machine's. Decides
        the size of the stacks.
    nets : int, optional
        Most networks in a stack; default what trains fastest on the device.

    Returns
    -------
    Summary

    Raises
    ------
    CatalogError
        If data are absent, another process trains the same recipe into the catalogue,
        the folder cannot be written, or a worker fails; what was committed stays.
    """
    chosen = _device(device)
    if workers is not None and workers < 1:
        raise CatalogError(f"--workers must be at least 1. Got {workers}.")
    directory = Path(data) if data is not None else None
    loaded = load_task(recipe.data_task, directory)
    store = open_catalog(catalog, create=True)
    Folder(store.root).create()
    parents = _parents(recipe, store)
    runs = spread(recipe.runs(loaded, parents), limit)
    with _alone(store, recipe.name):
        todo = _missing(store, runs, loaded)
        summary = Summary(recipe.name, len(runs), len(runs) - len(todo))
        if not todo:
            return summary
        count = workers or (1 if chosen.type == "cuda" else os.cpu_count() or 1)
        budget = (memory or default_memory()) // count
        if nets is None and chosen.type != "cpu":
            nets = len(todo)
        stacks = plan(todo, loaded, budget, nets=nets, workers=count)
        count = min(count, len(stacks))
        setup = {
            "catalog": str(store.root),
            "task": recipe.task,
            "data": str(directory) if directory else None,
            "device": str(chosen),
            "threads": max(1, (os.cpu_count() or 1) // count),
        }
        summary.stacks = len(stacks)
        _run_workers(count, setup, stacks, summary)
    return summary


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise CatalogError(f"--device {name!r} cannot be used: {error}") from error
    return device


def _parents(recipe: Recipe, store: Catalog) -> list[tuple[str, int]]:
    if not recipe.init_from:
        return []
    table = store.select(recipe.init_from).table
    keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
    return [(str(run), int(step)) for run, step in keys]


def _missing(store: Catalog, runs: Sequence[Run], data: Data) -> list[Run]:
    known = {r[0] for r in store.sql("SELECT run_id FROM runs").fetchall()}
    return [run for run in runs if run.run_id(data.fingerprint) not in known]


@contextlib.contextmanager
def _alone(store: Catalog, name: str) -> Iterator[None]:
    """Hold the recipe's lock; the system frees it when the process ends."""
    path = store.root / "writers" / f"recipe-{name}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise CatalogError(
                f"Process {owner} is training {name!r} into {store.root}. Wait for it, "
                "or train into another folder with --catalog DIR."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class _Worker:
    """One worker process and the thread that reads its messages."""

    def __init__(self, setup: dict[str, Any], inbox: Queue[tuple[_Worker, Any]]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zoo.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.job: Stack | None = None
        self.finished = False
        self.send(setup)
        threading.Thread(target=self._read, args=(inbox,), daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Write one job; a dead worker is noticed by its reader."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def train(self, stack: Stack | None) -> None:
        """Hand over a stack, or say that there are no more."""
        self.job = stack
        if stack is not None:
            self.send({"runs": [run.config() for run in stack.runs]})
        else:
            assert self.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _read(self, inbox: Queue[tuple[_Worker, Any]]) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            inbox.put((self, json.loads(text)))
        self.process.wait()
        inbox.put((self, None))


def _run_workers(
    count: int, setup: dict[str, Any], stacks: list[Stack], summary: Summary
) -> None:
    inbox: Queue[tuple[_Worker, Any]] = Queue()
    workers = [_Worker(setup, inbox) for _ in range(count)]
    work = _Work(stacks, summary)
    try:
        work.follow(workers, inbox)
    except KeyboardInterrupt:
        summary.interrupted = True
        _stop(workers)
        work.drain(workers, inbox)
        raise
    except CatalogError:
        _stop(workers)
        work.drain(workers, inbox)
        raise
    finally:
        work.bar.close(work.steps / work.per_model)
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
            worker.train(None)


class _Work:
    """Stacks to hand out, and what came back."""

    def __init__(self, stacks: list[Stack], summary: Summary) -> None:
        self.stacks, self.summary = list(stacks), summary
        runs = [run for stack in stacks for run in stack.runs]
        total = sum(max(run.steps, 1) for run in runs)
        self.per_model = total / len(runs)
        self.per_run = sum(len(run.checkpoints) for run in runs) / len(runs)
        self.steps = 0.0
        self.bar = Progress(len(runs), "models", summary.zoo)

    def follow(self, workers: list[_Worker], inbox: Queue[tuple[_Worker, Any]]) -> None:
        """Hand out stacks until all workers are done."""
        while not all(worker.finished for worker in workers):
            worker, message = inbox.get()
            self.take(worker, message)
            ready = message is not None and ("ready" in message or "finished" in message)
            if ready:
                worker.train(self.stacks.pop(0) if self.stacks else None)

    def drain(self, workers: list[_Worker], inbox: Queue[tuple[_Worker, Any]]) -> None:
        """After a stop: wait until the workers have committed what they finished."""
        while not all(worker.finished for worker in workers):
            worker, message = inbox.get()
            with contextlib.suppress(CatalogError):
                self.take(worker, message)

    def take(self, worker: _Worker, message: dict[str, Any] | None) -> None:
        """Account for one message."""
        if message is None:
            worker.finished = True
            if worker.process.returncode != 0:
                raise CatalogError(
                    f"A worker ended with code {worker.process.returncode}; "
                    f"{self.summary.trained} runs are committed. Run the command again "
                    "to train the rest; if memory ran out, lower --memory."
                )
        elif "error" in message:
            raise CatalogError(message["error"])
        elif "steps" in message:
            self.steps += message["steps"]
            self.bar.update(self.steps / self.per_model)
        elif "committed" in message:
            self.summary.trained += message["committed"]
            self.summary.checkpoints = round(self.summary.trained * self.per_run)
        elif "finished" in message:
            self.summary.diverged += message["diverged"]
