"""A catalogue below a URL, read by ranges."""

from __future__ import annotations

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
        self._pool = urllib3.PoolManager(
            maxsize=16,
            headers={**agent, **self._headers},
            retries=retry,
            timeout=urllib3.Timeout(connect=15, read=60),
        )

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
        found = bytearray()
        for block in self._pieces(path, {"Cache-Control": "no-cache"}, limit + 1):
            found += block
        if len(found) > limit:
            raise CatalogError(f"{self.address}/{path} has more than {limit:,} bytes.")
        return bytes(found)

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of a file, in pieces."""
        if stop <= start:
            return
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        left = stop - start
        for block in self._pieces(path, headers, left, start):
            left -= len(block)
            yield block
        if left:
            raise TransferInterrupted(
                f"{self.address}/{path} ended {left:,} bytes before its end."
            )

    def _pieces(
        self, path: str, headers: Mapping[str, str], most: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield at most a number of bytes of an answer."""
        shown = f"{self.address}/{path}"
        try:
            answer = self._pool.request(
                "GET",
                f"{self._url}/{quote(path)}",
                headers={**self._pool.headers, **headers},
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise TransferInterrupted(
                f"{shown} cannot be reached: {_reason(error)}."
            ) from error
        try:
            self._check(answer, shown)
            given = answer.headers.get("Content-Range", "")
            if answer.status == 206 and not given.startswith(f"bytes {start}-"):
                raise CatalogError(f"{shown}: bytes from {start} were expected.")
            skip = start if answer.status == 200 else 0  # a server without ranges
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

    def _check(self, answer: urllib3.BaseHTTPResponse, shown: str) -> None:
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
