"""Processes that end at a step of their own choice: killed, or refused by the system.

A child is forked from a process that has imported everything and started no thread of its
own. Its steps are what changes files below a folder: opening for writing, renaming,
deleting, making folders. Python tells of each before it happens; the end of one step is
the begin of the next.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = (
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod",
)  # fmt: skip
"""Of the audit events of Python; opening for writing comes on top."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Act = Callable[[int, str], None]
"""Is called before a step, with its number from 1 and what it is."""


def forked(function: Callable[[], object]) -> int:
    """Process id of a child that calls a function; its status is 1 if that raises."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  the parent sees the status, the log says why
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def told(function: Callable[[], str]) -> tuple[int, str]:
    """Status and answer of a function in a child process."""
    read, write = os.pipe()

    def answer() -> None:
        os.close(read)
        with os.fdopen(write, "w") as out:
            out.write(function())

    child = forked(answer)
    os.close(write)
    with os.fdopen(read) as text:
        found = text.read()
    return os.waitpid(child, 0)[1], found


def each_step(folder: Path, act: Act, *, in_workers: bool = False) -> None:
    """Call a function before each step of this process.

    Parameters
    ----------
    in_workers : bool, default=False
        Of the processes that this one forks instead, each for itself.
    """
    home, first, counts = str(folder), os.getpid(), dict[int, int]()

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if not (event in CHANGES or (event == "open" and _writes(*arguments[1:3]))):
            return
        pid = os.getpid()
        if (pid == first) == in_workers or isinstance(arguments[0], int):
            return
        path = os.fsdecode(arguments[0])
        # What is deleted with a folder around it is named relative to that.
        if path.startswith(home) or (event != "open" and not os.path.isabs(path)):
            counts[pid] = counts.get(pid, 0) + 1
            act(counts[pid], f"{event} {path}")

    sys.addaudithook(see)


def end_at(folder: Path, step: int, *, error: int = 0, in_workers: bool = False) -> None:
    """Kill this process before a step, or let the system refuse that one and all others.

    Parameters
    ----------
    error : int, optional
        Of the module errno. On a full disk files can still be deleted. 0: killed.
    in_workers : bool, default=False
        See `each_step`.
    """

    def act(number: int, what: str) -> None:
        if number < step or (error and what.startswith(("os.remove", "os.rmdir"))):
            return
        if error:
            raise OSError(error, os.strerror(error))
        os.kill(os.getpid(), signal.SIGKILL)

    each_step(folder, act, in_workers=in_workers)


def _writes(mode: str | None, flags: int) -> bool:
    if mode is None:
        return bool(flags & _WRITES)
    return any(letter in mode for letter in "wax+")
