"""Training recipes into a catalogue, with real workers: kills and Ctrl-C included."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import CatalogError
from catalog.upkeep.verify import verify
from zoo.recipe import Axis
from zoo.training.train import train

TRAIN = import_module("zoo.training.train")  # `zoo.training.train` is the function
PHASEZOO = str(Path(sys.executable).with_name("phasezoo"))


def counted(root, query):
    return catalog.open(root).sql(query).fetchall()


def test_a_limit_and_then_the_rest_train_every_run_once(tiny_zoo, digits):
    first, second = tiny_zoo.first, tiny_zoo.second
    assert (first.planned, first.known, first.trained, first.checkpoints) == (3, 0, 3, 9)
    assert (second.planned, second.known, second.trained) == (8, 3, 5)
    assert second.checkpoints == 15
    rows = counted(tiny_zoo.root, "SELECT run_id, count(*) FROM models GROUP BY ALL")
    expected = [run.run_id(digits.fingerprint) for run in tiny_zoo.recipe.runs(digits)]
    assert sorted(rows) == sorted((run_id, 3) for run_id in expected)


def test_every_committed_byte_is_in_place(tiny_zoo):
    found = verify(tiny_zoo.root)
    assert found.shards >= 4
    assert not found.problems
    assert not found.leftovers


def test_runs_that_diverge_stay_and_are_flagged(tiny_zoo):
    rows = counted(
        tiny_zoo.root,
        "SELECT lr > 1, status, diverged_step, step, finite, train_loss IS NULL, "
        "test_loss IS NULL, test_accuracy IS NULL FROM models",
    )
    assert len(rows) == 24
    for diverges, status, at, step, finite, *missing in rows:
        assert status == ("diverged" if diverges else "finished")
        assert (at is not None) == diverges
        assert finite == (not diverges or step == 0)
        assert missing == [not finite] * 3
    assert tiny_zoo.first.diverged + tiny_zoo.second.diverged == 4


def test_a_trained_zoo_knows_its_grid(tiny_zoo):
    rows = counted(
        tiny_zoo.root,
        "SELECT DISTINCT zoo, load_axis, temperature_axis, width, load, lr, temperature, "
        "seed, cell, batch_size, label_noise, train_samples, steps FROM runs",
    )
    assert len(rows) == 8
    for row in rows:
        assert row[:3] == ("tiny", "width", "lr")
        assert row[3] == row[4]
        assert row[5] == row[6]
        assert row[8] == f"width={row[3]} lr={row[5]}"
        assert row[9:] == (20, 0.1, 1200, 30)
    scores = "SELECT DISTINCT step, epoch, train_evaluated FROM checkpoints ORDER BY 1"
    assert counted(tiny_zoo.root, scores) == [(s, s / 60, 500) for s in (0, 15, 30)]


def test_a_finished_recipe_is_not_trained_again(tiny_zoo, started_workers):
    before = catalog.open(tiny_zoo.root).version
    again = train(tiny_zoo.recipe, tiny_zoo.root, workers=1)
    assert (again.planned, again.known, again.trained, again.stacks) == (8, 8, 0, 0)
    assert catalog.open(tiny_zoo.root).version == before


def test_runs_that_are_here_in_part_are_trained(tiny_zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "cache"))
    root, said = tmp_path / "zoo", []
    catalog.fetch(tiny_zoo.root, root, where="width = 4", tensors=["*.bias"])
    catalog.fetch(tiny_zoo.root, root, where="width = 3", steps="last")
    one = counted(tiny_zoo.root, "SELECT min(run_id) FROM runs WHERE width = 3")[0][0]
    catalog.fetch(tiny_zoo.root, root, where=f"run_id = '{one}'")
    request = TRAIN.TrainRequest(tiny_zoo.recipe, root, workers=1)
    done = TRAIN.train_requested(request, announce=said.append)
    assert (done.planned, done.known, done.incomplete, done.trained) == (8, 1, 7, 7)
    assert said[0].startswith("7 runs are incomplete here")
    whole, here = (
        catalog.open(r).load("width = 4 ORDER BY run_id, step")
        for r in (tiny_zoo.root, root)
    )
    np.testing.assert_allclose(
        here.weights, whole.weights, rtol=1e-4, atol=1e-5, equal_nan=True
    )
    again = train(tiny_zoo.recipe, root, workers=1)
    assert (again.known, again.incomplete, again.trained) == (8, 0, 0)


def test_a_second_process_is_told_which_one_trains(tiny_zoo):
    message = f"Process {os.getpid()} is training 'tiny' into {tiny_zoo.root}. Wait for it"
    assert str(tiny_zoo.refusal).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, r"--workers must be 1 or more. Got 0"),
        ({"limit": 0}, r"--limit must be 1 or more. Got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    tiny_recipe, tmp_path, options, message
):
    with pytest.raises(CatalogError, match=message):
        train(tiny_recipe, tmp_path / "zoo", **options)
    assert not (tmp_path / "zoo").exists()


# -------------------------------------------------------------- kills and interruptions


@pytest.fixture
def long_recipe(tiny_recipe):
    """Long enough to be interrupted in the middle."""
    return replace(
        tiny_recipe,
        name="long",
        temperature=Axis("lr", (0.01, 0.02)),
        steps=4_000,
        checkpoints=(0.5, 1.0),
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_costs_what_it_had_not_committed(
    long_recipe, tmp_path, monkeypatch, started_workers, workers
):
    root, processes = tmp_path / "zoo", []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            processes.append(self)

    class Killer(TRAIN.Progress):
        def update(self, done):
            processes[0].send_signal(signal.SIGKILL)

    train(long_recipe, root, limit=2, workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Watched)
        patch.setattr(TRAIN, "Progress", Killer)
        with pytest.raises(CatalogError, match=r"A worker ended with code -9; \d runs are"):
            train(long_recipe, root, workers=workers)
    assert len(processes) == workers
    assert all(process.returncode is not None for process in processes)
    (kept,) = counted(root, "SELECT count(*) FROM runs")[0]
    assert 2 <= kept < 8
    assert not verify(root).problems
    summary = train(long_recipe, root, workers=workers)
    assert (summary.known, summary.trained) == (kept, 8 - kept)
    assert counted(root, "SELECT count(*), count(DISTINCT run_id) FROM runs") == [(8, 8)]
    found = verify(root)
    assert not found.problems
    assert not found.leftovers


@contextlib.contextmanager
def started(root, *arguments):
    """`phasezoo train` of 64 long runs in a process group of its own."""
    command = [PHASEZOO, "train", "digits_mlp_seeds", "--limit", "64", *arguments]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--catalog", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def training(root):
    return lambda: any((root / "writers").glob("*.writer"))


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while starting", "while training", "later"])
def test_ctrl_c_commits_what_is_finished_and_exits_with_130(tmp_path, moment):
    root = tmp_path / "zoo"
    with started(root) as process:
        if moment == "while starting":
            wait_for(lambda: len(children(process)) == 2)
        else:
            wait_for(training(root))
            time.sleep(0.3 if moment == "while training" else 2.0)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Interrupted" in err
    assert "Traceback" not in err
    if moment == "while starting":
        assert "Nothing was trained yet" in err
    if root.exists():
        found = verify(root)
        assert not found.problems
        assert not found.leftovers
    kept = counted(root, "SELECT count(*) FROM runs")[0][0] if root.exists() else 0
    assert moment == "while starting" or f"{kept} runs are committed" in err
    summary = train("digits_mlp_seeds", root, limit=64)
    assert (summary.known, summary.trained) == (kept, 64 - kept)
    assert Counter(counted(root, "SELECT step FROM models")) == dict.fromkeys(
        [(150,), (450,), (900,), (1500,)], 64
    )


@pytest.mark.slow
def test_workers_do_not_outlive_their_parent(tmp_path):
    root = tmp_path / "zoo"
    with started(root) as process:
        wait_for(training(root))
        workers = children(process)
        assert len(workers) == 2
        process.kill()
        wait_for(lambda: not any(map(alive, workers)))
    assert not verify(root).problems
    summary = train("digits_mlp_seeds", root, limit=64)
    assert summary.known + summary.trained == 64
    assert counted(root, "SELECT count(*), count(DISTINCT run_id) FROM runs") == [(64, 64)]


@pytest.mark.slow
def test_stacks_and_workers_do_not_change_the_weights(tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, temperature=Axis("lr", (0.01, 0.02)))
    ways = [
        {"workers": 1, "nets": 8},
        {"workers": 2, "nets": 1},
        {"workers": 1, "memory": 600 << 20},
    ]
    found = []
    for number, way in enumerate(ways):
        train(recipe, tmp_path / str(number), **way)
        zoo_ = catalog.open(tmp_path / str(number))
        found.append(
            [
                zoo_.load(f"width = {width} ORDER BY run_id, step").weights
                for width in (3, 4)
            ]
        )
    for other in found[1:]:
        for weights, expected in zip(other, found[0], strict=True):
            np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-4)
