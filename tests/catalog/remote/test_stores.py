"""Every store keeps the same promises: what one publishes, another fetches whole."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError, Layout, Param, Population, ShardCorrupt
from catalog.remote.fetch import Fetch
from catalog.remote.publish import Publish
from catalog.upkeep.verify import verify


def publish(zoo: Catalog, place, **options):
    return Publish(zoo.refreshed(), place.destination, license="mit", **options).run()


def fetch(place, root: Path, **options) -> Catalog:
    Fetch(place.source, root, **options).run()
    return catalog.open(root)


@pytest.fixture
def large(new_zoo, commit) -> Catalog:
    """A shard of four megabytes: its download has a middle."""
    layout = Layout((Param("w", (1 << 18,), ("h",)),))
    weights = np.random.default_rng(0).standard_normal((4, 1 << 18)).astype(np.float32)
    table = pa.table({"run_id": [f"big-{i}" for i in range(4)], "step": [0] * 4})
    zoo = new_zoo()
    commit(zoo, Population.from_tensors({"w": weights}, layout, table))
    return zoo.refreshed()


def test_a_round_trip_gives_the_same_catalogue(
    every_place, zoo, networks, small_layout, commit, contents, tmp_path
):
    publish(zoo, every_place)
    here = fetch(every_place, tmp_path / "here")
    assert contents(here) == contents(zoo)
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    done = publish(zoo, every_place)
    assert done.shards == 1
    assert not publish(zoo, every_place).changed
    assert contents(fetch(every_place, tmp_path / "here")) == contents(zoo.refreshed())
    assert not verify(tmp_path / "here").problems
    assert Fetch(every_place.source, tmp_path / "here").plan.files == ()


def test_downloads_that_break_off_go_on_where_they_stopped(
    place, large, contents, tmp_path
):
    publish(large, place)
    place.traffic.sent.clear()
    for megabytes in (1, 2, 1):
        place.traffic.drop("*weights/*", after=megabytes << 20)
    here = fetch(place, tmp_path / "here")
    assert contents(here) == contents(large)
    assert place.traffic.sent["weights"] < 4.6e6


def test_a_killed_fetch_goes_on_where_it_stopped(
    place, large, contents, tmp_path, monkeypatch
):
    publish(large, place)
    monkeypatch.setattr("catalog.remote.download.ATTEMPTS", 1)
    place.traffic.drop("*weights/*", after=3 << 20)
    place.traffic.drop("*weights/*", after=0, times=40)
    with pytest.raises(CatalogError):
        fetch(place, tmp_path / "here")
    place.traffic.clear()
    assert not list((tmp_path / "here" / "manifests").iterdir())
    assert contents(fetch(place, tmp_path / "here")) == contents(large)
    assert place.traffic.sent["weights"] < 1.7e6


def test_damaged_bytes_are_thrown_away_and_fetched_again(place, large, contents, tmp_path):
    publish(large, place)
    place.traffic.corrupt("*weights/*", at=12345, times=2)
    assert contents(fetch(place, tmp_path / "here")) == contents(large)
    place.traffic.corrupt("*weights/*", at=12345, times=9)
    with pytest.raises(ShardCorrupt, match=r"weights/.*sha256"):
        fetch(place, tmp_path / "another")
    assert not list((tmp_path / "another" / "weights").rglob("*.parquet"))


def test_two_publishers_at_once_both_end_up_in_it(
    place, zoo, new_zoo, networks, small_layout, commit, contents, tmp_path
):
    others = []
    for i in range(3):
        other = new_zoo()
        commit(other, networks(small_layout, 2, seed=i, prefix=f"other{i}"))
        others.append(other.refreshed())
    zoos = [zoo, *others]
    jobs = [Publish(z, place.destination, license="mit") for z in zoos]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for _ in pool.map(Publish.run, jobs):
            pass
    expected = {}
    for z in zoos:
        expected |= contents(z)
    assert contents(fetch(place, tmp_path / "here")) == expected
    assert not verify(tmp_path / "here").problems


def test_nothing_there_is_an_error_that_says_so(every_place, tmp_path):
    with pytest.raises(CatalogError, match="no catalogue"):
        fetch(every_place, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_busy_server_is_asked_again(place, zoo, contents, tmp_path):
    publish(zoo, place)
    place.traffic.unavailable("*weights/*", times=2, method="GET")
    assert contents(fetch(place, tmp_path / "here")) == contents(zoo)


def test_errors_name_no_credentials(every_place, zoo, tmp_path):
    if every_place.kind == "web":
        pytest.skip("a web folder is read by anybody")
    publish(zoo, every_place)
    every_place.traffic.unavailable("*weights/*", times=99, method="GET", status=403)
    with pytest.raises(CatalogError) as caught:
        fetch(every_place, tmp_path / "here")
    seen = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "hf_writer" not in seen
    assert "testing" not in seen
    for path in (tmp_path / "here").rglob("*"):
        if path.is_file():
            assert b"hf_writer" not in path.read_bytes()
