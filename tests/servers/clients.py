"""What tests of servers do with clients."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CONTENT = bytes(range(256)) * 5000
PATH = "weights/mlp/0.parquet"
README = b"---\nlicense: mit\n---\nread\n"
REPO = "tester/zoo"
OF_DATA: dict[str, str] = {"repo_id": REPO, "repo_type": "dataset"}


def get(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    """Ask for a URL; give status, body and headers."""
    request = Request(url, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urlopen(request) as response:
            return response.status, response.read(), response.headers
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def adds(files: dict[str, bytes]) -> list[Any]:
    """Make operations that add files."""
    from huggingface_hub import CommitOperationAdd

    return [CommitOperationAdd(path, content) for path, content in files.items()]


def put(api: Any, files: dict[str, bytes], **options: Any) -> str:
    """Commit files to the data set, and give the commit's hash."""
    oid: str = api.create_commit(
        **OF_DATA, operations=adds(files), commit_message="files", **options
    ).oid
    return oid
