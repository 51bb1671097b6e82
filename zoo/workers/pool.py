"""Pool of worker processes that take jobs as JSON lines; no pickle is exchanged."""

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
    """Worker process, and the thread that reads its messages."""

    def __init__(
        self,
        module: str,
        setup: Message,
        inbox: Queue[tuple[_Worker, Message | None]],
    ) -> None:
        self.process = subprocess.Popen(
            # -P: files of the current folder are not imported as modules.
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
        """Write one message; the reader thread notices if the worker is dead."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Tell the worker that there are no more jobs."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def stop(self) -> None:
        """Ask the worker to drop the current job, commit what is finished, and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.dismiss()

    def end(self) -> None:
        """Kill the process if it still runs, and wait until it has ended."""
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
    """Pool of the worker processes of one command.

    A worker sends ``ready`` when it can take its first job and ``done`` after each job. If
    it fails, it sends ``error`` and ends.

    Parameters
    ----------
    module : str
        Module that the processes run, with ``python -m module``.
    committed : callable
        Function that returns a clause for error messages which says how much is
        committed, such as "12 runs are committed".
    on_message : callable
        Function that is called with every message except errors.
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
        """Start ``count`` workers with the message ``setup``; the first worker leads."""
        for number in range(count):
            worker_setup = setup | {"leads": number == 0}
            self.workers.append(_Worker(self._module, worker_setup, self._inbox))

    def keep(self, count: int) -> None:
        """Keep the first ``count`` workers and end all others."""
        for worker in self.workers[count:]:
            worker.end()
            worker.ended = True

    def expect(self, key: str) -> Any:
        """Wait for a message that has ``key``, and return the value of ``key``."""
        while True:
            worker, message = self._inbox.get()
            self._take(worker, message)
            if message is not None and key in message:
                return message[key]

    def work(self, jobs: Sequence[Message]) -> None:
        """Hand out jobs until all are done.

        Raises
        ------
        CatalogError
            If a worker fails; the others commit what they have finished.
        KeyboardInterrupt
            If the user interrupts, after the workers have committed what they finished.
        """
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
        """End all workers."""
        for worker in self.workers:
            worker.end()

    def _hand_out(self, worker: _Worker) -> None:
        worker.idle = False
        if self._jobs:
            worker.send(self._jobs.pop(0))
        else:
            worker.dismiss()

    def _stop(self) -> None:
        """Let the workers commit what they have finished, and wait until they end."""
        for worker in self.workers:
            worker.stop()
        while not all(worker.ended for worker in self.workers):
            worker, message = self._inbox.get()
            with contextlib.suppress(CatalogError):
                self._take(worker, message)

    def _take(self, worker: _Worker, message: Message | None) -> None:
        """Handle one message; None means that the worker has ended."""
        if message is None:
            if not worker.ended and worker.process.returncode != 0:
                worker.ended = True
                killed = worker.process.returncode == -signal.SIGKILL
                advice = (
                    "If memory ran out, give fewer --workers, or less --memory if the "
                    "command has that option."
                    if killed
                    else "The error of the worker is printed above; if your input does not "
                    "cause it, please report it."
                )
                raise CatalogError(
                    f"A worker ended with code {worker.process.returncode}; "
                    f"{self._committed()}. Run the command again for the rest. {advice}"
                )
            worker.ended = True
            return
        if "error" in message:
            raise CatalogError(message["error"])
        if "ready" in message or "done" in message:
            worker.idle = True
        self._on_message(message)
