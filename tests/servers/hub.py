"""A Hub of this machine that the clients of the real one work with.

    with Hub() as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)

Clients must not use Xet: ``HF_HUB_DISABLE_XET=1`` before they are imported. Clients read
``HF_ENDPOINT`` at import too, so `datasets` needs it in a process of its own.

Large files come from a second port, ``hub.cdn``, to which the first redirects with signed
links: as for the Hub's, it is another host, and needs no token.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote

from . import accounts, listings, transfers
from .answers import Answer, Handler
from .call import Call, User
from .faults import Traffic
from .objects import Blob, Objects
from .repos import Commit, HubError, Repo
from .router import is_large
from .server import Server


class Hub:
    """Repositories and users, behind two ports while in its ``with``.

    Parameters
    ----------
    traffic : Traffic, optional
        Record and plan of faults. Paths of files on the CDN end in their paths in the
        repository.

    Attributes
    ----------
    endpoint, cdn : str
        URLs.
    token, reader, stranger : str
        Tokens: of the owner ``tester``; of the same user, to read only; of another user.
    page : int
        Entries of folders in one answer.
    lfs_over, multipart_over : int
        Bytes from which text is LFS too, and uploads come in parts.
    """

    token, reader, stranger = "hf_writer", "hf_reader", "hf_stranger"

    def __init__(self, traffic: Traffic | None = None) -> None:
        self.traffic = traffic or Traffic()
        self.page = 1000
        self.lfs_over = 10_000_000
        self.multipart_over = 1 << 40
        self.users = {
            self.token: User("tester"),
            self.reader: User("tester", "read"),
            self.stranger: User("stranger"),
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.lock = threading.RLock()
        self.signature = ""
        self.expire_links()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self.objects = Objects(Path(folder))
            servers = [Server(_HubHandler, self.traffic, self) for _ in range(2)]
            for server in servers:
                stack.enter_context(server.running())
            self.endpoint, self.cdn = (server.url for server in servers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def expire_links(self) -> None:
        """Let links to large files, and for uploads, not work any more."""
        self.signature = secrets.token_hex(8)

    def link(self, *parts: str) -> str:
        """Sign a link to the CDN."""
        path = "/".join(quote(part) for part in parts)
        return f"{self.cdn}/{path}?signature={self.signature}"

    def create(self, id: str, kind: str = "datasets", private: bool = False) -> Repo:
        """Add a repository that has nothing but its first commit."""
        with self.lock:
            repo = self.repos[kind, id] = Repo(kind, id, self.objects, private)
        return repo

    def commit(
        self,
        id: str,
        files: Mapping[str, bytes | None],
        branch: str = "main",
        kind: str = "datasets",
    ) -> Commit:
        """Commit files as somebody else would; None deletes one."""
        repo = self.repos[kind, id]
        with self.lock:
            head = repo.branches[branch]
            tree = dict(head.tree)
            for path, content in files.items():
                if content is None:
                    del tree[path]
                    continue
                sha = self.objects.add(content)
                lfs = is_large(self, path, content[:512], len(content))
                tree[path] = Blob.of(sha, self.objects.path(sha), lfs)
            repo.branches[branch] = repo.grow(head, "somebody else", "", tree)
            return repo.branches[branch]

    def files(
        self, id: str, revision: str = "main", kind: str = "datasets"
    ) -> dict[str, bytes]:
        """Read what a revision holds."""
        tree = self.repos[kind, id].at(revision).tree
        return {
            path: self.objects.path(blob.sha256).read_bytes() for path, blob in tree.items()
        }


class _HubHandler(Handler):
    def answer(self) -> Answer:
        """Find the route of a path."""
        hub: Hub = self.server.owner
        path = self.path.partition("?")[0]
        try:
            for router in (accounts.router, listings.router, transfers.router):
                if found := router.find(self.command, path):
                    route, named = found
                    return route(self._call(hub, path, named))
            raise HubError(404, f"{self.command} {path} is not served here")
        except HubError as error:
            text = json.dumps({"error": error.message}).encode()
            headers = {"Content-Type": "application/json", **error.headers}
            return Answer(error.status, text, headers)

    def _call(self, hub: Hub, path: str, named: Mapping[str, str]) -> Call:
        asked = self.asked
        token = asked.headers.get("authorization", "").removeprefix("Bearer ").strip()
        user = hub.users.get(token)
        if token and user is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        return Call(hub, path, named, query, asked.headers, self.body, user)
