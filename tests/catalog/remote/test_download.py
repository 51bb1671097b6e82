"""Two who download the same at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import catalog
from catalog import CatalogError
from catalog.remote.fetch import Fetch


def test_two_fetches_at_once_download_each_file_once(shared, tmp_path, contents):
    local, place = shared
    target = tmp_path / "copy"
    jobs = [Fetch(place.source, target) for _ in range(2)]
    place.traffic.clear()
    place.traffic.before.append(lambda request: time.sleep(0.05))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda job: job.run(), jobs))
    assert (
        done[0].shards.keys()
        == done[1].shards.keys()
        == local.snapshot.leaves
        | {name for name, m in done[0].shards.items() if m.content == "pack"}
    )
    requests = [request.path for request in place.traffic.matching("*.parquet")]
    assert len(requests) == len(set(requests))
    assert contents(catalog.open(target)) == contents(local)


def test_a_fetch_after_another_one_downloads_nothing(shared, tmp_path, contents):
    """It was planned before the other one was finished."""
    local, place = shared
    first, second = (Fetch(place.source, tmp_path / "copy") for _ in range(2))
    first.run()
    place.traffic.clear()
    moved = []
    version = second.run(moved=moved.append).version
    assert not place.traffic.matching("*.parquet")
    assert sum(moved) == second.plan.bytes  # the bar comes to its end
    assert catalog.open(tmp_path / "copy").version == version
    assert contents(catalog.open(tmp_path / "copy")) == contents(local)


def test_a_file_that_is_deleted_meanwhile_is_not_committed(shared, tmp_path, monkeypatch):
    _, place = shared
    first, second = (Fetch(place.source, tmp_path / "copy") for _ in range(2))
    first.run()
    weights = next((tmp_path / "copy").glob("weights/*/*.parquet"))
    (tmp_path / "copy" / "HEAD").unlink()
    for folder in ("manifests", "snapshots"):
        for path in (tmp_path / "copy" / folder).iterdir():
            path.unlink()
    commit = second._commit

    def late(arrived):
        weights.unlink()
        return commit(arrived)

    monkeypatch.setattr(second, "_commit", late)
    with pytest.raises(CatalogError, match="deleted while it was fetched"):
        second.run()
    assert Fetch(place.source, tmp_path / "copy", again=True).run().shards


def test_two_who_open_at_once_download_metadata_once(shared):
    _, place = shared
    place.traffic.clear()
    with ThreadPoolExecutor(2) as pool:
        for there in pool.map(lambda _: catalog.open(place.source), range(2)):
            assert there.sql("SELECT count(*) FROM models").fetchall() == [(9,)]
    requests = [request.path for request in place.traffic.matching("*.parquet")]
    assert len(requests) == len(set(requests))
