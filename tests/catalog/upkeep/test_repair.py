"""`verify --repair` mends what other records prove, and says what it did."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError, Layout, Param
from catalog.errors import CannotRead
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.repair import repair_catalogue
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (3,)),))


@pytest.fixture
def zoo(new_zoo: Callable[[], Catalog], networks: Any, runs_of: Any) -> Catalog:
    """A pack of three shards, a fourth shard beside it."""
    store = new_zoo()
    for prefix in "abcd":
        population = networks(LAYOUT, 2, seed=ord(prefix), prefix=prefix)
        runs = runs_of(population.table["run_id"].to_pylist())
        with store.writer() as writer:
            writer.commit(runs, population.table, population)
        if prefix == "c":
            compact(store.root)
    return store.refreshed()


def weights(root: Path) -> dict[str, bytes]:
    loaded = catalog.open(root).load("true ORDER BY run_id", verify=True)
    ids = loaded["run_id"]
    return {run: row.tobytes() for run, row in zip(ids, loaded.weights, strict=True)}


def pack_record(root: Path) -> Path:
    return next(
        path
        for path in (root / "manifests").glob("*.json")
        if json.loads(path.read_text())["content"] == "pack"
    )


def break_as_gc_did(root: Path) -> None:
    """Add the pack that `gc` joined of two packs with the same members."""
    record = pack_record(root)
    text = record.read_text().replace(record.stem, "0123456789ab-000001")
    value = json.loads(text)
    for file in value["files"].values():
        path = root / file["path"]
        shutil.copyfile(path.with_name(f"{record.stem}.parquet"), path)
    value["members"] += value["members"]
    value["sequence"] += 100
    record.with_name("0123456789ab-000001.json").write_text(json.dumps(value))


def test_a_catalogue_that_an_earlier_gc_broke_opens_again(zoo: Catalog) -> None:
    before = weights(zoo.root)
    break_as_gc_did(zoo.root)
    with pytest.raises(CatalogError, match="verify --repair"):
        catalog.open(zoo.root)
    assert verify(zoo.root, sweep=False).problems
    (said,) = repair_catalogue(zoo.root).mended
    assert "0123456789ab-000001" in said
    assert weights(zoo.root) == before
    assert not verify(zoo.root).problems
    assert not list(zoo.root.rglob("*0123456789ab*"))
    remove(catalog.open(zoo.root), "run_id = 'a-0'")
    collect(zoo.root, grace=0, waste=0)
    assert weights(zoo.root) == {k: v for k, v in before.items() if k != "a-0"}


def test_a_refused_pack_whose_members_stand_nowhere_else_stays(zoo: Catalog) -> None:
    record = pack_record(zoo.root)
    (zoo.root / "HEAD").unlink()
    shutil.rmtree(zoo.root / "snapshots")
    for path in (zoo.root / "manifests").glob("*.json"):
        if path != record and "pack" not in path.read_text():
            value = json.loads(record.read_text())
            if path.stem in [member["shard"] for member in value["members"]]:
                path.unlink()
    value = json.loads(record.read_text())
    value["members"] += value["members"]
    record.write_text(json.dumps(value))
    assert repair_catalogue(zoo.root).mended == []
    assert record.exists()
    found = verify(zoo.root)
    assert [problem.shard for problem in found.problems] == [record.stem]
    assert not found.swept


@settings(max_examples=8)
@given(data=st.data())
def test_damaged_records_are_written_again_from_the_version(
    data: st.DataObject, new_zoo: Callable[[], Catalog], networks: Any, runs_of: Any
) -> None:
    store = new_zoo()
    for prefix in "ab":
        population = networks(LAYOUT, 2, seed=ord(prefix), prefix=prefix)
        runs = runs_of(population.table["run_id"].to_pylist())
        with store.writer() as writer:
            writer.commit(runs, population.table, population)
    root = store.root
    before = weights(root)
    records = sorted((root / "manifests").glob("*.json"))
    good = {path: path.read_bytes() for path in records}
    hurt = data.draw(st.sampled_from([*records, root / "HEAD"]))
    content = bytearray(hurt.read_bytes())
    how = data.draw(st.sampled_from(["delete", "truncate", "flip", "empty"]))
    if how == "delete":
        hurt.unlink()
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        kept = {"truncate": content[:at], "flip": content, "empty": b""}[how]
        hurt.write_bytes(bytes(kept))
    repair_catalogue(root)
    assert not verify(root).problems
    assert weights(root) == before
    assert {path: path.read_bytes() for path in records} == good


def test_head_goes_back_to_a_version_that_can_be_read(zoo: Catalog) -> None:
    root, before = zoo.root, weights(zoo.root)
    newest = root / "snapshots" / f"{zoo.version}.json"
    newest.write_bytes(b"{}")
    with pytest.raises(CatalogError):
        catalog.open(root)
    assert any("HEAD" in said for said in repair_catalogue(root).mended)
    assert weights(root) == before
    assert not verify(root).problems


def test_nothing_is_mended_where_nothing_is_wrong(zoo: Catalog) -> None:
    def files() -> dict[Path, bytes]:
        own = [p for p in zoo.root.rglob("*") if p.is_file() and "writers" not in p.parts]
        return {path: path.read_bytes() for path in own}

    before = files()
    assert repair_catalogue(zoo.root).mended == []
    assert files() == before


def test_a_lost_weight_cannot_be_mended_and_is_named(zoo: Catalog) -> None:
    path = next(zoo.root.glob("weights/*/*.parquet"))
    path.unlink()
    assert repair_catalogue(zoo.root).mended == []
    (problem,) = verify(zoo.root).problems
    assert problem.path == str(path.relative_to(zoo.root))


def test_the_verb_says_what_it_mended(zoo: Catalog, capsys: Any) -> None:
    from catalog.console.program import main

    break_as_gc_did(zoo.root)
    for arguments, code in (([], 1), (["--repair"], 0), ([], 0)):
        with pytest.raises(SystemExit) as ended:
            main(["verify", "--catalog", str(zoo.root), *arguments])
        out = capsys.readouterr().out
        assert ended.value.code == code, out
        assert ("mended" in out) == bool(arguments)


def test_packs_that_hold_the_same_shards_are_read_once_and_joined(zoo: Catalog) -> None:
    """Two people compact two copies, and one gets the other's packs."""
    root = zoo.root
    twin = root.parent / f"{root.name}-twin"
    shutil.copytree(root, twin)
    before = weights(root)
    for path in (root, twin):
        assert compact(path).shards == 4
    for path in twin.rglob("*"):
        ours = root / path.relative_to(twin)
        if path.is_file() and path.parent.name != "cache" and not ours.exists():
            ours.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, ours)
    store = catalog.open(root)
    assert weights(root) == before
    for view, key in (
        ("chunks", "shard, tensor, first_row"),
        ("tensor_stats", "shard, row"),
    ):
        query = f"SELECT count(*), count(DISTINCT ({key})) FROM {view}"
        count, distinct = store.sql(query).fetchall()[0]
        assert count == distinct, view
    repair_catalogue(root)
    collect(root, grace=0)
    assert weights(root) == before
    assert len(list((root / "runs").glob("*.parquet"))) == 1
    assert not verify(root).leftovers
    assert np.shape(catalog.open(root).read_tensor("w")) == (8, 3)


