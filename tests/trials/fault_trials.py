"""Changes of a catalogue, each ended at every one of its steps: for `test_faults`.

A step is a system call that changes the folder, or a read. A forked child makes the
change and meets a fault at step k: it is killed; the call fails once (no space, an input
or output error); the disk is full from there on; somebody deletes ``cache/``, or renames
the catalogue. Afterwards a second child reads and verifies the catalogue, makes the change
again and collects garbage; the result must be that of an undisturbed change, file by file.
Where a change left the same bytes as one that was looked at, they are not looked at again.

The parent starts no thread, so that its children may use DuckDB and Arrow. Run as
``fault_trials.py FOLDER TRIALS SEED [CHANGES]``; TRIALS 0 means every step and every
fault, and CHANGES how many of the changes, chosen by the seed.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import resource
import secrets
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas  # noqa: F401  Arrow imports it: once, rather than in every child
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from kill_trials import bring, content, forked, write

import catalog
import catalog.index.cache
import catalog.remote.part
import catalog.storage.publishing
from catalog import CatalogError, Layout, NotFound, Param, Population
from catalog.remote import download
from catalog.remote.address import parse_address
from catalog.remote.origins import record_shards
from catalog.storage.folder import Folder
from catalog.upkeep.annotation import annotate
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify

FAULTS = ("kill", "no space", "i/o error", "full from here", "cache gone", "moved")
_WRITING = {
    "os.rename",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "sync",
    "table",
}
_DELETING = {"os.remove", "os.rmdir"}


class Steps:
    """Counts the steps of this process in one folder, and makes one of them fail."""

    def __init__(self, root: Path, fault: str = "", at: int = 0) -> None:
        self.root, self.fault, self.at = str(root), fault, at
        self.kinds: list[str] = []
        sys.addaudithook(self.heard)
        for owner, name, kind in (
            (os, "fsync", "sync"),
            (os, "posix_fallocate", "sync"),
            (pq, "write_table", "table"),
            (pq.ParquetWriter, "write_table", "table"),
            (pq.ParquetWriter, "close", "table"),
        ):
            setattr(owner, name, self.counted(getattr(owner, name), kind))

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and self.inside(path):
                write = os.O_WRONLY | os.O_RDWR | os.O_CREAT
                self.step("write" if flags & write else "read")
        elif event in _WRITING | _DELETING and self.inside(arguments[0]):
            self.step(event)

    def inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return False  # an open file, as of a cache elsewhere
        text = os.fspath(path)
        return isinstance(text, str) and text.startswith(self.root)

    def counted(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.step(kind)
            if kind == "sync" and function.__name__ == "fsync":
                return None  # power cuts are tested by the order of calls
            return function(*arguments, **options)

        return call

    def step(self, kind: str) -> None:
        self.kinds.append(kind)
        now = len(self.kinds)
        if self.fault == "full from here" and now >= self.at and self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            if kind in _WRITING or kind == "write":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if now != self.at:
            return
        if self.fault == "cache gone":
            shutil.rmtree(f"{self.root}/cache", ignore_errors=True)
        if self.fault == "moved":
            os.rename(self.root, f"{self.root}-moved")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "no space":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "i/o error":
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@dataclass(frozen=True)
class Change:
    """One change of a catalogue.

    Attributes
    ----------
    prepare : callable
        Makes the catalogue that is changed.
    work : callable
        Makes the change; made again when it was done already, it changes nothing, or
        raises `NotFound`.
    """

    name: str
    prepare: Callable[[Path], object]
    work: Callable[[Path], object]


def shards(root: Path, *numbers: int) -> None:
    """A catalogue with shards of two runs each."""
    catalog.open(root, create=True)
    for number in numbers:
        write(root, [2 * number, 2 * number + 1])
    measured(root)


def measured(root: Path, name: str = "m") -> None:
    """Commit a measure of all runs: their number."""
    store = catalog.open(root)
    found = store.sql("SELECT run_id, step FROM models WHERE zoo = 'z'").to_arrow_table()
    values = pa.array([float(run[1:]) for run in found["run_id"].to_pylist()])
    with store.writer() as writer:
        writer.commit_measures(found.append_column("x", values), name, {})


def removed(root: Path, *runs: int) -> None:
    listed = ", ".join(f"'r{run}'" for run in runs)
    remove(catalog.open(root), f"run_id IN ({listed})")


def packed(root: Path) -> None:
    """Packs with living, thin and dead shards, and tombstones."""
    shards(root, 0, 1, 2, 3)
    compact(root)
    removed(root, 0, 1, 2)
    write(root, [8, 9])


def half_collected(root: Path) -> None:
    """A catalogue whose gc wrote again what is thin, and ended there."""
    from catalog.upkeep.rewriting import rewrite, wasteful

    packed(root)
    store = catalog.open(root)
    rewrite(store, wasteful(store, store.snapshot.manifests, 0))


def doubled(root: Path) -> None:
    """Two packs with the same members: what gc of earlier versions left when it ended."""
    from catalog.upkeep.compaction import _source, _write

    packed(root)
    snapshot = catalog.open(root).snapshot
    pack = next(m for m in snapshot.manifests if m.content == "pack")
    less = replace(pack, superseded=frozenset({pack.members[0].shard}))
    with catalog.open(root).writer() as writer:
        write = {
            kind: partial(_write, root, _source(root, [less], kind), kind)
            for kind in pack.files
        }
        writer.commit_pack(write, pack.members[1:])


def behind(root: Path) -> None:
    """A catalogue whose HEAD does not know the newest commit."""
    shards(root, 0)
    head = (root / "HEAD").read_bytes()
    write(root, [7])
    (root / "HEAD").write_bytes(head)


def littered(root: Path) -> None:
    """A catalogue with what a killed writer left."""
    shards(root, 0, 1)
    for path in list(root.glob("*/*-000001.parquet")):
        name = path.name.replace(path.name[:12], "0123456789ab")
        shutil.copyfile(path, path.with_name(name))
        shutil.copyfile(path, path.with_name(f".{name}.tmp"))
    (root / "writers" / "0123456789ab.writer").write_bytes(b"")


def indexed(root: Path) -> None:
    """A catalogue whose index lacks the newest commit."""
    shards(root, 0)
    catalog.open(root).sql("FROM models").fetchall()
    write(root, [7])


def annotated(root: Path) -> object:
    path = root.parent / "table.csv"
    path.write_text("run_id,step,y\nr0,0,1.5\nr1,0,2.5\n")
    return annotate(catalog.open(root), path, "mine")


def imported(root: Path) -> None:
    shutil.rmtree(root.parent / "source5", ignore_errors=True)
    bring(root, 5)


def answer(root: Path) -> object:
    return catalog.open(root).sql("FROM models").fetchall()


def mine(root: Path, *, withdrawn: bool = False) -> None:
    """A catalogue that shares a shard with its neighbour ``mine``, which has news."""
    ours = root.parent / "mine"
    shards(ours, 0, 1)
    os.environ["PHASEZOO_CACHE"] = str(root.parent / "cache")
    catalog.publish(catalog.open(ours), root, license="mit")
    if withdrawn:
        removed(ours, 0, 1)
        collect(ours, grace=0, waste=0)
        scratch = parse_address(str(root.parent.parent / "scratch" / "zoo"))
        shared = [m.shard for m in catalog.open(root).snapshot.manifests]
        record_shards(Folder(ours), scratch, shared)
    write(ours, [8, 9])


def published(root: Path) -> object:
    """Publish the neighbour to the catalogue."""
    os.environ["PHASEZOO_CACHE"] = str(root.parent / "cache")
    download.THREADS = 1  # so that steps come in one order
    return catalog.publish(catalog.open(root.parent / "mine"), root, license="mit")


def source(root: Path) -> None:
    """A catalogue, and a neighbour to fetch from."""
    shards(root, 0)
    shards(root.parent / "theirs", 4, 5)


def fetched(root: Path) -> object:
    """Fetch the neighbour."""
    os.environ["PHASEZOO_CACHE"] = str(root.parent / "cache")
    download.THREADS = 1
    return catalog.fetch(root.parent / "theirs", root)


class Inline:
    """An executor that does its work at once, so that steps come in one order."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def shutdown(self, **options: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done


