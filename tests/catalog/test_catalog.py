"""From SQL to weights and back: what was committed is what is read."""

import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import (
    Catalog,
    CatalogError,
    Layout,
    LayoutMismatch,
    NotFound,
    Param,
    Population,
    ShardCorrupt,
)
from catalog.catalog import architecture_of, default_root
from catalog.dtypes import Array, dtype
from catalog.index import tables
from catalog.query import database
from catalog.storage import shard


def bits(value: Array) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def weight_file(zoo: Catalog, name: str | None = None) -> Path:
    names = [name] if name else list(zoo.snapshot.shards)
    return zoo.root / zoo.snapshot.shards[names[0]].files["weights"].path


@given(
    st.from_type(Population).filter(lambda p: len(p.layout)),
    st.integers(1, 4),
    st.randoms(),
)
@settings(max_examples=6)
def test_a_population_comes_back_bit_for_bit_every_way(
    new_zoo: Any, commit: Any, population: Population, group: int, random: Any
) -> None:
    zoo = new_zoo()
    with patch.object(shard, "ROW_GROUP_ROWS", group):
        commit(zoo, population, seed=[7] * len(population))
    zoo = zoo.refreshed()
    for _ in ("as committed", "rewritten"):
        loaded = zoo.load(verify=True)
        assert loaded.layout == population.layout
        assert bits(loaded.weights) == bits(population.weights)
        assert loaded["run_id"].tolist() == population["run_id"].tolist()
        assert loaded["seed"].tolist() == [7] * len(population)
        order = random.sample(range(len(population)), len(population))
        ids = ", ".join(f"({i}, '{population['run_id'][i]}')" for i in order)
        shuffled = zoo.sql(
            f"SELECT run_id, step FROM (VALUES {ids}) o(i, run_id) JOIN models "
            f"USING (run_id) ORDER BY list_position({order}, i)"
        )
        for param in population.layout:
            stored = population.stored(param.name)
            assert bits(loaded.stored(param.name)) == bits(stored)
            out = np.empty((len(order), *param.shape), dtype(param.dtype).storage)
            assert zoo.read_tensor(param.name, shuffled, out) is out
            assert bits(out) == bits(stored[order])
            assert bits(zoo.read_tensor(param.name)) == bits(stored)
        for i, tensors in enumerate(zoo.select()[i] for i in range(len(population))):
            assert {k: bits(v) for k, v in tensors.items()} == {
                k: bits(v) for k, v in population.state_dict(i).items()
            }
        path = weight_file(zoo)
        pq.write_table(pq.read_table(path, partitioning=None), path, compression="zstd")
        zoo = zoo.refreshed()
    assert not zoo._weights.reader(next(iter(zoo.snapshot.shards))).trusted


def test_a_rewritten_shard_is_recognised_and_a_fresh_one_trusted(zoo: Catalog) -> None:
    (name,) = zoo.snapshot.shards
    assert zoo._weights.reader(name).trusted
    path = weight_file(zoo)
    pq.write_table(pq.read_table(path, partitioning=None), path, compression="zstd")
    assert not zoo.refreshed()._weights.reader(name).trusted


def test_rows_that_somebody_reordered_are_never_taken_for_others(zoo: Catalog) -> None:
    path = weight_file(zoo)
    pq.write_table(pq.read_table(path, partitioning=None).take([1, 0, 2, 3, 4]), path)
    with pytest.raises(
        ShardCorrupt, match="row 0 is run run-1 at step 10; expected run run-0"
    ):
        zoo.refreshed().load()


@pytest.fixture(scope="module")
def mixed(new_zoo: Any, commit: Any, networks: Any, metrics: Any) -> tuple[Catalog, Any]:
    """Two widths, two dtypes of one tensor, two shards of one layout; bare metrics."""
    zoo, populations = new_zoo(), {}
    narrow = Layout((Param("w", (2, 3)), Param("b", (2,), (), "float16")))
    wide = Layout((Param("w", (4, 3)), Param("b", (2,), (), "float16")))
    brain = Layout((Param("w", (2, 3), (), "bfloat16"), Param("other", ())))
    for seed, (prefix, layout) in enumerate(
        [("narrow", narrow), ("wide", wide), ("again", narrow), ("brain", brain)]
    ):
        populations[prefix] = networks(layout, 4, seed=seed, prefix=prefix)
        commit(zoo, populations[prefix], width=[layout["w"].shape[0]] * 4)
    metrics(zoo, "bare", width=[9])
    return zoo.refreshed(), populations


