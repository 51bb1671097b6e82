"""A full disk: what removes things gives up the cache, then a reserve."""

import contextlib
import errno
import itertools
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import catalog
from catalog import Catalog, CatalogError, Layout, Param
from catalog.errors import DiskFull
from catalog.storage.folder import Folder
from catalog.storage.reserve import BYTES, free_bytes, give_up, keep_reserve
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (3,)),))


@pytest.fixture
def zoo(new_zoo: Callable[[], Catalog], networks: Any, runs_of: Any) -> Catalog:
    store = new_zoo()
    for prefix in "ab":
        population = networks(LAYOUT, 4, seed=ord(prefix), prefix=prefix)
        runs = runs_of(population.table["run_id"].to_pylist())
        with store.writer() as writer:
            writer.commit(runs, population.table, population)
    store = store.refreshed()
    store.sql("FROM models").fetchall()
    return store


class FullDisk:
    """Refuses writing below a folder until enough was deleted there."""

    def __init__(self, root: Path, needs: set[str]) -> None:
        self.root, self.needs = root, needs

    def fsync(self, descriptor: int) -> None:
        given = {"cache": self.root / "cache", "reserve": self.root / "writers" / "reserve"}
        if any(given[name].exists() for name in self.needs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full(zoo: Catalog, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def make(*needs: str) -> None:
        monkeypatch.setattr(os, "fsync", FullDisk(zoo.root, set(needs)).fsync)

    return make


def test_there_is_a_reserve(zoo: Catalog) -> None:
    assert (zoo.root / "writers" / "reserve").stat().st_size == BYTES


def test_removing_gives_up_the_cache_first(zoo: Catalog, full: Any) -> None:
    full("cache")
    remove(zoo, "run_id = 'a-0'")
    assert (zoo.root / "writers" / "reserve").exists()
    assert len(zoo.refreshed().load()) == 7
    assert not verify(zoo.root).problems


def test_then_the_reserve(zoo: Catalog, full: Any) -> None:
    full("cache", "reserve")
    remove(zoo, "run_id = 'a-0'")
    collect(zoo.root, grace=0, waste=0)
    assert len(zoo.refreshed().load()) == 7
    assert verify(zoo.root).leftovers == []


@pytest.mark.parametrize("moment", range(8))
def test_what_is_written_twice_for_want_of_room_is_indexed_once(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """A shard is written anew without its dead rows; the disk is full at one moment."""
    remove(zoo, "run_id = 'a-0'")
    zoo.refreshed().sql("FROM models").fetchall()
    real, calls = os.fsync, itertools.count()

    def fsync(descriptor: int) -> None:
        if next(calls) == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    collect(zoo.root, grace=0, waste=0)
    monkeypatch.undo()
    assert next(calls) > moment
    rows = "SELECT count(*), count(DISTINCT (shard, tensor, first_row)) FROM chunks"
    assert zoo.refreshed().sql(rows).fetchall() == [(2, 2)]
    assert len(zoo.refreshed().load(verify=True)) == 7


def test_the_reserve_is_laid_by_again(zoo: Catalog) -> None:
    assert give_up(zoo.root)
    assert give_up(zoo.root)
    assert not give_up(zoo.root)
    collect(zoo.root)
    assert (zoo.root / "writers" / "reserve").exists()


def test_what_adds_gives_up_nothing(
    zoo: Catalog, full: Any, networks: Any, runs_of: Any
) -> None:
    full("cache")
    population = networks(LAYOUT, 1, prefix="c")
    with pytest.raises(DiskFull, match="bytes are free"), zoo.writer() as writer:
        writer.commit(runs_of(["c-0"]), population.table, population)
    assert (zoo.root / "cache").exists()


def test_too_little_says_how_much_is_needed(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    remove(zoo, "run_id = 'a-1'")
    monkeypatch.setattr(os, "fsync", refuse)
    for work in (
        lambda: remove(zoo, "run_id = 'a-0'"),
        lambda: collect(zoo.root, grace=0, waste=0),
    ):
        with pytest.raises(DiskFull, match=r"needs about [0-9,]+ bytes"):
            work()
    assert len(zoo.refreshed().load()) == 7


def test_none_is_laid_by_on_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.storage.reserve.free_bytes", lambda root: 40 * BYTES)
    Folder(tmp_path).create()
    keep_reserve(tmp_path)
    assert not (tmp_path / "writers" / "reserve").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 100 MB, where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    path = disk / "filler"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for size in (1 << 20, 4096):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * size)
    os.close(descriptor)
    return path


def test_a_disk_that_is_full(small_disk: Path, networks: Any, runs_of: Any) -> None:
    store = catalog.open(small_disk / "zoo", create=True)
    population = networks(LAYOUT, 4, prefix="a")
    with store.writer() as writer:
        writer.commit(runs_of(population.table["run_id"].to_pylist()), population.table)
    catalog.open(store.root).sql("FROM models").fetchall()
    filler = fill(small_disk)
    assert free_bytes(small_disk) == 0
    with pytest.raises(DiskFull), store.writer() as writer:
        writer.commit(runs_of(["z"]), population.table.slice(0, 1))
    assert len(catalog.open(store.root).sql("FROM models").fetchall()) == 4
    remove(catalog.open(store.root), "run_id = 'a-0'")
    assert len(catalog.open(store.root).sql("FROM models").fetchall()) == 3
    fill(small_disk)
    with contextlib.suppress(CatalogError), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # done, without its version
        while True:
            remove(catalog.open(store.root), "true LIMIT 1")
            fill(small_disk)
    filler.unlink()
    collect(store.root, grace=0, waste=0)
    assert not verify(store.root).problems
