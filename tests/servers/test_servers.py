"""Servers answer the clients that they are for."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from .faults import Request as Asked
from .faults import Traffic
from .files import serve_files
from .hub import Hub
from .s3 import serve_s3

# The client's own: it gives an open file as data where httpx2 wants content.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CONTENT = bytes(range(256)) * 5000
PATH = "weights/mlp/0.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "site" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    (tmp_path / "site" / "README.md").write_text("---\nlicense: mit\n---\nread\n")
    return tmp_path / "site"


def get(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    request = Request(url, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urlopen(request) as response:
            return response.status, response.read(), response.headers
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_files_have_ranges_and_tags(folder: Path) -> None:
    traffic = Traffic()
    with serve_files(folder, traffic) as url:
        status, body, headers = get(f"{url}/{PATH}")
        assert (status, body) == (200, CONTENT)
        tag = headers["ETag"]
        assert get(f"{url}/{PATH}", "HEAD")[2]["Content-Length"] == str(len(CONTENT))
        for asked, first, last in (
            ("2-5", 2, 5),
            ("-3", 1279997, 1279999),
            ("9-", 9, 1279999),
        ):
            status, body, headers = get(
                f"{url}/{PATH}", Range=f"bytes={asked}", If_Range=tag
            )
            assert (status, body) == (206, CONTENT[first : last + 1])
            assert headers["Content-Range"] == f"bytes {first}-{last}/1280000"
        assert get(f"{url}/{PATH}", Range="bytes=1-2", If_Range='"else"')[0] == 200
        assert get(f"{url}/{PATH}", Range="bytes=1280000-")[0] == 416
        assert get(f"{url}/{PATH}", If_None_Match=tag)[0] == 304
        assert get(f"{url}/{PATH}", If_Match='"else"')[0] == 412
        for missing in ("", "weights", "weights/", "no", "%2e%2e/secret", "%00"):
            assert get(f"{url}/{missing}")[0] == 404
        assert traffic.counts["GET", f"/{PATH}"] == 8
        assert traffic.sent["weights"] == 3 * len(CONTENT) + 4 + 3 - 9


def test_connections_are_kept(folder: Path) -> None:
    with serve_files(folder) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        for _ in range(3):
            connection.request("GET", "/README.md")
            socket = connection.sock
            assert connection.getresponse().read()
            assert connection.sock is socket
        connection.close()


def test_faults_are_used_up(folder: Path) -> None:
    traffic = Traffic()
    moved: list[str] = []
    with serve_files(folder, traffic) as url, serve_files(folder) as other:
        traffic.drop("*.parquet", after=1000, times=2)
        for _ in range(2):
            with pytest.raises(http.client.IncompleteRead) as cut:
                get(f"{url}/{PATH}")
            assert cut.value.partial == CONTENT[:1000]
        traffic.drop("*.parquet", after=None)
        with pytest.raises(http.client.RemoteDisconnected):
            get(f"{url}/{PATH}")
        traffic.corrupt("/weights/*", at=-1)
        assert get(f"{url}/{PATH}")[1] == CONTENT[:-1] + b"\x00"
        traffic.wrong_length("*", by=10)
        with pytest.raises(http.client.IncompleteRead) as cut:
            get(f"{url}/{PATH}")
        assert cut.value.partial == CONTENT
        traffic.wrong_length("*", by=-10)
        assert get(f"{url}/{PATH}")[1] == CONTENT[:-10]
        traffic.unavailable("*")
        assert get(f"{url}/{PATH}", "HEAD")[0] == 503
        traffic.redirect("*", other + "{path}")
        assert get(f"{url}/{PATH}")[1] == CONTENT
        traffic.endless("*")
        with urlopen(f"{url}/{PATH}") as response:
            assert response.read(3 * len(CONTENT)) == 3 * CONTENT
        traffic.before.append(lambda request: moved.append(f"before {request.path}"))
        traffic.after.append(lambda request: moved.append(f"after {request.path}"))
        assert get(f"{url}/README.md")[0] == 200
    assert moved == ["before /README.md", "after /README.md"]
    traffic.clear()
    assert not traffic.counts


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def api(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Any:
    hub_of = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return hub_of.HfApi(endpoint=hub.endpoint, token=hub.token)


REPO = "tester/zoo"
OF_DATA: dict[str, str] = {"repo_id": REPO, "repo_type": "dataset"}


def adds(files: dict[str, bytes]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd

    return [CommitOperationAdd(path, content) for path, content in files.items()]


README = b"---\nlicense: mit\n---\nread\n"


def put(api: Any, files: dict[str, bytes], **options: Any) -> str:
    oid: str = api.create_commit(
        **OF_DATA, operations=adds(files), commit_message="files", **options
    ).oid
    return oid


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


@pytest.fixture
def s3() -> Iterator[tuple[Any, Traffic]]:
    traffic = Traffic()
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config")
    once = config.Config(retries={"total_max_attempts": 1})
    with serve_s3("zoo", traffic):
        client = boto3.client("s3", config=once)
        yield client, traffic
        client.close()


def code(error: Any) -> int:
    status: int = error.value.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def test_s3_has_ranges_and_faults(s3: tuple[Any, Traffic]) -> None:

    client, traffic = s3
    errors = pytest.importorskip("botocore.exceptions")
    tag = client.put_object(Bucket="zoo", Key=PATH, Body=CONTENT)["ETag"]
    assert client.get_object(Bucket="zoo", Key=PATH)["Body"].read() == CONTENT
    part = client.get_object(Bucket="zoo", Key=PATH, Range="bytes=5-8", IfMatch=tag)
    assert part["Body"].read() == CONTENT[5:9]
    assert traffic.sent["weights"] == len(CONTENT) + 4
    traffic.unavailable("/zoo/*")
    with pytest.raises(errors.ClientError, match="SlowDown"):
        client.get_object(Bucket="zoo", Key=PATH)
    traffic.corrupt("/zoo/*")
    bad = client.get_object(Bucket="zoo", Key=PATH, Range="bytes=0-9")["Body"].read()
    assert bad == b"\xff" + CONTENT[1:10]
    traffic.drop("/zoo/*", after=100)
    with pytest.raises((errors.ResponseStreamingError, errors.ClientError)):
        client.get_object(Bucket="zoo", Key=PATH)["Body"].read()


def test_s3_writes_on_conditions(s3: tuple[Any, Traffic]) -> None:

    client, _ = s3
    errors = pytest.importorskip("botocore.exceptions")
    tag = client.put_object(Bucket="zoo", Key="head", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"else"'}):
        with pytest.raises(errors.ClientError) as refused:
            client.put_object(Bucket="zoo", Key="head", Body=b"2", **condition)
        assert code(refused) == 412
    with pytest.raises(errors.ClientError) as missing:
        client.put_object(Bucket="zoo", Key="none", Body=b"2", IfMatch=tag)
    assert code(missing) == 404
    won = []

    def write(number: int) -> None:
        try:
            client.put_object(Bucket="zoo", Key="head", Body=b"%d" % number, IfMatch=tag)
        except errors.ClientError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert client.get_object(Bucket="zoo", Key="head")["Body"].read() == b"%d" % won[0]