def backup(root: Path, *names: str) -> Path:
    """A copy of a part of a catalogue."""
    kept = root.parent / f"{root.name}-backup"
    kept.mkdir()
    for name in names:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
        copy(root / name, kept / name)
    return kept


def restore(root: Path, kept: Path, *, whole: bool) -> None:
    for path in kept.iterdir():
        if path.is_dir():
            if whole:
                shutil.rmtree(root / path.name)
            shutil.copytree(path, root / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, root / path.name)


@pytest.mark.parametrize("whole", [True, False])
def test_versions_from_a_backup_bring_nothing_back(zoo: Catalog, whole: bool) -> None:
    """HEAD then names shards whose records and files `gc` deleted."""
    root = zoo.root
    kept = backup(root, "HEAD", "snapshots")
    remove(zoo, "run_id LIKE 'a%' OR run_id LIKE 'd%'")
    collect(root, grace=0, waste=0)
    expected = weights(root)
    restore(root, kept, whole=whole)
    repair_catalogue(root)
    assert weights(root) == expected
    assert not verify(root).problems
    assert repair_catalogue(root).mended == []
    (root / "HEAD").unlink()
    assert weights(root) == expected


def test_records_from_a_backup_of_shards_that_are_gone_do_not_count(zoo: Catalog) -> None:
    root = zoo.root
    kept = backup(root, "manifests")
    for run in "ab":
        remove(catalog.open(root), f"run_id LIKE '{run}%'")
        collect(root, grace=0, waste=0)
    expected = weights(root)
    restore(root, kept, whole=False)
    assert weights(root) == expected
    repair_catalogue(root)
    assert weights(root) == expected
    assert not verify(root).problems


def test_what_only_a_backup_can_mend_is_left_and_nothing_is_swept(zoo: Catalog) -> None:
    root, before = zoo.root, weights(zoo.root)
    kept = backup(root, "manifests", "snapshots")
    for folder in ("manifests", "snapshots"):
        for path in (root / folder).iterdir():
            path.unlink()
    done = repair_catalogue(root)
    assert (done.mended, len(done.left)) == ([], 1)
    assert "Restore manifests/" in done.left[0]
    found = verify(root)
    assert found.problems
    assert not found.swept
    restore(root, kept, whole=True)
    assert weights(root) == before


