"""Atomic writing of whole folders, like `catalog.storage.whole_file` for files."""

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
    """Create a temporary folder that replaces a folder when the block succeeds.

    Parameters
    ----------
    path : str or Path
        Folder to write or replace, with all it holds. Links are followed. The parent
        folder is created if it is missing.
    instead : str, default="name another folder"
        Advice for the case that the folder cannot be written; the end of a sentence.

    Yields
    ------
    Path
        Empty folder to fill.

    Raises
    ------
    CatalogError
        If the folder cannot be written.
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
            # After an exchange, the temporary path holds the old folder.
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(descriptor)
        sync(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two paths atomically; return False if the system does not support it.

    Raises
    ------
    OSError
        If the exchange fails for another reason.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # only Linux has it
        return False
    current_folder, flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if not libc.renameat2(
        current_folder, os.fsencode(one), current_folder, os.fsencode(other), flag
    ):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _put(temporary: Path, target: Path) -> None:
    """Move a finished folder to its target; an existing one is deleted or swapped."""
    if not target.exists() or not any(target.iterdir()):
        temporary.rename(target)  # also replaces an empty folder
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
    """Finish or undo a replacement that was killed between the renames of `_put`."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.before")
    for before in target.parent.iterdir():
        if pattern.fullmatch(before.name) and before.is_dir():
            shutil.rmtree(before) if target.exists() else before.rename(target)


def _sync_all(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync(Path(parent))
