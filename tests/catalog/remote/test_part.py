"""A fetch of a part moves what was asked for, and what arrives is that, bit for bit."""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError, Layout, NotFound, Param, Population, ShardCorrupt
from catalog.console.program import main
from catalog.remote.part import PartialFetch
from catalog.remote.pieces import asked_for
from catalog.remote.publish import Publish
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify
from tests.catalog.conftest import HOSTILE

LAYOUT = Layout(
    (
        Param("fc.weight", (256, 256), ("h", None)),
        Param("fc.bias", (256,), ("h",), "bfloat16"),
        Param("out.weight", (16, 256), (None, "h")),
        Param("count", (), (), "int64", "counter"),
        Param("nothing", (0, 3)),
    )
)
ROW = {param.name: param.nbytes for param in LAYOUT}


def several(networks, layout, seed, prefix, n=4) -> Population:
    """Runs of two checkpoints each, with a metric."""
    population = networks(layout, n, seed=seed)
    table = pa.table(
        {
            "run_id": [f"{prefix}-{i // 2}" for i in range(n)],
            "step": [10 * (i % 2) for i in range(n)],
            "test_accuracy": [i / n for i in range(n)],
            f"own_{prefix}": [float(seed + i) for i in range(n)],
        }
    )
    return Population(population.weights, layout, table, population.extra)


@pytest.fixture
def source(new_zoo, networks, commit, metrics, measure) -> Catalog:
    """Three shards of two architectures, runs without weights, and measures of some."""
    zoo = new_zoo()
    other = Layout((*LAYOUT.params[1:3], Param("head", (3,))))
    for seed, layout in enumerate((LAYOUT, LAYOUT, other)):
        commit(zoo, several(networks, layout, seed, f"r{seed}"), free=[seed, seed + 1])
    metrics(zoo, "bare-0", "bare-1")
    rows = [{"run_id": f"r{i}-0", "step": 10, "sharpness": 1.0 + i} for i in range(3)]
    measure(zoo, rows)
    measure(zoo, [{"run_id": "r0-0", "step": 10, "sharpness": 7.5, "flat": True}], "again")
    return zoo.refreshed()


@pytest.fixture
def published(source, tmp_path) -> Path:
    Publish(source, str(tmp_path / "there"), license="mit").run()
    return tmp_path / "there"


def held(zoo: Catalog) -> dict:
    """Tensors by checkpoint."""
    selection = zoo.select("row IS NOT NULL")
    keys = selection.table.select(["run_id", "step"]).to_pylist()
    return {
        (key["run_id"], key["step"]): {n: v.tobytes() for n, v in selection[i].items()}
        for i, key in enumerate(keys)
    }


def part(everything: dict, keys: list, patterns: tuple[str, ...]) -> dict:
    """The oracle: tensors that a fetch brings."""
    wanted = {
        key: {
            name: value
            for name, value in everything[key].items()
            if not patterns or any(fnmatchcase(name, p) for p in patterns)
        }
        for key in keys
        if key in everything
    }
    return {key: tensors for key, tensors in wanted.items() if tensors}


def values(zoo: Catalog, keys) -> list:
    """Everything that models says of some checkpoints but where they are."""
    moved = ["shard", "row", "arch_id"]
    table = zoo.sql("FROM models ORDER BY run_id, step").to_arrow_table()
    columns = sorted(set(table.column_names) - set(moved))
    rows = [
        r for r in table.select(columns).to_pylist() if (r["run_id"], r["step"]) in keys
    ]
    return [{k: v for k, v in row.items() if v is not None} for row in rows]


WHERES = ("true", "run_id LIKE 'r0%'", "step = 10", "test_accuracy > 0.3", "r2_or_bare")
TENSORS = ((), ("*.bias",), ("fc.*", "nothing"), ("count", "head"), ("*",))


