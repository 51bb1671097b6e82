"""A call of the Hub, and who may make it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .repos import HubError, Repo

if TYPE_CHECKING:
    from .hub import Hub


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and what it allows."""

    name: str
    role: str = "write"


@dataclass(frozen=True)
class Call:
    """A request of a client, with what its path names."""

    hub: Hub
    path: str
    named: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User | None

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body or b"{}")

    def writer(self) -> User:
        """Say who writes, or refuse."""
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        if self.user.role != "write":
            raise HubError(403, "you must use a write token to upload to a repository.")
        return self.user

    def repo(self, write: bool = False, content: bool = False) -> Repo:
        """Find the repository of a path, unless it is hidden or must not be changed."""
        kind = self.named.get("kind") or "models"
        repo = self.hub.repos.get((kind.strip("/"), self.named["repo"]))
        name = self.user.name if self.user else None
        if repo is None or (repo.private and name != repo.owner):
            # Over https:// clients take any 401 for this; over http:// they need the code.
            if self.user is None:
                raise HubError(401, "Invalid username or password.", "RepoNotFound")
            raise HubError(404, "Repository not found", "RepoNotFound")
        if write and self.writer().name != repo.owner:
            raise HubError(403, "pass `create_pr=1` to create a Pull Request")
        if content and repo.gated and name != repo.owner:
            message = f"Access to this repository is restricted: {repo.id}"
            raise HubError(403 if self.user else 401, message, "GatedRepo")
        return repo
