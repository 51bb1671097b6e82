"""Files that appear whole or not at all, and never destroy the one before.

What is written goes to a temporary file in the same folder, which is synced and then takes
the place of the file. However a process ends before that, the file before stands as it
was; `catalog.storage.temporaries` says what becomes of what a killed process leaves.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from catalog.errors import CatalogError
from catalog.storage.own_files import check_foreign
from catalog.storage.temporaries import claimed, sweep_before

_DESCRIPTOR = re.compile(
    r"/dev/(stdout|stderr)|/dev/fd/([0-9]{1,4})|/proc/self/fd/([0-9]{1,4})"
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def whole_file(
    path: str | Path, *, instead: str = "name another file"
) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place when the block ends without an error.

    A link is followed: the file that it leads to is replaced. Owner and permissions of a
    file that is replaced are kept, a new one has what the umask leaves. To a pipe or a
    device everything is written at the end of the block.

    Parameters
    ----------
    path : str or Path
        The file.
    instead : str, default="name another file"
        What a user may do if it cannot be written; the end of a sentence.

    Yields
    ------
    BinaryIO
        Empty, to be written.

    Raises
    ------
    CatalogError
        If it cannot be written.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> with whole_file(path) as file:
    ...     _ = file.write(b"all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    with refusals(path, instead):
        if (stream := _stream(path)) is not None:
            buffer = io.BytesIO()
            yield buffer
            with stream() as opened:
                opened.write(buffer.getvalue())
            return
        target, mode = replaced(path)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "It is a folder", str(path))
        sweep_before(target)
        temporary, descriptor = claimed(target, _new_file)
        file = os.fdopen(descriptor, "wb")
        try:
            if mode:
                keep_rights(target, descriptor)
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()  # may try once more to write what did not fit
            temporary.unlink(missing_ok=True)
            raise
        file.close()
        sync(target.parent)


def check_free(path: Path, *, force: bool) -> None:
    """Refuse a file that is there, unless it may be replaced, and what is no file.

    Raises
    ------
    CatalogError
        If the path is taken.
    """
    if path.is_dir():
        raise CatalogError(f"{path} is a folder, a file was to be written.")
    check_foreign(path)
    if os.path.lexists(path) and not force:
        raise CatalogError(f"{path} exists. Replace it with --force, or name another.")


def folder_of(path: str | Path, *, instead: str = "name another file") -> None:
    """Make the folder of a file that is to be written.

    Raises
    ------
    CatalogError
        If it cannot be made.
    """
    with refusals(Path(path), instead):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def replaced(path: Path) -> tuple[Path, int]:
    """What will be replaced, links followed, and its mode; 0 if there is nothing yet.

    Raises
    ------
    CatalogError
        If it is a part of a catalogue.
    OSError
        If it cannot be replaced.
    """
    check_foreign(path)
    target = Path(os.path.realpath(path))
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target, 0
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target, mode


def keep_rights(target: Path, descriptor: int) -> None:
    """Give what will replace a file or folder its owner, where allowed, and permissions."""
    before = target.stat()
    with contextlib.suppress(OSError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)


def sync(folder: Path) -> None:
    """Make renames in a folder last, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # may be written but not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def refusals(path: Path, instead: str) -> Iterator[None]:
    """Turn the operating system's refusals into an error that says what to do."""
    try:
        yield
    except (CatalogError, BrokenPipeError):
        raise
    except OSError as error:
        advice = f"{instead[:1].upper()}{instead[1:]}."
        if error.errno in _FULL:
            advice = f"Free some space, or {instead}."
        elif isinstance(error, FileNotFoundError):
            advice = f"Make its folder, or {instead}."
        reason = error.strerror or str(error)
        raise CatalogError(f"Cannot write {path}: {reason}. {advice}") from error


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _stream(path: Path) -> Callable[[], BinaryIO] | None:
    """How to open what is neither a file nor a folder; None if it is one of them.

    A descriptor of this process is written to as it is: what it leads to may be a file to
    which a shell appends.
    """
    given = _DESCRIPTOR.fullmatch(str(path))
    if given:
        number = {"stdout": 1, "stderr": 2}.get(given[1]) or int(given[2] or given[3])
        return lambda: os.fdopen(os.dup(number), "wb")
    if path.exists() and not (path.is_file() or path.is_dir()):
        return lambda: path.open("wb")
    return None
