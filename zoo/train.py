"""Training a recipe: workers plan and train stacks, this process hands them out.

This module needs no torch: while it waits, the workers import it side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from catalog import CatalogError
from catalog.extras import require
from catalog.folder import Folder
from catalog.progress import Progress
from zoo.memory import default_memory

if TYPE_CHECKING:
    from zoo.recipe import Recipe


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
        Stacks that were to be trained now.
    """

    zoo: str
    planned: int = 0
    known: int = 0
    trained: int = 0
    diverged: int = 0
    checkpoints: int = 0
    stacks: int = 0


def train(
    recipe: Recipe | str,
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
    recipe : Recipe or str
        What to train, or the name of a recipe in `zoo.recipes`.
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
        If recipe or data are absent, another process trains the same recipe into the
        catalogue, the folder cannot be written, or a worker fails; what was committed
        stays.
    """
    if workers is not None and workers < 1:
        raise CatalogError(f"--workers must be at least 1. Got {workers}.")
    if limit is not None and limit < 1:
        raise CatalogError(f"--limit must be at least 1. Got {limit}.")
    require("torch")
    count = workers or os.cpu_count() or 1
    setup = {
        "catalog": str(catalog),
        "recipe": recipe if isinstance(recipe, str) else recipe.to_json(),
        "data": None if data is None else str(data),
        "limit": limit,
        "device": device,
        "memory": (memory or default_memory()) // count,
        "nets": nets,
        "workers": count,
        "threads": max(1, (os.cpu_count() or 1) // count),
    }
    crew = _Crew()
    try:
        crew.start(count, setup)
        accepted = crew.expect("accepted")
        if accepted["device"] != "cpu" and workers is None:
            crew.keep(1)
        folder = Folder(Path(catalog))
        folder.create()
        with _alone(folder, accepted["zoo"]):
            crew.workers[0].send({"plan": True})
            return crew.work(accepted["zoo"], crew.expect("stacks"))
    except KeyboardInterrupt as interrupt:
        text = str(interrupt) or "Nothing was trained yet."
        raise KeyboardInterrupt(text) from None
    finally:
        crew.end()


@contextlib.contextmanager
def _alone(folder: Folder, name: str) -> Iterator[None]:
    """Hold the recipe's lock; the system frees it when the process ends."""
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


Message = dict[str, Any]


class _Worker:
    """One worker process, and the thread that reads its messages."""

    def __init__(
        self, setup: Message, inbox: Queue[tuple[_Worker, Message | None]]
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zoo.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            process_group=0,  # Ctrl-C reaches this process, which stops the worker
        )
        self.idle = self.ended = False
        self.send(setup)
        self._reader = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self._reader.start()

    def send(self, message: Message) -> None:
        """Write one message; a dead worker is noticed by its reader."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Say that there is no more work."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def stop(self) -> None:
        """Drop the stack in progress, commit what is finished, and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.dismiss()

    def end(self) -> None:
        """Be sure that the process is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.dismiss()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self, inbox: Queue[tuple[_Worker, Message | None]]) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            inbox.put((self, json.loads(text)))
        self.process.wait()
        inbox.put((self, None))


class _Crew:
    """All workers of one `train`, and what they report."""

    def __init__(self) -> None:
        self._inbox: Queue[tuple[_Worker, Message | None]] = Queue()
        self.workers: list[_Worker] = []
        self._stacks: list[Any] = []
        self._summary = Summary("")
        self._per_run = self._steps = 0.0
        self._per_model = 1.0
        self._bar: Progress | None = None

    def start(self, count: int, setup: Message) -> None:
        """Start the workers; the first one plans."""
        for number in range(count):
            self.workers.append(_Worker(setup | {"leads": number == 0}, self._inbox))

    def keep(self, count: int) -> None:
        """Send workers home that will not be needed."""
        for worker in self.workers[count:]:
            worker.end()
            worker.ended = True

    def expect(self, key: str) -> Any:
        """Wait for a message of the worker that plans."""
        while True:
            worker, message = self._inbox.get()
            self._take(worker, message)
            if message is not None and key in message:
                return message[key]

    def work(self, zoo: str, plan: Message) -> Summary:
        """Hand out stacks until all are committed."""
        self._summary = Summary(
            zoo, plan["planned"], plan["known"], stacks=len(plan["stacks"])
        )
        runs = [run for stack in plan["stacks"] for run in stack]
        if not runs:
            return self._summary
        self._stacks = plan["stacks"]
        self._per_model = sum(max(run["steps"], 1) for run in runs) / len(runs)
        self._per_run = sum(len(run["checkpoints"]) for run in runs) / len(runs)
        self._bar = Progress(len(runs), "models", zoo)
        try:
            for worker in self.workers:
                if worker.idle:
                    self._hand_out(worker)
            while not all(worker.ended for worker in self.workers):
                worker, message = self._inbox.get()
                self._take(worker, message)
                if worker.idle and not worker.ended:
                    self._hand_out(worker)
        except KeyboardInterrupt:
            self._stop()
            raise KeyboardInterrupt(
                f"{self._summary.trained} runs are committed; run the command again to "
                "train the rest."
            ) from None
        except CatalogError:
            self._stop()
            raise
        finally:
            self._bar.close(self._steps / self._per_model)
        return self._summary

    def end(self) -> None:
        """Be sure that no worker is left."""
        for worker in self.workers:
            worker.end()

    def _hand_out(self, worker: _Worker) -> None:
        worker.idle = False
        if self._stacks:
            worker.send({"runs": self._stacks.pop(0)})
        else:
            worker.dismiss()

    def _stop(self) -> None:
        """Let the workers commit what they finished."""
        for worker in self.workers:
            worker.stop()
        while not all(worker.ended for worker in self.workers):
            worker, message = self._inbox.get()
            with contextlib.suppress(CatalogError):
                self._take(worker, message)

    def _take(self, worker: _Worker, message: Message | None) -> None:
        """Account for one message."""
        if message is None:
            if not worker.ended and worker.process.returncode != 0:
                worker.ended = True
                raise CatalogError(
                    f"A worker ended with code {worker.process.returncode}; "
                    f"{self._summary.trained} runs are committed. Run the command "
                    "again to train the rest; if memory ran out, lower --memory."
                )
            worker.ended = True
        elif "error" in message:
            raise CatalogError(message["error"])
        elif "ready" in message:
            worker.idle = True
        elif "steps" in message:
            self._steps += message["steps"]
            if self._bar is not None:
                self._bar.update(self._steps / self._per_model)
        elif "committed" in message:
            self._summary.trained += message["committed"]
            self._summary.checkpoints = round(self._summary.trained * self._per_run)
        elif "diverged" in message:
            self._summary.diverged += message["diverged"]
            worker.idle = True
