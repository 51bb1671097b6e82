"""Commits: everything is checked before anything is written."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import (
    Catalog,
    CatalogError,
    Layout,
    LayoutMismatch,
    NotFound,
    Param,
    Population,
    Writer,
)
from catalog.storage.folder import Folder
from catalog.storage.splits import split
from catalog.upkeep.verify import verify
from catalog.writer import architecture_id

IDS = ["a", "b"]
POINTS = {"run_id": IDS, "step": [0, 0]}
LAYOUT = Layout((Param("w", (2,)),))


def population(ids: list[str] = IDS, steps: list[int] | None = None) -> Population:
    table = pa.table({"run_id": ids, "step": steps or [0] * len(ids)})
    return Population(np.zeros((len(ids), 2), np.float32), LAYOUT, table)


@pytest.mark.parametrize(
    ("runs", "points", "networks", "message"),
    [
        ({"zoo": [None, "z"]}, {}, None, "1 of 2 rows of runs have no 'zoo'"),
        ({}, {"step": [0, None]}, None, "1 of 2 rows of checkpoints have no 'step'"),
        ({}, {"test_accuracy": ["high", "low"]}, None, "must be double. Got string"),
        ({}, {"run_id": ["a", "a"]}, None, "1 are in one of the tables only, e.g. 'b'"),
        ({"run_id": ["a", "a"]}, {}, None, "Two rows of runs have the same run_id"),
        ({}, {"run_id": ["a", "c"]}, None, "2 are in one of the tables only, e.g. 'b'"),
        (
            {},
            {"run_id": ["a", "b", "a"], "step": [0, 0, 0]},
            None,
            r"same \(run_id, step\)",
        ),
        (
            {"dropout": [1, 2]},
            {"dropout": [1, 2]},
            None,
            "'dropout'.* in runs and in checkpoints",
        ),
        (
            {"Dropout": [1, 2]},
            {"dropout": [1, 2]},
            None,
            "'dropout'.* in runs and in checkpoints",
        ),
        ({"test_loss": [1, 2]}, {}, None, "'test_loss'.* in runs and in checkpoints"),
        ({"step": [1, 2]}, {}, None, "'step'.* in runs and in checkpoints"),
        ({}, {"zoo": ["z", "z"]}, None, "'zoo'.* in runs and in checkpoints"),
        ({"pz_x": [1, 2]}, {}, None, "reserved 'pz_'"),
        ({}, {"pz_x": [1, 2]}, None, "reserved 'pz_'"),
        ({}, {}, population(["b", "a"]), "Row i of checkpoints must be network i"),
        ({}, {}, population(["a", "b"], [0, 1]), "Row i of checkpoints must be network i"),
        ({}, {}, population(["a", "b", "c"]), "Row i of checkpoints must be network i"),
        (
            {},
            {},
            Population(np.zeros((2, 0), np.float32), Layout(()), pa.table(POINTS)),
            "no tensors. To commit metrics alone",
        ),
    ],
)
def test_a_wrong_commit_writes_nothing(
    new_zoo: Any, files: Any, runs: dict, points: dict, networks: Any, message: str
) -> None:
    zoo = new_zoo()
    before = files(zoo.root)
    table = pa.table({"run_id": IDS, "zoo": ["z", "z"], "source": ["trained"] * 2, **runs})
    with zoo.writer() as writer:
        with pytest.raises(CatalogError, match=message):
            writer.commit(table, pa.table({**POINTS, **points}), networks)
        assert files(zoo.root) == before
    assert zoo.refreshed().version == 0


def test_weights_that_are_not_exact_in_their_dtype_commit_nothing(
    new_zoo: Any, runs_of: Any, files: Any
) -> None:
    layout = Layout((Param("w", (2,), (), "bfloat16"),))
    inexact = Population(
        np.full((1, 2), 0.1, np.float32), layout, pa.table({"run_id": ["a"], "step": [0]})
    )
    zoo = new_zoo()
    with zoo.writer() as writer:
        with pytest.raises(LayoutMismatch, match="not exact in bfloat16"):
            writer.commit(runs_of(["a"]), inexact.table, inexact)
        assert files(zoo.root) == {}


def test_splits_are_fixed_by_name_and_may_be_given(new_zoo: Any, metrics: Any) -> None:
    zoo = new_zoo()
    ids = [f"r{i}" for i in range(6)]
    given = ["test", None, None, None, None, None]
    metrics(zoo, *ids, cell=["c", "c", None, None, "d", "d"], split_by_run=given)
    rows = (
        zoo.refreshed()
        .sql("SELECT * FROM runs ORDER BY run_id")
        .to_arrow_table()
        .to_pylist()
    )
    assert [r["split_by_run"] for r in rows] == ["test", *map(split, ids[1:])]
    assert {r["split_by_zoo"] for r in rows} == {split("zoo")}
    by_cell = [r["split_by_cell"] for r in rows]
    assert by_cell[:2] == [split("zoo\0c")] * 2
    assert by_cell[2:4] == [split("zoo\0r2"), split("zoo\0r3")]


def test_commits_are_numbered_in_order_whoever_makes_them(
    new_zoo: Any, runs_of: Any
) -> None:
    zoo = new_zoo()
    with zoo.writer() as one, zoo.writer() as other:
        made = [
            writer.commit(runs_of([name]), pa.table({"run_id": [name], "step": [0]}))
            for writer, name in [(one, "a"), (other, "b"), (other, "c"), (one, "d")]
        ]
    assert [m.sequence for m in made] == [1, 2, 3, 4]
    ordered = zoo.refreshed().snapshot.manifests
    assert [m.shard for m in ordered] == [m.shard for m in made]
    rows = zoo.refreshed().sql("SELECT run_id FROM models").fetchall()
    assert rows == [("a",), ("b",), ("c",), ("d",)]


def test_a_run_committed_twice_keeps_its_first_commit(new_zoo: Any, metrics: Any) -> None:
    zoo = new_zoo()
    metrics(zoo, "a", "b", seed=[1, 1])
    zoo.refreshed().sql("FROM runs").fetchall()
    metrics(zoo, "b", "c", seed=[2, 2])
    for _ in range(2):
        rows = (
            zoo.refreshed()
            .sql("SELECT run_id, seed, step FROM models ORDER BY 1")
            .fetchall()
        )
        assert rows == [("a", 1, 0), ("b", 1, 0), ("c", 2, 0)]


def test_a_closed_writer_refuses_and_closes_once(new_zoo: Any, runs_of: Any) -> None:
    writer = new_zoo().writer()
    writer.close()
    writer.close()
    with pytest.raises(CatalogError, match=r"closed. Open a new one: catalog.writer\(\)"):
        writer.commit(runs_of(["a"]), pa.table({"run_id": ["a"], "step": [0]}))


def test_leaving_the_context_publishes_a_snapshot(new_zoo: Any, runs_of: Any) -> None:
    zoo = new_zoo()
    with zoo.writer() as writer:
        writer.commit(runs_of(["a"]), pa.table({"run_id": ["a"], "step": [0]}))
        assert not (zoo.root / "HEAD").exists()
    assert (zoo.root / "HEAD").read_text().split()[0] == "1"
    assert list((zoo.root / "writers").glob("*.writer")) == []


def test_files_are_synced_before_they_are_renamed_and_their_folder_after(
    zoo: Catalog, networks: Any, runs_of: Any, small_layout: Layout, monkeypatch: Any
) -> None:
    """What a power cut may do: seen through the order of system calls."""
    events: list[tuple[str, str]] = []
    real_sync, real_rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        real_sync(descriptor)

    def renamed(source: Path, target: Path) -> Path:
        events.append(("rename", str(source)))
        events.append(("appear", str(target)))
        return real_rename(source, target)

    more = networks(small_layout, 2, prefix="more")
    with zoo.writer() as writer:
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "rename", renamed)
        manifest = writer.commit(runs_of(more["run_id"].tolist()), more.table, more)
        monkeypatch.undo()
    renames = [i for i, (what, _) in enumerate(events) if what == "rename"]
    assert len(renames) == len(manifest.files) + 1
    for i in renames:
        source, target = events[i][1], events[i + 1][1]
        assert ("sync", source) in events[:i]
        assert ("sync", str(Path(target).parent)) == events[i + 2]
    assert events[renames[-1] + 1][1] == str(
        zoo.root / "manifests" / f"{manifest.shard}.json"
    )


def test_a_writer_makes_itself_known_under_the_commit_lock(
    new_zoo: Any, monkeypatch: Any
) -> None:
    """Else a sweep between making its file and locking it would take it for dead."""
    zoo, real, seen = new_zoo(), fcntl.flock, []

    def watched(file: Any, how: int) -> None:
        if str(getattr(file, "name", "")).endswith(".writer"):
            lock = (zoo.root / "writers" / "commit.lock").open("rb")
            with lock, pytest.raises(BlockingIOError):
                real(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(file.name)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", watched)
    with Writer(zoo.root):
        assert len(seen) == 1


def test_a_writer_starts_while_leftovers_are_swept(new_zoo: Any, monkeypatch: Any) -> None:
    zoo, real = new_zoo(), Path.write_bytes

    def swept(path: Path, data: bytes) -> int:
        written = real(path, data)
        verify(zoo.root)
        return written

    monkeypatch.setattr(Path, "write_bytes", swept)
    with Writer(zoo.root) as writer:
        assert writer is not None


@pytest.mark.parametrize(
    ("architecture", "start"),
    [
        ("", "layout-"),
        ('{"name": "MLP", "width": 32}', "mlp-32-"),
        ('{"name": "test"}', "xtest-"),
        ('{"name": "../../x", "train": "dev2"}', "x-xdev2-"),
        ('{"name": "' + "long " * 40 + '"}', "long-long-long-long-long-long-long-long-"),
    ],
)
def test_architecture_ids_are_safe_folder_names(architecture: str, start: str) -> None:
    made = architecture_id(LAYOUT, architecture)
    assert made.startswith(start)
    assert len(made) <= 60
    assert made == architecture_id(LAYOUT, architecture)
    assert made != architecture_id(Layout((Param("w", (3,)),)), architecture)


FULL = OSError(28, "No space left on device")
READ_ONLY = OSError(30, "Read-only file system")
DENIED = PermissionError(13, "Permission denied")


def failing(error: OSError, real: Callable[..., Any], after: int) -> Callable[..., Any]:
    calls = iter(range(10_000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) >= after:
            raise error
        return real(*args, **kwargs)

    return call


MOMENTS = [*(("fsync", i) for i in range(13)), *(("rename", i) for i in range(7))]


@pytest.mark.parametrize(("call", "after"), MOMENTS)
def test_a_full_disk_at_any_moment_leaves_nothing_half_visible(
    zoo: Catalog, networks: Any, runs_of: Any, small_layout: Layout, monkeypatch: Any,
    files: Any, call: str, after: int,
) -> None:  # fmt: skip
    more = networks(small_layout, 2, prefix="more")
    manifests = set((zoo.root / "manifests").iterdir())
    writer = zoo.writer()
    owner, real = (os, os.fsync) if call == "fsync" else (Path, Path.rename)
    monkeypatch.setattr(owner, call, failing(FULL, real, after))
    with pytest.raises(CatalogError, match=f"Cannot write to {zoo.root}: No space left"):
        writer.commit(runs_of(more["run_id"].tolist()), more.table, more)
    monkeypatch.undo()
    writer.close()
    assert [p for p in zoo.root.rglob("*") if p.suffix == ".tmp"] == []
    assert set((zoo.root / "manifests").iterdir()) == manifests
    again = zoo.refreshed()
    assert again.version == zoo.version
    assert len(again.load(verify=True)) == 5
    found = verify(zoo.root)
    assert found.problems == []
    assert verify(zoo.root).leftovers == []


@pytest.mark.parametrize("error", [FULL, READ_ONLY, DENIED])
def test_a_folder_that_cannot_be_written_is_named_at_once(
    zoo: Catalog, monkeypatch: Any, error: OSError
) -> None:
    monkeypatch.setattr(Path, "write_bytes", failing(error, None, 0))
    with pytest.raises(CatalogError, match=f"{zoo.root}: {error.strerror}.*--catalog DIR"):
        zoo.writer()
    monkeypatch.setattr(Path, "mkdir", failing(error, None, 0))
    with pytest.raises(CatalogError, match=f"Cannot write to .*: {error.strerror}"):
        catalog.open(zoo.root / "deeper", create=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_pyarrow_running_out_of_disk_is_reported_the_same_way(
    zoo: Catalog, networks: Any, runs_of: Any, small_layout: Layout, monkeypatch: Any
) -> None:
    """The real thing: the temporary weight file is /dev/full."""
    more = networks(small_layout, 2, prefix="more")
    real = Path.with_name

    def full(path: Path, name: str) -> Path:
        made = real(path, name)
        if name.endswith(".parquet.tmp"):
            made.symlink_to("/dev/full")
        return made

    with zoo.writer() as writer:
        monkeypatch.setattr(Path, "with_name", full)
        with pytest.raises(
            CatalogError, match=r"Cannot write to .*No space left on device"
        ):
            writer.commit(runs_of(more["run_id"].tolist()), more.table, more)
        monkeypatch.undo()
        assert [p for p in zoo.root.rglob("*.tmp")] == []
    assert len(zoo.refreshed().load()) == 5


FILL_THE_DISK = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
import catalog
from catalog import CatalogError, Layout, Param, Population
from catalog.upkeep.verify import verify

root, layout, commits = Path(sys.argv[1]), Layout((Param("w", (2000,)),)), 0
zoo = catalog.open(root, create=True)
try:
    with zoo.writer() as writer:
        while True:
            ids = [f"{commits}-{i}" for i in range(20)]
            table = pa.table({"run_id": ids, "step": [0] * 20})
            runs = pa.table({"run_id": ids, "zoo": ["z"] * 20, "source": ["trained"] * 20})
            weights = np.full((20, 2000), commits, np.float32)
            writer.commit(runs, table, Population(weights, layout, table))
            commits += 1
except CatalogError as error:
    assert f"Cannot write to {root}: No space left on device" in str(error), error
assert commits > 3
assert not list(root.rglob("*.tmp"))
for _ in range(2):
    opened = catalog.open(root)
    assert opened.sql("SELECT count(*) FROM models").fetchall() == [(20 * commits,)]
    assert len(opened.load(verify=True)) == 20 * commits
    assert verify(root).problems == []
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system of 3 MB, where the tests may mount one.

    There is a warning if a commit's record fits and the version that names it does not.
    """
    mount = 'mount -t tmpfs -o size=3m none "$1" && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", str(tmp_path)]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot mount a file system here")
    fill = [sys.executable, "-c", FILL_THE_DISK, str(tmp_path / "zoo")]
    done = subprocess.run([*command, *fill], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "Warning: " in line]
    assert all("the new version was not written" in line for line in said), done.stderr


