"""The Hub's routes: users, repositories, branches and tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .answers import Answer
from .repos import Commit, HubError
from .router import API, REVISION, Router, as_json, card

if TYPE_CHECKING:
    from .call import Call

router = Router()


@router.route("GET", "/api/whoami-v2")
def _whoami(call: Call) -> Answer:
    if call.user is None:
        raise HubError(401, "Invalid username or password.")
    token = {"displayName": "test", "role": call.user.role}
    auth = {"type": "access_token", "accessToken": token}
    return as_json({"type": "user", "name": call.user.name, "orgs": [], "auth": auth})


@router.route("POST", "/api/repos/create")
def _create(call: Call) -> Answer:
    asked, user = call.json(), call.writer()
    owner = asked.get("organization") or user.name
    if owner != user.name:
        raise HubError(403, f"You don't have the rights to create a repo under {owner}")
    id = f"{owner}/{asked['name']}"
    kind = asked.get("type", "model") + "s"
    url = f"{call.hub.endpoint}/{'datasets/' if kind == 'datasets' else ''}{id}"
    with call.hub.lock:
        if (kind, id) in call.hub.repos:
            text = f"You already created this {kind[:-1]} repo: {id}"
            body = json.dumps({"error": text, "url": url}).encode()
            return Answer(409, body, {"X-Error-Message": text})
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        call.hub.create(id, kind, private)
    return as_json({"url": url, "name": id})


@router.route("DELETE", "/api/repos/delete")
def _delete(call: Call) -> Answer:
    asked, user = call.json(), call.writer()
    id = f"{asked.get('organization') or user.name}/{asked['name']}"
    with call.hub.lock:
        repo = call.hub.repos.pop((asked.get("type", "model") + "s", id), None)
    if repo is None:
        raise HubError(404, "Repository not found", "RepoNotFound")
    return as_json({})


@router.route("POST", "/api/validate-yaml")
def _validate(call: Call) -> Answer:
    try:
        card(call.json()["content"])
    except ValueError as error:
        return Answer(400, json.dumps({"errors": [{"message": str(error)}]}).encode())
    return as_json({"errors": [], "warnings": []})


@router.route("GET", f"{API}/refs")
def _refs(call: Call) -> Answer:
    repo = call.repo()

    def listed(names: Mapping[str, Commit], where: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{where}/{name}", "targetCommit": commit.oid}
            for name, commit in names.items()
        ]

    heads, tags = listed(repo.branches, "heads"), listed(repo.tags, "tags")
    return as_json({"branches": heads, "tags": tags, "converts": [], "pullRequests": []})


@router.route("GET", f"{API}/commits{REVISION}")
def _commits(call: Call) -> Answer:
    commit: Commit | None = call.repo().at(call.named["revision"])
    listed = []
    while commit is not None:
        about = {"id": commit.oid, "title": commit.title, "message": commit.message}
        listed.append(about | {"date": commit.date, "authors": []})
        commit = commit.parent
    return as_json(listed)


@router.route("POST", f"{API}/(?P<names>branch|tag)/(?P<name>[^/]+)")
def _name(call: Call) -> Answer:
    repo, asked = call.repo(write=True), call.json()
    with call.hub.lock:
        if call.named["names"] == "branch":
            names, name = repo.branches, call.named["name"]
            commit = repo.at(asked.get("startingPoint") or "main")
        else:
            names, name = repo.tags, asked["tag"]
            commit = repo.at(call.named["name"])
        if name in names:
            raise HubError(409, f"Reference already exists: {name}")
        names[name] = commit
    return as_json({})


@router.route("DELETE", f"{API}/(?P<names>branch|tag)/(?P<name>[^/]+)")
def _unname(call: Call) -> Answer:
    repo = call.repo(write=True)
    names = repo.branches if call.named["names"] == "branch" else repo.tags
    if names.pop(call.named["name"], None) is None:
        raise HubError(404, f"Invalid rev id: {call.named['name']}", "RevisionNotFound")
    return as_json({})
