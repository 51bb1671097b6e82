"""Places that catalogues are published to: a folder, S3 and the Hub, served here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog import Catalog, Layout, Population
from catalog.console.program import main
from catalog.remote.publish import Publish
from catalog.storage.manifest import Manifest
from tests.servers.faults import Traffic
from tests.servers.files import serve_files


@dataclass
class Place:
    """Where a test publishes, where it fetches from, and what happens on the way."""

    kind: str
    destination: str
    source: str
    traffic: Traffic


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache of its own."""
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "users cache"))
    return tmp_path / "users cache"


SLOW = pytest.mark.slow


@pytest.fixture(params=["web", "s3", "hub"])
def every_place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """One place of each kind that is reached through a network."""
    with served(request.param, tmp_path, monkeypatch) as place:
        yield place


@pytest.fixture(
    params=["web", pytest.param("s3", marks=SLOW), pytest.param("hub", marks=SLOW)]
)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A web folder; beside slow tests, S3 and the Hub too."""
    with served(request.param, tmp_path, monkeypatch) as place:
        yield place


@contextmanager
def served(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Serve a place of a kind until the end of the block."""
    traffic = Traffic()
    if kind == "web":
        (folder / "served").mkdir()
        with serve_files(folder / "served", traffic) as url:
            yield Place("web", str(folder / "served"), url, traffic)
    elif kind == "s3":
        pytest.importorskip("boto3")
        from tests.servers.s3 import serve_s3

        with serve_s3("zoos", traffic):
            yield Place("s3", "s3://zoos/mine/zoo", "s3://zoos/mine/zoo", traffic)
    else:
        constants = pytest.importorskip("huggingface_hub.constants")
        from tests.servers.hub import Hub

        with Hub(traffic) as hub:
            monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
            monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            monkeypatch.setenv("HF_TOKEN", hub.token)
            address = "hf://datasets/tester/zoo"
            yield Place("hub", address, address, traffic)


@pytest.fixture
def shared(
    zoo: Catalog,
    networks: Callable[..., Population],
    small_layout: Layout,
    commit: Callable[..., Manifest],
    place: Place,
) -> tuple[Catalog, Place]:
    """A catalogue with two shards of weights, and where it is published."""
    commit(zoo, networks(small_layout, 4, seed=3, prefix="late"))
    Publish(zoo.refreshed(), place.destination, license="mit").run()
    return zoo.refreshed(), place


@pytest.fixture
def phasezoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[Catalog], dict[tuple[str, int], bytes]]:
    """Weights by checkpoint."""

    def read(zoo: Catalog) -> dict[tuple[str, int], bytes]:
        population = zoo.load("true ORDER BY run_id, step", lossy=True)
        keys = population.table.select(["run_id", "step"]).to_pylist()
        return {
            (row["run_id"], row["step"]): vector.tobytes()
            for row, vector in zip(keys, population.weights, strict=True)
        }

    return read
