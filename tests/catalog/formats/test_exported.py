"""What leaves a catalogue comes back into another one as it was."""

import json
import shutil
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

import catalog
from catalog import Catalog, CatalogError, Layout, Param, Population, import_source
from catalog.formats import FORMATS, find_format
from catalog.formats.columns import SET_HERE
from catalog.formats.export import NPZ_KEYS, export
from catalog.formats.exported_rows import ExportedRows
from catalog.formats.safetensors_file import read_header, read_tensors, write_file

KINDS = ("x.npz", "x.arrow", "x.safetensors", "x")
ARCHITECTURE = '{"name":"mlp","widths":[3]}'


@pytest.fixture
def steps(steps_template: Path, new_zoo: Any) -> Catalog:
    """A copy of its own."""
    root = new_zoo().root
    shutil.copytree(steps_template, root, dirs_exist_ok=True)
    return catalog.open(root)


@pytest.fixture(scope="module")
def steps_template(new_zoo: Any, networks: Any, small_layout: Any, runs_of: Any) -> Path:
    """Two trained runs of two steps, the second a child of the first, with a measure."""
    store: Catalog = new_zoo()
    made = networks(small_layout, 4, seed=3)
    ids = ["aa", "aa", "bb", "bb"]
    table = pa.table(
        {
            "run_id": ids,
            "step": [0, 5, 0, 7],
            "test_loss": [0.5, float("inf"), float("nan"), 1e-300],
            "note": ["007", "true", None, "é"],
            "count": [2**62, 1, 2, 3],
        }
    )
    population = Population(made.weights, made.layout, table, made.extra)
    runs = runs_of(
        ids,
        width=[3, 4],
        lr=[1.0, 0.1],
        dropout=[0.25, 1.0],
        label=["12", "1e5"],
        architecture=[ARCHITECTURE] * 2,
        architecture_name=["mlp"] * 2,
        created=["2026-11-23T10:00:00Z"] * 2,
    )
    link = [{"run_id": "aa", "step": 5, "role": "start"}]
    outside = [{"run_id": "zz", "step": 1, "role": "start"}]
    parents = pa.array([outside, link], pa.list_(pa.struct(
        [("run_id", pa.string()), ("step", pa.int64()), ("role", pa.string())]
    )))  # fmt: skip
    with store.writer() as writer:
        writer.commit(runs.append_column("parents", parents), table, population,
                      architecture=ARCHITECTURE)  # fmt: skip
        rows = pa.table({"run_id": ["aa", "bb"], "step": [5, 7], "flat": [True, False]})
        writer.commit_measures(rows, "m", {})
    store.refreshed().sql("SELECT 1")  # its copies have an index
    return store.root


def take_out(store: Catalog, path: Path, where: str = "true") -> Any:
    """Export what a kind of file can hold."""
    limit = " LIMIT 1" if path.suffix == ".safetensors" else ""
    selection = store.select(f"{where} ORDER BY run_id, step{limit}")
    export(selection, path)
    return selection


def check_equal(selection: Any, back: Any) -> None:
    assert len(back) == len(selection)
    for i in range(len(selection)):
        assert back.layout_of(i) == selection.layout_of(i)
        one, other = selection[i], back[i]
        assert list(one) == list(other)
        for name, values in one.items():
            assert values.dtype == other[name].dtype
            assert values.tobytes() == other[name].tobytes()
    for name in set(selection.table.column_names) - SET_HERE:
        column = selection.table[name]
        if column.null_count < len(column):
            assert back.table.schema.field(name).type == column.type
            assert repr(back.table[name].to_pylist()) == repr(column.to_pylist()), name
    for name in ("step", "architecture"):
        assert back.table[name].to_pylist() == selection.table[name].to_pylist()
    assert back.table["exported_run_id"].to_pylist() == (
        selection.table["run_id"].to_pylist()
    )


@pytest.mark.parametrize("name", KINDS)
def test_what_was_exported_comes_back(
    steps: Catalog, tmp_path: Path, name: str, files: Any
) -> None:
    selection = take_out(steps, tmp_path / name)
    assert find_format("auto", tmp_path / name).name == "exported"
    done = import_source(tmp_path / "new", tmp_path / name, allow_nonfinite=True)
    assert (done.format, done.imported) == ("exported", len(selection))
    store = catalog.open(tmp_path / "new")
    check_equal(selection, store.select("true ORDER BY exported_run_id, step"))
    own = store.sql("FROM runs").columns
    assert {"dropout", "label", "exported_run_id"} <= set(own)
    assert not {"note", "count", "flat"} & set(own)
    before = files(tmp_path / "new")
    again = import_source(tmp_path / "new", tmp_path / name, allow_nonfinite=True)
    assert again.imported == 0
    assert files(tmp_path / "new") == before
    if len(selection) > 1:
        query = """SELECT c.source_name, p.source_name, x.step, x.role
            FROM (SELECT source_name, unnest(parents) AS x FROM runs) c
            JOIN runs p ON p.run_id = c.x.run_id"""
        assert store.sql(query).fetchall() == [("bb", "aa", 5, "start")]


