"""Stores: places that hold the files of a catalogue and move bytes by path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from catalog.errors import CatalogError, ShardCorrupt

BLOCK = 1 << 20
"""Bytes that a store moves at a time."""

ATTEMPTS = 6
"""Attempts without any progress after which a range is given up."""

LARGEST_HEAD = 200
"""Bytes of HEAD above which it is refused."""


class TransferInterrupted(CatalogError):
    """A transfer ended early for a reason that may pass."""


class HeadMoved(CatalogError):
    """Somebody else published since HEAD was read."""


class RemoteHead(NamedTuple):
    """HEAD of a remote catalogue.

    Attributes
    ----------
    text : bytes or None
        Its content; None where there is no catalogue yet.
    token : str
        State that a conditional write refers to: an entity tag or a commit.
    """

    text: bytes | None
    token: str


class Outgoing(NamedTuple):
    """A file to be uploaded.

    Attributes
    ----------
    path : str
        Path relative to the root of the catalogue.
    source : Path
        Local file.
    bytes : int
    sha256 : str
    """

    path: str
    source: Path
    bytes: int
    sha256: str


def check_committed(file: Outgoing) -> None:
    """Refuse to upload a file that is not the one that was committed.

    Raises
    ------
    ShardCorrupt
        If its digest differs.
    """
    with file.source.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            raise not_committed(file)


def not_committed(file: Outgoing) -> ShardCorrupt:
    """Return the error about a file with another digest than committed."""
    return ShardCorrupt(
        f"{file.source} is not the file that was committed (its sha256 differs). Run "
        "'phasezoo verify'. Nothing was published."
    )


class Store(Protocol):
    """A place that can be read.

    Attributes
    ----------
    address : str
        Address as errors show it.
    """

    address: str

    def head(self) -> RemoteHead:
        """Read HEAD.

        Raises
        ------
        CatalogError
            If the place cannot be reached or refuses to be read.
        """

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file.

        Raises
        ------
        NotFound
            If there is no such file.
        CatalogError
            If it has more than ``limit`` bytes, or cannot be read.
        """

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read bytes ``start`` to ``stop`` of a file, in pieces.

        Raises
        ------
        NotFound
            If there is no such file.
        TransferInterrupted
            If the connection ended early; what was yielded before is right.
        """


class WritableStore(Store, Protocol):
    """A place that can be published to."""

    def present(self, files: Sequence[Outgoing]) -> set[str]:
        """Return the paths of files that the place holds with the same content."""

    def put(self, files: Sequence[Outgoing], moved: Callable[[int], None]) -> None:
        """Upload files; none of them is visible to readers before `commit`.

        Parameters
        ----------
        moved : callable
            Called with numbers of bytes that were uploaded.
        """

    def commit(
        self,
        records: Mapping[str, bytes],
        head: bytes,
        replaces: RemoteHead,
        superseded: Collection[str] = (),
    ) -> None:
        """Write records, and then HEAD if it is still the one that was read.

        Parameters
        ----------
        records : mapping of str to bytes
            Content by path.
        head : bytes
            The new HEAD.
        replaces : RemoteHead
            The HEAD that was read.
        superseded : collection of str
            Files that no reader needs any more; they are deleted where they exist.

        Raises
        ------
        HeadMoved
            If it is not: readers see nothing new.
        """


def stream_resumed(store: Store, path: str, start: int, stop: int) -> Iterator[bytes]:
    """Read bytes ``start`` to ``stop`` of a file, in pieces, across broken connections.

    Raises
    ------
    NotFound
        If there is no such file.
    TransferInterrupted
        If several attempts in a row brought nothing.
    """
    failures = 0
    while start < stop:
        before = start
        try:
            for block in store.stream(path, start, stop):
                wanted = block[: stop - start]  # a server may send more
                start += len(wanted)
                yield wanted
            interruption = TransferInterrupted(
                f"{store.address}/{path} ended {stop - start:,} bytes before its end."
            )
        except TransferInterrupted as error:
            interruption = error
        if start < stop:
            failures = 0 if start > before else failures + 1
            if failures >= ATTEMPTS:
                raise interruption
