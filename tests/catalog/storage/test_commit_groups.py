"""Several shards that are committed at once exist together or not at all."""

from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import Catalog
from catalog.storage.folder import Folder
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Networks of three layouts."""
    folder = tmp_path / "source"
    folder.mkdir()
    for i in range(3):
        np.savez(folder / f"{i}.npz", w=np.full((4, i + 1), i, np.float32))
    return folder


@pytest.fixture
def zoo(tmp_path: Path, source: Path) -> Catalog:
    catalog.import_source(tmp_path / "zoo", source, zoo="first")
    return catalog.open(tmp_path / "zoo")


def runs(root: Path) -> dict[str, int]:
    return dict(
        catalog.open(root).sql("SELECT zoo, count(*) FROM runs GROUP BY 1").fetchall()
    )


def test_a_commit_without_its_last_file_does_not_exist(zoo: Catalog, source: Path) -> None:
    root, folder = zoo.root, Folder(zoo.root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    np.savez(source / "0.npz", w=np.float32([[9, 9, 9, 9]]))
    catalog.import_source(root, source, zoo="second")
    (last,) = folder.group_names() - {path.stem for path in before}
    folder.group(last).unlink()  # as a kill before its rename leaves it
    for path in (folder.head, *(root / "snapshots").iterdir()):
        path.unlink()
        if path in before:
            path.write_bytes(before[path])
    assert runs(root) == {"first": 3}
    left = verify(root, sweep=False)
    assert (left.problems, left.swept, left.shards) == ([], False, 3)
    swept = verify(root)
    assert swept.leftovers == left.leftovers
    assert sum(name.startswith("manifests/") for name in swept.leftovers) == 3
    data = {p for p in before if not {"cache", "writers"} & set(p.parts)}
    assert data <= {path for path in root.rglob("*") if path.is_file()}
    assert not verify(root).leftovers
    assert runs(root) == {"first": 3}
    catalog.import_source(root, source, zoo="second")
    assert runs(root) == {"first": 3, "second": 3}


def test_the_last_file_stays_while_a_record_asks_for_it(zoo: Catalog) -> None:
    root, folder = zoo.root, Folder(zoo.root)
    assert len(folder.group_names()) == 1
    remove(zoo, "source_name IS NOT NULL AND run_id = (SELECT min(run_id) FROM models)")
    collect(root, grace=0)
    assert len(folder.group_names()) == 1
    folder.head.unlink()  # records alone say the same
    assert runs(root) == {"first": 2}
    compact(root)
    collect(root, grace=0)
    assert not folder.group_names()
    folder.head.unlink()
    assert runs(root) == {"first": 2}
    assert not verify(root).problems
