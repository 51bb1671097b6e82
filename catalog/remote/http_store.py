"""A catalogue below a URL, read by ranges."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import urllib3

from catalog.errors import CatalogError, NotFound
from catalog.remote.store import BLOCK, LARGEST_HEAD, RemoteHead, TransferInterrupted
from catalog.version import __version__

_PASSING = (429, 500, 502, 503, 504)
"""Answers after which a request is worth another try."""


class HttpStore:
    """A web folder as a store; see `catalog.remote.store.Store`.

    It needs no listing: HEAD names a snapshot, and that names every file.

    Parameters
    ----------
    url : str
        Folder; paths are appended to it.
    address : str
        Address as errors show it.
    headers : mapping of str to str, optional
        Sent to the host of ``url`` only: not followed to another host by a redirect.
    """

    def __init__(
        self, url: str, address: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.address = address
        self._url, self._headers = url.rstrip("/"), dict(headers or {})
        self._pool = _pool(self._headers)

    def below(self, path: str, address: str) -> HttpStore:
        """Return the store of a folder inside, which shares the connections.

        Parameters
        ----------
        path : str
            Path of the folder.
        address : str
            Its address as errors show it.
        """
        store = copy.copy(self)
        store.address, store._url = address, f"{self._url}/{quote(path)}"
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return HttpStore, (self._url, self.address, self._headers)  # new connections

    def head(self) -> RemoteHead:
        """Read HEAD; none if the folder has no such file."""
        try:
            return RemoteHead(self.read("HEAD", LARGEST_HEAD), "")
        except NotFound:
            return RemoteHead(None, "")

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file."""
        return self.ask(quote(path), f"{self.address}/{path}", limit)

    def ask(self, target: str, shown: str, limit: int) -> bytes:
        """Read the answer to a request that is no file, such as a call of an API.

        Parameters
        ----------
        target : str
            Quoted path, with a query if need be.
        shown : str
            Name of the answer in errors.
        limit : int
            Bytes above which the answer is refused.

        Raises
        ------
        NotFound
            If there is no such thing.
        CatalogError
            If it is too long, or cannot be read.
        """
        found = bytearray()
        answer = self._answer(target, shown, {"Cache-Control": "no-cache"})
        for block in _blocks(answer, shown, limit + 1):
            found += block
        if len(found) > limit:
            raise CatalogError(f"{shown} has more than {limit:,} bytes.")
        return bytes(found)

    def beginning(self, path: str, count: int) -> tuple[bytes, int]:
        """Read the first bytes of a file, and learn its size.

        Returns
        -------
        bytes
            At most ``count`` bytes; fewer if the file is shorter.
        int
            Size of the file in bytes.

        Raises
        ------
        NotFound
            If there is no such file.
        CatalogError
            If the answer does not state the size.
        TransferInterrupted
            If the connection ended early.
        """
        shown = f"{self.address}/{path}"
        answer = self._answer(quote(path), shown, {"Range": f"bytes=0-{count - 1}"})
        stated = answer.headers.get("Content-Length", "")
        if answer.status == 206:
            stated = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not re.fullmatch("[0-9]{1,18}", stated):
            answer.close()
            raise CatalogError(f"{shown}: the answer does not state the size of the file.")
        size = int(stated)
        found = b"".join(_blocks(answer, shown, min(count, size)))
        if len(found) < min(count, size):
            raise TransferInterrupted(f"{shown} ended after {len(found):,} bytes.")
        return found, size

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of a file, in pieces."""
        if stop <= start:
            return
        shown = f"{self.address}/{path}"
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        answer = self._answer(quote(path), shown, headers, start)
        left = stop - start
        skip = start if answer.status == 200 else 0  # a server without ranges
        for block in _blocks(answer, shown, left, skip):
            left -= len(block)
            yield block
        if left:
            raise TransferInterrupted(f"{shown} ended {left:,} bytes before its end.")

    def _answer(
        self, target: str, shown: str, headers: Mapping[str, str], start: int = 0
    ) -> urllib3.BaseHTTPResponse:
        """Ask for a quoted path; return the answer if it is good, with its body unread."""
        try:
            answer = self._pool.request(
                "GET",
                f"{self._url}/{target}",
                headers={**self._pool.headers, **headers},
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise TransferInterrupted(
                f"{shown} cannot be reached: {_reason(error)}."
            ) from error
        try:
            _check(answer, shown)
            given = answer.headers.get("Content-Range", "")
            if answer.status == 206 and not given.startswith(f"bytes {start}-"):
                raise CatalogError(f"{shown}: bytes from {start} were expected.")
        except CatalogError:
            answer.close()
            raise
        return answer


def _pool(headers: Mapping[str, str]) -> urllib3.PoolManager:
    """Return connections that try again, and do not wait for ever."""
    retry = urllib3.Retry(
        total=8,
        connect=4,
        read=4,
        redirect=5,
        status=4,
        status_forcelist=_PASSING,
        backoff_factor=0.3,
        backoff_max=20,
        raise_on_status=False,
    )
    agent = {"User-Agent": f"phasezoo/{__version__}", "Accept-Encoding": "identity"}
    return urllib3.PoolManager(
        maxsize=16,
        headers={**agent, **headers},
        retries=retry,
        timeout=urllib3.Timeout(connect=15, read=60),
    )


def _blocks(
    answer: urllib3.BaseHTTPResponse, shown: str, most: int, skip: int = 0
) -> Iterator[bytes]:
    """Yield at most a number of bytes of an answer, after those to skip."""
    try:
        for block in answer.stream(BLOCK, decode_content=False):
            piece = block[skip:]
            skip = max(0, skip - len(block))
            if piece and most > 0:
                yield piece[:most]
                most -= len(piece[:most])
            if most <= 0:
                break
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, CatalogError):
            raise
        raise TransferInterrupted(f"{shown}: {_reason(error)}.") from error
    finally:
        if most <= 0 and not answer.length_remaining:
            answer.drain_conn()
            answer.release_conn()
        else:
            answer.close()


def _check(answer: urllib3.BaseHTTPResponse, shown: str) -> None:
    if answer.status in (404, 410):
        raise NotFound(f"{shown} is missing.")
    if answer.status in (401, 403):
        raise CatalogError(
            f"{shown} refuses to be read ({answer.status}). Log in first, for the Hub "
            "with 'hf auth login', or check the address."
        )
    if answer.status in _PASSING:
        raise TransferInterrupted(f"{shown} answers {answer.status}.")
    if answer.status not in (200, 206):
        raise CatalogError(f"{shown} answers {answer.status}; a file was expected.")


def _reason(error: BaseException) -> str:
    """Name a failure without the address, which may hold a signature."""
    cause = getattr(error, "reason", None)
    return type(cause if isinstance(cause, BaseException) else error).__name__
