"""A catalogue is the folder that was opened, wherever the process stands later."""

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.upkeep.annotation import annotate
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify


@pytest.fixture
def twins(
    tmp_path: Path, new_zoo: Any, metrics: Any, monkeypatch: pytest.MonkeyPatch
) -> Catalog:
    """A catalogue opened by a relative path, and a copy where that leads to afterwards."""
    made = new_zoo()
    metrics(made, "a", "b")
    shutil.copytree(made.root, tmp_path / "zoo")
    shutil.copytree(made.root, tmp_path / "inner" / "zoo")
    monkeypatch.chdir(tmp_path)
    opened = catalog.open("zoo")
    monkeypatch.chdir(tmp_path / "inner")
    return opened


def remove_one(zoo: Catalog) -> None:
    remove(zoo, "run_id = 'a'")


def annotate_one(zoo: Catalog) -> None:
    table = Path("table.csv")
    table.write_text("run_id,step,x\na,0,1.5\n")
    annotate(zoo, table, "mine")


def measure_one(zoo: Catalog) -> None:
    with zoo.writer() as writer:
        writer.commit_measures(
            pa.table({"run_id": ["a"], "step": [0], "x": [1.5]}), "m", {}
        )


@pytest.mark.parametrize("change", [remove_one, annotate_one, measure_one])
def test_what_was_opened_is_changed_after_a_change_of_the_folder(
    twins: Catalog, change: Any, files: Any, tmp_path: Path
) -> None:
    assert twins.root == tmp_path / "zoo"
    before = files(tmp_path / "inner" / "zoo")
    change(twins)
    assert files(tmp_path / "inner" / "zoo") == before
    assert twins.refreshed().version == twins.version + 1
    assert len(twins.sql("FROM tensor_stats").fetchall()) == 0


@pytest.mark.parametrize("change", [remove_one, annotate_one, measure_one])
def test_another_catalogue_in_its_place_is_not_changed(
    twins: Catalog, change: Any, files: Any, tmp_path: Path
) -> None:
    root = tmp_path / "zoo"
    root.rename(tmp_path / "moved")
    (tmp_path / "inner" / "zoo").rename(root)
    before = files(root)
    with pytest.raises(CatalogError, match="renamed, deleted or replaced"):
        change(twins)
    assert files(root) == before


def test_a_path_that_is_no_text_is_told_at_once(tmp_path: Path, new_zoo: Any) -> None:
    root = tmp_path / os.fsdecode(b"by\xffte")
    shutil.copytree(new_zoo().root, root)
    for open_ in (catalog.open, verify):
        with pytest.raises(CatalogError, match="is not UTF-8, so DuckDB cannot open it"):
            open_(root)
