"""A fetch of a part through every store: bytes are counted, breaks and damage survived."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError, Layout, Param, Population, ShardCorrupt
from catalog.remote.publish import Publish
from catalog.remote.ranges import batches, ranges_to_ask_for
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (1 << 16,)), Param("b", (1 << 14,))))
ROWS = 8


@pytest.fixture
def large(new_zoo, commit) -> Catalog:
    """Two shards of networks of 320 KiB."""
    zoo = new_zoo()
    rng = np.random.default_rng(0)
    for name in "xy":
        tensors = {
            p.name: rng.standard_normal((ROWS, *p.shape)).astype(np.float32) for p in LAYOUT
        }
        ids = [f"{name}-{i}" for i in range(ROWS)]
        table = pa.table({"run_id": ids, "step": [0] * ROWS})
        commit(zoo, Population.from_tensors(tensors, LAYOUT, table))
    return zoo.refreshed()


def most(payload: int, shards: int) -> float:
    """The most that may be downloaded for a payload."""
    return 1.1 * payload + shards * (64 << 10)


def same(here: Catalog, source: Catalog, tensor: str, where: str = "true") -> None:
    where = f"{where} ORDER BY run_id"
    np.testing.assert_array_equal(
        here.read_tensor(tensor, where), source.read_tensor(tensor, where)
    )


def test_only_the_part_moves_and_later_only_the_rest(
    every_place, large, tmp_path, cache: Path
):
    Publish(large, every_place.destination, license="mit").run()
    sent = every_place.traffic.sent
    root = tmp_path / "h"

    def fetch(**options) -> int:
        sent.clear()
        shutil.rmtree(cache, ignore_errors=True)  # nothing is remembered but the catalogue
        here = catalog.fetch(every_place.source, root, **options)
        for tensor in {"b", options.get("tensors", "w")[0]}:
            same(here, large, tensor, options.get("where", "true"))
        return sent["weights"]

    b, w = LAYOUT["b"].nbytes, LAYOUT["w"].nbytes
    assert 0 < fetch(tensors=["b"]) <= most(2 * ROWS * b, 2)
    assert fetch(tensors=["b"]) == 0
    some = "run_id IN ('x-0', 'x-1', 'x-5', 'y-7')"
    assert 4 * w <= fetch(where=some) <= most(4 * w, 2)
    assert fetch(where=some) == 0
    rest = (2 * ROWS - 4) * w
    assert rest <= fetch(where="true") <= most(rest, 2)
    assert not verify(root).problems


def test_breaks_are_survived(place, large, tmp_path):
    Publish(large, place.destination, license="mit").run()
    place.traffic.clear()
    for start in (100_000, 200_000, 50_000):
        place.traffic.drop("*weights/*", after=start)
    here = catalog.fetch(place.source, tmp_path / "h", tensors=["w"])
    same(here, large, "w")
    payload = 2 * ROWS * LAYOUT["w"].nbytes
    assert place.traffic.sent["weights"] <= most(payload, 2) + (3 << 20)


def test_an_ended_fetch_goes_on_where_it_stopped(place, large, tmp_path, monkeypatch):
    Publish(large, place.destination, license="mit").run()
    place.traffic.clear()
    monkeypatch.setattr("catalog.remote.store.ATTEMPTS", 1)
    monkeypatch.setattr("catalog.remote.ranges.BATCH_BYTES", 256 << 10)
    shard = large.snapshot.manifests[0].shard
    other = large.snapshot.manifests[1].shard
    place.traffic.unavailable(f"*weights/*{other}*", times=99)
    with pytest.raises(CatalogError):
        catalog.fetch(place.source, tmp_path / "h", tensors=["w"])
    assert not list((tmp_path / "h" / "manifests").iterdir())
    place.traffic.clear()
    here = catalog.fetch(place.source, tmp_path / "h", tensors=["w"])
    same(here, large, "w")
    again = [r for r in place.traffic.matching(f"*weights/*{shard}*") if r.method == "GET"]
    assert len(again) < ROWS  # what had arrived of it was not asked for again


def test_damaged_ranges_are_thrown_away_and_fetched_again(place, large, tmp_path):
    Publish(large, place.destination, license="mit").run()
    place.traffic.corrupt("*weights/*", at=12345, times=1)
    same(catalog.fetch(place.source, tmp_path / "h", tensors=["b"]), large, "b")
    place.traffic.corrupt("*weights/*", at=12345, times=99)
    with pytest.raises(ShardCorrupt, match=r"tensor 'w'.*blake3"):
        catalog.fetch(place.source, tmp_path / "other", tensors=["w"])
    assert not list((tmp_path / "other" / "manifests").iterdir())
    place.traffic.clear()
    same(catalog.fetch(place.source, tmp_path / "other", tensors=["w"]), large, "w")


def test_damage_here_is_found_before_it_is_copied(large, tmp_path):
    here = catalog.fetch(large.root, tmp_path / "h", tensors=["b"])
    path = next((here.root / "weights").rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardCorrupt, match=r"phasezoo verify"):
        catalog.fetch(large.root, tmp_path / "h", tensors=["w"])


def test_ranges_keep_within_their_surplus():
    rng = np.random.default_rng(1)
    for _ in range(200):
        size = int(rng.integers(1, 1 << 22))
        starts = rng.integers(0, size, rng.integers(1, 50))
        spans = [(int(s), int(min(size, s + rng.integers(1, 9999)))) for s in starts]
        wanted = {i // 64 for a, b in spans for i in range(a, b, 64)}
        asked = ranges_to_ask_for(spans, size)
        for a, b in spans:
            assert any(first <= a and b <= last for first, last in asked)
        assert all(x[1] < y[0] for x, y in pairwise(asked))
        total = sum(b - a for a, b in asked)
        assert total <= most(64 * (len(wanted) + 2 * len(spans)), 1)
        cut = [span for batch in batches(asked) for span in batch]
        assert sum(b - a for a, b in cut) == total
