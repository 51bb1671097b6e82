"""Clients of the real Hub list, download and stream."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .clients import CONTENT, OF_DATA, PATH, README, REPO, get, put
from .faults import Request as Asked
from .hub import Hub

# The client's own: it gives an open file as data where httpx2 wants content.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_hub_lists_pages(hub: Hub, api: Any) -> None:
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError

    hub.create(REPO)
    files = {f"{'ab'[n % 2]}/c/{n}.txt": b"%d" % n for n in range(7)}
    commit = hub.commit(REPO, files)
    hub.commit(REPO, {"a/later.txt": b"later"})
    hub.page = 2
    tree = list(api.list_repo_tree(**OF_DATA, recursive=True))
    assert {file.path for file in tree if isinstance(file, RepoFile)} == {
        *files,
        "a/later.txt",
        ".gitattributes",
    }
    assert {file.path for file in tree if not isinstance(file, RepoFile)} == {
        *("a", "b", "a/c", "b/c")
    }
    top = list(api.list_repo_tree(**OF_DATA, expand=True))
    assert [entry.path for entry in top] == [".gitattributes", "a", "b"]
    assert top[2].last_commit.oid == commit.oid
    assert [entry.path for entry in api.list_repo_tree(**OF_DATA, path_in_repo="a")] == [
        "a/c",
        "a/later.txt",
    ]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(**OF_DATA, path_in_repo="no"))
    known = api.get_paths_info(**OF_DATA, paths=["a", "b/c/1.txt", "no"], expand=True)
    assert [entry.path for entry in known] == ["a", "b/c/1.txt"]


def test_hub_gives_files(hub: Hub, api: Any, tmp_path: Path) -> None:
    from huggingface_hub import HfFileSystem

    hub.create(REPO)
    first = hub.commit(REPO, {PATH: CONTENT, "README.md": README})

    def move(request: Asked) -> None:
        if "/cdn/" in request.path:
            hub.commit(REPO, {PATH: b"moved"})

    hub.traffic.before.append(move)
    got = api.hf_hub_download(**OF_DATA, filename=PATH, cache_dir=tmp_path / "one")
    assert Path(got).read_bytes() == CONTENT
    assert first.oid in got
    assert hub.files(REPO)[PATH] == b"moved"
    hub.traffic.clear()
    whole = api.snapshot_download(
        **OF_DATA, revision=first.oid, cache_dir=tmp_path / "all", max_workers=2
    )
    for path, content in hub.files(REPO, first.oid).items():
        assert (Path(whole) / path).read_bytes() == content
    assert hub.traffic.sent["weights"] == len(CONTENT)
    # Tokens stay with the Hub.
    asked = hub.traffic.matching("*")
    assert all("authorization" in r.headers for r in asked if "/resolve/" in r.path)
    assert not any("authorization" in r.headers for r in asked if "/cdn/" in r.path)
    hub.traffic.clear()
    system = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    with system.open(f"datasets/{REPO}@{first.oid}/{PATH}", block_size=1000) as file:
        file.seek(70_000)
        assert file.read(300) == CONTENT[70_000:70_300]
    assert hub.traffic.sent["weights"] < 5000
    hub.traffic.drop("/cdn/*", after=400_000)
    got = api.hf_hub_download(
        **OF_DATA, filename=PATH, revision=first.oid, cache_dir=tmp_path / "drop"
    )
    assert Path(got).read_bytes() == CONTENT
    assert len(hub.traffic.matching("/cdn/*", "GET")) > 1


def test_hub_hides_what_is_private(hub: Hub, api: Any, tmp_path: Path) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    api.create_repo(**OF_DATA, private=True)
    put(api, {"README.md": README, PATH: CONTENT})

    def by(token: str | bool) -> Any:
        return HfApi(endpoint=hub.endpoint, token=token)

    for token in (False, hub.stranger):
        with pytest.raises(RepositoryNotFoundError):
            by(token).dataset_info(REPO)
        with pytest.raises(RepositoryNotFoundError):
            by(token).hf_hub_download(**OF_DATA, filename="README.md", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        by("hf_wrong").dataset_info(REPO)
    assert by(hub.reader).dataset_info(REPO).private
    with pytest.raises(HfHubHTTPError, match="write token") as refused:
        put(by(hub.reader), {"a.txt": b"a"})
    assert refused.value.response.status_code == 403
    repo = hub.repos["datasets", REPO]
    repo.private = False
    assert by(False).dataset_info(REPO).sha
    with pytest.raises(HfHubHTTPError, match="403"):
        put(by(hub.stranger), {"a.txt": b"a"})
    repo.gated = True
    with pytest.raises(GatedRepoError):
        by(hub.stranger).hf_hub_download(
            **OF_DATA, filename="README.md", cache_dir=tmp_path
        )
    link = hub.link("cdn", hashlib.sha256(CONTENT).hexdigest(), "x")
    assert get(link)[1] == CONTENT
    hub.expire_links()
    assert get(link)[0] == 403


@pytest.mark.slow
def test_datasets_stream_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = tmp_path / "runs.parquet"
    pq.write_table(pa.table({"row": range(10)}), sink)
    hub.create(REPO, private=True)
    readme = b"---\nconfigs:\n- config_name: runs\n  data_files: runs/*.parquet\n---\n"
    hub.commit(REPO, {"README.md": readme, "runs/0.parquet": sink.read_bytes()})
    script = (
        "from datasets import load_dataset\n"
        f"for streaming in (True, False):\n"
        f"    rows = load_dataset('{REPO}', 'runs', split='train', streaming=streaming)\n"
        "    print(sum(row['row'] for row in rows))\n"
    )
    settings = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["45", "45"], done.stderr
