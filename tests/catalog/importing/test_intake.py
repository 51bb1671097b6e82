"""Imports: grouped, typed, in documented units, and all or nothing."""

import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError, Layout, Param, import_source, importing
from catalog.console.program import main
from catalog.console.progress import Progress
from catalog.formats.format import Network, Tensor
from catalog.formats.stored import StoredNetworks
from catalog.importing import networks as committing
from catalog.importing import source as choosing
from catalog.importing.axes import infer_axes
from catalog.storage.folder import Folder
from catalog.storage.splits import split
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify
from catalog.writer import Part

MLP = {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}


def tensors(seed: int, shapes: dict[str, tuple[int, ...]] = MLP) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    return {
        name: Tensor(rng.normal(size=shape).astype(np.float32), "float32")
        for name, shape in shapes.items()
    }


class Planted:
    """A format that gives the networks it was made with."""

    name = "planted"
    summary = "networks made by a test"

    def __init__(self, networks: Sequence[Network | Exception]) -> None:
        self._networks = networks

    def recognises(self, source: Path) -> bool:
        return True

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        for network in self._networks:
            if isinstance(network, Exception):
                raise network
            yield network


@pytest.fixture
def bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., importing.ImportSummary]:
    """Import these networks into the catalogue ``tmp_path/zoo``."""

    def run(*networks: Network | Exception, **options: Any) -> importing.ImportSummary:
        monkeypatch.setattr(choosing, "find_format", lambda f, s: Planted(networks))
        options = {"zoo": "z", **options}
        return import_source(tmp_path / "zoo", tmp_path, **options)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Callable[[], Catalog]:
    return lambda: catalog.open(tmp_path / "zoo")


def net(name: str, seed: int = 0, **fields: Any) -> Network:
    return Network(name, fields.pop("tensors", tensors(seed)), **fields)


# ------------------------------------------------------------------- what comes in


def test_networks_are_grouped_by_layout(bring: Any, store: Any) -> None:
    other = tensors(3, {"0.weight": (5, 3), "0.bias": (5,)})
    wide = {name: Tensor(np.float64(t.values), "float64") for name, t in tensors(4).items()}
    turned = dict(reversed(tensors(5).items()))
    summary = bring(
        net("a", 1), net("b", tensors=other), net("c", 2),
        net("d", tensors=wide), net("e", tensors=turned),
    )  # fmt: skip
    assert (summary.networks, summary.layouts, len(summary.shards)) == (5, 4, 4)
    groups = store().sql("SELECT list(source_name ORDER BY row) FROM models GROUP BY shard")
    assert sorted(groups.fetchall()) == [(["a", "c"],), (["b"],), (["d"],), (["e"],)]
    assert store().sql("SELECT parameters FROM runs ORDER BY source_name").fetchall() == [
        (26,), (20,), (26,), (26,), (26,),
    ]  # fmt: skip


