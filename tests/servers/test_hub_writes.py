"""The client of the real Hub creates, uploads, commits and names."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from .clients import CONTENT, OF_DATA, PATH, README, REPO, adds, put
from .hub import Hub

# The client's own: it gives an open file as data where httpx2 wants content.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_hub_takes_commits(hub: Hub, api: Any) -> None:
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    assert api.whoami()["name"] == "tester"
    assert api.create_repo(**OF_DATA).repo_id == REPO
    api.create_repo(**OF_DATA, exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(**OF_DATA)
    first = api.dataset_info(REPO).sha
    second = put(api, {PATH: CONTENT, "README.md": README}, parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as moved:
        put(api, {"late.txt": b"late"}, parent_commit=first)
    assert moved.value.response.status_code == 412
    info = api.dataset_info(REPO, files_metadata=True)
    assert info.sha == second
    assert info.card_data.license == "mit"
    large = next(file for file in info.siblings if file.rfilename == PATH)
    assert large.lfs.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert set(api.list_repo_files(**OF_DATA)) == {".gitattributes", PATH, "README.md"}
    assert set(api.list_repo_files(**OF_DATA, revision=first)) == {".gitattributes"}
    # What is there already is neither uploaded nor committed.
    uploads = hub.traffic.matching("/lfs/*", "PUT")
    assert put(api, {PATH: CONTENT}) == second
    again = CommitOperationCopy(PATH, "weights/copy.parquet")
    gone = CommitOperationDelete("README.md")
    third = api.create_commit(**OF_DATA, operations=[again, gone], commit_message="m").oid
    assert hub.traffic.matching("/lfs/*", "PUT") == uploads
    assert hub.files(REPO, third)["weights/copy.parquet"] == CONTENT
    assert [commit.title for commit in api.list_repo_commits(**OF_DATA)] == [
        "m",
        "files",
        "initial commit",
    ]
    with pytest.raises(HfHubHTTPError, match="this name doesn't exist"):
        api.delete_file("README.md", **OF_DATA)
    broken = adds({"README.md": b"---\n: [\n---\n"})
    with pytest.raises(ValueError, match=r"Invalid YAML in README\.md"):
        api.create_commit(**OF_DATA, operations=broken, commit_message="m")


def test_hub_takes_uploads_ahead_and_in_parts(hub: Hub, api: Any) -> None:
    from huggingface_hub.errors import BadRequestError

    api.create_repo(**OF_DATA)
    hub.multipart_over = 500_000
    (ahead,) = adds({PATH: CONTENT})
    api.preupload_lfs_files(**OF_DATA, additions=[ahead])
    assert len(hub.traffic.matching("/lfs/*", "PUT")) == 3
    hub.traffic.drop("*/commit/main", after=None, method="POST")
    with pytest.raises(Exception, match="disconnected"):
        api.create_commit(**OF_DATA, operations=[ahead], commit_message="done, but untold")
    assert hub.files(REPO)[PATH] == CONTENT
    (lost,) = adds({"weights/lost.parquet": b"lost"})
    api.preupload_lfs_files(**OF_DATA, additions=[lost])
    hub.objects.path(lost.upload_info.sha256.hex()).unlink()
    with pytest.raises(
        BadRequestError, match="LFS pointer pointed to a file that does not"
    ):
        api.create_commit(**OF_DATA, operations=[lost], commit_message="m")


def test_hub_names_revisions(hub: Hub, api: Any) -> None:
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    api.create_repo(REPO, repo_type="model")
    with pytest.warns(UserWarning, match="data file"):
        api.upload_file(
            path_or_fileobj=CONTENT, path_in_repo="weights/0.parquet", repo_id=REPO
        )
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="more/work")
    api.create_branch(REPO, branch="more/work", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_tag(REPO, tag="v1")
    api.upload_file(
        path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=REPO, revision="more/work"
    )
    refs = api.list_repo_refs(REPO)
    assert {branch.name for branch in refs.branches} == {"main", "more/work"}
    assert refs.tags[0].target_commit == api.model_info(REPO, revision="main").sha
    assert api.file_exists(REPO, "a.txt", revision="more/work")
    assert not api.file_exists(REPO, "a.txt", revision="v1")
    api.delete_branch(REPO, branch="more/work")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="more/work")
    api.delete_tag(REPO, tag="v1")
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO)
