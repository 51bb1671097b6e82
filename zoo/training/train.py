"""Training of recipes: workers plan and train stacks, this process hands the stacks out.

This module needs no torch: while it waits, the workers import torch in parallel.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import CatalogError
from catalog.console.extras import require
from catalog.console.progress import Progress
from catalog.plugins.keywords import takes_fields
from catalog.storage.folder import Folder
from zoo.training.request import TrainRequest
from zoo.workers.pool import Message, WorkerPool

if TYPE_CHECKING:
    from zoo.recipe import Recipe


@dataclass
class Summary:
    """Summary of one call of `train`.

    Attributes
    ----------
    zoo : str
        Name of the recipe.
    planned, known, trained, diverged : int
        Number of runs that were requested, that the catalogue already held, that were
        trained now, and that diverged among the runs trained now.
    incomplete : int
        Number of requested runs that the catalogue held only in part, because they were
        fetched so; they are not known, and trained.
    checkpoints : int
        Number of checkpoints committed now.
    stacks : int
        Number of stacks planned for this call.
    """

    zoo: str
    planned: int = 0
    known: int = 0
    incomplete: int = 0
    trained: int = 0
    diverged: int = 0
    checkpoints: int = 0
    stacks: int = 0


@takes_fields(TrainRequest)
def train(recipe: Recipe | str, catalog: str | Path, **options: Any) -> Summary:
    """Train the runs of a recipe that the catalogue does not have yet.

    Parameters
    ----------
    recipe : Recipe or str
        Recipe to train, or the name of a recipe in `zoo.recipes`.
    catalog : str or Path
        Folder of the catalogue; created if it does not exist.
    **options
        Further fields of `zoo.training.request.TrainRequest`: ``data``, ``limit``,
        ``workers``, ``device``, ``memory``, ``nets``.

    Returns
    -------
    Summary

    Raises
    ------
    CatalogError
        If the recipe or the data do not exist, another process trains the same recipe into
        the catalogue, the folder cannot be written, or a worker fails. Committed runs stay.
    """
    return train_requested(TrainRequest(recipe, catalog, **options))


def train_requested(
    request: TrainRequest, announce: Callable[[str], None] = lambda text: None
) -> Summary:
    """Train what a request asks for; see `train`.

    Parameters
    ----------
    announce : callable, optional
        Called with a sentence about runs that are here only in part.
    """
    require("torch")
    account = _Account()
    pool = WorkerPool("zoo.training.worker", account.committed, account.take)
    try:
        pool.start(request.processes, request.setup())
        accepted = pool.expect("accepted")
        if accepted["device"] != "cpu" and request.workers is None:
            pool.keep(1)
        folder = Folder(Path(request.catalog))
        folder.create()
        with _recipe_lock(folder, accepted["zoo"]):
            pool.workers[0].send({"plan": True})
            plan = pool.expect("stacks")
            account.begin(accepted["zoo"], plan)
            if count := plan["incomplete"]:
                announce(
                    f"{count:,} runs are incomplete here: they were fetched with --where, "
                    "--tensors or --steps. They do not count as trained, and are trained."
                )
            if plan["stacks"]:
                pool.work([{"runs": runs} for runs in plan["stacks"]])
            return account.summary
    except KeyboardInterrupt as interrupt:
        text = str(interrupt) or "Nothing was trained yet."
        raise KeyboardInterrupt(text) from None
    finally:
        account.close()
        pool.end()


@contextlib.contextmanager
def _recipe_lock(folder: Folder, name: str) -> Iterator[None]:
    """Hold the recipe's lock; the system releases the lock when the process ends."""
    path = folder.root / "writers" / f"recipe-{name}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise CatalogError(
                f"Process {owner} is training {name!r} into {folder.root}. Wait for "
                "it, or train into another folder with --catalog DIR."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class _Account:
    """Account of the workers' reports: the summary and the progress bar."""

    def __init__(self) -> None:
        self.summary = Summary("")
        self._steps, self._per_run, self._per_model = 0.0, 0.0, 1.0
        self._bar: Progress | None = None

    def begin(self, zoo: str, plan: Message) -> None:
        """Take the plan of a recipe and start the progress bar."""
        stacks = plan["stacks"]
        self.summary = Summary(
            zoo, plan["planned"], plan["known"], plan["incomplete"], stacks=len(stacks)
        )
        runs = [run for stack in stacks for run in stack]
        if runs:
            self._per_model = sum(max(run["steps"], 1) for run in runs) / len(runs)
            self._per_run = sum(len(run["checkpoints"]) for run in runs) / len(runs)
            self._bar = Progress(len(runs), "models", zoo)

    def take(self, message: Message) -> None:
        """Account for one message of a worker."""
        if "steps" in message:
            self._steps += message["steps"]
            if self._bar is not None:
                self._bar.update(self._steps / self._per_model)
        elif "committed" in message:
            self.summary.trained += message["committed"]
            self.summary.checkpoints = round(self.summary.trained * self._per_run)
        elif "done" in message:
            self.summary.diverged += message["diverged"]

    def committed(self) -> str:
        """Return a clause that says how much is committed."""
        return f"{self.summary.trained} runs are committed"

    def close(self) -> None:
        """Finish the progress bar."""
        if self._bar is not None:
            self._bar.close(self._steps / self._per_model)
