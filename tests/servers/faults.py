"""What servers sent and received, and how the next of their answers go wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["drop", "corrupt", "endless", "length", "redirect", "unavailable"]
OF_BODIES: tuple[Kind, ...] = ("drop", "corrupt", "endless", "length")


def kind(path: str) -> str:
    """Name what a path is counted as: weights, or other.

    Parameters
    ----------
    path : str
        Unquoted, without a query.

    Returns
    -------
    str
        ``weights`` for what lies in a folder ``weights``, unless it is a call of an API.
    """
    folders = path.strip("/").split("/")[:-1]
    return "weights" if "weights" in folders and folders[0] != "api" else "other"


@dataclass(frozen=True)
class Request:
    """What a client asked for; its path is unquoted, names of headers are lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """A way to answer wrongly, and how often.

    Parameters
    ----------
    kind : Kind
    pattern : str
        Paths it applies to; ``*`` also matches ``/``.
    times : int
        Answers that are still to go wrong.
    method : str
        A pattern too.
    at : int or None
        Bytes of the body before it is dropped (None: before the status line), the byte
        that is corrupted (negative: from the end), or what is added to Content-Length.
    to : str
        Where a redirect leads; ``{path}`` stands for the path.
    status : int
        Of an answer without a body.
    """

    kind: Kind
    pattern: str
    times: int = 1
    method: str = "GET"
    at: int | None = 0
    to: str = ""
    status: int = 503


Hook = Callable[[Request], None]


class Traffic:
    """A record of requests, a plan of faults and hooks; servers may share one.

    Faults of bodies (drop, corrupt, endless, length) are used up by successful answers
    that have a body; the others by any request. The oldest that matches comes first.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.open = 0
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by kind of path."""
        self.received: Counter[str] = Counter()
        self.before: list[Hook] = []
        """Called with a request before it is answered; an OSError drops the connection."""
        self.after: list[Hook] = []
        """Called once the answer is sent; the client may already have it."""
        self.faults: list[Fault] = []

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests by method and path."""
        with self.lock:
            return Counter((request.method, request.path) for request in self.requests)

    def matching(self, pattern: str, method: str = "*") -> list[Request]:
        """List the requests whose path and method match patterns."""
        with self.lock:
            return [
                request
                for request in self.requests
                if fnmatchcase(request.path, pattern)
                and fnmatchcase(request.method, method)
            ]

    def clear(self) -> None:
        """Forget requests, bytes, faults and hooks."""
        with self.lock:
            for part in (self.requests, self.before, self.after, self.faults):
                part.clear()
            for counter in (self.sent, self.received):
                counter.clear()

    def drop(
        self, pattern: str, after: int | None = 0, times: int = 1, method: str = "GET"
    ) -> None:
        """Close the connection after some bytes of a body; None: before any answer.

        With None the server has done what it was asked for, and the client is not told.
        """
        self._plan(Fault("drop", pattern, times, method, at=after))

    def corrupt(self, pattern: str, at: int = 0, times: int = 1) -> None:
        """Flip the bits of one byte of a body as it is sent, which a range may have cut."""
        self._plan(Fault("corrupt", pattern, times, at=at))

    def endless(self, pattern: str, times: int = 1) -> None:
        """Repeat a body, without a length, until the client goes."""
        self._plan(Fault("endless", pattern, times))

    def wrong_length(self, pattern: str, by: int, times: int = 1) -> None:
        """Add something to Content-Length, send the body, and close the connection."""
        self._plan(Fault("length", pattern, times, at=by))

    def redirect(self, pattern: str, to: str, times: int = 1, method: str = "GET") -> None:
        """Redirect to another URL, in which ``{path}`` stands for the path asked for."""
        self._plan(Fault("redirect", pattern, times, method, to=to, status=302))

    def unavailable(
        self, pattern: str, times: int = 1, method: str = "*", status: int = 503
    ) -> None:
        """Answer with an error, and do nothing."""
        self._plan(Fault("unavailable", pattern, times, method, status=status))

    def _plan(self, fault: Fault) -> None:
        with self.lock:
            self.faults.append(fault)

    def take(self, request: Request, *kinds: Kind) -> Fault | None:
        """Use up the first fault of some kinds that matches a request, if there is one."""
        with self.lock:
            for fault in self.faults:
                if (
                    fault.kind in kinds
                    and fault.times > 0
                    and fnmatchcase(request.path, fault.pattern)
                    and fnmatchcase(request.method, fault.method)
                ):
                    fault.times -= 1
                    return fault
            return None

    def begin(self, request: Request) -> None:
        """Record a request and call what wants to know before it is answered."""
        with self.lock:
            self.open += 1
            self.requests.append(request)
            hooks = list(self.before)
        for hook in hooks:
            hook(request)

    def end(self, request: Request) -> None:
        """Call what wants to know once a request is answered."""
        try:
            for hook in list(self.after):
                hook(request)
        finally:
            with self.lock:
                self.open -= 1
                self.lock.notify_all()

    def settle(self, seconds: float = 10) -> None:
        """Wait for hooks that follow answers which clients have already."""
        with self.lock:
            if not self.lock.wait_for(lambda: self.open == 0, seconds):
                raise TimeoutError(f"{self.open} requests are still being answered")

    def count(self, path: str, sent: int = 0, received: int = 0) -> None:
        """Add bytes of bodies."""
        with self.lock:
            self.sent[kind(path)] += sent
            self.received[kind(path)] += received