def parts(root: Path) -> None:
    """A catalogue, and a neighbour whose zoo ``p7`` is a part of two shards."""
    shards(root, 0)
    store = catalog.open(root.parent / "theirs", create=True)
    layout = Layout((Param("w", (4,)), Param("b", (2,))))
    for zoos in (["p7", "p7", "q7"], ["q7", "q7", "p7"]):
        n = len(zoos)
        ids = [f"{zoo}-{zoos[0]}-{i}" for i, zoo in enumerate(zoos)]
        runs = pa.table({"run_id": ids, "zoo": zoos, "source": ["trained"] * n})
        table = pa.table({"run_id": ids, "step": [0] * n})
        weights = np.full((n, 6), 7, np.float32)
        with store.writer() as writer:
            writer.commit(runs, table, Population(weights, layout, table))
            values = table.append_column("y", pa.array([0.5] * n))
            writer.commit_measures(values, "m", {})


def part(root: Path, *tensors: str) -> object:
    """Fetch the zoo ``p7`` of the neighbour, or some tensors of it."""
    os.environ["PHASEZOO_CACHE"] = str(root.parent / "cache")
    catalog.remote.part.ThreadPoolExecutor = Inline
    theirs = root.parent / "theirs"
    return catalog.fetch(theirs, root, where="zoo = 'p7'", tensors=tensors)


