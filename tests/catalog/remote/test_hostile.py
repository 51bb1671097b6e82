"""A hostile remote is refused by name, or does no harm."""

import hashlib
import json
from pathlib import Path

import pytest

import catalog
from catalog import CatalogError, ShardCorrupt
from catalog.remote.address import parse_address
from catalog.remote.fetch import Fetch
from catalog.remote.publish import Publish
from catalog.upkeep.removal import remove
from tests.servers.faults import Traffic
from tests.servers.files import serve_files


@pytest.fixture
def served(zoo, tmp_path):
    """A published catalogue: its folder, its URL, and what happens on the way."""
    Publish(zoo, str(tmp_path / "served"), license="mit").run()
    traffic = Traffic()
    with serve_files(tmp_path / "served", traffic) as url:
        yield tmp_path / "served", url, traffic


def rewrite(folder: Path, change) -> None:
    """Alter the newest snapshot, and let HEAD vouch for it."""
    version = int((folder / "HEAD").read_text().split()[0])
    path = folder / "snapshots" / f"{version}.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "HEAD").write_text(f"{version} {digest}\n")


def weights(value):
    """The file record of the weights in a snapshot."""
    return value["shards"][0]["members"][0]["files"]["weights"]


@pytest.mark.parametrize(
    "path",
    [
        "../../outside.parquet",
        "/etc/passwd",
        "weights/../../x.parquet",
        "weights/a/..%2f..%2fx.parquet",
        "http://elsewhere/x.parquet",
        "HEAD",
    ],
)
def test_paths_that_lead_outside_are_refused(served, tmp_path, path):
    folder, url, _ = served
    rewrite(folder, lambda value: weights(value).update(path=path))
    with pytest.raises(ShardCorrupt, match="a path like"):
        Fetch(url, tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("size", [-1, 1 << 60, "7", None, 1.5, True])
def test_sizes_that_cannot_be_are_refused(served, tmp_path, size):
    folder, url, _ = served
    rewrite(folder, lambda value: weights(value).update(bytes=size))
    with pytest.raises(ShardCorrupt, match="'bytes'"):
        Fetch(url, tmp_path / "here")


def test_absurd_amounts_are_refused_before_anything_moves(served, tmp_path):
    folder, url, traffic = served
    rewrite(folder, lambda value: weights(value).update(bytes=1 << 49))
    job = Fetch(url, tmp_path / "here")
    with pytest.raises(CatalogError, match="bytes free"):
        job.run()
    assert traffic.sent["weights"] == 0


@pytest.mark.parametrize("change", [1, -1])
def test_wrong_sizes_are_refused(served, tmp_path, change):
    folder, url, _ = served
    rewrite(
        folder, lambda value: weights(value).update(bytes=weights(value)["bytes"] + change)
    )
    with pytest.raises(CatalogError, match="weights/"):
        Fetch(url, tmp_path / "here").run()
    assert not list((tmp_path / "here" / "weights").rglob("*.parquet"))


def test_an_endless_body_ends(served, tmp_path):
    _, url, traffic = served
    traffic.endless("*weights/*")
    job = Fetch(url, tmp_path / "here")
    job.run()
    assert len(catalog.open(tmp_path / "here").load(lossy=True)) == 5


def test_an_endless_head_is_refused(served, tmp_path):
    _, url, traffic = served
    traffic.endless("/HEAD")
    with pytest.raises(CatalogError, match="more than 200 bytes"):
        Fetch(url, tmp_path / "here")


def test_a_head_that_is_none_is_refused(served, tmp_path):
    folder, url, _ = served
    (folder / "HEAD").write_text("<html>Welcome</html>")
    with pytest.raises(ShardCorrupt, match="version number"):
        Fetch(url, tmp_path / "here")


def test_a_snapshot_that_head_does_not_vouch_for_is_refused(served, tmp_path):
    folder, url, _ = served
    path = next((folder / "snapshots").iterdir())
    path.write_text(path.read_text() + " ")
    with pytest.raises(ShardCorrupt, match="sha256"):
        Fetch(url, tmp_path / "here")


def test_a_newer_format_is_refused(served, tmp_path):
    folder, url, _ = served
    rewrite(folder, lambda value: value.update(format=[99, 0]))
    with pytest.raises(CatalogError, match="Upgrade"):
        Fetch(url, tmp_path / "here")


def test_nothing_of_ours_is_dropped_by_a_stranger(
    served, new_zoo, networks, small_layout, commit, tmp_path
):
    folder, url, _ = served
    mine = new_zoo()
    manifest = commit(mine, networks(small_layout, 2, prefix="mine"))
    rewrite(folder, lambda value: value.update(dropped=[manifest.shard]))
    Fetch(url, mine.root).run()
    assert len(mine.refreshed().load("run_id LIKE 'mine%'", lossy=True)) == 2


def test_removals_by_a_stranger_are_refused(
    new_zoo, networks, small_layout, commit, tmp_path
):
    mine = new_zoo()
    commit(mine, networks(small_layout, 2, seed=7, prefix="mine"))
    stranger = new_zoo()
    commit(stranger, networks(small_layout, 2, seed=7, prefix="mine"))
    remove(stranger.refreshed(), "run_id = 'mine-1'")
    with pytest.raises(CatalogError, match="mine-1@10"):
        Fetch(str(stranger.root), mine.root).run()
    assert len(mine.refreshed().load(lossy=True)) == 2
    Fetch(str(stranger.root), tmp_path / "empty").run()
    assert len(catalog.open(tmp_path / "empty").load(lossy=True)) == 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ftp://host/zoo",
        "https://user:secret@host/zoo",
        "https://host/zoo?token=secret",
        "hf://datasets/only-a-name",
        "hf://datasets/a/b/../../c",
        "s3://x",
        "s3://bucket/../other",
        "file:///etc",
    ],
)
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(CatalogError) as caught:
        parse_address(address)
    assert "secret" not in str(caught.value)
