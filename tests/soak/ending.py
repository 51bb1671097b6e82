"""Processes that end at a step of their own choice: killed, or refused by the system.

A child is forked from a process that has imported everything and started no thread. Its
steps are what changes files below a folder: opening for writing, renaming, deleting, making
folders. Python tells of each before it happens; the end of one step is the begin of the
next.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = (
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod",
)  # fmt: skip
"""Of the audit events of Python; opening for writing comes on top."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def forked(function: Callable[[], object]) -> int:
    """Process id of a child that calls a function; its status is 1 if that raises."""
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
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def told(function: Callable[[], str]) -> str:
    """Answer of a function in a child process, which must not fail."""
    read, write = os.pipe()

    def answer() -> None:
        os.close(read)
        with os.fdopen(write, "w") as out:
            out.write(function())

    child = forked(answer)
    os.close(write)
    with os.fdopen(read) as text:
        found = text.read()
    status = os.waitpid(child, 0)[1]
    if status:
        raise ChildProcessError(f"a child ended with status {status}; its error is above")
    return found


def each_step(folder: Path, act: Callable[[int, str], None]) -> None:
    """Call a function before each step of this process, with its number from 1."""
    home, count = str(folder), [0]

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if not (event in CHANGES or (event == "open" and _writes(*arguments[1:3]))):
            return
        path = arguments[0]
        if isinstance(path, int):
            return
        path = os.fspath(path)
        path = os.fsdecode(path)
        # What is deleted as part of a folder is named relative to that.
        if path.startswith(home) or (event != "open" and not os.path.isabs(path)):
            count[0] += 1
            act(count[0], f"{event} {path}")

    sys.addaudithook(see)


def count_steps(folder: Path, counter: int) -> None:
    """Write a byte into a descriptor for each step: its size is their number."""
    each_step(folder, lambda number, what: os.write(counter, b".") and None)


def end_at(folder: Path, step: int, error: int = 0) -> None:
    """Kill this process before a step, or let the step fail and all that follow.

    Parameters
    ----------
    error : int, optional
        Of the module errno: what the system says from then on. 0: killed.
    """

    def act(number: int, what: str) -> None:
        if number < step or (error and what.startswith(("os.remove", "os.rmdir"))):
            return  # a full disk can be tidied
        if error:
            raise OSError(error, os.strerror(error))
        os.kill(os.getpid(), signal.SIGKILL)

    each_step(folder, act)


def _writes(mode: str | None, flags: int) -> bool:
    if mode is None:
        return bool(flags & _WRITES)
    return any(letter in mode for letter in "wax+")


FULL = errno.ENOSPC
