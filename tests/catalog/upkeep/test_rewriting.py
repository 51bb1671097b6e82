"""`gc` writes shards again without what was removed; everything else stays as it was."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, Layout, Param, Population, ShardCorrupt
from catalog.upkeep import garbage
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.rewriting import rewrite, wasteful
from catalog.upkeep.verify import verify

LAYOUT = Layout(
    (
        Param("w", (30, 20), ("h", None)),
        Param("wide", (2,), (None,), "float64"),
        Param("half", (2,), (None,), "bfloat16", "buffer"),
        Param("n", (), (), "int64", "counter"),
    )
)
SHARDS, RUNS = 6, 4


@pytest.fixture
def zoo(new_zoo: Any) -> Catalog:
    """Six shards of four runs with three checkpoints; the first run has a parent."""
    store: Catalog = new_zoo()
    with store.writer() as writer:
        for shard in range(SHARDS):
            ids = [f"s{shard}r{run}" for run in range(RUNS)]
            n = 3 * RUNS
            draws = np.random.default_rng(shard)
            table = pa.table(
                {"run_id": [i for i in ids for _ in range(3)], "step": [0, 5, 9] * RUNS}
            )
            tensors = {
                "w": draws.normal(size=(n, 30, 20)).astype(np.float32),
                "wide": draws.normal(size=(n, 2)),
                "half": draws.integers(0, 1 << 15, (n, 2)).astype(np.uint16),
                "n": np.arange(n),
            }
            runs = {
                "run_id": ids,
                "zoo": ["z"] * RUNS,
                "source": ["trained"] * RUNS,
                "parents": [[{"run_id": "x", "step": 1, "role": "init"}]] + [None] * 3,
                f"free{shard % 2}": [float(shard)] * RUNS,
            }
            points = table.append_column("test_loss", pa.array(draws.random(n)))
            writer.commit(
                pa.table(runs),
                points,
                Population.from_tensors(tensors, LAYOUT, table, lossy=True),
                '{"name":"mlp","widths":[2]}',
            )
        key = pa.table({"run_id": ["s0r0", "s1r3"], "step": [5, 9], "x": [1.5, 2.5]})
        writer.commit_measures(key, "x", {})
    return store.refreshed()


def content(root: Path) -> dict[tuple[str, int], Any]:
    """Every column but where it stands, and every byte."""
    store = catalog.open(root)
    selection = store.select("true")
    rows = selection.table.drop_columns(["shard", "row"]).to_pylist()
    weights = [{k: v.tobytes() for k, v in selection[i].items()} for i in range(len(rows))]
    assert not verify(root).problems
    return {
        (row["run_id"], row["step"]): ({k: str(v) for k, v in row.items()}, bits)
        for row, bits in zip(rows, weights, strict=True)
    }


def files(root: Path) -> set[Path]:
    return {p for p in root.rglob("*") if not {"cache", "writers"} & {*p.parts}}


def size(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "weights").rglob("*.parquet"))


GONE = "step = 0 OR run_id IN ('s1r0', 's2r0', 's2r1', 's2r2', 's2r3')"


@pytest.mark.parametrize("packed", ["no", "before", "after"])
def test_what_stays_is_the_same_to_the_last_bit(zoo: Catalog, packed: str) -> None:
    root, everything = zoo.root, content(zoo.root)
    if packed == "before":
        compact(root)
    remove(zoo.refreshed(), GONE)
    if packed == "after":
        compact(root)
    left = content(root)
    assert left == {
        key: value
        for key, value in everything.items()
        if key[1] and key[0] not in ("s1r0", "s2r0", "s2r1", "s2r2", "s2r3")
    }
    before = size(root)
    planned = collect(root, grace=0, rehearse=True)
    assert (len(planned.rewritten), len(planned.shards)) == (5, 2)
    assert size(root) == before
    done = collect(root, grace=0)
    assert done.rewritten == planned.rewritten
    assert content(root) == left
    assert size(root) < 0.75 * before
    (root / "HEAD").unlink()
    assert content(root) == left
    assert collect(root, grace=0).rewritten == []
    contents = {m.content for m in catalog.open(root).snapshot.manifests}
    assert "tombstones" not in contents
    assert not verify(root).leftovers


def test_a_shard_that_lost_little_is_left_alone(zoo: Catalog) -> None:
    remove(zoo, "run_id = 's0r1' AND step > 0")
    found = collect(zoo.root, grace=0)
    assert (found.rewritten, found.shards) == ([], [])


def test_old_and_new_shard_side_by_side_are_one(zoo: Catalog) -> None:
    """As a kill between both leaves them; which of the two is read is left to hashes."""
    remove(zoo, GONE)
    left = content(zoo.root)
    for _ in range(3):
        now = zoo.refreshed()
        rewrite(now, wasteful(now, now.snapshot.manifests))
        assert content(zoo.root) == left
    collect(zoo.root, grace=0)
    assert content(zoo.root) == left
    assert len(list((zoo.root / "weights").rglob("*.parquet"))) == SHARDS - 1


def test_what_is_removed_meanwhile_stays_removed(zoo: Catalog, monkeypatch: Any) -> None:
    def and_remove(store: Catalog, manifests: Any) -> None:
        rewrite(store, manifests)
        remove(store.refreshed(), "run_id = 's0r1'")

    monkeypatch.setattr(garbage, "rewrite", and_remove)
    remove(zoo, GONE)
    left = content(zoo.root)
    collect(zoo.root, grace=0)
    assert content(zoo.root) == {k: v for k, v in left.items() if k[0] != "s0r1"}


def test_a_damaged_shard_is_not_copied(zoo: Catalog) -> None:
    remove(zoo, GONE)
    path = zoo.root / zoo.snapshot.manifests[0].files["weights"].path
    data = bytearray(path.read_bytes())
    stored = zoo.select("run_id = 's0r1' AND step = 5").tensor("wide").tobytes()
    data[data.index(stored)] ^= 1
    path.write_bytes(data)
    before = files(zoo.root)
    with pytest.raises(ShardCorrupt, match="'wide' differs from the committed tensor"):
        collect(zoo.root, grace=0)
    assert files(zoo.root) == before


def test_without_waste_the_files_hold_what_models_holds(zoo: Catalog) -> None:
    remove(zoo, "run_id = 's0r1' AND step = 5")
    with zoo.refreshed().writer() as writer:  # one known, one new, without weights
        runs = {"run_id": ["s1r1", "new"], "zoo": ["z"] * 2, "source": ["trained"] * 2}
        table = pa.table({"run_id": ["s1r1", "new"], "step": [5, 0]})
        writer.commit(pa.table(runs), table)
    left = zoo.refreshed().sql("SELECT run_id, step FROM models ORDER BY ALL").fetchall()
    assert len(collect(zoo.root, grace=0, waste=0).rewritten) == 2
    glob = str(zoo.root / "checkpoints" / "*.parquet")
    plain = f"SELECT run_id, step FROM read_parquet('{glob}', union_by_name=true)"
    assert duckdb.sql(f"{plain} ORDER BY ALL").fetchall() == left
    assert (
        zoo.refreshed().sql("SELECT run_id, step FROM models ORDER BY ALL").fetchall()
        == left
    )


def test_what_was_committed_twice_is_kept_once(zoo: Catalog) -> None:
    left = content(zoo.root)
    again = catalog.open(zoo.root).load("starts_with(run_id, 's3')")
    with zoo.writer() as writer:
        runs = pa.table(
            {"run_id": [f"s3r{i}" for i in range(4)], "zoo": ["z"] * 4, "source": ["x"] * 4}
        )
        writer.commit(runs, again.table.select(["run_id", "step"]), again)
    assert len(collect(zoo.root, grace=0).shards) == 1
    assert content(zoo.root) == left
    assert len(list((zoo.root / "weights").rglob("*.parquet"))) == SHARDS
