"""The training loop: a stack gives every run what it would get alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from catalog import LayoutMismatch
from zoo.engine.stack import build_architecture
from zoo.engine.train_stack import Stopped
from zoo.options.schedule import SCHEDULES
from zoo.run import SEMANTICS
from zoo.samples import view

TOLERANCE = 1e-4
"""Of the largest weight, after 40 steps in float32."""

OPTIMIZERS = {
    "sgd": {"lr": 0.02, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
}
VARIATIONS = {
    "seed": {"seed": 1},
    "order": {"order_seed": 7},
    "init": {"init_seed": 7, "init_scale": 1.5},
    "lr": {"lr": 0.03},
    "momentum": {"momentum": 0.5},
    "weight_decay": {"weight_decay": 0.3},
    "label_noise": {"label_noise": 0.4, "noise_seed": 2},
    "train_samples": {"train_samples": 37, "subset_seed": 3},
    "classes": {"classes": (5, 1, 4)},
    "label_map": {"label_map": (2, 0, 1)},
    "transform": {"transform": "rot90"},
    "permute": {"transform": "permute:5"},
    "init_from": {"init_from": ("parent", 40)},
}
LAST = -1
GOLDEN = [
    -0.004104751627892256,
    -0.02299942448735237,
    -0.018363434821367264,
    -0.003785582259297371,
    0.01678594946861267,
    -0.009852015413343906,
    0.4037714317440987,
]


def final(trained, i=0):
    return trained.checkpoints[LAST].weights[i]


def loss(trained, split="train", i=0):
    return trained.checkpoints[LAST].scores[split].loss[i]


def close(ours, oracle):
    return np.abs(ours - oracle).max() <= TOLERANCE * np.abs(oracle).max()


def start_of(run, *, seed=0, scale=0.1):
    d = build_architecture(dict(run.architecture)).layout.d
    return np.random.default_rng(seed).normal(0, scale, d).astype(np.float32)


def dead(run):
    """The same run from a checkpoint of NaN, and that checkpoint."""
    parent = ("dead", 0)
    return replace(run, init_from=parent), {parent: np.full_like(start_of(run), np.nan)}


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_run_of_a_stack_is_what_it_is_alone(blobs, make_run, fit, network, optimizer):
    base = make_run(network, classes=(0, 1, 2), **OPTIMIZERS[optimizer])
    runs = [base, *(replace(base, **fields) for fields in VARIATIONS.values())]
    start = {("parent", 40): start_of(base)}
    together = fit(blobs, *runs, start=start)
    for i, name in enumerate(["base", *VARIATIONS]):
        alone = fit(blobs, runs[i], start=start)
        for here, there in zip(together.checkpoints, alone.checkpoints, strict=True):
            assert close(here.weights[i], there.weights[0]), name
            for split, score in there.scores.items():
                assert here.scores[split].loss[i] == pytest.approx(score.loss[0], rel=1e-4)
        assert together.samples[i] == alone.samples[0]
        assert together.evaluated[i] == alone.evaluated[0]
        assert name == "base" or not close(final(together, i), final(together)), name


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_is_what_a_textbook_loop_gives(
    blobs, make_run, fit, textbook, network, optimizer
):
    settings = {**OPTIMIZERS[optimizer], "batch_size": 9, "label_noise": 0.2, "seed": 3}
    run = make_run(network, schedule="cosine", weight_decay=0.1, train_samples=200)
    run = replace(run, **settings)
    trained = fit(
        blobs, make_run(network, **{**settings, "seed": 0}, schedule="cosine"), run
    )
    oracle = textbook(run, blobs, trained.checkpoints[0].weights[1])
    assert close(final(trained, 1), oracle.weights)
    for split, score in trained.checkpoints[LAST].scores.items():
        seen = view(run, blobs, split)
        logits = oracle.module(torch.from_numpy(blobs.x[split][seen.index])).detach()
        labels = torch.from_numpy(seen.labels)
        expected = functional.cross_entropy(logits, labels).item()
        assert score.loss[1] == pytest.approx(expected, rel=1e-3)
        hits = (logits.argmax(1) == labels).double().mean().item()
        assert score.value[1] == pytest.approx(hits, abs=1.5 / len(labels))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [5, 40, 150])
def test_every_schedule_and_length_is_the_textbooks(
    blobs, make_run, fit, textbook, schedule, steps
):
    run = make_run(schedule=schedule, steps=steps, checkpoints=(0, steps))
    trained = fit(blobs, run)
    assert close(
        final(trained), textbook(run, blobs, trained.checkpoints[0].weights[0]).weights
    )


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_neighbours_change_no_bit(blobs, make_run, fit, network, optimizer):
    """Two runs beside three quiet neighbours, and beside failing ones."""
    base = make_run(network, **OPTIMIZERS[optimizer])
    kept = [base, replace(base, seed=1, lr=0.03)]
    quiet = [replace(base, seed=seed) for seed in (2, 3, 4)]
    corpse, start = dead(base)
    wild = [replace(base, lr=1e6), corpse, replace(base, weight_decay=1e30, lr=1e3)]
    beside = [
        fit(blobs, kept[0], *others, kept[1], start=start) for others in (quiet, wild)
    ]
    for first, second in zip(*(trained.checkpoints for trained in beside), strict=True):
        assert np.isfinite(first.weights).all()
        assert (first.weights[[0, LAST]] == second.weights[[0, LAST]]).all()
        for split in first.scores:
            pair = first.scores[split].loss, second.scores[split].loss
            assert pair[0][[0, LAST]].tolist() == pair[1][[0, LAST]].tolist()
    assert not np.isfinite(beside[1].checkpoints[LAST].weights[2]).any()
    assert beside[1].diverged[[0, LAST]].tolist() == [-1, -1]


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_the_order_of_runs_does_not_matter(blobs, make_run, fit, network):
    runs = [make_run(network, seed=seed, lr=0.01 * (seed + 1)) for seed in range(5)]
    order = [3, 0, 4, 1, 2]
    straight, mixed = fit(blobs, *runs), fit(blobs, *(runs[i] for i in order))
    for at, i in enumerate(order):
        assert close(final(mixed, at), final(straight, i))


def test_training_repeats_bit_by_bit(blobs, make_run, fit):
    runs = [make_run(seed=seed, label_noise=0.1) for seed in range(3)]
    first, again = fit(blobs, *runs), fit(blobs, *runs)
    for a, b in zip(first.checkpoints, again.checkpoints, strict=True):
        assert (a.weights == b.weights).all()


def test_looking_more_often_changes_nothing(blobs, make_run, fit):
    seldom = fit(blobs, make_run(checkpoints=(40,)))
    often = fit(blobs, make_run(checkpoints=tuple(range(41))))
    assert (final(seldom) == final(often)).all()
    assert [c.step for c in often.checkpoints] == list(range(41))
    steps = [c.weights for c in often.checkpoints]
    assert all((a != b).any() for a, b in itertools.pairwise(steps))


def test_step_zero_is_the_initialisation(blobs, make_run, fit):
    parent, start = ("parent", 1), start_of(make_run())
    runs = [
        make_run(),
        make_run(init_scale=3.0),
        make_run(init_from=parent, init_scale=3.0),
    ]
    first = fit(blobs, *runs, start={parent: start}).checkpoints[0].weights
    np.testing.assert_allclose(first[1], 3 * first[0], rtol=1e-6)
    np.testing.assert_allclose(first[2], 3 * start, rtol=1e-6)


def test_the_initialisation_depends_on_its_seed_alone(blobs, make_run, fit):
    fields = {"lr": 9.0, "order_seed": 4, "label_noise": 0.5, "optimizer": "sgd"}
    runs = [
        make_run(seed=3, init_seed=5),
        make_run(seed=8, init_seed=5, cell="elsewhere", **fields),
        make_run(seed=3, init_seed=6),
    ]
    first = fit(blobs, *runs).checkpoints[0].weights
    assert (first[1] == first[0]).all()
    assert (first[2] != first[0]).any()


def test_without_a_seed_of_its_own_every_cell_and_seed_has_its_initialisation(
    blobs, make_run, fit
):
    runs = [make_run(seed=s, cell=c) for s, c in ((0, "a"), (0, "b"), (1, "a"), (0, "a"))]
    first = fit(blobs, *runs).checkpoints[0].weights
    assert len({weights.tobytes() for weights in first}) == 3
    assert (first[3] == first[0]).all()


def test_a_run_learns(blobs, make_run, fit):
    trained = fit(blobs, make_run())
    first, last = (trained.checkpoints[i].scores["test"] for i in (0, LAST))
    assert first.value[0] < 0.5 < 0.9 < last.value[0]
    assert last.loss[0] < first.loss[0]


def test_a_child_goes_on_where_its_parent_stopped(blobs, make_run, fit):
    """Full batches and no momentum: 20 + 20 steps are 40 steps."""
    whole = make_run(batch_size=240, momentum=0.0)
    half = replace(whole, steps=20, checkpoints=(0, 20))
    parent = fit(blobs, half)
    child = replace(half, init_from=("parent", 20), order_seed=9)
    trained = fit(blobs, child, start={("parent", 20): final(parent)})
    assert (trained.checkpoints[0].weights[0] == final(parent)).all()
    assert close(final(trained), final(fit(blobs, whole)))


def test_a_parent_of_another_size_is_refused(blobs, make_run, fit):
    run = make_run(init_from=("parent", 1), cell="lr=1")
    with pytest.raises(
        LayoutMismatch, match=r"Run 'lr=1' starts from parent with 5 weights, but the mlp"
    ):
        fit(blobs, run, start={("parent", 1): np.zeros(5, np.float32)})


def test_train_loss_is_evaluated_on_as_many_samples_as_asked_for(blobs, make_run, fit):
    few, all_of_them = make_run(train_evaluated=16), make_run()
    trained = fit(blobs, few, all_of_them)
    assert trained.samples == [240, 240]
    assert trained.evaluated == [16, 240]
    score = trained.checkpoints[LAST].scores["train"]
    assert score.value[0] * 16 == pytest.approx(round(score.value[0] * 16))
    assert loss(trained, i=0) != loss(trained, i=1)


@pytest.mark.parametrize("steps", [20, 200])
def test_divergence_is_the_first_step_with_a_loss_that_is_not_finite(
    blobs, make_run, fit, textbook, steps
):
    base = make_run("linear", steps=steps, checkpoints=(0, steps), weight_decay=0.5)
    corpse, start = dead(base)
    rates = (0.02, 10, 50, 1e6, 1e20, 1e38)  # 10 fails after 80 steps
    runs = [*(replace(base, lr=lr, seed=i) for i, lr in enumerate(rates)), corpse]
    trained = fit(blobs, *runs, start=start)
    for run, begin, found in zip(
        runs, trained.checkpoints[0].weights, trained.diverged, strict=True
    ):
        bad = ~np.isfinite(textbook(run, blobs, begin).losses)
        assert found == (bad.argmax() if bad.any() else -1)
    assert trained.diverged[[0, LAST]].tolist() == [-1, 0]
    assert len(set(trained.diverged.tolist())) > 4


def test_a_run_that_fails_in_its_last_step_has_diverged(blobs, make_run, fit):
    """No batch shows it; the evaluation does."""
    run = make_run("linear", steps=1, checkpoints=(0, 1))
    trained = fit(blobs, run, replace(run, lr=1e38))
    assert np.isnan(loss(trained, i=1))
    assert trained.diverged.tolist() == [-1, 1]


def test_progress_counts_every_step_once(blobs, make_run, fit):
    seen = []
    fit(blobs, make_run(steps=150, checkpoints=(150,)), progress=seen.append)
    assert sum(seen) == 150
    assert len(seen) > 1


def test_a_stop_ends_training(blobs, make_run, fit):
    seen = []

    def stop(steps):
        seen.append(steps)
        raise Stopped

    with pytest.raises(Stopped):
        fit(blobs, make_run(steps=1000, checkpoints=(1000,)), progress=stop)
    assert len(seen) == 1
    assert seen[0] < 500


def test_a_run_of_no_steps_stores_its_initialisation(blobs, make_run, fit):
    trained = fit(blobs, make_run(steps=0, checkpoints=(0,)))
    assert [c.step for c in trained.checkpoints] == [0]
    assert trained.diverged.tolist() == [-1]
    assert np.isfinite(loss(trained))


def test_training_means_the_same_for_ever(blobs, make_run, fit):
    """Golden: if this fails, raise `SEMANTICS` in zoo.run, then the numbers here."""
    run = make_run(label_noise=0.1, train_samples=100, cell="width=7", train_evaluated=50)
    trained = fit(blobs, run)
    first, last = trained.checkpoints[0].weights[0, :3], final(trained)[:3]
    assert first.tolist() == GOLDEN[:3]
    assert [*last.tolist(), loss(trained)] == pytest.approx(GOLDEN[3:], rel=1e-4)
    assert SEMANTICS == 1


@pytest.mark.parametrize("parts", [3, 5, 8])
def test_accumulated_batches_leave_size_schedule_and_loss(blobs, make_run, fit, parts):
    run = make_run(batch_size=8, schedule="one_cycle", momentum=0.9, weight_decay=1e-3)
    whole = fit(blobs, run, replace(run, seed=1))
    pieces = fit(blobs, run, replace(run, seed=1), micro_batch=parts)
    for one, other in zip(whole.checkpoints, pieces.checkpoints, strict=True):
        assert one.step == other.step
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-3, atol=1e-5)
        for split in one.scores:
            np.testing.assert_allclose(
                one.scores[split].loss, other.scores[split].loss, rtol=1e-3
            )
    assert whole.stack == pieces.stack  # batch size, steps and schedule as asked for
