"""Trials of ``soak.py syscalls``: every trial is a forked child that kills itself.

The parent imports everything and starts no thread, so that its children may use DuckDB
and Arrow. It keeps what the catalogue must hold, and says how many children it lost.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import catalog
from catalog import Layout, Param, Population
from catalog.importing import import_source
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify

LAYOUT = Layout((Param("w", (20,)),))
MOST_CALLS = 45
"""Changes of the folder after which a child dies at the latest, if it lasts so long."""

MOST_CALLS_OF_MANY = 130
"""An import commits three shards, and gc writes as many again."""


def forked(function: Callable[[], str]) -> tuple[int, str]:
    """Exit status and answer of a function in a child process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            os.write(write, function().encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  the parent reports it
            os.write(write, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    return os.waitpid(child, 0)[1], text


def arm(calls: int, after: bool) -> None:
    """Kill this process around its n-th change of the folder."""
    left = [calls]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def wrap(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0] and not after:
                die()
            result = function(*arguments, **options)
            if not left[0]:
                die()
            return result

        return call

    os.replace = wrap(os.replace)
    os.fsync = wrap(lambda descriptor: None)
    for name in ("rename", "unlink", "mkdir", "open"):
        setattr(Path, name, wrap(getattr(Path, name)))


def write(root: Path, numbers: list[int]) -> None:
    """Commit runs whose weights are their number; odd ones have a measure."""
    ids, n = [f"r{number}" for number in numbers], len(numbers)
    table = pa.table({"run_id": ids, "step": [0] * n})
    weights = np.repeat(np.float32(numbers)[:, None], 20, 1)
    runs = pa.table({"run_id": ids, "zoo": ["z"] * n, "source": ["trained"] * n})
    with catalog.open(root).writer() as writer:
        writer.commit(runs, table, Population(weights, LAYOUT, table))
        if numbers[0] % 2:
            measured = table.append_column("x", pa.array(np.float64(numbers)))
            writer.commit_measures(measured, "m", {})


def bring(root: Path, number: int) -> None:
    """Import networks of three layouts, a shard each, as a zoo of its own."""
    source = root.parent / f"source{number}"
    source.mkdir()
    for i in range(3):
        tensors = {"w": np.full((4, i + 1), number, np.float32), "b": np.float32([i])}
        np.savez(source / f"{i}.npz", **tensors)
    import_source(root, source, format="npz_state_dict", zoo=f"i{number}")


def content(root: Path) -> str:
    """Names of the runs and imported zoos; raises if anything is not what it should be."""
    problems = verify(root).problems
    assert not problems, problems
    assert not verify(root).leftovers
    store = catalog.open(root)
    zoos = dict(store.sql("SELECT zoo, count(*) FROM models GROUP BY zoo").fetchall())
    found = [name for name in zoos if name != "z"]
    assert all(zoos[name] == 3 for name in found), zoos  # an import is seen whole
    for name in found:
        for network in store.select(f"zoo = '{name}'"):
            assert (network["w"] == int(name[1:])).all(), name
    if "z" not in zoos:
        return " ".join(found)
    loaded = store.load("zoo = 'z'", verify=True)
    for run, weights in zip(loaded["run_id"], loaded.weights, strict=True):
        assert (weights == int(run[1:])).all(), run
    if "x" in store.sql("FROM models").columns:
        wrong = "x IS NOT NULL AND run_id <> concat('r', x::BIGINT)"
        found += [r for (r,) in store.sql(f"SELECT 1 FROM models WHERE {wrong}").fetchall()]
    return " ".join([*found, *loaded["run_id"]])


@dataclass
class Trials:
    """What the catalogue must hold, and what happens to it next."""

    root: Path
    rng: random.Random
    known: set[str] = field(default_factory=set)
    runs: int = 0
    kills: int = 0

    def next(self, trial: int) -> tuple[str, Callable[[], object], set[str]]:
        """An operation, its name, and what the catalogue holds when it is done."""
        words = ("write", "write", "import", "rm", "compact", "gc", "gc", "index")
        name, root = self.rng.choice(words), self.root
        if name == "write":
            first = self.runs
            self.runs += self.rng.randrange(1, 4)
            numbers = list(range(first, self.runs))
            return (
                name,
                partial(write, root, numbers),
                {f"r{n}" for n in numbers} | self.known,
            )
        if name == "import":
            return name, partial(bring, root, trial), self.known | {f"i{trial}"}
        if name == "rm" and self.known:
            everything = len(self.known) > 25
            gone = {k for k in sorted(self.known) if everything or self.rng.random() < 0.4}
            listed = ", ".join(f"'{k}'" for k in sorted(gone) or ["nothing"])
            where = f"run_id IN ({listed}) OR zoo IN ({listed})"
            if gone:
                return name, lambda: remove(catalog.open(root), where), self.known - gone
        if name == "compact":
            return name, partial(compact, root), self.known
        if name == "gc":
            keep = self.rng.randrange(1, 3)
            return name, partial(collect, root, keep=keep, grace=0), self.known
        for path in (root / "cache").glob("*"):
            path.unlink()
        return "index", lambda: catalog.open(root).sql("FROM models").fetchall(), self.known

    def holds(self, where: str) -> set[str]:
        """What the catalogue holds now."""
        status, text = forked(partial(content, self.root))
        if status:
            raise SystemExit(f"{where}: {text}")
        return set(text.split())

    def run(self, trial: int) -> None:
        """One operation, killed or not, and what must be true after it."""
        name, work, done = self.next(trial)
        most = MOST_CALLS_OF_MANY if name in ("import", "gc") else MOST_CALLS
        most = self.rng.choice((most, MOST_CALLS // 3))  # most operations are short
        calls, after = self.rng.randrange(1, most), self.rng.random() < 0.5

        def doomed() -> str:
            arm(calls, after)
            work()
            return ""

        where = f"trial {trial}, {name}, call {calls}"
        status, text = forked(doomed)
        killed = os.WIFSIGNALED(status)
        self.kills += killed
        if status and not killed:
            raise SystemExit(f"{where}: {text}")
        found = self.holds(where)
        if found != done and not (killed and found == self.known):
            raise SystemExit(f"{where}: {found} is neither {self.known} nor {done}")
        if self.rng.random() < 0.1:  # HEAD is a hint: commit records alone say the same
            (self.root / "HEAD").unlink(missing_ok=True)
            if self.holds(where) != found:
                raise SystemExit(f"{where}: something else without HEAD")
        self.known = found


if __name__ == "__main__":
    trials = Trials(Path(sys.argv[1]), random.Random(int(sys.argv[3])))
    forked(lambda: str(catalog.open(trials.root, create=True)))
    for number in range(int(sys.argv[2])):
        trials.run(number)
    sys.stdout.write(f"{trials.kills}\n")