def test_a_shard_is_staged_when_enough_weights_wait(
    bring: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SHARD_BYTES", 3 * 26 * 4)
    summary = bring(*[net(f"n{i}", i, run={"k": i if i < 5 else i / 2}) for i in range(9)])
    assert len(summary.shards) == 3
    sizes = "SELECT count(*) AS n FROM models GROUP BY shard ORDER BY n"
    assert store().sql(sizes).fetchall() == [(1,), (4,), (4,)]
    assert store().sql("SELECT typeof(k), k FROM models ORDER BY k").fetchall() == [
        ("DOUBLE", v) for v in sorted([0, 1, 2, 3, 4, 2.5, 3, 3.5, 4])
    ]
    for i in range(9):
        state = store().select(f"source_name = 'n{i}'")[0]
        assert all((state[n] == t.values).all() for n, t in tensors(i).items())


def test_memory_does_not_grow_with_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lazy(Planted):
        def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
            for i in range(64):
                values = np.full(1 << 18, i, np.float32)  # 1 MB
                yield net(f"n{i}", tensors={"w": Tensor(values, "float32")})

    monkeypatch.setattr(choosing, "find_format", lambda f, s: Lazy([]))
    monkeypatch.setattr(committing, "SHARD_BYTES", 4 << 20)
    tracemalloc.start()
    summary = import_source(tmp_path / "zoo", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.bytes > 64 << 20
    assert len(summary.shards) == 13
    assert peak < 32 << 20


def test_progress_without_a_total_says_how_many(capsys: Any) -> None:
    bar = Progress(0, "networks", "import")
    bar.close(1234)
    assert capsys.readouterr().err.startswith("import 1,234 networks, ")


def test_roles_and_dtypes_follow_the_documented_default(bring: Any, store: Any) -> None:
    values = {
        "w": np.ones(2, np.float32),
        "bn.running_mean": np.ones(2, np.float16),
        "n": np.array(2**60 + 1),
        "on": np.array([True]),
        "z": np.ones(1, np.complex64),
    }
    found = {k: Tensor.from_array(np.asarray(v), k) for k, v in values.items()}
    found["mean"] = Tensor(np.array([0.1]), "float64", "constant")
    bring(net("a", tensors=found))
    roles = {p.name: (p.role, p.dtype) for p in store().select("true").layout}
    assert roles == {
        "w": ("parameter", "float32"),
        "bn.running_mean": ("buffer", "float16"),
        "n": ("counter", "int64"),
        "on": ("counter", "bool"),
        "z": ("constant", "complex64"),
        "mean": ("constant", "float64"),
    }
    assert store().select("true")[0]["mean"] == 0.1
    assert store().load().weights.tolist() == [[1, 1, 1, 1]]


def test_float64_weights_come_back_bit_for_bit(bring: Any, store: Any) -> None:
    exact = np.random.default_rng(0).normal(size=(3, 3))
    bring(net("a", tensors={"w": Tensor(exact, "float64")}))
    assert store().read_tensor("w").tobytes() == exact.tobytes()
    with pytest.raises(CatalogError, match="not exact in float32"):
        store().load()


def test_columns_are_typed_over_all_networks(bring: Any, store: Any) -> None:
    bring(
        net("a", 1, run={"k": 1, "f": 1, "on": True, "t": "x", "never": None}),
        net("b", 2, run={"k": None, "f": 0.5, "on": None, "lr": 1}),
    )
    rows = store().sql('SELECT k, f, "on", t, lr FROM runs ORDER BY source_name')
    assert rows.fetchall() == [(1, 1.0, True, "x", None), (None, 0.5, None, None, 1.0)]
    types = [str(kind) for kind in rows.types]
    assert types == ["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "DOUBLE"]
    assert "never" not in store().sql("FROM runs").columns


def test_runs_and_checkpoints(bring: Any, store: Any) -> None:
    fields: dict[str, Any] = {"run": {"lr": 0.1}, "run_name": "r"}
    summary = bring(
        net("r/2", 2, step=2, checkpoint={"test_loss": 0.5}, **fields),
        net("r/0", 1, step=0, checkpoint={"test_loss": 1}, **fields),
    )
    assert (summary.networks, summary.runs) == (2, 1)
    rows = store().sql("SELECT step, row, lr, test_loss, finite FROM models ORDER BY step")
    assert rows.fetchall() == [(0, 0, 0.1, 1.0, True), (2, 1, 0.1, 0.5, True)]


def test_new_checkpoints_of_a_known_run_are_added(bring: Any, store: Any) -> None:
    first = net("r/0", 1, run_name="r")
    bring(first)
    summary = bring(first, net("r/1", 2, run_name="r", step=1))
    assert (summary.imported, summary.known, summary.runs) == (1, 1, 1)
    rows = store().sql("SELECT count(DISTINCT run_id), count(*) FROM models").fetchall()
    assert rows == [(1, 2)]


def test_identity_is_zoo_name_and_content(bring: Any, store: Any) -> None:
    bring(net("a", 1), net("b", 1))
    bring(net("a", 1), net("b", 1), zoo="y")
    rows = store().sql("SELECT count(DISTINCT run_id), count(DISTINCT content) FROM models")
    assert rows.fetchall() == [(4, 1)]
    configs = store().sql("SELECT DISTINCT config FROM runs").fetchall()
    assert {json.loads(c)["zoo"] for (c,) in configs} == {"y", "z"}


def test_renamed_columns_go_where_they_are_documented(bring: Any, store: Any) -> None:
    bring(
        net("a", 1, run={"acc": 93.5, "source": "here"}),
        rename={"acc": "test_accuracy", "source": "came_from"},
        percent=["test_accuracy"],
        license="MIT",
    )
    assert store().sql("SELECT test_accuracy FROM checkpoints").fetchall() == [(0.935,)]
    assert store().sql("SELECT came_from, license FROM runs").fetchall() == [
        ("here", "MIT")
    ]


def test_nonfinite_weights_are_flagged_if_they_are_wanted(bring: Any, store: Any) -> None:
    bad = {"w": Tensor(np.float32([1, np.nan]), "float32")}
    mask = {"w": Tensor(np.float32([1, 2]), "float32")}
    mask["m"] = Tensor(np.float32([-np.inf]), "float32", "constant")
    half = {"w": Tensor(np.uint16([0x7F80, 0]), "bfloat16")}
    networks = [net("a", tensors=bad), net("b", tensors=mask), net("c", tensors=half)]
    bring(*networks, allow_nonfinite=True)
    rows = store().sql("SELECT source_name, finite FROM models ORDER BY ALL").fetchall()
    assert rows == [("a", False), ("b", True), ("c", False)]


def test_symbols_are_inferred_unless_the_format_knows_them(bring: Any, store: Any) -> None:
    known = tensors(1)
    known["0.weight"] = Tensor(known["0.weight"].values, "float32", axes=("u", None))
    bring(net("a", 1), net("b", tensors=known))
    axes = {
        name: [p.axes for p in store().select(f"source_name = '{name}'").layout]
        for name in "ab"
    }
    assert axes["a"] == infer_axes([Param(n, s) for n, s in MLP.items()])
    assert axes["b"] == [("u", None), (None,), (None, None), (None,)]


FC = {"fc1.weight": (4, 3), "fc2.weight": (4, 4), "fc3.weight": (2, 4)}
CHAIN = [("hidden1", None), ("hidden2", "hidden1"), (None, "hidden2")]


def test_whoever_knows_that_layers_form_a_chain_can_say_so(bring: Any, store: Any) -> None:
    networks = [net("a", 1), net("b", tensors=tensors(2, FC)), net("c", 3)]
    summary = bring(*networks)
    assert (summary.layouts, summary.symbols) == (2, 1)
    (note,) = summary.notes
    assert note.startswith("1 layout without axis symbols, because the names do not")
    assert note.endswith("If the layers are a chain: --axes chain")
    again = bring(*networks, axes="chain")
    assert (again.imported, again.symbols) == (0, 2)
    assert again.notes[0].startswith("3 known networks keep their axis symbols")
    assert store().select("source_name = 'b'").layout.symbols == {}
    remove(store(), "source_name = 'b'")
    assert bring(*networks, axes="chain").imported == 1
    assert [p.axes for p in store().select("source_name = 'b'").layout] == CHAIN
    assert store().select("source_name = 'a'").layout.symbols == {"hidden1": 4}


def test_symbols_can_be_declined(bring: Any, store: Any) -> None:
    known = {"w": Tensor(np.ones((2, 3), np.float32), "float32", axes=("u", None))}
    summary = bring(net("a", 1), net("b", tensors=known), axes="none")
    assert (summary.layouts, summary.symbols, summary.notes) == (2, 0, [])
    layouts = [store().select(f"source_name = '{name}'").layout for name in "ab"]
    assert [layout.symbols for layout in layouts] == [{}, {}]


def test_an_unknown_rule_for_symbols_is_refused(bring: Any) -> None:
    with pytest.raises(CatalogError, match=r"certain, chain, none\. Got 'always'"):
        bring(net("a", 1), axes="always")


# ------------------------------------------------------------------------- lineage


def test_an_embedded_network_is_a_parent_and_shares_its_splits(
    bring: Any, store: Any
) -> None:
    def inside(seed: int) -> dict[str, Tensor]:
        part = {f"_f.{name}": t for name, t in tensors(seed).items()}
        return part | {f"_i.{name}": t for name, t in tensors(seed + 50).items()}

    pairs = [(net(f"t{i}", tensors=inside(i)), net(f"f{i}", i)) for i in range(12)]
    bring(*[network for pair in pairs for network in pair])
    rows = (
        store()
        .sql(
            "SELECT c.source_name, p.source_name, link.role, link.step, c.split_by_run, "
            "p.split_by_run, c.split_by_cell = p.split_by_cell, p.run_id, p.parents FROM "
            "runs c, unnest(c.parents) t(link), runs p WHERE link.run_id = p.run_id"
        )
        .fetchall()
    )
    assert sorted(row[:4] for row in rows) == sorted(
        (f"t{i}", f"f{i}", "embedded", 0) for i in range(12)
    )
    assert all(row[4] == row[5] == split(row[7]) and row[6] for row in rows)
    assert len({row[4] for row in rows}) > 1
    assert not any(row[8] for row in rows)


def test_of_two_equal_networks_none_is_the_parent(bring: Any, store: Any) -> None:
    part = {f"_f.{name}": t for name, t in tensors(1).items()}
    bring(net("t", tensors=part), net("f", 1), net("g", 1))
    assert store().sql("SELECT count(parents) FROM runs").fetchall() == [(0,)]


def test_stated_parents_are_found_by_name(bring: Any, store: Any) -> None:
    bring(net("tuned", 1, parents=(("base", 0, "init"),)), net("base", 2))
    rows = store().sql("SELECT source_name, split_by_run, parents FROM runs").fetchall()
    found = {row[0]: row[1:] for row in rows}
    assert found["tuned"][0] == found["base"][0]
    assert found["tuned"][1][0]["role"] == "init"


# ------------------------------------------------------------------ all or nothing

LONG = Network("b", tensors(2, {**MLP, "2.bias": (3,)}))
NAN = net("b", tensors={**tensors(1), "2.bias": Tensor(np.float32([1, np.inf]), "float32")})
REFUSED: dict[str, tuple[list[Network | Exception], dict[str, Any], str]] = {
    "other shape": (
        [net("a"), LONG],
        {"one_layout": True},
        r"b differs from first: '2.bias' \(3,\) .*expected '2.bias' \(2,\)",
    ),
    "not finite": ([NAN], {}, "b: 1 of 2 values of '2.bias' are NaN.*--allow-nonfinite"),
    "double": (
        [net("a"), net("b", run_name="a")],
        {},
        "a and b are both step 0 of run 'a'",
    ),
    "same name": ([net("a"), net("a", 2)], {}, "a and a are both step 0"),
    "percent": (
        [net("a", checkpoint={"test_accuracy": 93.5})],
        {},
        "column 'test_accuracy' is 93.5; .* --percent test_accuracy",
    ),
    "negative": (
        [net("a", checkpoint={"test_accuracy": -0.5})],
        {},
        "is -0.5.*fraction from 0 to 1. If .*: --rename",
    ),
    "negative loss": ([net("a", checkpoint={"test_loss": -1})], {}, "never negative"),
    "type": ([net("a", run={"seed": "x"})], {}, "a, column 'seed' is 'x'.*int64"),
    "whole": ([net("a", run={"seed": 0.5})], {}, "'seed' is 0.5"),
    "mixed": (
        [net("a", run={"k": 1}), net("b", run={"k": "x"})],
        {},
        "'k' holds 1 for a and 'x' for b",
    ),
    "inexact": (
        [net("a", run={"k": 2**53 + 1}), net("b", run={"k": 0.5})],
        {},
        "'k' holds numbers with a fraction and 9007199254740993",
    ),
    "list": ([net("a", run={"k": [1]})], {}, r"'k' holds \[1\], a list"),
    "set here": ([net("a", run={"parameters": 3})], {}, "--rename parameters=source_param"),
    "case": ([net("a", run={"LR": 3})], {}, "--rename LR=lr"),
    "two tables": (
        [net("a", run={"k": 3}), net("b", checkpoint={"k": 3})],
        {},
        "'k' belongs to runs for a, but to checkpoints for b",
    ),
    "twice": ([net("a", run={"k": 3}, checkpoint={"k": 3})], {}, "called 'k'"),
    "rename onto": (
        [net("a", run={"k": 3, "j": 4})],
        {"rename": {"j": "k"}},
        "two columns are called 'k'",
    ),
    "rename what": (
        [net("a", run={"alpha": 3})],
        {"rename": {"alfa": "k"}},
        "--rename alfa: .*Closest: alpha",
    ),
    "percent what": ([net("a", run={"k": 3})], {"percent": ["j"]}, "--percent j"),
    "run changes": (
        [net("a", 1, run={"k": 3}), net("b", 2, run={"k": 4}, run_name="a", step=1)],
        {},
        "b: column 'k' is 4, but 3 at another step of run 'a'",
    ),
    "run's layout": (
        [net("a"), Network("b", LONG.tensors, run_name="a", step=1)],
        {},
        "the checkpoints of run 'a' differ",
    ),
    "no parent": ([net("a", parents=(("bas", 0, "init"),))], {}, "'bas', which the source"),
    "nothing": ([], {}, "holds no networks"),
    "no tensors": ([net("a", tensors={})], {}, "a has no tensors"),
    "dtype": (
        [net("a", tensors={"w": Tensor(np.ones(2), "float32")})],
        {},
        "'w' is called float32, but its values are float64",
    ),
    "licence": ([net("a")], {"license": "do what you like!"}, "SPDX"),
    "other licence": (
        [net("a", run={"license": "MIT"})],
        {"license": "CC0-1.0"},
        "has the licence 'MIT'",
    ),
    "zoo": ([net("a")], {"zoo": "\n"}, "cannot name a zoo"),
    "table": ([net("a")], {"metadata": "/nothing.csv"}, "no table"),
    "unreadable": ([net("a"), OSError("bad sector")], {}, "cannot be read: bad sector"),
    "damaged": ([net("a"), CatalogError("b is damaged")], {}, "b is damaged"),
    "taken type": ([net("a", run={"depth": "x"})], {}, "'depth' of type BIGINT"),
    "taken case": ([net("a", run={"Depth": 1})], {}, "'depth' of type BIGINT"),
    "taken table": ([net("a", checkpoint={"depth": 1})], {}, "a column of runs"),
    "taken measure": ([net("a", run={"sharp": 1.0})], {}, "'sharp' is a measure"),
}


@pytest.fixture(scope="module")
def full(new_zoo: Callable[[], Catalog], measure: Any) -> Path:
    """A catalogue with one import and one measure, which no refused import changes."""
    zoo = new_zoo()
    with pytest.MonkeyPatch.context() as patch:
        networks = [net("before", 9, run={"depth": 1})]
        patch.setattr(choosing, "find_format", lambda f, s: Planted(networks))
        import_source(zoo.root, zoo.root, zoo="earlier")
    run_id = zoo.refreshed().sql("SELECT run_id FROM runs").fetchall()[0][0]
    measure(zoo, [{"run_id": run_id, "step": 0, "sharp": 2.5}])
    return zoo.root


@pytest.mark.parametrize("small", [False, True], ids=["in memory", "staged"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_import_leaves_the_catalogue_byte_for_byte(
    case: str, small: bool, full: Path, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(full)
    networks, options, message = REFUSED[case]
    networks = [net("first", 7), *networks] if networks else []
    monkeypatch.setattr(choosing, "find_format", lambda f, s: Planted(networks))
    if small:
        monkeypatch.setattr(committing, "SHARD_BYTES", 1)
    with pytest.raises(CatalogError, match=f"(?s){message}"):
        import_source(full, full, **{"zoo": "z", **options})
    assert files(full) == before
    assert len(before) > 10


def test_a_known_network_with_other_columns_is_refused(
    bring: Any, files: Any, tmp_path: Path
) -> None:
    bring(net("a", 1, run={"k": 1}))
    before = files(tmp_path / "zoo")
    with pytest.raises(CatalogError, match=r"a is in the catalogue .*'k' is 1; .* 2"):
        bring(net("a", 1, run={"k": 2}))
    with pytest.raises(CatalogError, match=r"'j' is None; .* says 'x'"):
        bring(net("a", 1, run={"k": 1, "j": "x"}))
    assert files(tmp_path / "zoo") == before
    bring(net("r0", 3, run_name="r"), net("r1", 4, run_name="r", step=1))
    with pytest.raises(CatalogError, match=r"r1 is in the catalogue .* 'content'"):
        bring(net("r0", 3, run_name="r"), net("r1", 5, run_name="r", step=1))


def test_an_interrupt_deletes_what_was_staged(
    bring: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(net("before", 9), zoo="earlier")
    before = files(tmp_path / "zoo")
    monkeypatch.setattr(committing, "SHARD_BYTES", 1)

    def stop(count: int) -> None:
        if count == 3:
            assert files(tmp_path / "zoo") != before  # two shards are staged
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(*[net(f"n{i}", i) for i in range(4)], progress=stop)
    assert files(tmp_path / "zoo") == before


def test_a_disk_that_fails_between_two_manifests_commits_none(
    bring: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(net("before", 9), zoo="earlier")
    before = files(tmp_path / "zoo")
    monkeypatch.setattr(committing, "SHARD_BYTES", 1)
    publish, count = Folder.publish, []

    def fail(self: Folder, temporary: Path, path: Path) -> None:
        count.extend([1] * (path.parent.name == "manifests"))
        if len(count) == 2 and path.parent.name == "manifests":
            raise OSError(28, "No space left on device")
        publish(self, temporary, path)

    monkeypatch.setattr(Folder, "publish", fail)
    with pytest.raises(CatalogError, match="No space left"):
        bring(net("a", 1), net("b", 2), net("c", 3))
    assert len(count) == 2
    assert files(tmp_path / "zoo") == before


def test_parts_are_published_together_or_not_at_all(
    new_zoo: Any, files: Any, runs_of: Any
) -> None:
    zoo = new_zoo()
    layout = Layout((Param("w", (2,)),))

    def part(writer: catalog.Writer, name: str, keys: Sequence[str]) -> Part:
        table = pa.table({"run_id": list(keys), "step": [0] * len(keys)})
        weights = [{"w": np.ones(2, np.float32)} for _ in keys]
        staged = writer.stage(StoredNetworks(layout, table, weights))
        points = pa.table({"run_id": [name], "step": [0]})
        return Part(runs_of([name]), points, staged)

    before = files(zoo.root)
    with (
        pytest.raises(CatalogError, match="Row i of checkpoints"),
        zoo.writer() as writer,
    ):
        writer.publish([part(writer, "a", ["a"]), part(writer, "b", ["other"])])
    after = files(zoo.root)
    after.pop("README.md")
    assert after == before
    with zoo.writer() as writer:
        writer.publish([part(writer, "a", ["a"]), part(writer, "b", ["b"])])
    assert zoo.refreshed().sql("SELECT count(*) FROM models").fetchall() == [(2,)]
    assert not verify(zoo.root).problems


# -------------------------------------------------------------------- files and verb


def test_files_that_are_not_what_they_seem_are_refused(tmp_path: Path, files: Any) -> None:
    good = {"w": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
    np.savez(tmp_path / "good.npz", **good)
    import_source(tmp_path / "zoo", tmp_path / "good.npz")
    before = files(tmp_path / "zoo")
    np.savez(tmp_path / "pickled.npz", w=np.array([{"a": 1}], object), b=np.ones(3))
    np.savez(tmp_path / "text.npz", w=np.array(["x"]), b=np.ones(3))
    data = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(data[:-30])
    at = data.index(np.ones(6, np.float32).tobytes())
    (tmp_path / "flipped.npz").write_bytes(data[: at + 2] + b"\0" + data[at + 3 :])
    (tmp_path / "a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    (tmp_path / "a.json").write_text('[{"weights": [1, true]}]')
    (tmp_path / "m.csv").write_text("id,lr\na,1\nb\n")
    (tmp_path / "n.csv").write_text("id,lr,id\na,1,2\n")
    for name, message in {
        "pickled.npz": "pickled.npz: 'w' holds Python objects.*pickle",
        "text.npz": "text.npz: 'w' is an array of <U1",
        "short.npz": "short.npz cannot be read",
        "flipped.npz": "flipped.npz cannot be read.*CRC",
        "a.safetensors": "a.safetensors is not a readable",
        "a.json": r"a.json: network 0: weights\[1\] must be a number. Got True",
        "m.csv": "m.csv cannot be read as a csv",
        "n.csv": "n.csv has two columns called 'id'",
    }.items():
        with pytest.raises(CatalogError, match=f"(?s){message}"):
            import_source(tmp_path / "zoo", tmp_path / name)
        assert files(tmp_path / "zoo") == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,lr\na,1\n", "1 networks have no row, e.g. 'b'"),
        ("id,lr\na,1\nb,2\nc,3\n", "1 rows have no network, e.g. 'c'"),
        ("id,lr\na,1\na,2\n", "rows 1 and 2: both have id = 'a'"),
        ("id,lr\na,1\n,2\n", "row 2: 'id' is empty"),
        ("who,lr\na,1\nb,2\n", "no column that names the networks"),
    ],
)
def test_rows_must_match_networks(tmp_path: Path, text: str, message: str) -> None:
    nets = {f"{n}|w": np.ones(3, np.float32) for n in "ab"}
    np.savez(tmp_path / "nets.npz", **nets)
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        import_source(
            tmp_path / "zoo", tmp_path / "nets.npz", metadata=tmp_path / "rows.csv"
        )
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("shapes", "rows", "message"),
    [
        ({"w": (3, 2), "b": (4, 2)}, 3, r"'b' has shape \(4, 2\), but 'w' says .* 3"),
        ({"w": (3, 2)}, 2, "2 rows for 3 networks"),
        ({"w": (3, 2)}, 4, "4 rows for 3 networks"),
    ],
)
def test_a_stack_needs_one_length(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], rows: int, message: str
) -> None:
    np.savez(tmp_path / "a.npz", **{k: np.ones(s, np.float32) for k, s in shapes.items()})
    text = "index\n" + "".join(f"{i}\n" for i in range(rows))
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        import_source(tmp_path / "zoo", tmp_path / "a.npz", format="npz_stacked")
    assert not (tmp_path / "zoo").exists()


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nets = {f"{n}|w": np.ones(3, np.float32) for n in "ab"}
    np.savez(tmp_path / "nets.npz", **nets)
    (tmp_path / "nets.csv").write_text("id,acc\na,50\nb,75\n")
    arguments = [
        "import", str(tmp_path / "nets.npz"), "--catalog", str(tmp_path / "zoo"),
        "--rename", "acc=test_accuracy", "--percent", "test_accuracy", "--license", "MIT",
    ]  # fmt: skip
    for imported, flags in ((2, ["--json"]), (0, [])):
        with pytest.raises(SystemExit) as exit_:
            main([*arguments, *flags])
        out = capsys.readouterr().out
        assert exit_.value.code == 0
        if flags:
            assert json.loads(out)["imported"] == imported
        else:
            assert out.startswith("nets (npz_keyed): 0 of 2 networks imported, 2 were")
    rows = catalog.open(tmp_path / "zoo").sql("SELECT test_accuracy FROM models")
    assert sorted(rows.fetchall()) == [(0.5,), (0.75,)]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments[:4], "--rename", "acc"])
    assert exit_.value.code == 2
    with pytest.raises(SystemExit) as exit_:
        main(["import", str(tmp_path / "nothing.npz")])
    assert exit_.value.code == 1
    assert "There is no" in capsys.readouterr().err


def test_an_earlier_checkpoint_that_comes_later_joins_its_run(tmp_path: Path) -> None:
    root = tmp_path / "zoo"

    def bring(*steps: int, shift: float = 0) -> importing.ImportSummary:
        networks = [
            Network(
                f"r@{step}",
                {"w": Tensor(np.full(3, step + shift, np.float32), "float32")},
                run_name="r",
                step=step,
            )
            for step in steps
        ]
        return importing.import_networks(root, networks, zoo="z", source_name="memory")

    bring(10, 20)
    assert (bring(0, 10, 20).imported, bring(0, 10, 20, 30).imported) == (1, 1)
    rows = Catalog(root).sql("SELECT count(DISTINCT run_id), count(*) FROM models")
    assert rows.fetchall() == [(1, 4)]
    with pytest.raises(CatalogError, match=r"in the catalogue already.*phasezoo rm"):
        bring(0, shift=1)


def grid(tmp_path: Path, **options: Any) -> list[tuple[Any, ...]]:
    source = tmp_path / "source"
    source.mkdir()
    lines = ["id,width,lr,word"]
    for i in range(8):
        np.savez(source / f"{i}.npz", w=np.full(3, i, np.float32))
        lines.append(f"{i},{2 + i % 2},{0.1 * (1 + i // 4)},x")
    (source / "networks.csv").write_text("\n".join(lines))
    import_source(tmp_path / "zoo", source, **options)
    return Catalog(tmp_path / "zoo").sql(
        "SELECT cell, load_axis, load, temperature_axis, temperature, count(*), "
        "count(DISTINCT split_by_cell) FROM runs GROUP BY ALL ORDER BY 1"
    ).fetchall()  # fmt: skip


def test_load_and_temperature_make_cells_that_share_a_split(tmp_path: Path) -> None:
    rows = grid(tmp_path, load="width", temperature="lr")
    assert len(rows) == 4
    assert rows[0] == ("width=2 lr=0.1", "width", 2.0, "lr", 0.1, 2, 1)
    assert {row[-2:] for row in rows} == {(2, 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load": "width"}, "Give both: --load COL --temperature COL"),
        ({"load": "width", "temperature": "word"}, "--temperature word must be a column"),
        ({"load": "widht", "temperature": "lr"}, "Run .* has None. Closest: width"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        grid(tmp_path, **options)


def test_the_verb_says_which_layouts_have_symbols(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "net.npz", **{n: np.ones(s, np.float32) for n, s in FC.items()})
    for flags, symbols in (["--json"], 0), (["--json", "--axes", "chain"], 1), ([], 0):
        root = str(tmp_path / f"zoo{len(flags)}")
        with pytest.raises(SystemExit):
            main(["import", str(tmp_path / "net.npz"), "--catalog", root, *flags])
        out = capsys.readouterr().out
        if flags:
            assert json.loads(out)["symbols"] == symbols
            assert bool(json.loads(out)["notes"]) == (not symbols)
        else:
            assert "1 layouts (0 with axis symbols)" in out
            assert "If the layers are a chain: --axes chain" in out.splitlines()[-1]


@pytest.mark.parametrize("step", [1 << 63, -(1 << 63) - 1, 10**40])
def test_a_step_that_no_integer_of_64_bits_holds_is_refused(bring: Any, step: int) -> None:
    """Names of files say steps."""
    with pytest.raises(CatalogError, match="steps are integers of 64 bits"):
        bring(net("a", step=step))
