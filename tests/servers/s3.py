"""S3 of this machine: moto's server, in which writes with conditions are atomic."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast
from urllib.request import urlopen

import pytest

from .faults import OF_BODIES, Fault, Request, Traffic

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]

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

    moto answers 412 to ``If-Match`` and ``If-None-Match: *``, but looks and writes in two
    steps, between which another writer may come. So writes with conditions take turns.

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
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.traffic.count(path, received=length)
        if fault := self.traffic.take(request, "unavailable"):
            environ["wsgi.input"].read(length)
            start(f"{fault.status} Service Unavailable", [("Content-Type", "text/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"]
        if {"if-match", "if-none-match"} & headers.keys() and request.method != "GET":
            with self.turn:
                answer, status, given = self._ask(environ)
        else:
            answer, status, given = self._ask(environ)
        good = status[0] == "2" and request.method != "HEAD"
        wrong = self.traffic.take(request, *OF_BODIES) if good else None
        return self._send(request, answer, status, given, start, wrong)

    def _ask(self, environ: Environ) -> tuple[bytes, str, list[tuple[str, str]]]:
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
            with suppress(AttributeError):
                server._server.server_close()
