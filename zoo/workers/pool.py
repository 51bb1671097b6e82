"""Worker processes that take jobs as JSON lines; no pickle crosses the boundary."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from queue import Queue
from typing import Any

from catalog import CatalogError

Message = dict[str, Any]


class _Worker:
    """One worker process, and the thread that reads its messages."""

    def __init__(
        self,
        module: str,
        setup: Message,
        inbox: Queue[tuple[_Worker, Message | None]],
    ) -> None:
        self.process = subprocess.Popen(
            # -P: no file of the folder in which somebody works is taken for a module.
            [sys.executable, "-P", "-m", module],
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
        """Drop the job in progress, commit what is finished, and end."""
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


class WorkerPool:
    """All workers of one command, and what they report.

    A worker says ``ready`` when it can take its first job and ``done`` after each, or
    ``error`` and ends.

    Parameters
    ----------
    module : str
        What the processes run: ``python -m module``.
    committed : callable
        Says how much is safe, for errors: "12 runs are committed".
    on_message : callable
        Is given every message.
    """

    def __init__(
        self,
        module: str,
        committed: Callable[[], str],
        on_message: Callable[[Message], None],
    ) -> None:
        self._module, self._committed, self._on_message = module, committed, on_message
        self._inbox: Queue[tuple[_Worker, Message | None]] = Queue()
        self._jobs: list[Message] = []
        self.workers: list[_Worker] = []

    def start(self, count: int, setup: Message) -> None:
        """Start the workers; the first one leads."""
        for number in range(count):
            own = setup | {"leads": number == 0}
            self.workers.append(_Worker(self._module, own, self._inbox))

    def keep(self, count: int) -> None:
        """Send workers home that will not be needed."""
        for worker in self.workers[count:]:
            worker.end()
            worker.ended = True

    def expect(self, key: str) -> Any:
        """Wait for a message of the worker that leads."""
        while True:
            worker, message = self._inbox.get()
            self._take(worker, message)
            if message is not None and key in message:
                return message[key]

    def work(self, jobs: Sequence[Message]) -> None:
        """Hand out jobs until all are done."""
        self._jobs = list(jobs)
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
                f"{self._committed()}; run the command again for the rest."
            ) from None
        except CatalogError:
            self._stop()
            raise

    def end(self) -> None:
        """Be sure that no worker is left."""
        for worker in self.workers:
            worker.end()

    def _hand_out(self, worker: _Worker) -> None:
        worker.idle = False
        if self._jobs:
            worker.send(self._jobs.pop(0))
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
                killed = worker.process.returncode == -signal.SIGKILL
                why = (
                    "if memory ran out, give fewer --workers, or less --memory if there "
                    "is such an option"
                    if killed
                    else "its error stands above, if it is none of yours, please report it"
                )
                raise CatalogError(
                    f"A worker ended with code {worker.process.returncode}; "
                    f"{self._committed()}. Run the command again for the rest; {why}."
                )
            worker.ended = True
            return
        if "error" in message:
            raise CatalogError(message["error"])
        if "ready" in message or "done" in message:
            worker.idle = True
        self._on_message(message)
