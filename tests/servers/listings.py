"""The Hub's routes: what a revision holds."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .answers import Answer
from .objects import Blob
from .repos import Commit, HubError
from .router import API, REVISION, Router, as_json, card

if TYPE_CHECKING:
    from .call import Call

router = Router()


@router.route("GET", API)
@router.route("GET", f"{API}/revision{REVISION}")
def _info(call: Call) -> Answer:
    repo = call.repo()
    commit = repo.at(call.named.get("revision", "main"))
    readme = commit.tree.get("README.md")
    data = None
    if readme:
        path = call.hub.objects.path(readme.sha256)
        data = card(path.read_text(encoding="utf-8", errors="replace"))
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in commit.tree]
    if call.query.get("blobs", "").lower() in ("true", "1"):
        for sibling, blob in zip(siblings, commit.tree.values(), strict=True):
            sibling.update(size=blob.size, blobId=blob.oid)
            if blob.lfs:
                sibling["lfs"] = _lfs(blob, "sha256")
    info = {
        "_id": hashlib.sha1(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.oid,
        "createdAt": repo.created,
        "lastModified": commit.date,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": repo.downloads,
        "likes": 0,
        "tags": repo.tags_of_page,
        "siblings": siblings,
    }
    return as_json(info | ({"cardData": data} if data else {}))


def _lfs(blob: Blob, name: str) -> dict[str, Any]:
    return {name: blob.sha256, "size": blob.size, "pointerSize": 120 + len(str(blob.size))}


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, Any] | None:
    blob = commit.tree.get(path)
    entry: dict[str, Any] = {"type": "file", "path": path}
    if blob is not None:
        entry |= {"oid": blob.oid, "size": blob.size}
        if blob.lfs:
            entry["lfs"] = _lfs(blob, "oid")
    else:
        inside = [(n, b.oid) for n, b in commit.tree.items() if n.startswith(f"{path}/")]
        if not inside:
            return None
        oid = hashlib.sha1(json.dumps(inside).encode()).hexdigest()
        entry |= {"type": "directory", "oid": oid, "size": 0}
    if expand:
        last = commit.last(path)
        entry["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return entry


@router.route("GET", f"{API}/tree{REVISION}(/(?P<path>.+))?")
def _tree(call: Call) -> Answer:
    repo = call.repo()
    commit = repo.at(call.named["revision"])
    folder = call.named.get("path", "").strip("/")
    recursive, expand = (
        call.query.get(name, "").lower() in ("true", "1")
        for name in ("recursive", "expand")
    )
    found = set()
    for path in commit.tree:
        if not folder or path.startswith(f"{folder}/"):
            names = path[len(folder) :].strip("/").split("/")
            for depth in range(1, len(names) + 1 if recursive else 2):
                found.add("/".join(([folder] if folder else []) + names[:depth]))
    if folder and not found:
        raise HubError(
            404, f"{folder} does not exist on {call.named['revision']}", "EntryNotFound"
        )
    first = int(call.query.get("cursor", 0))
    page = sorted(found)[first : first + call.hub.page]
    headers = {}
    if (following := first + call.hub.page) < len(found):
        flags = f"recursive={recursive}&expand={expand}&cursor={following}"
        headers["Link"] = f'<{call.hub.endpoint}{call.path}?{flags}>; rel="next"'
    return as_json([_entry(commit, path, expand) for path in page], headers)


@router.route("POST", f"{API}/paths-info{REVISION}")
def _paths_info(call: Call) -> Answer:
    commit = call.repo().at(call.named["revision"])
    if "json" in call.headers.get("content-type", ""):
        asked = call.json()
    else:
        asked = parse_qs(call.body.decode())
    paths = asked.get("paths", [])
    expand = str(asked.get("expand")).lower().strip("[]'") == "true"
    entries = [_entry(commit, path.strip("/"), expand) for path in paths]
    return as_json([entry for entry in entries if entry])
