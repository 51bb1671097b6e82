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
from pathlib import Path

from catalog.names import is_unicode
from catalog.storage.temporaries import claimed, sweep_before

_numbers = itertools.count()


def spill_folder() -> str:
    """Return the name of a new folder, which DuckDB makes when it needs it.

    It is below the folder for temporary files of the system; ``TMPDIR`` names another. If
    nothing can be written there the name is empty, and everything has to fit into memory.
    """
    try:
        name = os.path.join(_own_folder(os.getpid()), str(next(_numbers)))
    except OSError:
        return ""
    return name if is_unicode(name) else ""


@functools.cache
def _own_folder(process: int) -> str:
    """Make the folder of a process, which a forked one does not share.

    Folders of processes that were killed are deleted first.
    """
    place = Path(tempfile.gettempdir(), f"phasezoo-{os.getuid()}")
    sweep_before(place)
    folder, descriptor = claimed(place, _private_folder)
    atexit.register(_remove, folder, descriptor, process)
    return str(folder)


def _private_folder(path: Path) -> int:
    """Make a folder that other users cannot read; its descriptor."""
    path.mkdir(0o700)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _remove(folder: Path, descriptor: int, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
