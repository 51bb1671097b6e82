"""Repositories of a Hub: commits are whole trees that never change."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .objects import Blob, Objects

ATTRIBUTES = b"".join(
    b"%b filter=lfs diff=lfs merge=lfs -text\n" % pattern
    for pattern in (
        b"*.arrow",
        b"*.bin",
        b"*.npz",
        b"*.parquet",
        b"*.safetensors",
        b"*.zst",
    )
)
"""The file that new repositories of the Hub hold."""

DANGLING = (
    "Your push was rejected because an LFS pointer pointed to a file that does not exist."
    " Offending file: - {}"
)
MOVED = "A commit has happened since. Please refresh and try again."


class HubError(Exception):
    """An answer that is not what was asked for.

    Parameters
    ----------
    status : int
    message : str
    code : str
        Tells clients which exception to raise.
    headers : Mapping[str, str], optional
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {"X-Error-Message": message, **(headers or {})}
        if code:
            self.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class Commit:
    """A tree of files, and who came before."""

    oid: str
    parent: Commit | None
    title: str
    message: str
    tree: Mapping[str, Blob]
    date: str = field(
        default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    )

    def last(self, path: str) -> Commit:
        """Find the commit that last changed a file, or a file of a folder."""

        def seen(commit: Commit) -> dict[str, Blob]:
            return {
                name: blob
                for name, blob in commit.tree.items()
                if name == path or name.startswith(f"{path}/")
            }

        commit = self
        while commit.parent is not None and seen(commit.parent) == seen(commit):
            commit = commit.parent
        return commit


class Repo:
    """A repository: its commits, branches and tags.

    Parameters
    ----------
    kind : str
        ``datasets`` or ``models``.
    id : str
        ``<owner>/<name>``.
    objects : Objects
        Shared by repositories; uploads that no commit names are there too.
    private : bool
    """

    def __init__(self, kind: str, id: str, objects: Objects, private: bool = False) -> None:
        self.kind = kind
        self.id = id
        self.objects = objects
        self.private = private
        self.gated = False
        self.downloads = 0
        self.tags_of_page: list[str] = []
        self.created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, Commit] = {}
        self.tags: dict[str, Commit] = {}
        blob = Blob.of(sha := objects.add(ATTRIBUTES), objects.path(sha), lfs=False)
        self.branches["main"] = self.grow(
            None, "initial commit", "", {".gitattributes": blob}
        )

    @property
    def owner(self) -> str:
        """Who may write."""
        return self.id.split("/")[0]

    def grow(
        self, parent: Commit | None, title: str, message: str, tree: Mapping[str, Blob]
    ) -> Commit:
        """Make a commit that no branch has yet."""
        # Counting commits keeps those apart that differ in nothing else.
        named = [self.kind, self.id, len(self.commits), title, parent.oid if parent else ""]
        files = sorted((path, blob.oid) for path, blob in tree.items())
        oid = hashlib.sha1(json.dumps([named, files]).encode()).hexdigest()
        commit = Commit(oid, parent, title, message, dict(sorted(tree.items())))
        self.commits[oid] = commit
        return commit

    def at(self, revision: str) -> Commit:
        """Find a commit by its branch, tag or hash."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for names in (self.branches, self.tags, self.commits):
            if commit := names.get(name):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def commit(self, branch: str, lines: Iterable[Mapping[str, Any]]) -> Commit:
        """Add a commit to a branch, all of it or nothing.

        Parameters
        ----------
        branch : str
        lines : iterable of mappings
            A header, and then operations, each with a ``key`` and a ``value``.
        """
        head = self.branches.get(branch)
        if head is None:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        tree, header = dict(head.tree), {}
        for line in lines:
            key, value = line["key"], line["value"]
            path = value.get("path", "")
            if key == "header":
                header = value
            elif key == "file":
                sha = self.objects.add(b64decode(value["content"]))
                tree[path] = Blob.of(sha, self.objects.path(sha), lfs=False)
            elif key == "lfsFile":
                stored = self.objects.path(value["oid"])
                if not stored.exists():
                    raise HubError(400, DANGLING.format(path))
                tree[path] = Blob.of(value["oid"], stored, lfs=True)
            elif key in ("deletedFile", "deletedFolder"):
                inside = path.rstrip("/") + "/" if key == "deletedFolder" else None
                gone = [n for n in tree if n == path or (inside and n.startswith(inside))]
                if not gone:
                    raise HubError(
                        404, "A file with this name doesn't exist", "EntryNotFound"
                    )
                for name in gone:
                    del tree[name]
        if header.get("parentCommit", head.oid) != head.oid:
            raise HubError(412, MOVED)
        summary, about = header.get("summary", ""), header.get("description", "")
        self.branches[branch] = self.grow(head, summary, about, tree)
        return self.branches[branch]
