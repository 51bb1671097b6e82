"""What all tests share: the examples of laws, and workers that are forked."""

import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, ClassVar
from weakref import WeakSet

import pytest
from hypothesis import HealthCheck, settings

# Laws are checked on the same examples in every run; on twice as many beside slow tests.
for profile, examples in (("fast", 30), ("slow", 60)):
    settings.register_profile(
        profile,
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples."""
    settings.load_profile("fast" if "not slow" in config.option.markexpr else "slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by folder: with ``--dist loadgroup`` one process makes its fixtures."""
    for item in items:
        folder = Path(os.path.relpath(item.path.parent, item.config.rootpath)).parts
        own = folder[:2] if folder[:1] == ("tests",) else folder[:1]
        item.add_marker(pytest.mark.xdist_group("-".join(own)))


LATE = ("sklearn.datasets", "torch._dynamo", "torch.fx.experimental.symbolic_shapes")
"""What workers import once they load digits and take gradients."""


class Forked:
    """A process of ``python -m MODULE`` that has imported everything already.

    It is what `zoo.workers.pool` needs of `subprocess.Popen`: own memory, pipes, signals
    and exit code. Only the seconds in which it would import torch are left out.
    """

    _living: ClassVar[WeakSet["Forked"]] = WeakSet()

    def __init__(self, command: list[str], **options: Any) -> None:
        serve, *_ = (import_module(name) for name in (command[-1], *LATE))
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        self.returncode: int | None = None
        self._waits = Lock()
        sys.stderr.flush()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self.pid = os.fork()
        if not self.pid:
            self._become(serve._serve, theirs_in, theirs_out, {ours_in, ours_out})
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin = os.fdopen(ours_in, "w", encoding="utf-8")
        self.stdout = os.fdopen(ours_out, encoding="utf-8")
        self._living.add(self)

    def _become(self, serve: Any, jobs: int, out: int, others: set[int]) -> None:
        """Serve as the child, and end."""
        try:
            gc.freeze()  # what the parent has open is the parent's to close
            os.setpgid(0, 0)
            os.dup2(jobs, 0)
            os.dup2(out, 1)
            ends = [end for worker in self._living for end in (worker.stdin, worker.stdout)]
            others |= {jobs, out, *(end.fileno() for end in ends if not end.closed)}
            for pipe in others:
                os.close(pipe)
            sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
            sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
            import_module("zoo.workers.serving").serve_parent(serve)
        finally:
            os._exit(70)

    def wait(self) -> int:
        """Exit code, once it has ended."""
        with self._waits:
            if self.returncode is None:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def poll(self) -> int | None:
        """Exit code, if it has ended and nobody waits for it."""
        if self._waits.acquire(blocking=False):
            try:
                if self.returncode is None:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            finally:
                self._waits.release()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def forked_workers() -> Iterator[None]:
    """Workers that train and measure are forked from this process."""
    with pytest.MonkeyPatch.context() as patch:
        known = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE)
        patch.setattr(import_module("zoo.workers.pool"), "subprocess", known)
        yield


@pytest.fixture
def started_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started as users start them, as ``python -m MODULE``."""
    monkeypatch.setattr(import_module("zoo.workers.pool"), "subprocess", subprocess)
