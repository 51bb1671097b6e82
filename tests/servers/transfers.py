"""The Hub's routes: uploads, commits and downloads of files."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from math import ceil
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .answers import Answer
from .repos import HubError
from .router import API, REVISION, WEB, Router, as_json, is_large

if TYPE_CHECKING:
    from .call import Call

router = Router()

_LFS = "/lfs/(?P<oid>[0-9a-f]{64})"


@router.route("POST", f"{API}/preupload{REVISION}")
def _preupload(call: Call) -> Answer:
    repo = call.repo(write=True)
    tree = repo.at(call.named["revision"]).tree
    files = []
    for asked in call.json()["files"]:
        path = asked["path"]
        large = is_large(call.hub, path, b64decode(asked["sample"]), asked["size"])
        mode = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": False,
        }
        if blob := tree.get(path):
            mode["oid"] = blob.sha256 if blob.lfs else blob.oid
        files.append(mode)
    return as_json({"files": files})


@router.route("POST", f"{WEB}.git/info/lfs/objects/batch")
def _batch(call: Call) -> Answer:
    call.repo(write=True)
    hub = call.hub
    objects, transfer = [], "basic"
    for asked in call.json()["objects"]:
        oid, size = asked["oid"], asked["size"]
        answer: dict[str, Any] = {"oid": oid, "size": size}
        objects.append(answer)
        if hub.objects.path(oid).exists():
            continue  # without actions the client uploads nothing
        upload: dict[str, Any] = {"href": hub.link("lfs", oid)}
        if size > hub.multipart_over:
            transfer, chunk = "multipart", hub.multipart_over
            parts = {
                str(part): hub.link("lfs", oid, str(part))
                for part in range(1, ceil(size / chunk) + 1)
            }
            upload["header"] = {"chunk_size": str(chunk), **parts}
        verify = {"href": f"{hub.endpoint}{call.path.removesuffix('batch')}verify"}
        answer["actions"] = {"upload": upload, "verify": verify}
    return as_json({"transfer": transfer, "objects": objects})


def _signed(call: Call) -> None:
    if call.query.get("signature") != call.hub.signature:
        raise HubError(403, "Request has expired")


@router.route("PUT", _LFS)
def _upload(call: Call) -> Answer:
    _signed(call)
    return _keep(call, call.body)


def _keep(call: Call, content: bytes) -> Answer:
    if hashlib.sha256(content).hexdigest() != call.named["oid"]:
        raise HubError(400, "The content does not have the hash of its name")
    call.hub.objects.add(content)
    return Answer(200)


@router.route("PUT", f"{_LFS}/(?P<part>[0-9]+)")
def _upload_part(call: Call) -> Answer:
    _signed(call)
    call.hub.parts[call.named["oid"], int(call.named["part"])] = call.body
    return Answer(200, b"", {"ETag": f'"{hashlib.md5(call.body).hexdigest()}"'})


@router.route("POST", _LFS)
def _complete(call: Call) -> Answer:
    _signed(call)
    numbers = [part["partNumber"] for part in call.json()["parts"]]
    return _keep(
        call, b"".join(call.hub.parts.pop((call.named["oid"], n)) for n in numbers)
    )


@router.route("POST", f"{WEB}.git/info/lfs/objects/verify")
def _verify(call: Call) -> Answer:
    call.repo(write=True)
    asked = call.json()
    path = call.hub.objects.path(asked["oid"])
    if not path.exists() or path.stat().st_size != asked["size"]:
        raise HubError(404, "Object does not exist")
    return as_json({})


@router.route("POST", f"{API}/commit{REVISION}")
def _commit(call: Call) -> Answer:
    repo = call.repo(write=True)
    lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    with call.hub.lock:
        commit = repo.commit(call.named["revision"], lines)
    prefix = "datasets/" if repo.kind == "datasets" else ""
    url = f"{call.hub.endpoint}/{prefix}{repo.id}/commit/{commit.oid}"
    done = {"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""}
    return as_json(done)


@router.route("GET HEAD", f"{WEB}/resolve{REVISION}/(?P<path>.+)")
def _resolve(call: Call) -> Answer:
    repo = call.repo(content=True)
    commit, path = repo.at(call.named["revision"]), call.named["path"]
    named = {"X-Repo-Commit": commit.oid}
    blob = commit.tree.get(path)
    if blob is None:
        raise HubError(404, "Entry not found", "EntryNotFound", named)
    if not blob.lfs:
        headers = {"ETag": f'"{blob.oid}"', "Content-Type": "text/plain; charset=utf-8"}
        return Answer(200, call.hub.objects.path(blob.sha256), named | headers)
    linked = {
        "X-Linked-Size": str(blob.size),
        "X-Linked-ETag": f'"{blob.sha256}"',
        "Location": call.hub.link("cdn", blob.sha256, *path.split("/")),
    }
    return Answer(302, b"", named | linked)


@router.route("GET HEAD", "/cdn/(?P<oid>[0-9a-f]{64})/.+")
def _download(call: Call) -> Answer:
    _signed(call)
    path = call.hub.objects.path(call.named["oid"])
    if not path.exists():
        raise HubError(404, "Not found")
    name = quote(call.path.rpartition("/")[2])
    headers = {
        "ETag": f'"{call.named["oid"]}"',
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'inline; filename="{name}"',
    }
    return Answer(200, path, headers)
