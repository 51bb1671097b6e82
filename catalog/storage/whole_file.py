"""Atomic writing of whole files.

Data goes to a temporary file in the same folder, which is synced and then replaces the
target. If the process ends before that, however it ends, the existing file stays as it
was; `catalog.storage.temporaries` deletes the temporary files of killed processes.
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
    """Open a temporary file that replaces a file when the block succeeds.

    Links are followed, so the file that a link leads to is replaced. A replaced file keeps
    its owner and permissions; the permissions of a new file follow the umask. Data for a
    pipe or a device is written at the end of the block.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    instead : str, default="name another file"
        Advice for the case that the file cannot be written; the end of a sentence.

    Yields
    ------
    BinaryIO
        Empty file to write to.

    Raises
    ------
    CatalogError
        If the file cannot be written.

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
            with stream() as output:
                output.write(buffer.getvalue())
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
                file.close()  # may try to write the rest again
            temporary.unlink(missing_ok=True)
            raise
        file.close()
        sync(target.parent)


def check_free(path: Path, *, force: bool) -> None:
    """Check that a file can be written at a path.

    Parameters
    ----------
    path : Path
        File to write.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    CatalogError
        If the path is a folder, a part of a catalogue, or an existing file that may not
        be replaced.
    """
    if path.is_dir():
        raise CatalogError(f"{path} is a folder; name a file to write.")
    check_foreign(path)
    if os.path.lexists(path) and not force:
        raise CatalogError(f"{path} exists. Replace it with --force, or name another file.")


def folder_of(path: str | Path, *, instead: str = "name another file") -> None:
    """Create the folder of a file that is to be written.

    Raises
    ------
    CatalogError
        If the folder cannot be created.
    """
    with refusals(Path(path), instead):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def replaced(path: Path) -> tuple[Path, int]:
    """Return the path that a write will replace, with links followed, and its mode.

    The mode is 0 if the path does not exist yet.

    Raises
    ------
    CatalogError
        If the path is a part of a catalogue.
    OSError
        If the path cannot be replaced.
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
    """Copy the permissions, and if allowed the owner, of a target to its replacement."""
    status = target.stat()
    with contextlib.suppress(OSError):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)


def sync(folder: Path) -> None:
    """Sync a folder, so that renames in it last, if the file system supports that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # the folder may be written but not listed
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def refusals(path: Path, instead: str) -> Iterator[None]:
    """Turn errors of the operating system into a `CatalogError` that says what to do."""
    try:
        yield
    except (CatalogError, BrokenPipeError):
        raise
    except OSError as error:
        advice = f"{instead[:1].upper()}{instead[1:]}."
        if error.errno in _FULL:
            advice = f"Free some space, or {instead}."
        elif isinstance(error, FileNotFoundError):
            advice = f"Create its folder, or {instead}."
        reason = error.strerror or str(error)
        raise CatalogError(f"Cannot write {path}: {reason}. {advice}") from error


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _stream(path: Path) -> Callable[[], BinaryIO] | None:
    """Return a function that opens a pipe, device or descriptor; None for other paths.

    A descriptor of this process is written to directly, because it may lead to a file that
    a shell appends to.
    """
    match = _DESCRIPTOR.fullmatch(str(path))
    if match:
        number = {"stdout": 1, "stderr": 2}.get(match[1]) or int(match[2] or match[3])
        return lambda: os.fdopen(os.dup(number), "wb")
    if path.exists() and not (path.is_file() or path.is_dir()):
        return lambda: path.open("wb")
    return None
