"""A catalogue that version 1.0 of the format wrote: it must be readable for ever.

``tests/golden/v1`` was generated once, by phasezoo 0.1.0, and is never written again: a
change that fails here breaks what people have published. A new major format gets its
own folder beside it.
"""

import hashlib
import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

import catalog
from catalog import Catalog, Layout, Param
from catalog.upkeep.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
MLP, CNN = "mlp-3-19c77b0e5591", "cnn-b40fbcd92203"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A copy, so that no index is built beside the original."""
    root = tmp_path_factory.mktemp("golden") / "v1"
    shutil.copytree(GOLDEN, root)
    return catalog.open(root)


def test_nothing_is_wrong_with_it(golden: Catalog) -> None:
    result = verify(golden.root)
    assert (result.shards, result.files, result.problems, result.leftovers) == (
        5,
        16,
        [],
        [],
    )
    assert golden.version == 1
    assert [m.sequence for m in golden.snapshot.manifests] == [1, 2, 3, 4, 5]


def test_layouts(golden: Catalog) -> None:
    assert golden.layout(MLP) == Layout(
        (
            Param("fc.weight", (3, 2), ("h", None)),
            Param("fc.bias", (3,), ("h",), "bfloat16"),
            Param("bn.running_mean", (3,), ("h",), "float16", "buffer"),
            Param("bn.num_batches_tracked", (), (), "int64", "counter"),
            Param("unused", (0, 4)),
        )
    )
    assert golden.layout(CNN).symbols == {"c": 2}
    assert [(p.name, p.dtype, p.role, p.shape) for p in golden.layout(CNN)] == [
        ("W", "float64", "parameter", (2, 1, 1, 2)),
        ("w", "float32", "parameter", (2, 4)),
        ("mask.Größe", "bool", "constant", (5,)),
        ("pz_phase", "complex64", "constant", (2,)),
        ("u8", "uint8", "constant", (3,)),
    ]


def test_weights_of_the_perceptrons(golden: Catalog) -> None:
    loaded = golden.load(f"arch_id = '{MLP}'", verify=True)
    assert loaded["run_id"].tolist() == ["aa", "aa", "bb"]
    assert loaded["step"].tolist() == [0, 10, 10]
    weight = loaded.tensor("fc.weight")
    assert weight[:2].tolist() == (np.arange(12).reshape(2, 3, 2) / 8).tolist()
    bits = weight[2].view(np.uint32).reshape(-1)[:3]
    assert [hex(value) for value in bits] == ["0x7fc00001", "0x80000001", "0x7f7fffff"]
    bias = golden.read_tensor("fc.bias", f"arch_id = '{MLP}'")
    assert [[hex(value) for value in row] for row in bias] == [
        ["0x3fc0", "0x8000", "0x7f80"],
        ["0x1", "0x4040", "0xc080"],
        ["0x0", "0x3f80", "0x4000"],
    ]
    assert np.signbit(loaded.tensor("fc.bias")[0]).tolist() == [False, True, False]
    mean = golden.read_tensor("bn.running_mean", f"arch_id = '{MLP}'")
    assert mean.dtype == np.float16
    assert mean.astype(float).tolist()[::2] == [[65504, -(2.0**-24), 0], [0.5, 0.25, 0.125]]
    assert np.isnan(mean[1, 0])
    assert mean[1, 1:].tolist() == [-np.inf, 1]
    assert loaded.extra["bn.num_batches_tracked"].tolist() == [0, 10, 2**40]
    assert loaded.state_dict(0)["unused"].shape == (0, 4)


def test_weights_of_the_convolution(golden: Catalog) -> None:
    state = golden.select(f"arch_id = '{CNN}'")[0]
    assert state["W"].dtype == np.float64
    assert state["W"].reshape(-1).tolist() == [0.5, -1, 2, float(np.float32(1e-40))]
    assert state["w"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert state["mask.Größe"].tolist() == [True, False, True, True, False]
    assert state["pz_phase"].tolist() == [1 + 2j, -3j]
    assert state["u8"].tolist() == [0, 128, 255]


def test_models(golden: Catalog) -> None:
    columns = (
        "run_id, step, zoo, seed, dropout, status, test_accuracy, sharpness, phase, row"
    )
    assert golden.sql(f"SELECT {columns} FROM models").fetchall() == [
        ("aa", 0, "golden", 1, 0.5, None, 0.125, None, None, 0),
        ("aa", 10, "golden", 1, 0.5, None, 0.5, 1.5, "I", 1),
        ("bb", 10, "golden", 2, None, None, None, 9.5, "II", 2),
        ("cc", 7, "golden", 3, None, None, None, None, None, 0),
        ("dd", 0, "golden", 4, None, "diverged", None, None, None, None),
    ]
    splits = "SELECT split_by_run, split_by_cell, split_by_zoo FROM runs ORDER BY run_id"
    assert golden.sql(splits).fetchall() == [
        ("train", "test", "train"),
        ("train", "train", "train"),
        ("train", "train", "train"),
        ("validation", "train", "train"),
    ]
    provenance = golden.sql("SELECT provenance FROM measures ORDER BY 1").fetchall()
    assert provenance == [('{"seed":0}',)] * 2 + [('{"seed":1}',)] * 2


def test_architectures_travel_along(golden: Catalog) -> None:
    for arch_id, expected in [(MLP, {"name": "mlp", "width": 3}), (CNN, {"name": "cnn"})]:
        (path,) = (golden.root / "weights" / arch_id).iterdir()
        metadata = pq.read_metadata(path).metadata
        assert json.loads(metadata[b"phasezoo.architecture"]) == expected
        assert Layout.from_json(json.loads(metadata[b"phasezoo.layout"])) == golden.layout(
            arch_id
        )


def test_the_contract_needs_no_code_of_ours() -> None:
    """Manifests, DuckDB and `seek`: what FORMAT.md promises, on the original."""
    head, digest = (GOLDEN / "HEAD").read_text().split()
    snapshot = (GOLDEN / "snapshots" / f"{head}.json").read_bytes()
    assert hashlib.sha256(snapshot).hexdigest() == digest
    (shard,) = (m for m in json.loads(snapshot)["shards"] if m["arch_id"] == MLP)
    assert shard == json.loads(
        (GOLDEN / "manifests" / f"{shard['shard']}.json").read_text()
    )
    path = GOLDEN / shard["files"]["weights"]["path"]
    table = GOLDEN / shard["files"]["chunks"]["path"]
    chunks = duckdb.sql(
        f"SELECT first_row, rows, \"offset\", row_bytes FROM '{table}' "
        "WHERE tensor = 'fc.weight' ORDER BY 1"
    ).fetchall()
    assert [chunk[:2] for chunk in chunks] == [(0, 2), (2, 1)]
    with path.open("rb") as file:
        file.seek(chunks[0][2] + chunks[0][3])  # row 1
        values = np.frombuffer(file.read(24), "<f4")
    assert values.tolist() == [0.75, 0.875, 1.0, 1.125, 1.25, 1.375]