@pytest.mark.parametrize("seed", range(5))
def test_what_was_asked_for_arrives_and_unites(source, published, tmp_path, seed):
    rng = np.random.default_rng(seed)
    everything = held(source)
    expected: dict = {}
    asked_keys: set = set()
    for _ in range(3):
        where = WHERES[rng.integers(len(WHERES))]
        where = "run_id[1:2] IN ('r2', 'ba')" if where == "r2_or_bare" else where
        tensors = TENSORS[rng.integers(len(TENSORS))]
        steps = ("all", "last")[rng.integers(2)]
        query = f"SELECT run_id, step, row FROM models WHERE {where}"
        if steps == "last":
            query += " QUALIFY step = max(step) OVER (PARTITION BY run_id)"
        rows = source.sql(query).fetchall()
        bare = {row[:2] for row in rows if row[2] is None}
        brought = part(everything, [row[:2] for row in rows], tensors)
        names = {n for row in rows for n in everything.get(row[:2], ())}
        if not all(any(fnmatchcase(n, p) for n in names) for p in tensors):
            with pytest.raises(NotFound):
                catalog.fetch(
                    published, tmp_path / "h", where=where, tensors=tensors, steps=steps
                )
            continue
        here = catalog.fetch(
            published, tmp_path / "h", where=where, tensors=tensors, steps=steps
        )
        for key, new in brought.items():
            expected[key] = expected.get(key, {}) | new
        asked_keys |= brought.keys() | bare
        assert held(here) == expected
        assert values(here, asked_keys) == values(source, asked_keys)
        assert here.sql("SELECT count(*) FROM models").fetchall() == [(len(asked_keys),)]
        again = catalog.fetch(
            published, tmp_path / "h", where=where, tensors=tensors, steps=steps
        )
        assert again.version == here.version
    if expected:
        assert not verify(tmp_path / "h").problems
        compact(tmp_path / "h")
        collect(tmp_path / "h", grace=0, waste=0)
        assert held(catalog.open(tmp_path / "h")) == expected
        assert values(catalog.open(tmp_path / "h"), asked_keys) == values(
            source, asked_keys
        )
        assert not verify(tmp_path / "h").problems


def test_order_and_axes_are_those_of_the_source(source, published, tmp_path):
    for tensors in (["out.*"], ["fc.weight", "count"]):
        here = catalog.fetch(
            published, tmp_path / "h", where="zoo = 'zoo'", tensors=tensors
        )
    layout = here.load("run_id LIKE 'r0%'", lossy=True).layout
    assert layout.params == (LAYOUT.params[0], *LAYOUT.params[2:4])
    with pytest.raises(catalog.LayoutMismatch, match="arch_id = "):
        here.load("row IS NOT NULL")
    (condition,) = here.sql(
        "SELECT DISTINCT arch_id FROM models WHERE run_id LIKE 'r0%'"
    ).fetchall()[0]
    assert len(here.load(f"arch_id = '{condition}'", lossy=True)) == 8


def test_tensors_of_one_run_may_differ_by_step(published, tmp_path):
    catalog.fetch(published, tmp_path / "h", where="run_id = 'r0-0'", steps="last")
    here = catalog.fetch(
        published, tmp_path / "h", where="run_id = 'r0-0'", tensors=["*.bias"]
    )
    rows = here.sql("SELECT step, arch_id FROM models ORDER BY step").fetchall()
    assert len({arch_id for _, arch_id in rows}) == 2
    for _, arch_id in rows:
        assert len(here.select(f"arch_id = '{arch_id}'").population(lossy=True)) == 1


def test_a_manifest_names_the_original(source, published, tmp_path):
    here = catalog.fetch(published, tmp_path / "h", where="run_id = 'r0-0'")
    originals = {m.shard: m.files for m in source.snapshot.manifests}
    (shard,) = (m for m in here.snapshot.manifests if m.content == "weights")
    assert shard.partial.sha256 == originals[shard.partial.shard]["weights"].sha256
    record = json.loads((tmp_path / "h" / "manifests" / f"{shard.shard}.json").read_text())
    assert record["format"] == [2, 1]
    assert record["partial"] == vars(shard.partial)
    formats = {m.content: m.format for m in here.snapshot.manifests}
    assert formats == {"weights": (2, 1), "measures": (2, 0)}
    name = here.sql("SELECT partial FROM shards WHERE content = 'weights'").fetchall()
    assert name == [(shard.partial.shard,)]
    compact(tmp_path / "h")
    assert {m.format for m in here.refreshed().snapshot.manifests} == {(2, 1), (2, 0)}


