"""HTTP/1.1 for the servers: requests are read, and answers sent with their faults."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .faults import OF_BODIES, Fault, Request
from .server import Server

CHUNK = 1 << 20


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body; a file as body is never read whole.

    Ranges and conditions apply to a body that has an ``ETag``.
    """

    status: int = 200
    body: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, has it answered by `answer`, and sends that with its faults."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    asked: Request
    body: bytes

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def answer(self) -> Answer:
        """Answer `asked`, whose body is `body`."""
        raise NotImplementedError

    def serve(self) -> None:
        """Answer a request of any method."""
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Request(self.command, unquote(path), query, headers)
        try:
            self.body = self._read_body()
        except OSError:
            return self._hang_up()
        traffic = self.server.traffic
        traffic.count(self.asked.path, received=len(self.body))
        try:
            traffic.begin(self.asked)
            if fault := traffic.take(self.asked, "unavailable", "redirect"):
                place = {"Location": fault.to.format(path=path)} if fault.to else {}
                self._send(Answer(fault.status, b"", place), None)
            else:
                answer = self._cut(self.answer())
                good = answer.status in (200, 201, 206) and self.command != "HEAD"
                self._send(answer, traffic.take(self.asked, *OF_BODIES) if good else None)
        except OSError:  # the client went, or a hook wants it to believe so
            self._hang_up()
        finally:
            traffic.end(self.asked)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def _read_body(self) -> bytes:
        """Read a body, all of it: what a client that was killed left is no request."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self._read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0].strip() or b"-1", 16):
            parts.append(self._read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        body = self.rfile.read(size) if size >= 0 else b""
        if len(body) != size:
            raise ConnectionAbortedError("the client went")
        return body

    def _cut(self, answer: Answer) -> Answer:
        """Apply conditions and say which range; the body stays whole."""
        tag = answer.headers.get("ETag")
        asked = self.asked.headers
        if tag is None or answer.status != 200:
            return answer
        if asked.get("if-match", tag) not in (tag, "*"):
            return Answer(412)
        if asked.get("if-none-match") == tag:
            return Answer(304, b"", {"ETag": tag})
        whole = Answer(200, answer.body, {**answer.headers, "Accept-Ranges": "bytes"})
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
        if match is None or match[0] == "bytes=-" or asked.get("if-range", tag) != tag:
            return whole
        size = _size(answer.body)
        first, last = int(match[1] or -1), int(match[2] or size - 1)
        if first < 0:
            first, last = max(size - last, 0), size - 1
        if first >= size or last < first:
            return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
        within = f"bytes {first}-{min(last, size - 1)}/{size}"
        return Answer(206, answer.body, {**whole.headers, "Content-Range": within})

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        first, size = 0, _size(answer.body)
        if answer.status == 206:
            numbers = re.findall(r"\d+", answer.headers["Content-Range"])
            first, size = int(numbers[0]), int(numbers[1]) - int(numbers[0]) + 1
        kind = fault.kind if fault else ""
        at = fault.at if fault else 0
        if kind == "drop" and at is None:
            return self._hang_up()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if kind == "endless":
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.status not in (204, 304):
            length = size + (at or 0 if kind == "length" else 0)
            self.send_header("Content-Length", str(max(length, 0)))
        self.end_headers()
        if self.command == "HEAD" or (size == 0 and kind != "length"):
            return None
        if kind == "":
            return self._send_part(answer.body, first, size)
        if kind == "drop":
            self._send_part(answer.body, first, min(at or 0, size))
        elif kind == "length":
            self._send_part(answer.body, first, size)
        else:
            content = bytearray(_bytes(answer.body)[first : first + size])
            if kind == "corrupt":
                content[at or 0] ^= 0xFF
                return self._send_part(bytes(content), 0, size)
            while not self.server.closing:
                self.server.traffic.count(self.asked.path, sent=size)
                self.wfile.write(b"%x\r\n%b\r\n" % (size, bytes(content)))
        return self._hang_up()

    def _send_part(self, body: bytes | Path, first: int, size: int) -> None:
        # Counted ahead: whoever has the last byte may look at once.
        traffic, path, sent = self.server.traffic, self.asked.path, 0
        traffic.count(path, sent=size)
        try:
            if isinstance(body, Path):
                with body.open("rb") as file:
                    while sent < size:
                        part = min(CHUNK, size - sent)
                        sent += self.connection.sendfile(file, first + sent, part) or part
            else:
                view = memoryview(body)[first : first + size]
                for start in range(0, size, CHUNK):
                    sent += self.wfile.write(view[start : start + CHUNK])
        finally:
            traffic.count(path, sent=sent - size)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _size(body: bytes | Path) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


def _bytes(body: bytes | Path) -> bytes:
    return body.read_bytes() if isinstance(body, Path) else body
