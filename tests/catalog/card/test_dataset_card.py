"""The card of a published catalogue: what it says is what is in it."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
from catalog import Catalog
from catalog.card import dataset_card, facts, models_table, pictures
from catalog.card.destination import Destination
from catalog.card.facts import facts_of
from catalog.card.front_matter import size_category
from catalog.card.models_table import write_models
from catalog.schema import PARENTS

PLACE = Destination("zoo", "s3://lab/zoo", "", 3, "0" * 16, "2026-01-01", "@misc{zoo}")
GRID = {"load_axis": "width", "temperature_axis": "lr", "steps": 0, "task_name": "digits"}


def front(text: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))


def sections(text: str) -> dict[str, list[list[str]]]:
    """Cells of the tables by section."""
    found: dict[str, list[list[str]]] = {}
    for line in text.split("\n"):
        if line.startswith("## "):
            rows = found.setdefault(line[3:], [])
        elif line.startswith("| ") and "---" not in line:
            rows.append(line[2:-2].split(" | "))
    return found


def card(zoo: Catalog, **stated: str) -> str:
    return dataset_card.dataset_card(zoo.refreshed(), PLACE, stated=stated).readme.decode()


@pytest.fixture
def phased(new_zoo: Any, metrics: Any, measure: Any) -> Catalog:
    """A zoo with a grid of phases, and one without."""
    zoo = new_zoo()
    ids = [f"r{i}" for i in range(6)]
    grid = {name: [value] * 6 for name, value in GRID.items()}
    grid |= {"load": [1.0, 2.0, 3.0] * 2, "temperature": [0.1] * 3 + [0.2] * 3}
    metrics(zoo, *ids, zoo=["grid"] * 6, license=["mit"] * 6, **grid)
    metrics(zoo, "other", zoo=["bare"], license=["cc0-1.0"])
    phases = ["I", "II", "III", "IV-A", "IV-B", "unmeasured"]
    rows = [{"run_id": r, "step": 0, "phase": p} for r, p in zip(ids, phases, strict=True)]
    measure(zoo, rows)
    return zoo.refreshed()


def test_zoos_phases_tasks_and_licences_are_counted(phased: Catalog) -> None:
    text = card(phased)
    tables = sections(text)
    zoos = {row[0]: row for row in tables["Zoos"][1:]}
    assert zoos["`grid`"][1] == "`digits`"
    assert zoos["`grid`"][4:6] == ["6", "6"]
    assert zoos["`bare`"][7] == "`cc0-1.0`"
    assert tables["Phases"][1] == ["`grid`", *["1"] * 6]
    assert tables["Tasks"][1][:3] == ["`digits`", "`grid`", "6"]
    assert tables["Tasks"][2][:3] == ["-", "`bare`", "1"]
    assert tables["Licences"][1:] == [["`cc0-1.0`", "`bare`"], ["`mit`", "`grid`"]]
    found = front(text)
    assert (found["license"], found["license_name"]) == ("other", "cc0-1.0-and-mit")
    assert "model-zoo" in found["tags"]
    assert found["size_categories"] == ["n<1K"]


def test_columns_are_those_with_a_value(phased: Catalog) -> None:
    rows = sections(card(phased))["Columns of `models`"][1:]
    names = [row[0].strip("`") for row in rows]
    for name in phased.sql("FROM models").columns:
        query = f'SELECT count("{name}") FROM models'
        assert (name in names) == bool(phased.sql(query).fetchall()[0][0])
    described = {row[0]: row[1:] for row in rows}
    assert described["`step`"] == ["int64", "steps", "optimiser steps taken"]


def test_a_zoo_with_phases_has_a_picture(phased: Catalog) -> None:
    pytest.importorskip("matplotlib")
    text = card(phased)
    (path,) = re.findall(r"!\[Phases of grid at the last checkpoints\]\((.*)\)", text)
    data = (phased.root / path).read_bytes()
    assert data.startswith(b"\x89PNG")
    first, second = (pictures.draw_phases(phased, ["grid", "bare"]) for _ in range(2))
    assert [p.png for p in first] == [p.png for p in second] == [data]


def test_without_the_library_there_is_a_sentence(
    phased: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    text = card(phased)
    assert "![" not in text
    assert "the publisher had no matplotlib" in text


def test_every_configuration_lists_files_that_exist(zoo: Catalog, measure: Any) -> None:
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    configs = {c["config_name"]: c for c in front(card(zoo))["configs"]}
    (default,) = [name for name, c in configs.items() if c.get("default")]
    assert default == "models"
    (arch,) = {m.arch_id for m in zoo.snapshot.manifests if m.arch_id}
    assert {"checkpoints", "runs", "measures", arch} < configs.keys()
    for config in configs.values():
        (files,) = config["data_files"]
        assert files["split"] == "train"
        for path in files["path"]:
            assert pq.read_metadata(zoo.root / path).num_rows


def test_datasets_reads_the_default_and_measures(
    zoo: Catalog, measure: Any, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    parents = pa.array([[{"run_id": "run-0", "step": 0, "role": "start"}]], PARENTS)
    runs = {"run_id": ["child"], "zoo": ["z"], "source": ["derived"], "free": [1.5]}
    with zoo.writer() as writer:
        table = pa.table(runs).append_column("parents", parents)
        writer.commit(table, pa.table({"run_id": ["child"], "step": [0]}))
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2}], "a")
    measure(zoo, [{"run_id": "child", "step": 0, "sharpness": 0.5, "note": "x"}], "b")
    store = zoo.refreshed()
    (zoo.root / "README.md").write_text(card(store))

    def load(*name: str) -> Any:
        place = str(zoo.root), *name
        return datasets.load_dataset(*place, split="train", cache_dir=str(tmp_path))

    models = load().to_list()
    keys = [(row["run_id"], row["step"]) for row in models]
    query = "SELECT run_id, step FROM models ORDER BY run_id, step"
    assert keys == store.sql(query).fetchall()
    found = {row["run_id"]: row for row in models}
    assert found["child"]["parents"] == parents.to_pylist()[0]
    assert (found["run-0"]["sharpness"], found["child"]["sharpness"]) == (2.0, 0.5)
    measured = {row["run_id"]: row for row in load("measures").to_list()}
    assert measured["run-0"]["sharpness"] == 2.0
    assert (measured["child"]["note"], measured["run-0"]["note"]) == ("x", None)


def test_what_the_viewer_refuses_is_marked(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (arch,) = {m.arch_id for m in zoo.snapshot.manifests if m.arch_id}
    assert facts_of(zoo).too_large == {}
    assert "too large" not in card(zoo)
    (row,) = facts_of(zoo).architectures
    monkeypatch.setattr(facts, "VIEWER_LIMIT", row["group_bytes"] - 1)
    text = card(zoo)
    assert f"# {arch}: a row group has" in text.split("\n---\n")[0]
    front(text)
    (marked,) = [row for row in sections(text)["Configurations"] if "too large" in row[3]]
    assert marked[0] == f"`{arch}`"


def test_the_size_of_row_groups_is_that_of_the_files(zoo: Catalog) -> None:
    (file,) = [m.files["weights"] for m in zoo.snapshot.manifests if m.arch_id]
    group = pq.read_metadata(zoo.root / file.path).row_group(0)
    (row,) = facts_of(zoo).architectures
    assert (row["files"], row["rows"]) == (1, group.num_rows)
    tensors = [group.column(i) for i in range(2, group.num_columns)]
    payload = sum(c.total_uncompressed_size for c in tensors)
    assert group.num_rows * row["row_bytes"] <= payload
    assert row["group_bytes"] >= group.num_rows * row["row_bytes"]


def test_hostile_text_stays_text(new_zoo: Any, metrics: Any) -> None:
    markdown = pytest.importorskip("markdown_it")
    bad = ["a|b", "`|`", "<script>", "[x](javascript:y)", "\x1b[2J\u202e", "-->\n---\n# x"]
    zoo = new_zoo()
    for i, text in enumerate(bad):
        metrics(zoo, f"r{i}", zoo=[text], license=[text], task_name=[text], free=[text])
    text = card(zoo)
    assert front(text)["license"] == "other"
    parser = markdown.MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(text.split("\n---\n", 1)[1])
    kinds = [token.type for token in tokens]
    assert kinds.count("html_block") == 1  # our mark
    headings = [tokens[i + 1].content for i, k in enumerate(kinds) if k == "heading_open"]
    assert len(headings) == 8
    inline = [c for token in tokens for c in token.children or ()]
    assert {c.content for c in inline if c.type == "html_inline"} == {"<code>", "</code>"}
    assert not [c for c in inline if c.type in ("link_open", "image")]
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_long_lists_are_cut(new_zoo: Any, metrics: Any) -> None:
    zoo = new_zoo()
    ids = [f"r{i}" for i in range(130)]
    metrics(zoo, *ids, zoo=[f"zoo{i:03}" for i in range(130)])
    text = card(zoo)
    assert len(sections(text)["Zoos"]) == 101
    assert "And 30 more zoos." in text


def test_notices_come_first(zoo: Catalog) -> None:
    done = dataset_card.dataset_card(zoo, PLACE, stated={}, notices=("A part of <it>.",))
    lines = done.readme.decode().split("\n")
    assert lines[lines.index("# zoo: a catalogue of neural networks") + 2] == (
        "> A part of &#60;it&#62;."
    )


def test_an_empty_catalogue_has_a_card(new_zoo: Any) -> None:
    zoo = new_zoo()
    done = dataset_card.dataset_card(zoo, PLACE, stated={})
    assert done.models is None
    front(done.readme.decode())
    json.loads(done.croissant)


def test_above_a_limit_models_is_not_written(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_card, "MOST_CHECKPOINTS", 4)
    configs = front(card(zoo))["configs"]
    assert [c["config_name"] for c in configs if c.get("default")] == ["checkpoints"]


def test_the_models_file_is_the_view(zoo: Catalog, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert write_models(catalog.open(zoo.root), tmp_path / name) == 5
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    wanted = zoo.sql("FROM models ORDER BY run_id, step").fetchall()
    rows = pq.read_table(tmp_path / "a").to_pylist()
    assert [tuple(row.values()) for row in rows] == wanted


def test_row_groups_are_cut_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_table, "_BYTES", 1000)
    batch = pa.record_batch({"a": ["x" * size for size in (90, 2000, *[150] * 20)]})
    parts = [*models_table._parts(batch)]
    assert pa.Table.from_batches(parts) == pa.Table.from_batches([batch])
    assert max(part.nbytes for part in parts if len(part) > 1) <= 1000


@pytest.mark.parametrize(("rows", "name"), [(0, "n<1K"), (10**6, "1M<n<10M")])
def test_sizes_have_names(rows: int, name: str) -> None:
    assert size_category(rows) == name
