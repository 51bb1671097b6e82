"""Writers that are killed at any moment, and many that write at once.

A child process commits populations whose every weight is determined by the run's number,
and acknowledges each commit on its stdout. What it acknowledged must be there.
"""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import catalog
from catalog import Catalog
from catalog.upkeep.verify import verify

WRITER = """
import sys, tempfile
import numpy as np, pyarrow as pa
import catalog
from catalog import Layout, Param, Population

root, name, commits = sys.argv[1], sys.argv[2], int(sys.argv[3])
layout = Layout((Param("w", (50,)), Param("n", (), (), "int64", "counter")))

def commit(writer, i):
    numbers = np.arange(3) + 3 * i
    ids = [f"{name}-{number}" for number in numbers]
    table = pa.table({"run_id": ids, "step": [0, 1, 2]})
    weights = np.repeat(numbers.astype(np.float32)[:, None], 50, 1)
    runs = pa.table({"run_id": ids, "zoo": [name] * 3, "source": ["trained"] * 3})
    population = Population(weights, layout, table, {"n": numbers})
    writer.commit(runs, table, population)
    if i % 3 == 2:
        measured = pa.table({"run_id": ids, "step": [0, 1, 2], "x": numbers * 0.5})
        writer.commit_measures(measured, "m", {})

with tempfile.TemporaryDirectory() as scratch:  # load everything that loads lazily
    with catalog.open(scratch, create=True).writer() as writer:
        commit(writer, 2)
print("ready", flush=True)
sys.stdin.readline()
with catalog.open(root).writer() as writer:
    for i in range(commits):
        commit(writer, i)
        print(i, flush=True)
"""


READER = """
import sys
import catalog

seen = 0
print("ready", flush=True)
sys.stdin.readline()
while seen < int(sys.argv[2]):
    zoo = catalog.open(sys.argv[1])
    count = zoo.sql("SELECT count(*) FROM models").fetchall()[0][0]
    assert seen <= count == (len(zoo.load()) if count else 0), (seen, count)
    seen = count
"""


@contextmanager
def started(code: str, root: Path, *words: object) -> Iterator[subprocess.Popen]:
    """A process that has imported everything and waits for a line."""
    arguments = [sys.executable, "-c", code, str(root), *map(str, words)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def acknowledged(process: subprocess.Popen) -> int:
    """Commits that a writer confirmed, once it has ended."""
    return len([line for line in process.stdout.read().splitlines() if line])


def check_rows(zoo: Catalog) -> dict[str, int]:
    """Every visible row reads, verifies and is what its number says; rows by writer."""
    counts: dict[str, int] = {}
    if not zoo.snapshot.manifests:
        return counts
    loaded = zoo.load(verify=True)
    for run_id, weights, n in zip(
        loaded["run_id"], loaded.weights, loaded.extra["n"], strict=True
    ):
        name, number = run_id.rsplit("-", 1)
        assert n == int(number)
        assert np.all(weights == int(number))
        counts[name] = counts.get(name, 0) + 1
    if any(m.content == "measures" for m in zoo.snapshot.manifests):
        known = "SELECT x, run_id FROM models WHERE x IS NOT NULL"
        for x, run_id in zoo.sql(known).fetchall():
            assert x == 0.5 * int(run_id.rsplit("-", 1)[1])
    return counts


def kill_and_check(root: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill writers at random moments while this process reads; what was swept, kept."""
    rng, swept, total = random.Random(seed), 0, 0
    for kill in range(kills):
        name, seen = f"writer{kill}", 0
        with started(WRITER, root, name, 10_000) as writer:
            go(writer)
            for _ in range(rng.randrange(2)):
                counts = check_rows(catalog.open(root))
                assert counts.get(name, 0) >= seen
                seen = counts.get(name, 0)
                assert seen % 3 == 0  # a commit is seen whole
            try:
                writer.wait(rng.uniform(0, 0.3))
            except subprocess.TimeoutExpired:
                writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
            confirmed = acknowledged(writer)
        result = verify(root)
        assert result.problems == []
        swept += len(result.leftovers)
        counts = check_rows(catalog.open(root))
        # The last commit may have succeeded just before the word of it was killed.
        assert 3 * confirmed <= counts.get(name, 0) <= 3 * (confirmed + 1)
        assert counts.get(name, 0) >= seen
        assert sum(counts.values()) == total + counts.get(name, 0)
        total = sum(counts.values())
        assert verify(root).leftovers == []
        assert list((root / "writers").glob("*.writer")) == []
    return swept, total


def test_two_kills_lose_nothing_that_was_acknowledged(new_zoo: Any) -> None:
    kill_and_check(new_zoo().root, kills=2, seed=1)


@pytest.mark.slow
def test_sixty_kills_lose_nothing_that_was_acknowledged(new_zoo: Any) -> None:
    swept, kept = kill_and_check(new_zoo().root, kills=60, seed=2)
    assert kept > 60
    assert swept > 60  # most kills hit the middle of a commit


def write_at_once(root: Path, writers: int, commits: int) -> int:
    """Several writers beside two readers; how often this one saw a new count."""
    seen, rows = [0], 3 * writers * commits
    with ExitStack() as stack:
        processes = [
            stack.enter_context(started(WRITER, root, f"w{i}", commits))
            for i in range(writers)
        ]
        reader = stack.enter_context(started(READER, root, rows))
        for process in [*processes, reader]:
            go(process)
        while any(process.poll() is None for process in processes):
            counts = check_rows(catalog.open(root))
            assert sum(counts.values()) >= seen[-1]
            assert verify(root).problems == []
            seen.append(sum(counts.values()))
        assert [process.returncode for process in processes] == [0] * writers
        assert [acknowledged(process) for process in processes] == [commits] * writers
        assert reader.wait() == 0
    done = catalog.open(root)
    assert check_rows(done) == {f"w{i}": 3 * commits for i in range(writers)}
    sequences = [m.sequence for m in done.snapshot.manifests]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) == writers * (commits + commits // 3)
    result = verify(root)
    assert (result.problems, result.leftovers) == ([], [])
    return len(set(seen))


def test_writers_beside_two_readers_lose_nothing(new_zoo: Any) -> None:
    assert write_at_once(new_zoo().root, writers=3, commits=4) > 1


def test_a_stopped_writer_is_alive_and_a_killed_one_is_swept(new_zoo: Any) -> None:
    """Only the end of its process makes a writer's files leftovers."""
    root = new_zoo().root
    with started(WRITER, root, "slow", 10_000) as writer:
        go(writer)
        writer.stdout.readline()
        writer.send_signal(signal.SIGSTOP)
        own = next((root / "writers").glob("*.writer"))
        half = root / "runs" / f".{own.stem}-999999.parquet.tmp"
        half.write_bytes(b"half")
        # A writer that was stopped inside the commit lock would make a sweep wait.
        result = verify(root, sweep=False)
        assert (result.problems, result.leftovers) == ([], [])
        writer.send_signal(signal.SIGCONT)
        writer.kill()
        writer.wait()
    assert str(half.relative_to(root)) in verify(root).leftovers
    assert not half.exists()
    assert not own.exists()
