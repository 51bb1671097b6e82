"""Damaged and hostile files: an error with text, or the committed numbers; nothing else.

Mutants are made and read in processes of their own, so that a crash, a hang or a blown
up memory is a failure that names its mutant. `attack_trials.py` attacks catalogues,
`attack_imports.py` imports; their arguments are printed on a failure. Thousands are made by
``soak.py attacks``.
"""

import gzip
import hashlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
from catalog import Catalog, CatalogError, Layout
from catalog.formats import expansion
from catalog.importing import import_source
from catalog.upkeep.garbage import collect
from catalog.upkeep.verify import verify

TRIALS = Path(__file__).parents[1] / "trials"


def attack(
    script: str, folder: Path, counts: dict[str, int], seed: int = 0
) -> Counter[str]:
    """Run mutants of some kinds in a process; how often what came of them."""
    folder.mkdir()
    kinds = [str(word) for pair in counts.items() for word in pair]
    done = subprocess.run(
        [sys.executable, str(TRIALS / script), str(folder), str(seed), *kinds],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{seed} {counts}: {done.stderr[-4000:]}"
    outcomes = Counter(json.loads(done.stdout.splitlines()[-1]))
    failed = done.stderr.find("FAILED")
    assert not outcomes.pop("failures"), done.stderr[failed : failed + 4000]
    return outcomes


FEW = {
    "shards": 20, "metadata": 10, "manifests": 10, "orphans": 15, "heads": 15, "forged": 6,
    "links": 6,
}  # fmt: skip


def test_a_few_mutants_of_a_catalogue(tmp_path: Path) -> None:
    """All kinds in one process, on one catalogue."""
    outcomes = attack("attack_trials.py", tmp_path / "x", FEW)
    assert outcomes["verify answered"] + outcomes["verify refused"] > sum(FEW.values()) // 2


def test_a_few_mutants_of_foreign_files(tmp_path: Path) -> None:
    outcomes = attack("attack_imports.py", tmp_path / "x", {"numpy": 30})
    assert sum(outcomes.values()) == 30


def compact_and_collect(root: Path) -> None:
    collect(root, keep=1, grace=0)
    catalog.open(root).load()


@pytest.mark.parametrize("kind", ["weights", "runs", "manifests", "snapshots", "HEAD"])
def test_a_link_out_of_the_catalogue_is_refused_and_reported(
    zoo: Catalog, tmp_path: Path, kind: str, files: Any
) -> None:
    zoo.writer().close()
    path = zoo.root / kind
    path.rename(tmp_path / kind)
    path.symlink_to(tmp_path / kind)
    before = files(tmp_path)
    with pytest.raises(CatalogError, match=r"leads out of the catalogue.*cp -rL"):
        catalog.open(zoo.root).load(verify=True)
    with pytest.raises(CatalogError, match="leads out of the catalogue"):
        compact_and_collect(zoo.root)
    assert any("leads out" in p.detail for p in verify(zoo.root, sweep=False).problems)
    assert files(tmp_path) == before


def test_a_catalogue_may_be_a_link_and_have_links_inside(
    zoo: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(zoo.root)
    weights = next((zoo.root / "weights").rglob("*.parquet"))
    weights.rename(zoo.root / "elsewhere")
    weights.symlink_to(zoo.root / "elsewhere")
    assert len(catalog.open(tmp_path / "link").load(verify=True)) == 5
    assert verify(tmp_path / "link").problems == []


def test_a_lock_that_is_a_link_is_not_truncated(zoo: Catalog, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    lock = zoo.root / "writers" / "commit.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(mine)
    with pytest.raises(CatalogError, match="leads out of the catalogue"):
        zoo.writer()
    assert mine.read_text() == "precious"


@pytest.mark.parametrize(
    "name",
    ["README.md", "cache/latest.json", "cache/columns.json", "writers/0a1b2c3d4e5f.writer"],
)
def test_a_pipe_in_place_of_what_can_be_rebuilt_is_not_waited_for(
    zoo: Catalog, name: str, commit: Any, networks: Any, small_layout: Layout
) -> None:
    assert len(zoo.load()) == 5
    (zoo.root / name).unlink(missing_ok=True)
    os.mkfifo(zoo.root / name)
    commit(zoo, networks(small_layout, 2, prefix="new"))
    assert len(catalog.open(zoo.root).load(verify=True)) == 7
    assert verify(zoo.root).problems == []


def test_a_pipe_in_place_of_metadata_is_not_waited_for_by_a_commit(
    zoo: Catalog, commit: Any, networks: Any, small_layout: Layout
) -> None:
    path = next((zoo.root / "runs").iterdir())
    path.unlink()
    os.mkfifo(path)
    commit(zoo, networks(small_layout, 2, prefix="new"))
    with pytest.raises(CatalogError, match="is a pipe"):
        catalog.open(zoo.root).load()


def test_a_cache_that_is_no_folder_is_told(zoo: Catalog) -> None:
    shutil.rmtree(zoo.root / "cache", ignore_errors=True)
    (zoo.root / "cache").write_text("mine")
    with pytest.raises(CatalogError, match="cache is not a folder"):
        catalog.open(zoo.root).load()


@pytest.mark.parametrize(
    "text", ["7", "[]", '{"runs/x": 5}', '{"runs/x": {"y": 5}}', "[" * 100_000, "\ud800"]
)
def test_a_cache_of_other_content_is_rebuilt(
    zoo: Catalog, text: str, commit: Any, networks: Any, small_layout: Layout
) -> None:
    assert len(zoo.load()) == 5
    (manifest,) = zoo.snapshot.manifests
    data = text.replace("runs/x", manifest.files["runs"].path)
    for name in ("columns", "latest"):
        path = zoo.root / "cache" / f"{name}.json"
        path.write_bytes(data.encode("utf-8", "surrogatepass"))
    commit(zoo, networks(small_layout, 2, prefix="new"))
    assert len(catalog.open(zoo.root).load(verify=True)) == 7


def test_a_sweep_deletes_nothing_through_a_link(zoo: Catalog, tmp_path: Path) -> None:
    name = "abcdefabcdef-000001.parquet"
    (tmp_path / name).write_text("mine")
    (zoo.root / "measures").symlink_to(tmp_path)
    (zoo.root / "runs" / name).symlink_to(tmp_path / name)
    verify(zoo.root)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("folder", [False, True])
def test_a_source_with_a_link_out_of_it_is_refused_by_name(
    tmp_path: Path, folder: bool
) -> None:
    source, away = tmp_path / "source", tmp_path / "away"
    source.mkdir()
    away.mkdir()
    np.savez(away / "a.npz", w=np.ones(3))
    np.savez(source / "b.npz", w=np.ones(3))
    link = source / "a.npz" if not folder else source / "deep"
    link.symlink_to(away / "a.npz" if not folder else away)
    with pytest.raises(CatalogError, match=rf"{link} is a link that leads out"):
        import_source(tmp_path / "zoo", source)
    link.unlink()
    imported = import_source(tmp_path / "zoo", source, format="npz_state_dict")
    assert imported.imported == 1


def test_a_tensor_of_no_architecture_is_told(zoo: Catalog) -> None:
    record = next((zoo.root / "manifests").iterdir())
    value = json.loads(record.read_bytes())
    file = value["files"]["tensors"]
    path = zoo.root / file["path"]
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "arch_id", pa.nulls(len(table), pa.string())), path)
    data = path.read_bytes()
    file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    record.write_text(json.dumps(value))
    (zoo.root / "HEAD").unlink()
    shutil.rmtree(zoo.root / "snapshots")
    with pytest.raises(CatalogError, match=r"tensors/ of .* has a row without an arch_id"):
        catalog.open(zoo.root).load()


def npy(shape: str, values: bytes = b"", dtype: str = "<f4") -> bytes:
    header = (
        f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    )
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def npz(path: Path, member: bytes, **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("w.npy", member)


def hostile_sources(folder: Path) -> dict[str, Path]:
    """Small files that declare or expand to far more than they hold."""
    (folder / "huge.npy").write_bytes(npy("(1, 1099511627776)", bytes(64)))
    npz(folder / "huge.npz", npy("(1099511627776, 4)", bytes(64)))
    npz(folder / "rows.npz", npy("(1099511627776, 0)"))
    npz(folder / "negative.npz", npy("(-2, -3)", bytes(24)))
    # Both bombs just exceed what a file may always expand to.
    zeros = npy(f"({1 << 23}, 9)", bytes(9 << 25))
    assert len(zeros) > expansion.UNSUSPICIOUS
    npz(folder / "bomb.npz", zeros, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    header = struct.pack("<Q", 1 << 60)
    (folder / "header.safetensors").write_bytes(header + b'{"w":{}}')
    claim = {"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    text = json.dumps(claim).encode()
    (folder / "shape.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with gzip.open(folder / "bomb.csv.gz", "wb", 1) as file:
        file.write(b"id,x\n")
        for _ in range((expansion.UNSUSPICIOUS >> 20) + 16):
            file.write(b"a,1\n" * (1 << 18))
    (folder / "pickle.npy").write_bytes(pickle.dumps(print))
    return {
        path.name: path
        for path in folder.iterdir()
        if path.stem not in ("layout", "metrics")
    }


def test_absurd_sizes_are_refused_without_allocating(tmp_path: Path) -> None:
    import tracemalloc

    source = tmp_path / "source"
    source.mkdir()
    sources = hostile_sources(source)
    assert len(sources) == 9
    for name, path in sources.items():
        formats = {".npy": "npy_matrix", ".npz": "npz_stacked", ".gz": "metrics_csv"}
        kind = formats.get(path.suffix, "safetensors")
        tracemalloc.start()
        with pytest.raises(CatalogError, match=name):
            import_source(tmp_path / "zoo", path, format=kind)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20, name
        tracemalloc.stop()
    assert not (tmp_path / "zoo").exists()


def test_what_compresses_well_is_still_imported(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", w=np.zeros((2, 1 << 20), np.float32))
    size = (tmp_path / "zeros.npz").stat().st_size
    assert expansion.RATIO * size < 1 << 23
    imported = import_source(tmp_path / "zoo", tmp_path / "zeros.npz", format="npz_stacked")
    assert imported.networks == 2