@settings(max_examples=5)
@given(population=...)
def test_every_network_comes_back(
    population: Population, new_zoo: Any, commit: Any, tmp_path_factory: Any
) -> None:
    """Any names, shapes, dtypes, roles and axes, through every kind that holds them."""
    if not len(population.layout):
        return
    store, folder = new_zoo(), tmp_path_factory.mktemp("out")
    commit(store, population)
    store = store.refreshed()
    for name in KINDS:
        try:
            selection = take_out(store, folder / name)
        except CatalogError as error:  # the kind has no such name or dtype
            if "cannot hold" not in str(error):
                raise
            continue
        root = folder / f"of-{name}"
        import_source(root, folder / name, allow_nonfinite=True)
        check_equal(selection, catalog.open(root).select("true ORDER BY exported_run_id"))


def test_an_import_that_is_exported_keeps_its_names(tmp_path: Path, new_zoo: Any) -> None:
    """Where it goes into a zoo of the same name, it is even the same run."""
    np.savez(tmp_path / "a.npz", w=np.ones((2, 3), np.float32), b=np.ones(5, np.float32))
    import_source(tmp_path / "first", tmp_path / "a.npz", zoo="z")
    first = catalog.open(tmp_path / "first").select("true")
    export(first, tmp_path / "out.npz")
    import_source(tmp_path / "second", tmp_path / "out.npz", zoo="z")
    second = catalog.open(tmp_path / "second").select("true")
    for name in ("run_id", "source_name", "content"):
        assert second.table[name].to_pylist() == first.table[name].to_pylist()


def test_equal_source_names_of_two_zoos_stay_two_runs() -> None:
    rows = [
        (Path("f"), {"run_id": run, "source_name": "0", "step": 0}) for run in ("a", "b")
    ]
    both = ExportedRows(rows)
    assert [both.network(i, {}).run_name for i in (0, 1)] == ["a", "b"]
    assert ExportedRows(rows[:1]).network(0, {}).run_name == "0"


def test_only_exports_are_recognised(steps: Catalog, tmp_path: Path) -> None:
    reader = FORMATS["exported"]
    np.savez(tmp_path / "a.npz", pz_table=np.ones(3))
    with (tmp_path / "a.safetensors").open("wb") as file:
        write_file(file, {}, {"format": "pt"})
    (tmp_path / "a.arrow").write_bytes(b"ARROW1")
    for path in [*tmp_path.iterdir(), tmp_path]:
        assert not reader.recognises(path)
    # Names of LoRA tensors do not make an adapter of what the catalogue wrote.
    layout = Layout((Param("q.lora_A.weight", (2, 3)), Param("q.lora_B.weight", (3, 2))))
    values = np.ones((1, layout.d), np.float32)
    table = pa.table({"run_id": ["l"], "step": [0]})
    runs = pa.table({"run_id": ["l"], "zoo": ["z"], "source": ["trained"]})
    with steps.writer() as writer:
        writer.commit(runs, table, Population(values, layout, table, {}))
    export(steps.refreshed().select("run_id = 'l'"), tmp_path / "l.safetensors")
    assert find_format("auto", tmp_path / "l.safetensors").name == "exported"


def test_a_folder_must_be_whole(steps: Catalog, tmp_path: Path) -> None:
    take_out(steps, tmp_path / "x")
    (tmp_path / "x" / "bb@7.safetensors").unlink()
    with pytest.raises(CatalogError, match=r"1 of 4 files are missing, e\.g\. 'bb@7"):
        import_source(tmp_path / "new", tmp_path / "x", allow_nonfinite=True)
    shutil.copy(tmp_path / "x" / "aa@0.safetensors", tmp_path / "x" / "bb@7.safetensors")
    with pytest.raises(CatalogError, match="are both step 0 of run 'aa'"):
        import_source(tmp_path / "new", tmp_path / "x", allow_nonfinite=True)
    (tmp_path / "x" / "phasezoo.jsonl").write_text("nonsense")
    with pytest.raises(
        CatalogError, match=r"phasezoo\.jsonl: its line 1 is not valid JSON"
    ):
        import_source(tmp_path / "new", tmp_path / "x", allow_nonfinite=True)
    with pytest.raises(CatalogError, match="drop --metadata"):
        import_source(tmp_path / "new", tmp_path / "x", metadata=__file__)