def test_an_interrupt_right_after_a_commit_deletes_nothing(
    new_zoo: Any, networks: Any, runs_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo, write_all = new_zoo(), Folder.write_all

    def interrupted(folder: Folder, files: Any) -> None:
        write_all(folder, files)
        if any(path.parent.name == "manifests" for path in files):
            raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "write_all", interrupted)
    population = networks(Layout((Param("w", (3,)),)), 2)
    runs = runs_of(population.table["run_id"].to_pylist())
    with pytest.raises(KeyboardInterrupt), zoo.writer() as writer:
        writer.commit(runs, population.table, population)
    monkeypatch.undo()
    assert not verify(zoo.root).problems
    assert len(zoo.refreshed().load(verify=True)) == 2


@pytest.mark.parametrize("how", ["renamed", "deleted", "replaced"])
def test_a_folder_that_goes_is_an_error_and_does_not_come_back(
    new_zoo: Any, networks: Any, runs_of: Any, how: str
) -> None:
    zoo = new_zoo()
    population = networks(Layout((Param("w", (3,)),)), 2)
    runs = runs_of(population.table["run_id"].to_pylist())
    moved = zoo.root.with_name(f"{zoo.root.name}-moved")
    writer = zoo.writer()
    writer.commit(runs, population.table, population)
    zoo.root.rename(moved)
    if how == "deleted":
        shutil.rmtree(moved)
    if how == "replaced":
        catalog.open(zoo.root, create=True)
    for work in (lambda: writer.commit(runs, population.table, population), writer.close):
        with pytest.raises(CatalogError, match="renamed, deleted or replaced"):
            work()
    assert zoo.root.exists() == (how == "replaced")
    if how == "replaced":
        assert catalog.open(zoo.root).snapshot.manifests == ()
    if how != "deleted":
        assert len(catalog.open(moved).load()) == 2


def test_a_writer_makes_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no catalogue"):
        Writer(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_version_that_cannot_be_written_is_a_warning_after_a_commit(
    new_zoo: Any, networks: Any, runs_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = new_zoo()
    population = networks(Layout((Param("w", (3,)),)), 2)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("catalog.writer.newest_snapshot", full)
    writer = zoo.writer()
    runs = runs_of(population.table["run_id"].to_pylist())
    writer.commit(runs, population.table, population)
    with pytest.warns(RuntimeWarning, match="The data is committed"):
        writer.close()
    assert len(zoo.refreshed().load()) == 2


def test_a_record_that_no_reader_takes_is_not_written(
    new_zoo: Any, networks: Any, runs_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = new_zoo()
    population = networks(Layout((Param("w", (3,)),)), 2)
    monkeypatch.setattr("catalog.storage.publishing.__version__", "1\x1b[2J")
    runs = runs_of(population.table["run_id"].to_pylist())
    with pytest.raises(CatalogError, match="Nothing was committed"), zoo.writer() as writer:
        writer.commit(runs, population.table, population)
    assert zoo.refreshed().snapshot.manifests == ()
    assert verify(zoo.root).leftovers == []
