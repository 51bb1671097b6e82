"""A catalogue that version 2.0 of the format wrote: a pack, a tombstone, a dropped shard.

``tests/golden/v2`` was generated once and is never written again, as `test_golden`'s.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import Catalog
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def golden(tmp_path: Path) -> Catalog:
    shutil.copytree(GOLDEN / "v2", tmp_path / "v2")
    return catalog.open(tmp_path / "v2")


MODELS = [
    ("a", 10, 0.5, None, 1.5, 0.5),
    ("c", 10, None, "free", 2.5, 0.5),
    ("e", 10, None, None, None, 0.5),
]


def models(zoo: Catalog) -> list[tuple[object, ...]]:
    columns = "run_id, step, lr, note, sharpness, test_accuracy"
    return zoo.sql(f"SELECT {columns} FROM models ORDER BY run_id").fetchall()


def test_nothing_is_wrong_with_it(golden: Catalog) -> None:
    result = verify(golden.root)
    assert (result.problems, result.leftovers) == ([], [])
    snapshot = json.loads((golden.root / f"snapshots/{golden.version}.json").read_text())
    assert snapshot["format"] == [2, 0]
    contents = [manifest.content for manifest in golden.snapshot.manifests]
    assert sorted(contents) == [
        "measures", "pack", "tombstones", "weights", "weights", "weights",
    ]  # fmt: skip


def test_models_and_weights(golden: Catalog) -> None:
    assert models(golden) == MODELS
    networks = golden.load("true ORDER BY run_id", verify=True)
    starts = np.array([[0], [100], [200]], np.float32)
    assert np.array_equal(networks.weights, starts + np.arange(9, dtype=np.float32))
    assert networks.extra["n"].tolist() == [7, 7, 7]
    assert networks.layout["fc.bias"].dtype == "bfloat16"


def test_without_head_its_records_say_the_same(golden: Catalog) -> None:
    (golden.root / "HEAD").unlink()
    assert models(golden.refreshed()) == MODELS


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_older_code_wrote_can_be_packed_and_collected(
    tmp_path: Path, version: str
) -> None:
    root = tmp_path / version
    shutil.copytree(GOLDEN / version, root)
    query = "SELECT * EXCLUDE (shard, row) FROM models ORDER BY run_id, step"
    before = catalog.open(root).sql(query).fetchall()
    assert compact(root).shards > 1
    collect(root, grace=0)
    after = catalog.open(root)
    assert after.sql(query).fetchall() == before
    assert verify(root).problems == []
    assert verify(root).leftovers == []
