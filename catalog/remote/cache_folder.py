"""The user's cache of remote catalogues: where it is, and who uses a part of it.

Every address has a folder below ``remotes/``, its mirror. It looks like a catalogue whose
files of weights are sparse. Its file ``address`` names the address, and whoever reads the
mirror holds a shared lock on it, so that nobody deletes the mirror meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.remote.address import Address
from catalog.storage.inside_folder import check_inside

ADDRESS = "address"
"""Name of the file of a mirror that names its address; its time is that of the last use."""


def cache_root() -> Path:
    """Return ``PHASEZOO_CACHE``, or ``phasezoo`` in the user's cache folder."""
    if chosen := os.environ.get("PHASEZOO_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "phasezoo"


def mirrors_folder() -> Path:
    """Return the folder of all mirrors."""
    return cache_root() / "remotes"


def mirror_root(address: Address) -> Path:
    """Return the folder of the mirror of an address.

    Raises
    ------
    ShardCorrupt
        If it is a link that leads out of the cache.
    """
    path = mirrors_folder() / address.id
    if cache_root().is_dir():
        check_inside(cache_root(), path)
    return path


class MirrorInUse:
    """A shared lock on a mirror, for as long as the object lives.

    Parameters
    ----------
    mirror : Path
        Folder of the mirror, which is created if it is missing.
    address : Address
        Its address.
    offline : bool
        Whether to write nothing: the mirror must exist.

    Raises
    ------
    CatalogError
        If the cache cannot be written, or, offline, has no such mirror.
    """

    def __init__(self, mirror: Path, address: Address, *, offline: bool) -> None:
        path = mirror / ADDRESS
        if offline:
            descriptor = _opened(path, os.O_RDONLY)
            if descriptor is None:
                raise CatalogError(
                    f"{address} is not in the cache {mirror}. Open it once without "
                    "--offline and PHASEZOO_OFFLINE."
                )
        else:
            with cache_refusals(mirror):
                descriptor = None
                while descriptor is None:
                    mirror.mkdir(parents=True, exist_ok=True)
                    descriptor = _opened(path, os.O_RDWR | os.O_CREAT)
                os.pwrite(descriptor, f"{address}\n".encode(), 0)
                os.utime(descriptor)
        weakref.finalize(self, os.close, descriptor)


def _opened(path: Path, flags: int) -> int | None:
    """Open and lock a file; none if it is missing or was deleted meanwhile."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


@contextlib.contextmanager
def cache_refusals(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into errors that say what to do.

    Raises
    ------
    CatalogError
        If the cache cannot be written.
    """
    try:
        yield
    except CatalogError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Free some space, for example by: phasezoo cache --empty"
        else:
            advice = "Name another folder for the cache in PHASEZOO_CACHE."
        raise CatalogError(
            f"The cache cannot be written at {path}: {error.strerror or error}. {advice}"
        ) from error