@given(
    st.lists(st.tuples(st.sampled_from(["narrow", "again"]), st.integers(0, 3)), min_size=1)
)
@settings(max_examples=20)
def test_rows_of_several_shards_come_in_the_order_of_the_relation(
    mixed: Any, picks: list[tuple[str, int]]
) -> None:
    zoo, populations = mixed
    values = ", ".join(
        f"({at}, '{name}-{i}', {10 * i})" for at, (name, i) in enumerate(picks)
    )
    relation = zoo.sql(
        f"SELECT run_id, step FROM (VALUES {values}) v(i, run_id, step) ORDER BY i"
    )
    expected = np.stack([populations[name].tensor("w")[i] for name, i in picks])
    assert bits(zoo.read_tensor("w", relation)) == bits(expected)
    loaded = zoo.load(relation)
    assert loaded["run_id"].tolist() == [f"{name}-{i}" for name, i in picks]
    assert bits(loaded.tensor("w")) == bits(expected)
    selection = zoo.select(relation)
    assert bits(selection[-1]["w"]) == bits(expected[-1])


def test_the_message_about_several_layouts_offers_a_condition_that_works(
    mixed: Any,
) -> None:
    zoo, _ = mixed
    with pytest.raises(LayoutMismatch, match=r"3 layouts .*8 x .*4 x ") as caught:
        zoo.load("row IS NOT NULL")
    condition = re.search(
        r"Add a condition, for example: (arch_id = '[^']+')$", str(caught.value)
    )
    assert condition is not None
    loaded = zoo.load(condition[1])
    assert len(loaded) == 8
    assert loaded.layout == zoo.layout(loaded["arch_id"][0])