WRONG: list[tuple[str, Any]] = [
    ("pz_table", b"[1]"),
    ("pz_table", b"{}"),
    ("pz_table", b"[" * 100_000),
    ("pz_table", None),
    ("pz_run_id", np.array(["aa", "aa", "bb", "b"])),
    ("pz_run_id", np.array([b"aa"] * 4, object)),
    ("pz_step", np.array([0, 5, 0])),
    ("pz_step", None),
    ("pz_layout", b"[1]"),
    ("pz_layout", b'[{"name": 5}]'),
    ("pz_layout", b'{"a": 1}'),
    ("pz_layout", np.ones(3)),
    ("fc.bias", np.ones((4, 4), np.uint8)),
    ("fc.bias", None),
    ("more", np.ones(4)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_array_that_is_wrong_is_named(
    steps: Catalog, tmp_path: Path, name: str, value: Any
) -> None:
    path = tmp_path / "x.npz"
    take_out(steps, path)
    with np.load(path) as arrays:
        found = dict(arrays)
    if isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    found.pop(name, None)
    if value is not None:
        found[name] = value
    np.savez(path, **found)
    with pytest.raises(CatalogError, match=r"x\.npz"):
        import_source(tmp_path / "new", path, format="exported", allow_nonfinite=True)
    assert not (tmp_path / "new").exists() or not catalog.open(tmp_path / "new").version


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": 5}, {"run_id": ""}, {"step": 1.5}, {"step": 2**63}, {"step": True},
        {"lr": [1]}, {"lr": "fast"}, {"pz_x": 1}, {"": 1}, {"LR": 1.0}, {"x": 2**64},
        {"parents": 3}, {"parents": [{"run_id": "aa"}]}, {"architecture": "no JSON"},
        {"architecture": "[1]"}, {"architecture": '{"a": NaN}'}, {"architecture": 3},
        {"label": "\ud800"}, {"source_name": 4}, {"test_accuracy": 7.0}, {"note": 3},
        {"run_id": "\ud800"}, {"run_id": "other"},
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_named(
    steps: Catalog, tmp_path: Path, change: dict[str, Any]
) -> None:
    take_out(steps, tmp_path / "x")
    path = tmp_path / "x" / "bb@0.safetensors"
    metadata = read_header(path).metadata
    row = json.loads(metadata["phasezoo.row"]) | change
    if change == {"run_id": "other"}:
        row |= {"run_id": "bb", "step": 7}
    metadata["phasezoo.row"] = json.dumps(row)
    tensors = read_tensors(path)
    with path.open("wb") as file:
        write_file(file, tensors, metadata)
    with pytest.raises(CatalogError, match=r"bb@0\.safetensors"):
        import_source(tmp_path / "new", tmp_path / "x", allow_nonfinite=True)


@pytest.mark.parametrize("name", KINDS[:3])
def test_mutants_are_refused_by_name_or_imported(
    steps: Catalog, tmp_path: Path, name: str
) -> None:
    path, random = tmp_path / name, Random(name)
    take_out(steps, path)
    intact = path.read_bytes()
    for i in range(24):
        data = bytearray(intact)
        if name == "x.npz" and i % 2:
            data = repacked(path, intact, random)
        elif i % 5 == 0:
            del data[random.randrange(len(data)) :]
        else:
            start = random.choice([0, len(data) - 3000]) if i % 3 else 0
            for _ in range(random.randint(1, 8)):
                data[max(random.randrange(start, len(data)), 0)] = random.randrange(256)
        path.write_bytes(data)
        try:
            import_source(
                tmp_path / "new", path, format="exported", zoo=str(i), allow_nonfinite=True
            )
        except CatalogError as error:
            if name not in str(error):
                raise


def repacked(path: Path, data: bytes, random: Random) -> bytearray:
    """The archive with one member damaged and its checksums right."""
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice([f"{key}.npy" for key in NPZ_KEYS])
    changed = bytearray(members[name])
    changed[random.randrange(len(changed))] = random.randrange(256)
    members[name] = bytes(changed)
    with zipfile.ZipFile(path, "w") as archive:
        for member, raw in members.items():
            archive.writestr(member, raw)
    return bytearray(path.read_bytes())
