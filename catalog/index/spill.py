"""Folders for what does not fit into memory: private, and gone when the process ends.

DuckDB's own choice is ``.tmp`` below the current folder, which may be anybody's.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import tempfile

_numbers = itertools.count()


def spill_folder() -> str:
    """Return the name of a new folder, which DuckDB makes when it needs it.

    It is below the folder for temporary files of the system; ``TMPDIR`` names another. If
    nothing can be written there the name is empty, and everything has to fit into memory.
    """
    try:
        return os.path.join(_own_folder(os.getpid()), str(next(_numbers)))
    except OSError:
        return ""


@functools.cache
def _own_folder(process: int) -> str:
    """Make the folder of a process, which a forked one does not share."""
    folder = tempfile.mkdtemp(prefix="phasezoo-")
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
