"""Kills at every system call that changes the folder: nothing lost, nothing half visible.

A child process is forked for every trial. It does one thing to the catalogue and kills
itself right before or after its n-th rename, deletion, file creation or sync, so that
every boundary between two states of the disk is met, not only those that last.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import catalog

TRIALS = """
import os, pathlib, random, signal, sys
import numpy as np, pyarrow as pa
import catalog
from catalog import Layout, Param, Population
from catalog.compaction import compact
from catalog.garbage import collect
from catalog.importing import import_source
from catalog.removal import remove
from catalog.verify import verify

root, trials, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
LAYOUT = Layout((Param("w", (20,)),))


def forked(function):
    # The parent never touches DuckDB or Arrow's threads, so its children may.
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            result = function()
            os.write(write, result.encode())
            os._exit(0)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return status, text


def armed(calls, after):
    # Kill this process around its n-th change of the folder.
    left = [calls]

    def wrap(function):
        def call(*arguments, **options):
            left[0] -= 1
            if not left[0] and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return call

    os.replace = wrap(os.replace)
    os.fsync = wrap(lambda descriptor: None)
    for name in ("rename", "unlink", "mkdir", "open"):
        setattr(pathlib.Path, name, wrap(getattr(pathlib.Path, name)))


def write(numbers):
    ids = [f"r{n}" for n in numbers]
    table = pa.table({"run_id": ids, "step": [0] * len(ids)})
    weights = np.repeat(np.float32(numbers)[:, None], 20, 1)
    runs = pa.table({"run_id": ids, "zoo": ["z"] * len(ids), "source": ["trained"] * len(ids)})
    with catalog.open(root).writer() as writer:
        writer.commit(runs, table, Population(weights, LAYOUT, table))
        if numbers[0] % 2:
            measured = pa.table({"run_id": ids, "step": [0] * len(ids), "x": np.float64(numbers)})
            writer.commit_measures(measured, "m", {})


def imported(number):
    shift = np.float32(number)
    source = root.parent / f"source{number}.npz"
    np.savez(source, **{"l0.weight": np.ones((3, 4, 5), "f4") * shift + np.arange(
        3, dtype="f4")[:, None, None], "l0.bias": np.ones((3, 4), "f4")})
    import_source(root, source, zoo=f"i{number}")


def content():
    zoo = catalog.open(root)
    if not zoo.sql("SELECT count(*) FROM models").fetchall()[0][0]:
        return ""
    found = []
    loaded = zoo.load("zoo = 'z'", verify=True) if zoo.sql(
        "SELECT count(*) FROM models WHERE zoo = 'z'").fetchall()[0][0] else None
    if loaded is not None:
        for run, weights in zip(loaded["run_id"], loaded.weights):
            assert (weights == int(run[1:])).all(), run
            found.append(run)
        if "x" in zoo.sql("FROM models").columns:
            wrong = "SELECT count(*) FROM models WHERE x IS NOT NULL AND run_id <> concat('r', x::BIGINT)"
            assert not zoo.sql(wrong).fetchall()[0][0]
    for name, n in zoo.sql(
        "SELECT zoo, count(*) FROM models WHERE zoo <> 'z' GROUP BY zoo").fetchall():
        assert n == 3, (name, n)  # an import is seen whole
        assert len(zoo.load(f"zoo = '{name}'", verify=True)) == 3
        found.append(name)
    return " ".join(sorted(found))


def checked():
    result = verify(root)
    assert not result.problems, result.problems
    assert not verify(root).leftovers
    return content()


def state():
    status, text = forked(checked)
    if status:
        raise SystemExit(f"trial {trial}, {name}, call {calls}: {text}")
    return set(text.split())


trial, name, calls = -1, "start", 0
known, next_run, kills = set(), 0, 0
for trial in range(trials):
    name = rng.choice(["write", "write", "import", "rm", "compact", "gc", "gc", "index"])
    calls, after = rng.randrange(1, 45), rng.random() < 0.5
    allowed = [known]
    if name == "write":
        numbers = list(range(next_run, next_run + rng.randrange(1, 4)))
        next_run += len(numbers)
        allowed.append(known | {f"r{n}" for n in numbers})
        work = lambda: write(numbers)
    elif name == "import":
        allowed.append(known | {f"i{trial}"})
        work = lambda: imported(trial)
    elif name == "rm":
        gone = {run for run in known if run[0] == "r" and rng.random() < 0.5}
        if len(known) > 25:
            gone = set(known)
        if not gone:
            continue
        runs = ", ".join(f"'{run}'" for run in sorted(gone))
        allowed.append(known - gone)
        work = lambda: remove(catalog.open(root), f"run_id IN ({runs}) OR zoo IN ({runs})")
    elif name == "compact":
        work = lambda: compact(root)
    elif name == "gc":
        work = lambda: collect(root, keep=rng.randrange(1, 3), grace=0)
    else:
        for path in (root / "cache").glob("*"):
            path.unlink()
        work = lambda: catalog.open(root).sql("SELECT count(*) FROM models").fetchall()

    def doomed():
        armed(calls, after)
        work()
        return ""

    status, text = forked(doomed)
    if os.WIFSIGNALED(status):
        kills += 1
    elif status:
        raise SystemExit(f"trial {trial}, {name}, call {calls}: {text}")
    else:
        allowed = allowed[-1:]  # what returned is committed
    found = state()
    if found not in allowed:
        raise SystemExit(f"trial {trial}, {name}, call {calls}: {found} is none of {allowed}")
    if rng.random() < 0.1:  # HEAD is a hint: commit records alone say the same
        (root / "HEAD").unlink(missing_ok=True)
        if state() != found:
            raise SystemExit(f"trial {trial}, {name}, call {calls}: other without HEAD")
    known = found
print(kills)
"""


def kill(tmp_path: Path, trials: int, seed: int) -> int:
    """Run trials in a process of their own; the number of kills."""
    root = tmp_path / "zoo"
    catalog.open(root, create=True)
    done = subprocess.run(
        [sys.executable, "-c", TRIALS, str(root), str(trials), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_a_few_kills_at_system_calls_lose_nothing(tmp_path: Path) -> None:
    assert kill(tmp_path, trials=12, seed=3) > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_kills_at_system_calls_lose_nothing(tmp_path: Path, seed: int) -> None:
    assert kill(tmp_path, trials=400, seed=seed) >= 250
