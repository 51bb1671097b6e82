"""A finished stack as tables."""

import json

import numpy as np
import pytest

from catalog.storage.splits import SPLITS
from zoo.engine.evaluate import Score
from zoo.engine.stack import Stack, build_architecture
from zoo.engine.train_stack import Checkpoint, Trained
from zoo.training.parents import SPLIT_COLUMNS, Parent
from zoo.training.result import tables

LOSSES = np.array([0.5, np.inf, np.nan])
ACCURACIES = np.array([0.75, 0.1, np.nan])


@pytest.fixture
def finished(blobs, make_run):
    """Three runs at two steps: a good one, one that overflows and one that is lost."""
    runs = (
        make_run(seed=0, batch_size=10),
        make_run(seed=1, batch_size=10, train_samples=95, init_from=("f00", 3)),
        make_run(seed=2, batch_size=10, classes=(5, 4, 3, 2, 1, 0), transform="rot90"),
    )
    d = build_architecture(dict(runs[0].architecture)).layout.d
    weights = np.arange(3 * d, dtype=np.float32).reshape(3, d)
    last = weights + 1
    last[1, 7] = np.inf
    last[2] = np.nan
    good = {split: Score(np.ones(3), np.ones(3)) for split in SPLITS}
    bad = {split: Score(LOSSES, ACCURACIES) for split in SPLITS}
    checkpoints = [Checkpoint(0, weights, good), Checkpoint(40, last, bad)]
    parents = {("f00", 3): Parent(weights[1], dict.fromkeys(SPLIT_COLUMNS, "test"))}
    trained = Trained(
        Stack(runs), checkpoints, np.array([-1, 0, 17]), [240, 95, 240], [240, 90, 240]
    )
    return runs, trained, tables(trained, blobs, "an engine", parents)


def test_a_run_is_a_row_with_its_configuration(finished, blobs):
    runs, _, (table, _, _, architecture) = finished
    rows = table.to_pylist()
    for run, row in zip(runs, rows, strict=True):
        assert row["run_id"] == run.run_id(blobs.fingerprint)
        assert json.loads(row["config"]) == json.loads(json.dumps(run.config()))
        assert row["architecture"] == architecture
        assert json.loads(architecture) == json.loads(json.dumps(run.architecture))
        assert (row["seed"], row["lr"], row["steps"]) == (run.seed, run.lr, run.steps)
        assert (row["engine"], row["source"]) == ("an engine", "trained")
    assert [row["train_samples"] for row in rows] == [240, 95, 240]
    assert [row["parents"] for row in rows] == [
        [], [{"run_id": "f00", "step": 3, "role": "init"}], [],
    ]  # fmt: skip


def test_a_child_has_the_splits_of_its_parent_and_others_get_their_own(finished):
    for name in SPLIT_COLUMNS:
        assert finished[2][0][name].to_pylist() == [None, "test", None]


def test_a_task_says_how_to_feed_the_network(finished, blobs):
    tasks = [json.loads(text) for text in finished[2][0]["task"].to_pylist()]
    assert [task["transform"] for task in tasks] == ["identity", "identity", "rot90"]
    assert tasks[2]["classes"] == [5, 4, 3, 2, 1, 0]
    assert tasks[0]["mean"] == blobs.mean.ravel().tolist()


def test_divergence_at_the_first_step_is_divergence(finished):
    rows = finished[2][0].to_pylist()
    assert [row["status"] for row in rows] == ["finished", "diverged", "diverged"]
    assert [row["diverged_step"] for row in rows] == [None, 0, 17]


def test_checkpoints_stand_step_by_step_as_their_weights_do(finished):
    _, trained, (table, checkpoints, population, _) = finished
    ids = table["run_id"].to_pylist()
    assert checkpoints["run_id"].to_pylist() == ids * 2 == population["run_id"].tolist()
    assert checkpoints["step"].to_pylist() == [0] * 3 + [40] * 3
    expected = np.concatenate([c.weights for c in trained.checkpoints])
    assert population.weights.tobytes() == expected.tobytes()
    assert checkpoints["epoch"].to_pylist()[3:] == [40 / 24, 40 / 9, 40 / 24]
    assert checkpoints["train_evaluated"].to_pylist() == [240, 90, 240] * 2


@pytest.mark.parametrize("split", SPLITS)
def test_nan_is_null_and_an_infinite_loss_stays(finished, split):
    checkpoints = finished[2][1]
    assert checkpoints["finite"].to_pylist() == [True] * 3 + [True, False, False]
    assert checkpoints[f"{split}_loss"].to_pylist()[3:] == [0.5, np.inf, None]
    assert checkpoints[f"{split}_accuracy"].to_pylist()[3:] == [0.75, 0.1, None]