def test_a_whole_shard_comes_as_it_is(source, published, tmp_path):
    here = catalog.fetch(published, tmp_path / "h", where="zoo = 'zoo'")
    theirs = {m.shard: m for m in source.snapshot.manifests if m.content != "measures"}
    mine = {m.shard: m for m in here.snapshot.manifests if m.content != "measures"}
    assert mine.keys() == theirs.keys()
    for shard, manifest in mine.items():
        assert not manifest.partial
        if manifest.content == "weights":
            assert manifest.files["weights"] == theirs[shard].files["weights"]
            assert manifest.footer_sha256 == theirs[shard].footer_sha256
    assert not verify(here.root).problems
    whole = catalog.fetch(published, tmp_path / "h")
    assert held(whole) == held(source)


def test_a_whole_fetch_supersedes_the_parts(source, published, tmp_path):
    here = catalog.fetch(published, tmp_path / "h", where="true", tensors=["*.bias"])
    first = values(source, held(source).keys())
    assert held(here) != held(source)
    for _ in range(3):  # numbers here are beyond those of the source
        with here.writer() as writer:
            keys = pa.table({"run_id": ["r0-0"], "step": [10], "mine": [1.0]})
            writer.commit_measures(keys, "mine", {})
    whole = catalog.fetch(published, tmp_path / "h")
    assert held(whole) == held(source)
    assert [
        {k: v for k, v in row.items() if k != "mine"}
        for row in values(whole, held(source).keys())
    ] == first
    collect(tmp_path / "h", grace=0, waste=0)
    assert not any(m.partial for m in whole.refreshed().snapshot.manifests)
    assert held(whole.refreshed()) == held(source)


def test_precedence_is_the_same_in_place_and_when_extended(
    published, tmp_path, monkeypatch
):
    def seen(root: Path) -> list:
        query = "SELECT run_id, step, shard, arch_id FROM models ORDER BY ALL"
        return catalog.open(root).sql(query).fetchall()

    root = tmp_path / "h"
    catalog.fetch(published, root, where="run_id = 'r0-0'", tensors=["*.bias"])
    seen(root)
    catalog.fetch(published, root, where="run_id LIKE 'r0%'", steps="last")
    extended = seen(root)
    for name in ("index", "latest"):
        for path in (root / "cache").glob(f"{name}*"):
            path.unlink()
    assert seen(root) == extended
    for path in (root / "cache").glob("*"):
        if path.is_file():
            path.unlink()
    monkeypatch.setattr("catalog.index.in_place.STORED_CHECKPOINTS", 0)
    assert seen(root) == extended


def test_newer_measures_come_and_equal_ones_do_not(source, published, measure, tmp_path):
    def fetch() -> Catalog:
        return catalog.fetch(published, tmp_path / "h", where="run_id = 'r0-0'")

    first = fetch()
    query = "SELECT sharpness, flat FROM models WHERE step = 10"
    assert first.sql(query).fetchall() == [(7.5, True)]
    measure(source, [{"run_id": "r0-0", "step": 10, "sharpness": 9.0}])
    measure(source, [{"run_id": "r1-0", "step": 10, "sharpness": 4.0}])
    Publish(source.refreshed(), str(published), license="mit").run()
    second = fetch()
    assert second.sql(query).fetchall() == [(9.0, True)]
    assert second.sql("SELECT count(*) FROM measures").fetchall() == [(3,)]
    assert fetch().version == second.version
    rows = "SELECT measure, measure_id, provenance FROM measures WHERE run_id = 'r0-0'"
    assert sorted(second.sql(rows).fetchall()) == sorted(
        source.refreshed().sql(rows).fetchall()
    )


def test_checkpoints_of_others_are_compared_where_both_have_tensors(
    published, new_zoo, networks, commit, tmp_path, files
):
    mine = new_zoo()
    commit(mine, several(networks, LAYOUT, 99, "r0"))
    before = files(mine.root)
    with pytest.raises(CatalogError, match="r0-0@0, r0-0@10"):
        catalog.fetch(published, mine.root, where="run_id = 'r0-0'", tensors=["count"])
    assert {k: v for k, v in files(mine.root).items() if k in before} == before
    catalog.fetch(published, mine.root, where="run_id = 'r1-0'", tensors=["count"])
    fewer = new_zoo()
    shared = several(networks, Layout(LAYOUT.params[1:2]), 5, "r0")
    commit(fewer, shared)
    with pytest.raises(CatalogError, match="phasezoo rm"):
        catalog.fetch(published, fewer.root, where="run_id = 'r2-0' OR run_id = 'r0-0'")