def test_an_old_version_that_is_damaged_is_reported_and_deleted(zoo: Catalog) -> None:
    old = zoo.root / "snapshots" / "1.json"
    old.write_bytes(old.read_bytes()[:50])
    (problem,) = verify(zoo.root).problems
    assert problem.path == "snapshots/1.json"
    (said,) = repair_catalogue(zoo.root).mended
    assert "Version 1" in said
    assert not verify(zoo.root).problems


def test_a_damaged_pack_is_given_up_for_what_it_superseded(zoo: Catalog) -> None:
    root, before = zoo.root, weights(zoo.root)
    name = compact(root).pack
    path = root / "runs" / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(CatalogError, match="not the file that was committed"):
        collect(root, grace=0)
    assert any(name in said for said in repair_catalogue(root).mended)
    assert weights(root) == before
    collect(root, grace=0)
    assert not verify(root).problems
    assert weights(root) == before


def test_a_pack_keeps_the_weights_of_a_commit_whose_record_is_incomplete(
    new_zoo: Callable[[], Catalog], tmp_path: Path
) -> None:
    root = new_zoo().root
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", w=np.full((4, i + 1), i, np.float32))
    catalog.import_source(root, tmp_path, zoo="many")
    kept = backup(root, "manifests")
    compact(root)
    collect(root, grace=0)
    (group,) = kept.glob("manifests/*.group")
    group.unlink()
    restore(root, kept, whole=False)
    (root / "HEAD").unlink()
    shutil.rmtree(root / "snapshots")
    found = verify(root)
    assert not found.problems
    assert all(name.startswith("manifests/") for name in found.leftovers)
    assert len(list(catalog.open(root).select("zoo = 'many'"))) == 3


def test_copies_that_are_joined_again_bring_nothing_back(zoo: Catalog) -> None:
    root = zoo.root
    twin = root.parent / f"{root.name}-twin"
    shutil.copytree(root, twin)
    compact(root)
    remove(catalog.open(twin), "run_id LIKE 'a%'")
    compact(twin)
    collect(twin, grace=0, waste=0)
    expected = weights(twin)
    shutil.copytree(root, twin, dirs_exist_ok=True)
    assert weights(twin) == expected


def test_records_that_no_one_needs_may_be_damaged(zoo: Catalog) -> None:
    """Records of a shard in a pack, and of a dropped shard whose files remain."""
    root = zoo.root
    remove(zoo, "run_id LIKE 'd%'")
    collect(root, waste=0)
    head = catalog.open(root).snapshot
    packed = next(m.shard for m in head.manifests if m.pack)
    (given_up, *_) = sorted(
        shard for shard in head.dropped if (root / "manifests" / f"{shard}.json").exists()
    )
    before = weights(root)
    for shard in (packed, given_up):
        (root / "manifests" / f"{shard}.json").write_bytes(b"{")
    remove(catalog.open(root), "run_id = 'a-0'")
    assert verify(root).problems
    assert len(repair_catalogue(root).mended) == 2
    collect(root, grace=0, waste=0)
    assert not verify(root).problems
    assert weights(root) == {run: row for run, row in before.items() if run != "a-0"}


def test_without_head_the_versions_prove_what_was_committed(zoo: Catalog) -> None:
    root, before = zoo.root, weights(zoo.root)
    records = [
        path
        for path in (root / "manifests").glob("*.json")
        if path.stem in {m.shard for m in zoo.snapshot.manifests if not m.pack}
    ]
    (root / "HEAD").unlink()
    records[0].unlink()
    records[1].write_bytes(b"{")
    assert len(repair_catalogue(root).mended) == 3
    assert weights(root) == before
    assert not verify(root).problems


@pytest.mark.parametrize("what", ["HEAD", "snapshots/*.json", "manifests/*.json", "runs/*"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_may_not_be_read_is_not_taken_for_damaged(
    zoo: Catalog, files: Any, monkeypatch: pytest.MonkeyPatch, what: str, code: int
) -> None:
    if what.startswith("runs"):  # a pack with a damaged file, to be looked into
        compact(zoo.root)
    refused = set(sorted(zoo.root.glob(what))[: None if "runs" in what else 1])
    before, opened = files(zoo.root), Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path in refused:
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        with pytest.raises(CannotRead, match=os.strerror(code)):
            repair_catalogue(zoo.root)
    assert files(zoo.root) == before
    assert repair_catalogue(zoo.root).mended == []
