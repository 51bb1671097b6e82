"""Files are served as they are, and with faults."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from .clients import CONTENT, PATH, get
from .faults import Traffic
from .files import serve_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "site" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    (tmp_path / "site" / "README.md").write_text("---\nlicense: mit\n---\nread\n")
    return tmp_path / "site"


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
            sock = connection.sock
            assert connection.getresponse().read()
            assert connection.sock is sock
        connection.close()


def test_requests_that_are_cut_are_none(folder: Path) -> None:
    traffic = Traffic()
    with serve_files(folder, traffic) as url:
        for sent in (
            b"Content-Length: 9\r\n\r\n1234",
            b"Transfer-Encoding: chunked\r\n\r\n",
        ):
            place = urlsplit(url)
            with socket.create_connection((place.hostname, place.port)) as connection:
                connection.sendall(b"PUT / HTTP/1.1\r\n" + sent)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(100) == b""
    assert not traffic.requests


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
        traffic.before.append(lambda request: moved.append(f"before {request.path}"))
        traffic.after.append(lambda request: moved.append(f"after {request.path}"))
        assert get(f"{url}/README.md")[0] == 200
        traffic.settle()
        traffic.clear()
        traffic.endless("*")
        with urlopen(f"{url}/{PATH}") as response:
            assert response.read(3 * len(CONTENT)) == 3 * CONTENT
    assert moved == ["before /README.md", "after /README.md"]
    traffic.clear()
    assert not traffic.counts