def test_parts_of_two_sources_unite(source, published, new_zoo, tmp_path):
    one = catalog.fetch(published, tmp_path / "one", where="step = 10", tensors=["fc.*"])
    Publish(one, str(tmp_path / "one there"), license="mit", partial=True).run()
    catalog.fetch(
        published, tmp_path / "h", where="step = 10", tensors=["out.*", "fc.bias"]
    )
    here = catalog.fetch(tmp_path / "one there", tmp_path / "h", where="run_id = 'r1-1'")
    assert held(here)["r1-1", 10].keys() == {"fc.weight", "fc.bias", "out.weight"}
    everything = held(source)
    for key, tensors in held(here).items():
        assert tensors.items() <= everything[key].items()
    whole = catalog.fetch(tmp_path / "one there", tmp_path / "two")
    assert held(whole) == held(one)


def test_removals(source, published, tmp_path):
    root = tmp_path / "h"
    here = catalog.fetch(published, root, where="run_id LIKE 'r0%' OR run_id = 'r1-0'")
    remove(here, "run_id = 'r0-1' OR (run_id = 'r1-0' AND step = 0)")
    asked = {"where": "run_id LIKE 'r0%'"}
    assert len(held(catalog.fetch(published, root, **asked))) == 3
    plan = PartialFetch(str(published), root, asked_for(**asked)).plan
    assert (plan.removed, plan.held, plan.checkpoints) == (2, 2, 0)
    assert len(held(catalog.fetch(published, root, **asked, again=True))) == 5
    # What was withdrawn there stays here: it is a part of its own.
    remove(source, "run_id LIKE 'r1%'")
    collect(source.root, grace=0, waste=0)
    Publish(source.refreshed(), str(published), license="mit").run()
    assert ("r1-0", 10) in held(catalog.fetch(published, root, where="zoo = 'zoo'"))
    assert ("r1-0", 10) in held(catalog.fetch(published, root))
    assert not verify(root).problems


def test_publish_refuses_a_part_unless_asked(source, published, tmp_path):
    here = catalog.fetch(published, tmp_path / "h", where="run_id LIKE 'r0%'", steps="last")
    with pytest.raises(CatalogError, match=r"1 of its shards.* 2 checkpoints.*--partial"):
        catalog.publish(here, tmp_path / "new", license="mit")
    assert not (tmp_path / "new").exists()
    catalog.publish(here, tmp_path / "new", license="mit", partial=True)
    assert (
        "This catalogue is partial: 1 of its 1"
        in (tmp_path / "new" / "README.md").read_text()
    )
    assert "partial" not in (published / "README.md").read_text()
    assert held(catalog.fetch(tmp_path / "new", tmp_path / "copy")) == held(here)
    catalog.publish(here, published, license="mit", partial=True)
    assert held(catalog.open(published)) == held(source)  # whole checkpoints count
    whole = catalog.fetch(tmp_path / "there", tmp_path / "h")
    with pytest.raises(CatalogError, match="phasezoo gc --waste 0"):
        catalog.publish(whole, tmp_path / "third", license="mit")


def test_errors_come_before_anything_moves(published, tmp_path):
    for options, message in (
        ({"where": "no_such_column = 1"}, "no_such_column"),
        ({"where": "true; DROP TABLE models"}, "not a condition"),
        ({"where": "true) AS m; DROP TABLE models; --"}, "not a condition|syntax"),
        (
            {"where": "1 = (SELECT 1 FROM read_csv('/etc/passwd'))"},
            "cannot read /etc/passwd",
        ),
        ({"where": "run_id = 'none'"}, "No checkpoint of"),
        ({"tensors": ["fc.wieght"]}, r"fc.wieght.* Closest: .*fc.weight"),
        ({"tensors": ["fc.bias", "zzz*"]}, r"zzz\*.* matches no tensor"),
        ({"tensors": "fc.bias"}, "list of patterns"),
        ({"tensors": [""]}, "not empty"),
        ({"steps": "first"}, "all or last"),
        ({"where": "true", "revision": "main"}, "numbers"),
    ):
        with pytest.raises(CatalogError, match=message):
            catalog.fetch(published, tmp_path / "h", **options)
    assert not (tmp_path / "h").exists()


