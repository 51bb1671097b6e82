"""Folders of files that appear whole or not at all, and never destroy the one before.

As `catalog.storage.whole_file`, for what is several files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from catalog.storage.temporaries import claimed, new_folder, sweep_before
from catalog.storage.whole_file import keep_rights, refusals, replaced, sync


@contextlib.contextmanager
def whole_folder(
    path: str | Path, *, instead: str = "name another folder"
) -> Iterator[Path]:
    """A new folder that takes its place when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The folder; what it holds is replaced. A link is followed. The folder around it is
        made if it is not there.
    instead : str, default="name another folder"
        What a user may do if it cannot be written; the end of a sentence.

    Yields
    ------
    Path
        Empty, to be filled.

    Raises
    ------
    CatalogError
        If it cannot be written.
    """
    path = Path(path)
    with refusals(path, instead):
        target, mode = replaced(path)
        if mode and not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, "It is a file", str(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _put_back(target)
        sweep_before(target)
        temporary, descriptor = claimed(target, new_folder)
        try:
            if mode:
                keep_rights(target, descriptor)
            yield temporary
            _sync_all(temporary)
            _put(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # or what it was exchanged for
            os.close(descriptor)
        sync(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Give two paths each other's name in one step; False where the system cannot."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # Linux alone has it
        return False
    here, exchanged = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if not libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchanged):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _put(temporary: Path, target: Path) -> None:
    """Give a finished folder its name; what had it is under the temporary one then."""
    if not target.exists() or not any(target.iterdir()):
        temporary.rename(target)  # in place of an empty one, too
        return
    if exchange(temporary, target):
        return
    before = target.with_name(f".{target.name}.{secrets.token_hex(4)}.before")
    target.rename(before)
    try:
        temporary.rename(target)
    except BaseException:
        before.rename(target)
        raise
    shutil.rmtree(before)


def _put_back(target: Path) -> None:
    """Finish what was killed between these two renames."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.before")
    for before in target.parent.iterdir():
        if pattern.fullmatch(before.name) and before.is_dir():
            shutil.rmtree(before) if target.exists() else before.rename(target)


def _sync_all(folder: Path) -> None:
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                os.fsync(file.fileno())
        sync(Path(at))
