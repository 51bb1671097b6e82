"""Workers of `zoo.workers.pool` forked from a process that has imported everything.

Started anew they would import torch for seconds in every trial. All else is as it is: the
pipes, the messages, the groups of processes, and how they end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
from typing import Any, ClassVar

from zoo.workers.serving import serve_parent


class ForkedWorker:
    """What `zoo.workers.pool` uses of `subprocess.Popen`.

    Attributes
    ----------
    announced : int
        Descriptor that gets a line with the process id of each worker, or -1.
    """

    announced: ClassVar[int] = -1
    _ends: ClassVar[list[Any]] = []

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        jobs, self._jobs = os.pipe()
        self._out, out = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._serve(arguments[-1], jobs, out)
        os.close(jobs)
        os.close(out)
        self.stdin = os.fdopen(self._jobs, "w", encoding=options["encoding"])
        self.stdout = os.fdopen(self._out, encoding=options["encoding"])
        self._ends += [self.stdin, self.stdout]
        if self.announced >= 0:
            os.write(self.announced, f"{self.pid}\n".encode())

    def _serve(self, module: str, jobs: int, out: int) -> None:
        try:
            gc.freeze()  # what the parent has open is the parent's to close
            os.setpgid(0, 0)
            # Or the pipes of other workers would never end. Their files are locked by the
            # threads that read them, which are not here: only descriptors can be closed.
            others = {end.fileno() for end in self._ends if not end.closed}
            for end in others | {self._jobs, self._out}:
                os.close(end)
            os.dup2(jobs, 0)
            os.dup2(out, 1)
            sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
            serve_parent(importlib.import_module(module)._serve)
        except BaseException:  # noqa: BLE001  as an interpreter that ends by it
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(1)

    def poll(self) -> int | None:
        """Code that it ended with, None while it runs."""
        return self._reaped(os.WNOHANG)

    def wait(self) -> int | None:
        """The code, once it has ended."""
        with contextlib.suppress(ChildProcessError):  # another thread has asked
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return self._reaped(0)

    def send_signal(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _reaped(self, how: int) -> int | None:
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, how)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode
