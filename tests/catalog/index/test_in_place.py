"""Views over Parquet give the rows that the stored tables give."""

from typing import Any

import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, ShardCorrupt
from catalog.index import cache, in_place, tables


def rows(zoo: Catalog, view: str = "models") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        zoo.sql(f"FROM {view} ORDER BY run_id, step").to_arrow_table().to_pylist()
    )
    return found


def stored(zoo: Catalog, monkeypatch: Any) -> list[dict[str, Any]]:
    """Rows of the catalogue with both tables copied into a new index."""
    with monkeypatch.context() as patch:
        patch.setattr(in_place, "STORED_CHECKPOINTS", 1 << 40)
        connection = cache.duckdb.connect()
        cache.build_index(connection, zoo.root, zoo.refreshed().snapshot.manifests)
    query = "FROM models ORDER BY run_id, step"
    found: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return found


@pytest.fixture
def views(new_zoo: Any, metrics: Any, monkeypatch: Any) -> Catalog:
    """A catalogue whose every checkpoint is one too many for a copy."""
    monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 0)
    zoo = new_zoo()
    metrics(zoo, "a", "b", seed=[1, 2])
    return zoo.refreshed()


def extends(zoo: Catalog, monkeypatch: Any) -> bool:
    """Whether the next index of a catalogue is an extended one."""
    built = []
    real = cache.build_index

    def build(connection: Any, root: Any, manifests: Any, **options: Any) -> None:
        built.append(len(manifests))
        real(connection, root, manifests, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "build_index", build)
        new = zoo.refreshed()
        rows(new)
    return all(count < len(new.snapshot.manifests) for count in built)


def test_large_catalogues_are_told_by_their_commit_records(
    views: Catalog, monkeypatch: Any
) -> None:
    manifests = views.snapshot.manifests
    for most, large in ((1, True), (2, False)):
        monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", most)
        assert in_place.too_large(manifests) is large


def test_the_views_have_the_rows_of_the_tables(
    views: Catalog, measure: Any, metrics: Any, monkeypatch: Any
) -> None:
    measure(views, [{"run_id": "a", "step": 0, "cka": 0.5}])
    metrics(views, "c", dropout=[0.1])
    zoo = views.refreshed()
    assert rows(zoo) == stored(zoo, monkeypatch)
    assert [r["cka"] for r in rows(zoo)] == [0.5, None, None]
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'zoo_index'"
    kept = {name for (name,) in zoo.sql(query).fetchall()}
    assert "runs" in kept
    assert not kept & {"models", "checkpoints"}
    assert [r["run_id"] for r in rows(zoo, "checkpoints")] == ["a", "b", "c"]


def test_weights_are_loaded_from_views_too(zoo: Catalog, monkeypatch: Any) -> None:
    before = zoo.load("step > 0 ORDER BY run_id")
    monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 0)
    cache.index_path(zoo._folder, zoo.snapshot).unlink()
    after = catalog.open(zoo.root).load("step > 0 ORDER BY run_id")
    assert after.weights.tobytes() == before.weights.tobytes()
    assert after.table.select(["run_id", "step"]) == before.table.select(["run_id", "step"])


def test_added_shards_and_newer_measures_extend_it(
    views: Catalog, measure: Any, metrics: Any, monkeypatch: Any
) -> None:
    assert len(rows(views)) == 2
    metrics(views, "c", seed=[3])
    assert extends(views, monkeypatch)
    measure(views, [{"run_id": "a", "step": 0, "x": 1.0, "y": 1.0}])
    assert extends(views, monkeypatch)
    measure(
        views,
        [
            {"run_id": "a", "step": 0, "y": 2.0, 'z"': "new"},
            {"run_id": "c", "step": 0, "y": None, 'z"': None},
        ],
    )
    assert extends(views, monkeypatch)
    zoo = views.refreshed()
    assert rows(zoo) == stored(zoo, monkeypatch)
    first = rows(zoo)[0]
    assert (first["x"], first["y"], first['z"']) == (1.0, 2.0, "new")


def test_measures_of_another_type_rebuild_it(
    views: Catalog, measure: Any, monkeypatch: Any
) -> None:
    measure(views, [{"run_id": "a", "step": 0, "x": 1}])
    rows(views.refreshed())
    measure(views, [{"run_id": "b", "step": 0, "x": 0.5}])
    assert not extends(views, monkeypatch)
    zoo = views.refreshed()
    assert rows(zoo) == stored(zoo, monkeypatch)


def test_a_checkpoint_committed_twice_is_there_once(
    views: Catalog, monkeypatch: Any
) -> None:
    runs = pa.table({"run_id": ["a"], "zoo": ["later"], "source": ["trained"]})
    again = pa.table({"run_id": ["a", "a"], "step": [0, 7], "train_loss": [9.0, 1.0]})
    with views.writer() as writer:
        writer.commit(runs, again)
    zoo = views.refreshed()
    assert rows(zoo) == stored(zoo, monkeypatch)
    found = [(r["run_id"], r["step"], r["zoo"], r["train_loss"]) for r in rows(zoo)]
    assert found == [("a", 0, "zoo", None), ("a", 7, "zoo", 1.0), ("b", 0, "zoo", None)]


def test_crossing_the_limit_builds_the_other_kind(
    new_zoo: Any, metrics: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 2)
    zoo = new_zoo()
    metrics(zoo, "a", "b")
    small = zoo.refreshed()
    assert len(rows(small)) == 2
    metrics(zoo, "c")
    large = zoo.refreshed()
    assert [r["run_id"] for r in rows(large)] == ["a", "b", "c"]
    assert small.sql("SELECT count(*) FROM models").fetchall() == [(2,)]


def test_a_file_that_is_gone_is_named(views: Catalog) -> None:
    rows(views)
    (manifest,) = views.snapshot.manifests
    (views.root / manifest.files["checkpoints"].path).unlink()
    with pytest.raises(ShardCorrupt, match=f"checkpoints/{manifest.shard}.*is missing"):
        rows(catalog.open(views.root))


def test_models_are_the_same_in_batches_of_any_size(
    new_zoo: Any, metrics: Any, measure: Any, monkeypatch: Any
) -> None:
    zoo = new_zoo()
    for i in range(5):
        metrics(zoo, *[f"run-{(7 * j + i) % 10}-{i}" for j in range(4)])
        measure(zoo, [{"run_id": f"run-{i}-{i}", "step": 0, "m": float(i)}])
    manifests = zoo.refreshed().snapshot.manifests
    found = []
    for batch in (1, 5, 1 << 20):
        monkeypatch.setattr(tables, "BATCH", batch)
        connection = cache.duckdb.connect()
        cache.build_index(connection, zoo.root, manifests)
        assert len(tables._batches(connection, manifests)) == {1: 5, 5: 3}.get(batch, 1)
        found.append(connection.sql("FROM models").to_arrow_table().to_pylist())
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 20
