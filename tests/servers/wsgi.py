"""Traffic and faults of a server that somebody else wrote, and conditions it forgets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

from .faults import OF_BODIES, Fault, Request, Traffic

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]
Given = tuple[bytes, str, list[tuple[str, str]]]
WRITES = ("PUT", "POST", "DELETE")


class Faulty:
    """An application in front of another that records its traffic and makes its faults.

    moto answers 412 to ``If-Match`` and ``If-None-Match: *`` of PutObject and DeleteObject,
    but looks and writes in two steps, between which another writer may come: so writes
    with conditions take turns. Uploads in parts it ends without regard to ``If-Match``.

    Parameters
    ----------
    application : Application
    traffic : Traffic
        Faults of kind ``endless`` and ``redirect`` are not made.
    """

    def __init__(self, application: Application, traffic: Traffic) -> None:
        self.application = application
        self.traffic = traffic
        self.turn = threading.Lock()

    def __call__(self, environ: Environ, start: Start) -> Iterator[bytes]:
        """Answer a request."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith(("HTTP_", "CONTENT_"))
        }
        path = environ["PATH_INFO"].encode("latin-1").decode()
        request = Request(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers)
        try:
            self.traffic.begin(request)
            yield from self._answer(request, environ, start)
        finally:
            self.traffic.end(request)

    def _answer(self, request: Request, environ: Environ, start: Start) -> Iterator[bytes]:
        headers = request.headers
        # Clients of AWS send parts in chunks, whose length is in a header of its own.
        known = headers.get("x-amz-decoded-content-length") or headers.get("content-length")
        self.traffic.count(request.path, received=int(known or 0))
        if fault := self.traffic.take(request, "unavailable"):
            _drain(environ)
            code = "AccessDenied" if fault.status == 403 else "SlowDown"
            answer, status, given = _error(code, f"{fault.status} {code}")
            return self._send(request, answer, status, given, start, None)
        if {"if-match", "if-none-match"} & headers.keys() and request.method in WRITES:
            with self.turn:
                answer, status, given = self._refuse(environ) or self._ask(environ)
        else:
            answer, status, given = self._ask(environ)
        good = status[0] == "2" and request.method != "HEAD"
        wrong = self.traffic.take(request, *OF_BODIES) if good else None
        return self._send(request, answer, status, given, start, wrong)

    def _refuse(self, environ: Environ) -> Given | None:
        """Answer 412 to the end of an upload in parts, where moto forgets ``If-Match``."""
        asked = environ.get("HTTP_IF_MATCH")
        if asked is None or environ["REQUEST_METHOD"] != "POST":
            return None
        look = {name: value for name, value in environ.items() if "HTTP_IF" not in name}
        look |= {"REQUEST_METHOD": "HEAD", "QUERY_STRING": "", "CONTENT_LENGTH": "0"}
        _, status, headers = self._ask(look | {"wsgi.input": BytesIO()})
        tags = [value for name, value in headers if name.lower() == "etag"]
        if asked.strip('"') in (tag.strip('"') for tag in tags):
            return None
        _drain(environ)
        if not status.startswith("200"):
            return _error("NoSuchKey", "404 Not Found")
        return _error("PreconditionFailed", "412 Precondition Failed")

    def _ask(self, environ: Environ) -> Given:
        said: list[Any] = []
        parts = self.application(environ, lambda *words: said.extend(words))
        body = b"".join(parts)
        if close := getattr(parts, "close", None):
            close()
        return body, said[0], said[1]

    def _send(
        self,
        request: Request,
        body: bytes,
        status: str,
        headers: list[tuple[str, str]],
        start: Start,
        fault: Fault | None,
    ) -> Iterator[bytes]:
        kind, at = (fault.kind, fault.at) if fault else ("", 0)
        if kind == "corrupt":
            changed = bytearray(body)
            changed[at or 0] ^= 0xFF
            body = bytes(changed)
        if kind == "drop" and at is None:
            raise ConnectionAbortedError("dropped by a test")
        if kind == "length":
            longer = str(len(body) + (at or 0))
            headers = [h for h in headers if h[0].lower() != "content-length"]
            headers.append(("Content-Length", longer))
        start(status, headers)
        part = body[:at] if kind == "drop" else body
        self.traffic.count(request.path, sent=len(part))
        yield part
        if kind in ("drop", "length"):
            raise ConnectionAbortedError("dropped by a test")


def _drain(environ: Environ) -> None:
    # What is not read would be taken for the next request of the connection.
    size = (
        -1
        if "wsgi.input_terminated" in environ
        else int(environ.get("CONTENT_LENGTH") or 0)
    )
    environ["wsgi.input"].read(size)


def _error(code: str, status: str) -> Given:
    body = f"<Error><Code>{code}</Code><Message>{status[4:]}</Message></Error>".encode()
    return body, status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