def test_names_may_hold_anything(new_zoo, networks, commit, tmp_path):
    layout = Layout(tuple(Param(name, (2,)) for name in HOSTILE))
    zoo = new_zoo()
    commit(zoo, networks(layout, 3))
    here = catalog.fetch(
        zoo.root, tmp_path / "h", where="step > 0", tensors=["*a*", "[%]*"]
    )
    expected = part(held(zoo.refreshed()), [("run-1", 10), ("run-2", 20)], ("*a*", "%*"))
    assert held(here) == expected
    assert not verify(tmp_path / "h").problems


@pytest.mark.parametrize("damage", ["missing", "wrong"])
def test_a_tensor_without_its_hash_is_refused(
    new_zoo, networks, commit, tmp_path, monkeypatch, damage
):
    import catalog.writer as writer

    honest = writer.tensor_stats

    def forged(weights, shard):
        table = honest(weights, shard)
        if damage == "missing":
            return table.slice(1)
        hashes = table["blake3"].to_pylist()
        return table.set_column(
            table.column_names.index("blake3"), "blake3", pa.array([*hashes[1:], hashes[0]])
        )

    zoo = new_zoo()
    monkeypatch.setattr(writer, "tensor_stats", forged)
    commit(zoo, networks(LAYOUT, 4))
    monkeypatch.undo()
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "users cache"))
    with pytest.raises(ShardCorrupt, match="no hash" if damage == "missing" else "blake3"):
        catalog.fetch(zoo.root, tmp_path / "h", where="true", tensors=["fc.weight"])
    assert not list((tmp_path / "h" / "manifests").iterdir())
    assert not list((tmp_path / "h" / "weights").rglob("*.parquet"))


def test_another_fetch_in_between_loses_nothing(source, published, tmp_path, monkeypatch):
    root = tmp_path / "h"
    catalog.fetch(published, root, where="run_id = 'r0-0'", tensors=["count"])
    asked = asked_for("run_id = 'r0-0'", ["*.bias"])
    job = PartialFetch(str(published), root, asked)
    download = PartialFetch._parts

    def late(self, *arguments):
        parts = download(self, *arguments)
        monkeypatch.setattr(PartialFetch, "_parts", download)
        catalog.fetch(published, root, where="run_id LIKE 'r0%'", tensors=["out.weight"])
        return parts

    monkeypatch.setattr(PartialFetch, "_parts", late)
    here = job.run()
    assert held(here)["r0-0", 10].keys() == {"count", "fc.bias", "out.weight"}
    assert not verify(root).leftovers


def test_the_command(published, tmp_path, capsys, files):
    def run(*options: str) -> tuple[str, str]:
        where = ("--where", "run_id = 'r0-0'", "--catalog", str(tmp_path / "h"))
        with pytest.raises(SystemExit) as ended:
            main(["fetch", str(published), *where, *options])
        assert ended.value.code == 0
        return capsys.readouterr()

    out, _ = run("--tensors", "fc.*", "--steps", "last", "--dry-run", "--json")
    plan = json.loads(out)
    assert (plan["checkpoints"], plan["shards"], plan["dry_run"]) == (1, 1, True)
    assert not (tmp_path / "h").exists()
    out, err = run("--tensors", "fc.*", "--tensors", "count", "--steps", "last")
    assert "1 checkpoint in 1 shard," in out
    assert "to download" in err
    before = files(tmp_path / "h")
    out, err = run("--tensors", "fc.*", "--steps", "last")
    assert "has everything already" in out
    assert "1 of the selected checkpoints are here already" in err
    assert files(tmp_path / "h") == before
    out, _ = run("--json", "--no-verify")
    assert json.loads(out)["local_version"] > 1
