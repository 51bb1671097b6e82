"""Serving loop of worker processes: messages to the parent, devices, and termination."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

import torch

from catalog import CatalogError
from catalog.console.extras import advice
from catalog.console.outlet import install


class Line:
    """Channel of messages to the parent, one JSON document per line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def send(self, **message: Any) -> None:
        """Write one message."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()


class StopRequest:
    """Signal handler that records whether the parent has asked this process to stop.

    Attributes
    ----------
    made : bool
        Whether the request was made.
    """

    def __init__(self) -> None:
        self.made = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _ask(self, number: int, frame: object) -> None:
        self.made = True


def chosen_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is CUDA if available, else the CPU.

    Raises
    ------
    CatalogError
        If the device cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CatalogError(
            f"--device {name!r} cannot be used: {reason}. Expected auto, cpu or cuda."
        ) from error
    return device


Serve = Callable[[dict[str, Any], TextIO, Line], None]
"""Function that does the jobs of a parent: takes the parent's first message, the stream of
its further messages, and the channel of answers."""


def serve_parent(serve: Serve) -> None:
    """Serve one parent and end the process, with exit code 1 after an expected failure.

    A worker that is killed loses the current job and what is not yet committed, nothing
    else. When the parent dies, the worker's next message fails and the worker stops.
    """
    install()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    code = _code(serve, Line(out))
    sys.stderr.flush()
    os._exit(code)  # everything is closed; unloading torch would take seconds


def _code(serve: Serve, line: Line) -> int:
    try:
        return _serve_jobs(serve, line)
    except BrokenPipeError:  # the parent is gone, so the failure cannot be reported
        return 1


def _serve_jobs(serve: Serve, line: Line) -> int:
    """Do all jobs, report a failure to the parent, and return the exit code."""
    try:
        setup = sys.stdin.readline()
        if setup:  # empty if the parent ended before it sent anything
            serve(json.loads(setup), sys.stdin, line)
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        line.send(error=advice(error) or str(error))
        return 1
    except (CatalogError, ValueError, MemoryError, OSError) as error:
        line.send(error=str(error) or type(error).__name__)
        return 1
    return 0
