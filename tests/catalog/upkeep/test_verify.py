"""`verify` names every flipped bit, and sweeps what dead writers left."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError, Layout
from catalog.upkeep.garbage import collect
from catalog.upkeep.verify import Problem, Verification, verify


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, new_zoo: Any, commit: Any, networks: Any,
    small_layout: Layout, measure: Any, metrics: Any,
) -> Catalog:  # fmt: skip
    """Weights, metrics and measures, at version 3; tests put back what they change."""
    zoo = new_zoo()
    commit(zoo, networks(small_layout, 5))
    metrics(zoo, "bare")
    measure(zoo, [{"run_id": "run-0", "step": 0, "x": 1.5}])
    return zoo.refreshed()


def problems(zoo: Catalog) -> list[Problem]:
    return verify(zoo.root, sweep=False).problems


def test_a_clean_catalogue_has_no_problems(whole: Catalog, files: Any) -> None:
    seen: list[tuple[int, int]] = []
    before = files(whole.root)
    result = verify(whole.root, progress=lambda done, total: seen.append((done, total)))
    recorded = [f for m in whole.snapshot.manifests for f in m.files.values()]
    assert result == Verification(
        3, len(recorded), sum(f.bytes for f in recorded), [], [], swept=True
    )
    assert seen == sorted(seen)
    assert seen[-1] == (result.bytes, result.bytes)
    assert files(whole.root) == before


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def checked_files(zoo: Catalog) -> list[str]:
    """All that readers read: shards, metadata, manifests, the snapshot of HEAD, HEAD."""
    named = [f.path for m in zoo.snapshot.manifests for f in m.files.values()]
    manifests = [f"manifests/{shard}.json" for shard in zoo.snapshot.shards]
    return [*named, *manifests, f"snapshots/{zoo.version}.json", "HEAD"]


@given(st.data())
@settings(max_examples=80)
def test_every_flipped_bit_is_reported_with_its_file(whole: Catalog, data: Any) -> None:
    name = data.draw(st.sampled_from(checked_files(whole)))
    path = whole.root / name
    intact = path.read_bytes()
    try:
        path.write_bytes(flipped(intact, data.draw(st.integers(0, 8 * len(intact) - 1))))
        found = problems(whole)
    finally:
        path.write_bytes(intact)
    assert found
    # A wrong HEAD or snapshot is only ever seen on the way from one to the other.
    heads = {"HEAD", f"snapshots/{whole.version}.json"}
    assert {p.path for p in found} & (heads if name in heads else {name})


@pytest.mark.slow
def test_every_single_bit_of_a_manifest_is_reported(whole: Catalog) -> None:
    path = min((whole.root / "manifests").iterdir())
    intact = path.read_bytes()
    for bit in range(8 * len(intact)):
        path.write_bytes(flipped(intact, bit))
        assert f"manifests/{path.name}" in {p.path for p in problems(whole)}, bit
    path.write_bytes(intact)


def test_every_single_bit_of_head_is_refused(whole: Catalog) -> None:
    path = whole.root / "HEAD"
    intact = path.read_bytes()
    for bit in range(8 * len(intact)):
        path.write_bytes(flipped(intact, bit))
        with pytest.raises(CatalogError, match=r"HEAD|snapshots"):
            catalog.open(whole.root)
    path.write_bytes(intact)


@pytest.fixture
def weights(zoo: Catalog) -> Path:
    (manifest,) = zoo.snapshot.manifests
    return zoo.root / manifest.files["weights"].path


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize(
    "tensor", ["fc.weight", "fc.bias", "bn.num_batches_tracked", "mask"]
)
def test_a_flipped_bit_of_a_payload_is_traced_to_row_and_tensor(
    zoo: Catalog, weights: Path, tensor: str, row: int
) -> None:
    query = f"SELECT \"offset\", row_bytes FROM chunks WHERE tensor = '{tensor}'"
    offset, width = zoo.sql(query).fetchall()[0]
    bit = 8 * (offset + row * width) + (row * 7) % (8 * width)
    weights.write_bytes(flipped(weights.read_bytes(), bit))
    name = str(weights.relative_to(zoo.root))
    first, second = problems(zoo)
    assert first.path == second.path == name
    assert first.detail.startswith("sha256 is ")
    assert second.detail == f"row {row}, tensor '{tensor}': not what was committed"


@pytest.mark.parametrize("where", ["header", "footer"])
def test_a_flipped_bit_beside_the_payload_leaves_every_tensor_intact(
    zoo: Catalog, weights: Path, where: str
) -> None:
    data = weights.read_bytes()
    least = min(row[0] for row in zoo.sql('SELECT "offset" FROM chunks').fetchall())
    byte = least - 3 if where == "header" else len(data) - 30
    weights.write_bytes(flipped(data, 8 * byte))
    details = [p.detail for p in problems(zoo)]
    assert details[0].startswith("sha256 is ")
    assert details[1:] == [
        "every tensor is intact: the damage is in the footer or a page header"
    ]


def test_many_damaged_tensors_are_counted(
    new_zoo: Any, commit: Any, networks: Any, small_layout: Layout
) -> None:
    zoo = new_zoo()
    path = zoo.root / commit(zoo, networks(small_layout, 30)).files["weights"].path
    path.write_bytes(b"\xff" * path.stat().st_size)
    details = [p.detail for p in problems(zoo)]
    assert details[-1] == "and 130 more tensors"  # 30 rows of 5 tensors, 20 are named
    assert len(details) == 1 + 20 + 1


@pytest.mark.parametrize(
    "kind", ["weights", "runs", "checkpoints", "chunks", "tensor_stats"]
)
@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        (lambda p: p.unlink(), "cannot be read: No such file or directory"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), r"[\d,]+ bytes, expected [\d,]+"),
        (lambda p: p.write_bytes(b""), r"0 bytes, expected [\d,]+"),
        (lambda p: p.write_bytes(p.read_bytes() + b"x"), r"[\d,]+ bytes, expected [\d,]+"),
    ],
    ids=["missing", "truncated", "empty", "longer"],
)
def test_a_file_of_another_length_is_reported(
    zoo: Catalog, kind: str, damage: Any, detail: str
) -> None:
    (manifest,) = zoo.snapshot.manifests
    path = manifest.files[kind].path
    damage(zoo.root / path)
    found = problems(zoo)
    assert (found[0].path, found[0].shard) == (path, manifest.shard)
    assert re.fullmatch(detail, found[0].detail)


def test_damage_is_told_even_when_its_metadata_is_damaged_too(
    zoo: Catalog, weights: Path
) -> None:
    (manifest,) = zoo.snapshot.manifests
    weights.write_bytes(flipped(weights.read_bytes(), 999))
    (zoo.root / manifest.files["chunks"].path).write_bytes(b"PAR1")
    assert any(
        "damaged rows are unknown: the shard's metadata" in p.detail for p in problems(zoo)
    )


@pytest.mark.parametrize(
    ("kind", "column", "cell"),
    [
        ("tensor_stats", "row", "x"),
        ("tensor_stats", "blake3", "x"),
        ("chunks", "row_bytes", 0),
        ("chunks", "row_bytes", 1 << 62),
        ("chunks", "offset", "x"),
    ],
)
def test_metadata_of_other_types_or_absurd_numbers_is_told(
    zoo: Catalog, kind: str, column: str, cell: Any
) -> None:
    (manifest,) = zoo.snapshot.manifests
    path = zoo.root / manifest.files[kind].path
    table = pq.read_table(path)
    at, cells = table.column_names.index(column), pa.array([cell] * len(table))
    pq.write_table(table.set_column(at, column, cells), path)
    assert any("damaged rows are unknown" in p.detail for p in problems(zoo))


@pytest.mark.parametrize("kind", ["weights", "chunks", "tensor_stats"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(zoo: Catalog, kind: str) -> None:
    (manifest,) = zoo.snapshot.manifests
    path = zoo.root / manifest.files[kind].path
    path.unlink()
    os.mkfifo(path)
    assert any("is a pipe" in p.detail for p in problems(zoo))


def test_a_deleted_manifest_is_missed_and_its_files_are_kept(
    zoo: Catalog, weights: Path
) -> None:
    (shard,) = zoo.snapshot.shards
    (zoo.root / "manifests" / f"{shard}.json").unlink()
    result = verify(zoo.root)
    assert [p.detail for p in result.problems] == [
        "manifest is missing; snapshot 1 still names it"
    ]
    assert result.leftovers == []
    assert weights.exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": [9, 0]}'])
def test_a_garbled_manifest_is_reported_and_its_files_are_kept(
    zoo: Catalog, weights: Path, text: str
) -> None:
    (path,) = (zoo.root / "manifests").iterdir()
    path.write_text(text)
    for head in ("intact", "gone"):
        if head == "gone":
            (zoo.root / "HEAD").unlink()
        result = verify(zoo.root)
        assert [p.path for p in result.problems] == [f"manifests/{path.name}"]
        assert weights.exists()


def test_a_manifest_that_says_something_else_than_its_snapshot_is_reported(
    zoo: Catalog,
) -> None:
    (path,) = (zoo.root / "manifests").iterdir()
    for key, to in [
        ("created", "2020-01-01T00:00:00+00:00"),
        ("format", [1, 1]),
        ("sequence", 5),
    ]:
        intact = path.read_text()
        path.write_text(json.dumps({**json.loads(intact), key: to}))
        assert [p.detail for p in problems(zoo)] == [
            "manifest differs from the one in snapshot 1"
        ]
        path.write_text(intact)


def test_a_manifest_without_its_shard_is_reported(zoo: Catalog, weights: Path) -> None:
    shutil.rmtree(weights.parent)
    (problem,) = problems(zoo)
    assert problem.path == str(weights.relative_to(zoo.root))


DEAD = "abcdefabcdef"


def leave(root: Path) -> list[str]:
    """What a killed writer may leave, at every stage of a commit."""
    names = [
        f"writers/{DEAD}.writer",
        f"weights/mlp-0123/{DEAD}-000001.parquet",
        f"weights/mlp-0123/.{DEAD}-000002.parquet.tmp",
        f"runs/{DEAD}-000001.parquet",
        f"tensor_stats/.{DEAD}-000001.parquet.tmp",
        f"manifests/.{DEAD}-000001.json.0123abcd.tmp",
        "snapshots/.7.json.0123abcd.tmp",
        ".HEAD.0123abcd.tmp",
        f"writers/.{DEAD}.tmp",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"half")
    return sorted(names)


def test_leftovers_of_a_dead_writer_are_kept_on_request_then_swept(zoo: Catalog) -> None:
    names = leave(zoo.root)
    kept = verify(zoo.root, sweep=False)
    assert (sorted(kept.leftovers), kept.swept, kept.problems) == (names, False, [])
    assert all((zoo.root / name).exists() for name in names)
    swept = verify(zoo.root)
    assert (sorted(swept.leftovers), swept.swept, swept.problems) == (names, True, [])
    assert not any((zoo.root / name).exists() for name in names)
    assert verify(zoo.root).leftovers == []
    assert len(zoo.refreshed().load(verify=True)) == 5


@pytest.mark.parametrize("name", ["HEAD", "snapshots/1.json", "manifests"])
def test_nothing_is_swept_while_it_is_uncertain_what_is_committed(
    zoo: Catalog, name: str
) -> None:
    names, path = leave(zoo.root), zoo.root / name
    path = next(p for p in path.iterdir() if p.suffix == ".json") if path.is_dir() else path
    intact = path.read_bytes()
    path.write_bytes(flipped(intact, 5))
    result = verify(zoo.root)
    assert (sorted(result.leftovers), result.swept, len(result.problems)) == (
        names,
        False,
        1,
    )
    assert all((zoo.root / name).exists() for name in names)
    path.write_bytes(intact)
    assert verify(zoo.root).swept


def test_what_is_not_ours_is_never_swept(zoo: Catalog) -> None:
    names = [
        "notes.tmp", "README.md", ".gitignore", "mine/.draft.tmp", "mine/x.parquet",
        "x.parquet", "weights/README.md", "weights/mine.parquet", "runs/notes.parquet",
        "mine/a.writer", "cache/.abc.duckdb.tmp",
    ]  # fmt: skip
    for name in names:
        (zoo.root / name).parent.mkdir(exist_ok=True)
        (zoo.root / name).write_text("mine")
    assert verify(zoo.root).leftovers == []
    assert all((zoo.root / name).exists() for name in names)


def test_files_of_a_living_writer_are_not_swept(
    zoo: Catalog, networks: Any, runs_of: Any, small_layout: Layout, monkeypatch: Any
) -> None:
    """Verify runs at the worst moments: before every rename of a commit."""
    more = networks(small_layout, 2, prefix="more")
    real, found = Path.rename, []

    def rename(source: Path, target: Path) -> Path:
        result = verify(zoo.root, sweep=False)
        found.append((result.leftovers, result.problems))
        return real(source, target)

    with zoo.writer() as writer:
        monkeypatch.setattr(Path, "rename", rename)
        writer.commit(runs_of(more["run_id"].tolist()), more.table, more)
        monkeypatch.undo()
        assert found == [([], [])] * 7
        assert verify(zoo.root).leftovers == []
    assert len(zoo.refreshed().load(verify=True)) == 7


def test_a_sweep_that_may_not_write_says_so(zoo: Catalog, monkeypatch: Any) -> None:
    leave(zoo.root)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    result = verify(zoo.root)
    assert [p.detail for p in result.problems] == [
        "leftovers cannot be swept: Permission denied"
    ]
    assert result.swept is False


def test_the_recorded_hashes_are_blake3_of_the_stored_bytes(whole: Catalog) -> None:
    """The oracle reads the file with pyarrow and hashes every cell."""
    from blake3 import blake3

    from catalog.names import escape

    shard = next(iter(whole.snapshot.shards))
    path = whole.root / whole.snapshot.shards[shard].files["weights"].path
    table = pq.read_table(path, partitioning=None)
    rows = whole.sql("SELECT row, tensor, blake3 FROM tensor_stats").fetchall()
    assert len(rows) == 5 * 5
    for row, tensor, digest in rows:
        cell = table[escape(tensor)][row]
        raw = cell.as_py() if isinstance(cell.as_py(), bytes) else None
        if raw is None:
            raw = np.ascontiguousarray(cell.values.to_numpy(zero_copy_only=False)).tobytes()
        assert blake3(raw).digest() == digest


def test_files_that_are_being_copied_in_are_left_alone(
    zoo: Catalog, new_zoo: Any, metrics: Any, monkeypatch: Any
) -> None:
    """Programs that copy hold no lock; commit records may come last."""
    other = new_zoo()
    metrics(other, "from elsewhere")
    for kind in ("runs", "checkpoints"):
        shutil.copytree(other.root / kind, zoo.root / kind, dirs_exist_ok=True)
    assert verify(zoo.root).leftovers == []
    collect(zoo.root, grace=0, waste=0)
    shutil.copytree(other.root / "manifests", zoo.root / "manifests", dirs_exist_ok=True)
    assert verify(zoo.root).problems == []
    assert len(zoo.refreshed().sql("FROM models").fetchall()) == 6
    for path in (other.root / "manifests").iterdir():
        (zoo.root / "manifests" / path.name).unlink()
    (zoo.root / "HEAD").unlink()
    shutil.rmtree(zoo.root / "snapshots")
    assert verify(zoo.root).leftovers == []
    monkeypatch.setattr("catalog.storage.leftovers.UNCLAIMED", 0.0)
    assert len(verify(zoo.root).leftovers) == 2


def test_without_any_commit_record_nothing_is_swept(zoo: Catalog, monkeypatch: Any) -> None:
    """Files of a backup that was not brought back whole, or records that are lost."""
    monkeypatch.setattr("catalog.storage.leftovers.UNCLAIMED", 0.0)
    for name in ("manifests", "snapshots"):
        shutil.rmtree(zoo.root / name)
    (zoo.root / "HEAD").unlink()
    (zoo.root / "manifests").mkdir()
    kept = sorted(zoo.root.rglob("*.parquet"))
    assert verify(zoo.root).leftovers == []
    assert sorted(zoo.root.rglob("*.parquet")) == kept