def began(root: Path) -> None:
    """A catalogue that has one tensor of the neighbour's zoo."""
    parts(root)
    part(root, "w")


CHANGES = (
    Change("create", lambda root: None, partial(catalog.open, create=True)),
    Change("commit", lambda root: shards(root, 0), lambda root: write(root, [4, 5])),
    Change("measure", lambda root: shards(root, 0, 1), measured),
    Change("annotate", lambda root: shards(root, 0), annotated),
    Change("import", lambda root: shards(root, 0), imported),
    Change("rm", lambda root: shards(root, 0, 1), lambda root: removed(root, 0, 2, 3)),
    Change("rm packed", packed, lambda root: removed(root, 3, 4, 8)),
    Change("compact", lambda root: shards(root, 0, 1, 2), compact),
    Change("compact packed", packed, compact),
    Change("compact doubled", doubled, compact),
    Change("gc", packed, partial(collect, grace=0)),
    Change("gc all", packed, partial(collect, grace=0, waste=0)),
    Change("gc half", half_collected, partial(collect, grace=0, waste=0)),
    Change("gc doubled", doubled, partial(collect, grace=0, waste=0)),
    Change("gc kept", packed, partial(collect, keep=3, grace=0, waste=0)),
    Change("open", behind, catalog.open),
    Change("index", lambda root: shards(root, 0, 1), answer),
    Change("index more", indexed, answer),
    Change("verify", littered, verify),
    Change("publish", mine, published),
    Change("publish less", partial(mine, withdrawn=True), published),
    Change("fetch", source, fetched),
    Change("fetch part", parts, lambda root: part(root, "w")),
    Change("fetch more", began, part),
    Change("fetch all", began, fetched),
)


def disturbed(change: Change, root: Path, fault: str, at: int) -> str:
    """Make a change that meets a fault; the kinds of its steps, or its error."""
    _draw_the_same()
    steps = Steps(root, fault, at)
    try:
        change.work(root)
    except CatalogError as error:
        if not fault:
            raise
        return f"refused: {error}"
    steps.root = "\0"
    return " ".join(kind.replace(" ", "") for kind in steps.kinds)


def _draw_the_same() -> None:
    """Let names and times be those of every other trial: equal ends have equal bytes."""
    drawn = random.Random(0)
    secrets.token_hex = lambda size=16: drawn.randbytes(size).hex()
    then = datetime(2026, 1, 1, tzinfo=UTC)
    catalog.storage.publishing.datetime = SimpleNamespace(now=lambda zone: then)


