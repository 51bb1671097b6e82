"""Private spill folders for DuckDB, which are deleted when the process ends.

By default DuckDB spills to ``.tmp`` below the current folder, which others may share.
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
    """Return the path of a new folder, which DuckDB creates when it needs it.

    The folder is below the system's folder for temporary files, or below ``TMPDIR``. If
    nothing can be written there, the path is empty and all data must fit into memory.
    """
    try:
        name = os.path.join(_own_folder(os.getpid()), str(next(_numbers)))
    except OSError:
        return ""
    return name if is_unicode(name) else ""


@functools.cache
def _own_folder(process: int) -> str:
    """Create the folder of a process; a forked process gets another one.

    Folders of killed processes are deleted first.
    """
    target = Path(tempfile.gettempdir(), f"phasezoo-{os.getuid()}")
    sweep_before(target)
    folder, descriptor = claimed(target, _private_folder)
    atexit.register(_remove, folder, descriptor, process)
    return str(folder)


def _private_folder(path: Path) -> int:
    """Create a folder that other users cannot read, and return its descriptor."""
    path.mkdir(0o700)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _remove(folder: Path, descriptor: int, process: int) -> None:
    """Delete the folder at exit of the process that created it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
