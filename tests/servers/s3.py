"""S3 of this machine: moto's server, in which writes with conditions are atomic."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, cast
from urllib.request import urlopen

import pytest

from .faults import OF_BODIES, Fault, Request, Traffic

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]
Given = tuple[bytes, str, list[tuple[str, str]]]
WRITES = ("PUT", "POST", "DELETE")

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
OTHERS = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL")
"""What would lead a client past the server."""


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

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer a request."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith(("HTTP_", "CONTENT_"))
        }
        path = environ["PATH_INFO"].encode("latin-1").decode()
        request = Request(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers)
        self.traffic.begin(request)
        # Clients of AWS send parts in chunks, whose length is in a header of its own.
        known = headers.get("x-amz-decoded-content-length") or headers.get("content-length")
        self.traffic.count(path, received=int(known or 0))
        if fault := self.traffic.take(request, "unavailable"):
            _drain(environ)
            answer, status, given = _error("SlowDown", f"{fault.status} Slow Down")
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
        self.traffic.end(request)


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


@contextmanager
def environment(values: Mapping[str, str], without: Iterable[str] = ()) -> Iterator[None]:
    """Set variables of the environment, and put back what was there."""
    before = dict(os.environ)
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def serve_s3(bucket: str = "bucket", traffic: Traffic | None = None) -> Iterator[str]:
    """Serve S3, empty but for a bucket, until the end of the block; needs moto.

    Parameters
    ----------
    bucket : str
    traffic : Traffic, optional
        Record and plan of faults; paths begin with the bucket.

    Yields
    ------
    str
        URL; it is also ``AWS_ENDPOINT_URL``, which boto3 and its kin read, beside
        credentials that moto takes. Processes that are started meanwhile see them too.
    """
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    boto3 = pytest.importorskip("boto3")
    with environment(CREDENTIALS, OTHERS):
        server.start()
        try:
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            os.environ["AWS_ENDPOINT_URL"] = url
            inner = server._server
            # Dropped connections need no traceback.
            logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
            # moto keeps buckets for the life of a process.
            urlopen(f"{url}/moto-api/reset", data=b"").close()
            client = boto3.client("s3", endpoint_url=url)
            client.create_bucket(Bucket=bucket)
            client.close()
            inner.app = Faulty(cast(Application, inner.app), traffic or Traffic())
            yield url
        finally:
            server.stop()
            server._server.server_close()
