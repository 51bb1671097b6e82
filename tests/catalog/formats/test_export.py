"""What leaves the catalogue is what came in, bit for bit, whole or not at all."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

import catalog.formats.export as module
from catalog import (
    Catalog,
    CatalogError,
    Layout,
    LayoutMismatch,
    NotFound,
    Param,
    Population,
)
from catalog.cli import export as verb
from catalog.dtypes import dtype
from catalog.formats.export import PREFIX, export, find_checkpoint
from catalog.formats.safetensors_file import read_header, read_tensors
from catalog.names import escape


@pytest.fixture
def steps(zoo: Catalog, networks: Any, small_layout: Any, runs_of: Any) -> Catalog:
    """Two runs of three steps, one further step without weights, and a lone run."""
    population = networks(small_layout, 6, seed=7)
    ids = ["abcd01"] * 3 + ["abcd02"] * 3
    table = pa.table({"run_id": ids, "step": [0, 5, 10] * 2, "test_loss": np.arange(6.0)})
    population = Population(population.weights, population.layout, table, population.extra)
    with zoo.writer() as writer:
        writer.commit(runs_of(ids, width=[3, 4]), table, population)
        later = pa.table({"run_id": ["abcd01"], "step": [99]})
        writer.commit(runs_of(["abcd01"]), later)
    return zoo.refreshed()


@pytest.mark.parametrize(
    ("identifier", "found"),
    [
        ("abcd01", ("abcd01", 10)),
        ("abcd02@5", ("abcd02", 5)),
        ("abcd01@0", ("abcd01", 0)),
        ("run-3", ("run-3", 30)),
    ],
)
def test_an_identifier_names_one_checkpoint(
    steps: Catalog, identifier: str, found: tuple[str, int]
) -> None:
    table = find_checkpoint(steps, identifier).table
    assert list(
        zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
    ) == [found]


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("abcd", r"Several runs begin with 'abcd', e\.g\. abcd01 and abcd02"),
        ("xyz", "No run with weights begins with 'xyz'"),
        ("it's", "No run with weights begins with"),
        ("abcd01@7", "no step 7. Its steps: 0, 5, 10"),
        ("abcd01@99", "no step 99. Its steps: 0, 5, 10"),
        ("abcd01@x", "is not the name of a checkpoint"),
        ("@5", "is not the name of a checkpoint"),
        ("", "is not the name of a checkpoint"),
    ],
)
def test_other_identifiers_are_explained(
    steps: Catalog, identifier: str, message: str
) -> None:
    with pytest.raises(NotFound, match=message):
        find_checkpoint(steps, identifier)


def bits(tensors: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {k: (v.dtype, v.shape, v.tobytes()) for k, v in tensors.items()}


def test_safetensors_hold_the_network_and_its_row(steps: Catalog, tmp_path: Path) -> None:
    selection = find_checkpoint(steps, "abcd02@5")
    path = tmp_path / "x.safetensors"
    assert export(selection, path) == [path]
    back = read_tensors(path)
    assert bits({k: t.values for k, t in back.items()}) == bits(selection[0])
    assert {k: t.dtype for k, t in back.items()} == {
        p.name: p.dtype for p in selection.layout
    }
    metadata = read_header(path).metadata
    assert metadata["run_id"] == "abcd02"
    assert json.loads(metadata["step"]) == 5
    assert json.loads(metadata["test_loss"]) == 4.0
    assert json.loads(metadata["width"]) == 4
    assert "lr" not in metadata
    layout = Layout.from_json(json.loads(metadata["phasezoo.layout"]))
    assert layout == selection.layout


def test_many_networks_make_a_folder(steps: Catalog, tmp_path: Path) -> None:
    selection = steps.select(
        "starts_with(run_id, 'abcd') AND row IS NOT NULL ORDER BY step"
    )
    files = export(selection, tmp_path / "many")
    assert [f.name for f in files][:2] == ["abcd01@0.safetensors", "abcd02@0.safetensors"]
    for i, file in enumerate(files):
        back = read_tensors(file)
        assert bits({k: t.values for k, t in back.items()}) == bits(selection[i])
    lines = (tmp_path / "many" / "phasezoo.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["path"], r["test_loss"]) for r in rows][1] == ("abcd02@0.safetensors", 3.0)
    assert len(list((tmp_path / "many").iterdir())) == 7


def test_npz_is_stacked(steps: Catalog, tmp_path: Path) -> None:
    selection = steps.select("run_id = 'abcd01' AND row IS NOT NULL ORDER BY step DESC")
    export(selection, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        for param in selection.layout:
            expected = selection.tensor(param.name)
            np.testing.assert_array_equal(arrays[param.name], expected, strict=True)
        assert arrays["pz_run_id"].tolist() == ["abcd01"] * 3
        assert arrays["pz_step"].tolist() == [10, 5, 0]
        rows = json.loads(bytes(arrays["pz_table"]))
        assert [row["test_loss"] for row in rows] == [2.0, 1.0, 0.0]
        layout = Layout.from_json(json.loads(bytes(arrays["pz_layout"])))
    assert layout == selection.layout


def stored(column: Any, param: Param) -> np.ndarray:
    kind = dtype(param.dtype)
    if kind.typed:
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    else:
        flat = np.frombuffer(b"".join(column.to_pylist()), kind.storage)
    return flat.reshape(len(column), *param.shape)


def test_arrow_has_a_column_per_tensor(
    steps: Catalog, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "row_group_rows", lambda layout: 2)  # in three batches
    selection = steps.select("row IS NOT NULL AND run_id >= 'abcd' ORDER BY run_id, step")
    assert len(selection) == 11
    export(selection, tmp_path / "x.arrow")
    table = pa.ipc.open_file(tmp_path / "x.arrow").read_all()
    assert table.select(selection.table.column_names).equals(selection.table)
    for param in selection.layout:
        if param.size:
            got = stored(table[PREFIX + escape(param.name)], param)
            assert got.tobytes() == selection.tensor(param.name).tobytes()
    layout = json.loads(table.schema.metadata[b"phasezoo.layout"])
    assert Layout.from_json(layout) == selection.layout


@settings(max_examples=12)
@given(population=...)
def test_every_tensor_leaves_as_it_came(
    population: Population, new_zoo: Any, commit: Any, tmp_path_factory: Any
) -> None:
    """Any names, shapes and dtypes, through the catalogue and out again."""
    if not len(population.layout):
        return
    zoo, folder = new_zoo(), tmp_path_factory.mktemp("out")
    commit(zoo, population)
    selection = zoo.refreshed().select("true ORDER BY step")
    export(selection, folder / "x.arrow")
    table = pa.ipc.open_file(folder / "x.arrow").read_all()
    for param in population.layout:
        if param.size:
            got = stored(table[PREFIX + escape(param.name)], param)
            assert got.tobytes() == population.stored(param.name).tobytes()
    names = [param.name for param in population.layout]
    if not all(map(module.fits_npz, names)):
        with pytest.raises(LayoutMismatch, match="cannot hold a tensor called"):
            export(selection, folder / "x.npz")
        return
    export(selection, folder / "x.npz")
    with np.load(folder / "x.npz", allow_pickle=False) as arrays:
        for name in names:
            assert arrays[name].tobytes() == population.stored(name).tobytes()


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a" * 65_531, True), ("é" * 32_766, False), ("pz_step", False), ("a\0", False)],
)
def test_names_that_an_npz_file_can_hold(name: str, fits: bool) -> None:
    assert module.fits_npz(name) is fits


def test_nothing_is_replaced_unless_forced(steps: Catalog, tmp_path: Path) -> None:
    one, two = find_checkpoint(steps, "abcd01@0"), find_checkpoint(steps, "abcd01@5")
    path = tmp_path / "x.safetensors"
    export(one, path)
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=r"exists\. Replace it with --force"):
        export(two, path)
    assert path.read_bytes() == before
    export(two, path, force=True)
    assert json.loads(read_header(path).metadata["step"]) == 5
    many = steps.select("run_id = 'abcd01' AND row IS NOT NULL")
    export(many, tmp_path / "many")
    with pytest.raises(CatalogError, match="exists"):
        export(one, tmp_path / "many")
    export(one, tmp_path / "many", force=True)
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == [
        "abcd01@0.safetensors",
        "phasezoo.jsonl",
    ]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_other_files_is_never_replaced(
    steps: Catalog, tmp_path: Path, force: bool
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(CatalogError, match="folder with other files"):
        export(find_checkpoint(steps, "abcd01"), tmp_path / "mine", force=force)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("name", ["x.safetensors", "x.npz", "x.arrow", "folder"])
def test_what_fails_leaves_what_was_there(
    steps: Catalog, tmp_path: Path, monkeypatch: Any, name: str, files: Any
) -> None:
    selection = find_checkpoint(steps, "abcd01")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CatalogError, match=r"Cannot write .*No space left"):
            export(selection, tmp_path / "out" / name)
    assert not [p for p in tmp_path.rglob("*") if p.name != "out"]
    export(selection, tmp_path / "out" / name)
    before = files(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CatalogError, match=r"No space left on device\. Free some space, or"
    ):
        export(selection, tmp_path / "out" / name, force=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("where", "name", "kind", "message"),
    [
        ("true", "x.safetensors", None, "holds one network, but 11 are selected"),
        ("false", "x.npz", None, "No checkpoint matches"),
        ("true", "x", "npz", r"one file for all networks: use --to .*x\.npz"),
        ("true", "x.npz", "arrow", "ends in .npz, but --kind is arrow"),
        ("true", "x", "hdf5", "Cannot write 'hdf5'"),
    ],
)
def test_requests_that_cannot_be_met(
    steps: Catalog, tmp_path: Path, where: str, name: str, kind: str, message: str
) -> None:
    selection = steps.select(f"row IS NOT NULL AND {where}")
    with pytest.raises(CatalogError, match=message):
        export(selection, tmp_path / name, kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.safetensor", "x.foo", "dir/one.npzz"])
def test_an_unknown_ending_is_no_folder(steps: Catalog, tmp_path: Path, name: str) -> None:
    one = find_checkpoint(steps, "abcd01")
    with pytest.raises(
        NotFound, match=r"(Closest|Known): .*For a folder.*/, or add --kind"
    ):
        export(one, tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert export(one, f"{tmp_path / name}/")[0].parent == tmp_path / name
    export(one, tmp_path / name, "safetensors", force=True)


def test_several_layouts_do_not_stack(
    steps: Catalog, commit: Any, networks: Any, tmp_path: Path
) -> None:
    commit(steps, networks(Layout((Param("other", (2,)),)), 1, prefix="other"))
    selection = steps.refreshed().select("row IS NOT NULL")
    for name in ("x.npz", "x.arrow"):
        with pytest.raises(LayoutMismatch, match="2 layouts"):
            export(selection, tmp_path / name)
    assert len(export(selection, tmp_path / "folder")) == 12


def test_the_verb(steps: Catalog, tmp_path: Path) -> None:
    # click keeps the names of the help option from the first call: those of phasezoo.
    names = {"help_option_names": ["-h", "--help"]}
    run, root = partial(CliRunner().invoke, **names), ["--catalog", str(steps.root)]
    path = str(tmp_path / "x.safetensors")
    done = run(verb, ["abcd02@5", "--to", path, "--json", *root])
    assert json.loads(done.stdout) == {"networks": 1, "files": [path]}
    done = run(
        verb, ["--where", "run_id = 'abcd01' AND row IS NOT NULL", "--to", path, *root]
    )
    assert isinstance(done.exception, CatalogError)
    path = str(tmp_path / "x.npz")
    done = run(
        verb, ["--where", "run_id = 'abcd01' AND row IS NOT NULL", "--to", path, *root]
    )
    assert done.stdout == f"{path}: 3 networks, 1 files\n"
    for arguments in (["--to", path], ["abcd01", "--where", "true", "--to", path]):
        done = run(verb, [*arguments, *root])
        assert done.exit_code == 2
        assert "Give either ID or --where SQL" in done.output