def test_a_tensor_is_read_across_architectures_where_it_has_one_shape(
    mixed: Any,
) -> None:
    zoo, populations = mixed
    found = zoo.read_tensor("b", "run_id LIKE 'narrow%' OR run_id LIKE 'wide%'")
    expected = [populations[name].stored("b") for name in ("narrow", "wide")]
    assert bits(found) == bits(np.concatenate(expected))


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (
            lambda z: z.read_tensor("w", "width IN (2, 4)"),
            LayoutMismatch,
            r"'w' has 3 shapes",
        ),
        (
            lambda z: z.read_tensor("b", "row IS NOT NULL"),
            NotFound,
            "No tensor 'b' in .*Closest",
        ),
        (lambda z: z.read_tensor("w", "false"), NotFound, "nothing to read"),
        (lambda z: z.load("width = 77"), NotFound, "nothing to load"),
        (
            lambda z: z.load("width = 9"),
            CatalogError,
            "1 of 1 .*Add the condition: row IS NOT",
        ),
        (
            lambda z: z.read_tensor("w"),
            CatalogError,
            "1 of 17 .*Add the condition: row IS NOT",
        ),
        (lambda z: z.select("widht = 2"), CatalogError, "SQL error.*(?s:.)*width"),
        (lambda z: z.select("width ="), CatalogError, "SQL error"),
        (lambda z: z.sql("SELECT nope FROM models"), CatalogError, "SQL error.*nope"),
        (lambda z: z.sql("SELECT 1 FROM nope"), CatalogError, "SQL error.*nope"),
        (
            lambda z: z.select(z.sql("SELECT run_id FROM models")),
            CatalogError,
            "no column 'step'",
        ),
        (
            lambda z: z.select(z.sql("SELECT step FROM models")),
            CatalogError,
            "column 'run_id'",
        ),
        (
            lambda z: z.select(z.sql("SELECT run_id, run_id::INT AS step FROM models")),
            CatalogError,
            "SQL error. Conversion",
        ),
        (
            lambda z: z.select(z.sql("SELECT 'x' AS run_id, step FROM models LIMIT 2")),
            NotFound,
            "2 of 2 .* are not in this catalogue",
        ),
        (lambda z: z.layout("no-such"), NotFound, "No architecture 'no-such'"),
        (
            lambda z: z.read_tensor("w", "width = 4", np.empty((4, 4, 3))),
            LayoutMismatch,
            r"out must be C-contiguous float32 \(4, 4, 3\). Got float64",
        ),
        (
            lambda z: z.read_tensor("w", "width = 4", np.empty((4, 3, 4), np.float32)),
            LayoutMismatch,
            r"Got float32 \(4, 3, 4\)",
        ),
        (
            lambda z: z.read_tensor("w", "width = 4", np.empty((3, 4, 4), np.float32).T),
            LayoutMismatch,
            "C-contiguous",
        ),
    ],
)
def test_what_cannot_be_read_says_why(
    mixed: Any, act: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        act(mixed[0])


@pytest.mark.parametrize(
    "where",
    [
        "width = 2 ORDER BY run_id DESC LIMIT 3",
        "width = 2 LIMIT 3",
        "run_id LIKE 'again%'",
        "width = 2 ORDER BY 1 DESC",
        "width = 4 OR (width = 4 AND step > 0)",
    ],
)
def test_read_tensor_and_load_agree_on_rows_and_order(mixed: Any, where: str) -> None:
    zoo, _ = mixed
    where = f"arch_id <> '{zoo.load('run_id LIKE $$brain%$$')['arch_id'][0]}' AND " + where
    loaded = zoo.load(where)
    assert len(loaded) > 1
    assert bits(zoo.read_tensor("w", where)) == bits(loaded.tensor("w"))


def test_float64_is_read_exactly_or_rounded_on_request(new_zoo: Any, commit: Any) -> None:
    layout = Layout((Param("w", (2,), (), "float64"),))
    table = pa.table({"run_id": ["a"], "step": [0]})
    zoo = new_zoo()
    commit(zoo, Population(np.float32([[0.5, -0.0]]), layout, table))
    path, zoo = weight_file(zoo.refreshed()), zoo.refreshed()
    assert zoo.read_tensor("w").dtype == np.float64
    changed = pq.read_table(path, partitioning=None)
    values = pa.FixedSizeListArray.from_arrays(
        pa.array([0.1, 1e300]), type=changed["w"].type
    )
    pq.write_table(changed.set_column(2, changed.schema.field("w"), values), path)
    zoo = zoo.refreshed()
    with pytest.raises(LayoutMismatch, match=r"2 float64 values .*inf.*lossy=True"):
        zoo.load()
    assert zoo.load(lossy=True).weights.tolist() == [[float(np.float32(0.1)), np.inf]]


@pytest.mark.parametrize(
    "tensor", ["fc.weight", "fc.bias", "bn.num_batches_tracked", "mask"]
)
def test_verify_catches_one_flipped_bit_of_a_payload(zoo: Catalog, tensor: str) -> None:
    first, at = (
        3,
        zoo.sql(f"SELECT \"offset\", row_bytes FROM chunks WHERE tensor = '{tensor}'"),
    )
    offset, width = at.fetchall()[0]
    path = weight_file(zoo)
    data = bytearray(path.read_bytes())
    data[offset + first * width] ^= 1
    path.write_bytes(data)
    reopened = zoo.refreshed()
    assert len(reopened.load()) == 5  # a plain load does not hash
    with pytest.raises(ShardCorrupt, match=f"row 3, tensor '{tensor}' differs from"):
        reopened.load(verify=True)
    assert len(reopened.load("row <> 3", verify=True)) == 4


@pytest.mark.parametrize(
    "kind", ["runs", "checkpoints", "tensors", "chunks", "tensor_stats"]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damaged_metadata_is_named_never_read(zoo: Catalog, kind: str, damage: str) -> None:
    (manifest,) = zoo.snapshot.manifests
    path = zoo.root / manifest.files[kind].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-1])
    if damage == "delete":
        path.unlink()
    with pytest.raises(ShardCorrupt, match=f"{kind}/{manifest.shard}.*phasezoo verify"):
        zoo.refreshed().load(verify=True)


def test_an_opened_catalogue_does_not_change_while_others_write(
    zoo: Catalog, commit: Any, networks: Any, small_layout: Layout
) -> None:
    early = zoo.refreshed()  # its index is not built yet
    assert zoo.sql("SELECT count(*) FROM models").fetchall() == [(5,)]
    commit(zoo, networks(small_layout, 2, seed=1, prefix="late"))
    late = zoo.refreshed()
    assert late.sql("SELECT count(*) FROM models").fetchall() == [(7,)]
    for old in (zoo, early):
        assert old.sql("SELECT count(*) FROM models").fetchall() == [(5,)]
        assert len(old.load()) == 5
        assert old.version < late.version