def digest(folder: Path) -> str:
    """Digest of all names and bytes below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(os.fsencode(path.relative_to(folder)) + b"\0")
        if path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def state(root: Path) -> str:
    """The content as a text: names of runs and zoos, and the values of the measures."""
    if not (root / "manifests").is_dir():
        return ""
    store = catalog.open(root)
    columns = store.sql("FROM models").columns
    values = [name for name in ("x", "y") if name in columns]
    tensors = "SELECT arch_id, count(*) AS tensors FROM tensors GROUP BY arch_id"
    rows = store.sql(
        f"SELECT {', '.join(['run_id', 'tensors', *values])} FROM models "
        f"LEFT JOIN ({tensors}) USING (arch_id) ORDER BY ALL"
    )
    found = [str(row) for row in rows.fetchall()]
    chunks = "SELECT count(*), count(DISTINCT (shard, tensor, first_row)) FROM chunks"
    stats = 'SELECT count(*), count(DISTINCT (shard, "row", tensor)) FROM tensor_stats'
    for query in (chunks, stats):
        count, distinct = store.sql(query).fetchall()[0]
        assert count == distinct, query
    return "\n".join(found)


def tidy(root: Path) -> str:
    """Files of a catalogue after a last gc, by folder, and its content."""
    collect(root, grace=0, waste=0)
    content(root)
    counts = Counter(
        path.relative_to(root).parts[0]
        for path in root.rglob("*")
        if path.is_file() and path.parent.name not in ("cache", "writers")
    )
    return f"{sorted(counts.items())}\n{state(root)}"


def reads(root: Path) -> str:
    """The content, after it was read and verified."""
    if not (root / "manifests").is_dir():
        return ""
    before = state(root)
    found = verify(root, sweep=False)
    assert not found.problems, found.problems
    return before


def again(change: Change, root: Path) -> str:
    with contextlib.suppress(NotFound):
        change.work(root)
    return state(root)


class Trials:
    """All trials in one scratch folder.

    Attributes
    ----------
    made : Counter
        Trials by what came of the change: done, refused, killed; and how many left bytes
        that no other trial left.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: Counter[str] = Counter()
        self._known: dict[str, tuple[int, list[str], str, str, str]] = {}
        self._seen: dict[tuple[str, str], str] = {}
        # The indexes are our own: to check them is half of the time of a trial.
        catalog.index.cache.only_tables = lambda connection, database: True

    def known(self, change: Change) -> tuple[int, list[str], str, str, str]:
        """Steps of an undisturbed change, states before and after it, files at the end."""
        if change.name not in self._known:
            ready = self.folder / change.name.replace(" ", "-") / "zoo"
            ready.parent.mkdir(parents=True)
            must(partial(_quietly, change.prepare, ready), change.name)
            before = must(partial(state, ready), change.name)
            root = self.copied(change)
            kinds = must(partial(disturbed, change, root, "", 0), change.name).split()
            after = must(partial(state, root), change.name)
            end = must(partial(tidy, root), change.name)
            self._known[change.name] = (len(kinds), kinds, before, after, end)
        return self._known[change.name]

    def copied(self, change: Change) -> Path:
        ready = self.folder / change.name.replace(" ", "-")
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(ready, scratch, symlinks=True)
        return scratch / "zoo"

    def jobs(self, changes: Sequence[Change] = CHANGES) -> list[tuple[Change, str, int]]:
        """Every change with every fault at every step where it can happen."""
        found = []
        for change in changes:
            _, kinds, *_ = self.known(change)
            for step, kind in enumerate(kinds, 1):
                for fault in FAULTS:
                    if kind == "read" and fault != "i/o error":
                        continue
                    if kind in _DELETING and fault == "no space":
                        continue
                    if change.name == "create" and fault == "moved":
                        continue
                    found.append((change, fault, step))
        return found

    def run(self, change: Change, fault: str, step: int) -> None:
        """One trial; raises SystemExit if anything is not as it must be."""
        _, _, before, after, end = self.known(change)
        where = f"{change.name}, {fault} at step {step}"
        root = self.copied(change)
        status, text = forked(partial(disturbed, change, root, fault, step))
        if status and not os.WIFSIGNALED(status):
            raise SystemExit(f"{where}: {text}")
        if fault == "moved":
            if root.exists():
                raise SystemExit(f"{where}: the old path came back to life")
            root.with_name("zoo-moved").rename(root)
        refused = text.startswith("refused")
        outcome = "killed" if status else "refused" if refused else "done"
        self.made[outcome] += 1
        left = change.name, digest(root.parent)
        looked_at = left in self._seen
        found = self._seen[left] if looked_at else must(partial(reads, root), where)
        if found != after and not (found == before and outcome != "done"):
            raise SystemExit(f"{where}, {outcome}: {found!r}, not {before!r} or {after!r}")
        if looked_at:
            return
        self.made["different"] += 1
        self._seen[left] = found
        if (found := must(partial(again, change, root), where)) != after:
            raise SystemExit(f"{where}, made again: {found!r} is not {after!r}")
        found = must(partial(tidy, root), where)
        if change.name in ("measure", "annotate"):  # what was done is done twice
            found, end = (
                re.sub(r"'(measures|manifests)', \d+", "", t) for t in (found, end)
            )
        if found != end:
            raise SystemExit(f"{where}, in the end: {found!r} is not {end!r}")


def must(function: Callable[[], str], where: str) -> str:
    """The answer of a function in a child process; raises SystemExit if it fails."""
    status, text = forked(function)
    if status:
        raise SystemExit(f"{where}: {text}")
    return text


def _quietly(function: Callable[[Path], object], root: Path) -> str:
    os.fsync = lambda descriptor: None
    function(root)
    return ""


def main() -> None:
    folder, *numbers = sys.argv[1:]
    trials, seed, *chosen = map(int, numbers)
    changes = [CHANGES[i % len(CHANGES)] for i in chosen] or list(CHANGES)
    done = Trials(Path(folder))
    jobs = done.jobs(changes)
    failures = []
    for change, fault, step in random.Random(seed).sample(jobs, trials or len(jobs)):
        try:
            done.run(change, fault, step)
        except SystemExit as error:
            failures.append(str(error))
            sys.stderr.write(f"FAILED {error}\n")
            sys.stderr.flush()
    steps = sum(done.known(change)[0] for change in changes)
    summary = {"changes": len(changes), "steps": steps, "jobs": len(jobs), **done.made}
    sys.stdout.write(json.dumps(summary | {"failures": failures}) + "\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