def test_views_have_the_columns_that_are_documented(zoo: Catalog) -> None:
    from catalog.schema import TABLES

    for view, columns in TABLES.items():
        described = zoo.sql(f"DESCRIBE {view}").fetchall()
        assert [row[0] for row in described] == [column.name for column in columns]
    assert zoo.sql("FROM measures").fetchall() == []


def test_tensor_stats_are_those_of_numpy(zoo: Catalog) -> None:
    rows = (
        zoo.sql("SELECT * FROM tensor_stats WHERE tensor = 'fc.weight' ORDER BY row")
        .to_arrow_table()
        .to_pylist()
    )
    for row, values in zip(rows, zoo.read_tensor("fc.weight").astype(float), strict=True):
        with np.errstate(all="ignore"):
            expected = [np.linalg.norm(values), values.mean(), values.std(),
                        values.min(), values.max()]  # fmt: skip
        found = [row[name] for name in ("l2", "mean", "std", "min", "max")]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert row["nonfinite"] == (~np.isfinite(values)).sum()


def test_a_missing_catalogue_is_made_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match=r"no catalogue in .*nowhere.*--catalog"):
        catalog.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("PHASEZOO_HOME", str(tmp_path / "home"))
    made = catalog.open(create=True)
    assert made.root == default_root() == tmp_path / "home"
    assert made.version == 0
    assert repr(catalog.open()) == f"Catalog('{tmp_path}/home', version 0)"
    monkeypatch.delenv("PHASEZOO_HOME")
    assert default_root() == Path("phasezoo-data")


def test_the_name_of_the_folder_may_be_anything(
    tmp_path: Path, commit: Any, networks: Any, small_layout: Layout
) -> None:
    zoo = catalog.open(tmp_path / "it's [a] *zoo*? %20 {x} é;--" / "b", create=True)
    population = networks(small_layout, 3)
    commit(zoo, population)
    for again in (zoo.refreshed(), zoo.refreshed()):
        assert bits(again.load(verify=True).weights) == bits(population.weights)


def test_the_architecture_travels_with_the_weights(
    new_zoo: Any, runs_of: Any, networks: Any, small_layout: Layout
) -> None:
    zoo, population = new_zoo(), networks(small_layout, 2)
    ids = population["run_id"].tolist()
    runs = runs_of(ids, architecture=['{"name": "MLP", "width": 4}', ""])
    with zoo.writer() as writer:
        manifest = writer.commit(
            runs, population.table, population, '{"name": "MLP", "width": 4}'
        )
    loaded = zoo.refreshed().load()
    assert manifest.arch_id.startswith("mlp-4-")
    assert architecture_of(loaded, 0) == {"name": "MLP", "width": 4}
    with pytest.raises(NotFound, match="architecture of network 1 is not recorded"):
        architecture_of(loaded, 1)


def test_a_slow_query_draws_no_bar_into_the_output(
    zoo: Catalog, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def connect() -> Any:
        connection = tables.connect()
        connection.execute("SET progress_bar_time = 1")
        return connection

    monkeypatch.setattr(database, "connect", connect)
    query = "SELECT count(*) FROM range(30000000) t(i) WHERE hash(i) % 7 = 3"
    assert zoo.sql(query).fetchall()[0][0] > 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("alone", [0, 1 << 30], ids=["threads", "one thread"])
@pytest.mark.parametrize("order", ["run_id", "run_id DESC", "hash(run_id)", "step, run_id"])
def test_weights_are_those_of_the_rows_in_any_order(
    new_zoo: Any, networks: Any, commit: Any, small_layout: Any, monkeypatch: Any,
    order: str, alone: int,
) -> None:  # fmt: skip
    """Filled straight from the files: one run of rows, several, or scattered ones."""
    monkeypatch.setattr("catalog.storage.shard.ROW_GROUP_ROWS", 4)
    monkeypatch.setattr("catalog.selection._ALONE", alone)
    zoo = new_zoo()
    shards = [networks(small_layout, 11, seed=i, prefix=f"s{i}") for i in range(3)]
    for part in shards:
        commit(zoo, part)
    found = zoo.refreshed().load(f"run_id != 's1-5' ORDER BY {order}")
    assert len(found) == 32
    whole = Population.concat(shards)
    at = {run_id: i for i, run_id in enumerate(whole["run_id"])}
    expected = whole.select([at[run_id] for run_id in found["run_id"]])
    assert found.weights.tobytes() == expected.weights.tobytes()
    for name, values in expected.extra.items():
        assert found.extra[name].tobytes() == values.tobytes()
