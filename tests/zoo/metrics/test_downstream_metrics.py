"""Parts of the downstream suite against planted answers and plain arithmetic."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from catalog import CatalogError
from zoo.architectures import MLP
from zoo.engine.evaluate import Evaluation
from zoo.engine.stack import Stack
from zoo.engine.train_stack import train_stack
from zoo.merging.alignment import align_groups, balanced
from zoo.merging.made_weights import SampleErrors, judge_weights
from zoo.merging.soup import greedy_soups
from zoo.metrics import (
    average_seeds,
    average_steps,
    barrier,
    ensemble,
    noise,
    pruning,
    transfer,
)
from zoo.metrics.pruning import SPARSITIES, pruned
from zoo.networks import Networks
from zoo.run import Run
from zoo.samples import view
from zoo.task import load_task
from zoo.tasks import TASKS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pinns():
    """Two networks that know a little of an equation."""
    data = load_task(TASKS["convection"])
    network = MLP((2, 6, 6, 1), "tanh")
    runs = tuple(
        Run(
            "laws", "convection", network.config(), 20, (20,), seed=seed, cell="a",
            lr=0.01, optimizer="adam", batch_size=50, beta=1.0,
        )
        for seed in range(2)
    )  # fmt: skip
    weights = train_stack(Stack(runs), data, CPU).checkpoints[-1].weights
    return Networks(network, data, runs, (20,) * 2, ("a",) * 2, weights, CPU)


def errors(networks, split="test"):
    every = [[i] for i in range(len(networks))]
    return judge_weights(networks, networks.weights, every, [split])[split].error


def with_weights(networks, weights):
    return replace(networks, weights=weights)


def test_weights_are_judged_as_training_judges_them(seeds):
    views = [view(run, seeds.data, "test") for run in seeds.runs]
    score = Evaluation(seeds.data, "test", seeds.runs, views, CPU).score(
        seeds.architecture, seeds.stacked().tensors
    )
    every = [[i] for i in range(8)]
    judged = judge_weights(seeds, seeds.weights, every, ["test"])["test"]
    np.testing.assert_allclose(judged.loss, score.loss, rtol=1e-5)
    np.testing.assert_allclose(judged.error, score.error, rtol=1e-6)


def test_gains_are_differences_on_the_same_samples():
    wrong = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32)
    counted = np.ones((3, 4), bool)
    counted[:, 3] = False
    judged = SampleErrors(wrong, wrong, counted)
    found = judged.gain([[0, 1]], [2])
    less = np.array([1, 0.5, 0.5]) - np.array([0, 0, 1])
    assert found.values[0] == pytest.approx(less.mean())
    assert found.errors[0] == pytest.approx(less.std(ddof=1) / np.sqrt(3))


# -------------------------------------------------------------------- averages of seeds


def test_shuffled_copies_gain_nothing_aligned_and_lose_raw(seeds, shuffled):
    one = replace(seeds.take([1] * 4), runs=seeds.runs[:4], cells=seeds.cells[:4])
    rows = {"run_id": list("abcd"), "step": [300] * 4, "zoo": ["laws"] * 4}
    own = replace(one, weights=shuffled(one), table=pa.table(rows))
    found, shards = average_seeds.make(own, seed=0)
    made = {s.runs["operation"][0].as_py(): s.runs["parents"][0].as_py() for s in shards}
    assert len(made["average_seeds soup"]) == 4  # none makes it worse
    for kind in ("average_aligned", "average_repaired", "soup"):
        np.testing.assert_allclose(found[f"{kind}_gain"], 0, atol=1e-6)
    assert (found["average_raw_gain"] < -0.05).all()
    assert (found["average_count"] == 4).all()


def test_a_soup_of_one_network_is_that_network_and_is_not_stored(seeds):
    weights = seeds.weights[:2].copy()
    weights[1] = 10 * np.random.default_rng(0).standard_normal(weights.shape[1])
    rows = {"run_id": list("ab"), "step": [300] * 2, "zoo": ["laws"] * 2}
    two = replace(seeds.take([0, 1]), weights=weights, table=pa.table(rows))
    found, shards = average_seeds.make(two, seed=0)
    assert found["soup_count"].tolist() == [1, 1]
    assert {s.runs["operation"][0].as_py() for s in shards} == {
        f"average_seeds average_{kind}" for kind in ("raw", "aligned", "repaired")
    }


def test_alignment_repair_and_soups_help(seeds):
    found = average_seeds.measure(seeds, seed=0)
    means = {
        kind: found[f"{kind}_gain"].mean()
        for kind in ("average_raw", "average_aligned", "average_repaired", "soup")
    }
    assert means["average_raw"] < means["average_aligned"] < means["average_repaired"]
    for name, values in found.items():
        assert (values[:4] == values[0]).all(), name
        assert np.isfinite(values).all(), name
    expected = errors(seeds)[:4].mean() - found["average_raw_error"][0]
    assert found["average_raw_gain"][0] == pytest.approx(expected, abs=1e-6)


def test_averages_do_not_depend_on_neighbours_or_order(seeds):
    broken = seeds.weights.copy()
    broken[[0, 5]] = np.nan
    together = average_seeds.measure(with_weights(seeds, broken), seed=0)
    alone = average_seeds.measure(seeds.take([3, 2, 1]), seed=0)
    for name, values in together.items():
        assert np.isnan(values[[0, 5]]).all()
        np.testing.assert_allclose(values[[3, 2, 1]], alone[name], rtol=1e-5, atol=1e-6)


def test_one_finite_seed_has_no_average(seeds):
    broken = seeds.weights.copy()
    broken[[0, 1, 2]] = np.inf
    found = average_seeds.measure(with_weights(seeds, broken), seed=0)
    assert all(np.isnan(values[:4]).all() for values in found.values())
    assert np.isfinite(found["average_raw_error"][4:]).all()


def test_a_diverged_seed_with_finite_weights_is_left_out(seeds):
    """Nor does it, or a network of zeros, keep the symbols from being checked."""
    broken = seeds.weights.copy()
    broken[0], broken[4] = 0, broken[4] * np.float32(1e15)
    for metric in (average_seeds, ensemble):
        found = metric.measure(with_weights(seeds, broken), seed=0)
        count = found[min(name for name in found if name.endswith("_count"))]
        assert count[0] == 4  # zeros answer, if badly
        assert np.isnan(count[4])
        assert (count[5:] == 3).all()
        name = min(name for name in found if name.endswith("_gain"))
        assert np.isfinite(found[name][[0, 1, 2, 3, 5, 6, 7]]).all()


def test_cells_of_other_classes_are_averaged_side_by_side(seeds):
    """Their test sets have other sizes, and the larger belongs to a lone network."""
    counts = np.bincount(seeds.data.y["test"])
    few, many = np.argsort(counts)[:2].tolist(), np.argsort(counts)[-2:].tolist()
    assert counts[few].sum() < counts[many].sum()
    network = MLP((64, 6, 2))
    runs = tuple(
        Run(
            "laws", "digits", network.config(), 30, (30,), seed=seed, cell=cell, lr=0.01,
            batch_size=20, classes=tuple(sorted(classes)),
        )
        for seed, cell, classes in ((0, "a", few), (1, "a", few), (2, "b", many))
    )  # fmt: skip
    weights = np.stack(
        [train_stack(Stack((r,)), seeds.data, CPU).checkpoints[-1].weights[0] for r in runs]
    )
    cells = tuple(run.cell for run in runs)
    nets = Networks(network, seeds.data, runs, (30,) * 3, cells, weights, CPU)
    found = average_seeds.measure(nets, seed=0)["average_raw_gain"]
    alone = average_seeds.measure(nets.take([0, 1]), seed=0)["average_raw_gain"]
    np.testing.assert_allclose(found[:2], alone)
    assert np.isnan(found[2])


def test_networks_that_know_nothing_are_not_called_robust(seeds):
    silent = np.zeros_like(seeds.weights)
    for metric, column in ((pruning, "prune_cliff"), (noise, "noise_rise")):
        found = metric.measure(with_weights(seeds, silent), seed=0)
        assert np.isnan(found[column]).all()
        curve = f"{column.partition('_')[0]}_curve"
        assert all(isinstance(value, str) for value in found[curve])


def test_a_greedy_soup_is_never_worse_than_its_best_network_on_validation(seeds):
    groups = [[0, 1, 2, 3], [4, 5], [6, 7]]
    own = errors(seeds, "validation")
    layout = seeds.architecture.layout
    for aligned in (
        align_groups(balanced(seeds), layout, groups),
        [seeds.weights[g] for g in groups],
    ):
        soups, members = greedy_soups(seeds, groups, aligned, own)
        found = judge_weights(seeds, soups, groups, ["validation"])["validation"].error
        for group, chosen, error in zip(groups, members, found, strict=True):
            assert set(chosen) <= set(group)
            assert chosen[0] == min(group, key=lambda i: own[i])
            assert error <= own[group].min() + 1e-7


def estimated(networks, weights):
    """One network (d,) with moments of the batches that its module normalises."""
    layout, module = networks.architecture.layout, networks.architecture.module()
    state = {k: torch.from_numpy(v) for k, v in layout.unflatten(weights.copy()).items()}
    module.load_state_dict(state)
    seen, out = {}, weights.copy()
    for name, part in module.named_modules():
        if hasattr(part, "running_mean"):
            part.register_forward_pre_hook(
                lambda _, x, name=name: seen.setdefault(name, []).append(
                    (x[0].mean((0, 2, 3)), x[0].var((0, 2, 3)))
                )
            )
    index = view(networks.runs[0], networks.data, "train").index
    module.train()
    with torch.no_grad():
        for batch in torch.from_numpy(networks.data.x["train"][index]).split(128):
            module(batch)
    for name, moments in seen.items():
        mean, var = (torch.stack(m).mean(0).numpy() for m in zip(*moments, strict=True))
        out[layout.slices[f"{name}.running_mean"]] = mean
        out[layout.slices[f"{name}.running_var"]] = var
    return out


def test_statistics_of_averages_are_estimated_anew(normalised):
    """They are those of a module, and not the mean of those of the parents."""
    rows = pa.table({"run_id": ["a", "b"], "step": [20, 20], "zoo": ["laws"] * 2})
    found, shards = average_seeds.make(replace(normalised, table=rows), seed=0)
    made = {s.runs["operation"][0].as_py(): s.population.weights for s in shards}
    aligned = made["average_seeds average_aligned"]
    repaired = made["average_seeds average_repaired"]
    expected = estimated(normalised, aligned[0])
    scale = np.abs(expected).max()
    assert np.abs(repaired[0] - expected).max() < 1e-4 * scale
    assert np.abs(aligned[0] - expected).max() > 0.01 * scale
    judged = judge_weights(normalised, repaired, [[0, 1]], ["test"])["test"].error
    np.testing.assert_allclose(found["average_repaired_error"], judged[[0, 0]], atol=1e-6)


def test_networks_without_logits_are_averaged_and_pruned(pinns):
    found = average_seeds.measure(pinns, seed=0)
    for kind in ("average_raw", "average_aligned", "average_repaired", "soup"):
        assert np.isfinite(found[f"{kind}_gain"]).all(), kind
    lines = replace(barrier, points=3).measure(pinns, seed=0)
    assert np.isfinite(lines["aligned_barrier_test_loss"]).all()
    assert np.isnan(lines["barrier_test_calibrated"]).all()
    every = [[0], [1]]
    judged = judge_weights(pinns, pinns.weights, every, ["validation"])["validation"]
    cliff = pruning.measure(pinns, seed=0)["prune_cliff"]
    np.testing.assert_array_equal(np.isfinite(cliff), judged.error <= 0.9)
    for metric in (ensemble, noise, transfer):
        values = metric.measure(pinns, seed=0)
        assert np.isnan(values[metric.columns[0].name]).all()


# -------------------------------------------------------------------- averages of steps


def test_the_mean_of_equal_checkpoints_is_the_checkpoint(seeds):
    run = seeds.take([2, 2, 2, 2])
    run = replace(run, steps=(30, 250, 150, 300))
    found = average_steps.measure(run, seed=0)
    assert np.flatnonzero(np.isfinite(found["average_steps_gain"])).tolist() == [3]
    for name in ("gain", "gain_best", "gain_last"):
        assert found[f"average_steps_{name}"][3] == pytest.approx(0, abs=1e-6)
    assert found["average_steps_count"][3] == 3  # the first 10 % are too early


def test_the_mean_over_steps_is_plain(seeds):
    run = replace(seeds.take([0, 0, 0]), steps=(100, 200, 300), weights=seeds.weights[:3])
    found = average_steps.measure(run, seed=0)
    mean = run.weights.mean(0)[None]
    expected = judge_weights(run, mean, [[0]], ["test"])["test"].error[0]
    assert found["average_steps_error"][2] == pytest.approx(expected, abs=1e-6)
    each = errors(run)
    assert found["average_steps_gain"][2] == pytest.approx(each.mean() - expected, abs=1e-6)
    assert found["average_steps_gain_last"][2] == pytest.approx(
        each[2] - expected, abs=1e-6
    )


def test_a_dead_checkpoint_takes_its_run_alone(seeds):
    two = replace(seeds.take([0, 0, 1, 1]), steps=(200, 300) * 2)
    broken = two.weights.copy()
    broken[0] = np.nan
    found = average_steps.measure(with_weights(two, broken), seed=0)
    assert np.isnan(found["average_steps_error"][:3]).all()
    assert np.isfinite(found["average_steps_error"][3])


# ---------------------------------------------------------------------------- ensembles


def test_an_ensemble_is_the_mean_of_its_answers(seeds):
    found = ensemble.measure(seeds, seed=0)
    views = [view(run, seeds.data, "test") for run in seeds.runs]
    judge = Evaluation(seeds.data, "test", seeds.runs, views, CPU)
    logits = judge.logits(seeds.architecture, seeds.stacked().tensors)[:4].double()
    labels = judge.labels[0]
    for kind, scores in (
        ("ensemble", logits.softmax(-1).mean(0)),
        ("logit_ensemble", logits.mean(0).softmax(-1)),
    ):
        error = float((scores.argmax(-1) != labels).double().mean())
        assert found[f"{kind}_error"][0] == pytest.approx(error, abs=1e-6)
        gain = errors(seeds)[:4].mean() - error
        assert found[f"{kind}_gain"][0] == pytest.approx(gain, abs=1e-6)
        loss = -scores.gather(1, labels[:, None]).log().mean()
        assert found[f"{kind}_loss"][0] == pytest.approx(float(loss), rel=1e-4)


def test_an_ensemble_of_copies_gains_nothing(seeds):
    one = replace(seeds.take([1] * 4), runs=seeds.runs[:4], cells=seeds.cells[:4])
    found = ensemble.measure(one, seed=0)
    for name in ("ensemble_gain", "logit_ensemble_gain", "ensemble_gain_best"):
        np.testing.assert_allclose(found[name], 0, atol=1e-6)


# ------------------------------------------------------------------------------ pruning


def test_pruning_sets_the_smallest_weights_of_matrices_to_zero(seeds):
    layout = seeds.architecture.layout
    found = pruned(seeds.weights, layout, SPARSITIES)
    assert (found[:, 0] == seeds.weights).all()
    matrices = np.zeros(layout.d, bool)
    for name in ("layer0.weight", "layer1.weight", "layer2.weight"):
        matrices[layout.slices[name]] = True
    for k, sparsity in enumerate(SPARSITIES):
        gone = found[:, k] != seeds.weights
        assert (gone.sum(1) == round(sparsity * matrices.sum())).all()
        assert not gone[:, ~matrices].any()
        for i in range(8):
            if gone[i].any():
                rest = matrices & ~gone[i]
                assert np.abs(seeds.weights[i, gone[i]]).max() <= (
                    np.abs(seeds.weights[i, rest]).min()
                )


def test_the_cliff_is_chosen_on_validation_and_reported_on_test(seeds):
    found = pruning.measure(seeds, seed=0)
    layout = seeds.architecture.layout
    for i in range(3):
        curve = json.loads(found["prune_curve"][i])
        assert curve["0"] == pytest.approx(errors(seeds)[i], abs=1e-6)
        nets = pruned(seeds.weights[i : i + 1], layout, SPARSITIES)[0]
        own = judge_weights(seeds, nets, [[i]] * len(nets), ["validation", "test"])
        held, test = own["validation"].error, own["test"].error
        worse = np.flatnonzero(held > held[0] + 0.02 + 1e-9)
        k = worse[0] - 1
        assert found["prune_cliff"][i] == SPARSITIES[k]
        assert found["prune_cliff_rise"][i] == pytest.approx(test[k] - test[0], abs=1e-6)
    assert (found["prune_half"] >= -0.05).all()


def test_weights_that_are_zero_already_can_go(seeds):
    layout = seeds.architecture.layout
    half = pruned(seeds.weights, layout, (0.5,))[:, 0]
    found = pruning.measure(with_weights(seeds, half), seed=0)
    assert (found["prune_cliff"] >= 0.5).all()
    np.testing.assert_allclose(found["prune_half"], 0, atol=1e-7)


# -------------------------------------------------------------------------------- noise


def test_noise_begins_at_the_test_error_and_is_seeded(seeds):
    found, again, other = (noise.measure(seeds, seed=s) for s in (0, 0, 1))
    curves = [json.loads(text) for text in found["noise_curve"]]
    clean = [curve["0"] for curve in curves]
    np.testing.assert_allclose(clean, errors(seeds), atol=1e-6)
    assert (found["noise_error"] == again["noise_error"]).all()
    assert (found["noise_error"] != other["noise_error"]).any()
    for i, curve in enumerate(curves):
        mean = np.mean([v for s, v in curve.items() if s != "0"])
        assert found["noise_error"][i] == pytest.approx(mean, abs=1e-6)
        assert found["noise_rise"][i] == pytest.approx(mean - curve["0"], abs=1e-6)
        assert curve["2"] > curve["0.5"]


# ----------------------------------------------------------------------------- transfer


def test_a_trained_start_helps_on_turned_images_and_no_steps_change_nothing(seeds):
    quick = replace(transfer, steps=30)
    found = quick.measure(seeds.take(range(3)), seed=0)
    assert (found["transfer_error"] < found["transfer_start_error"]).all()
    assert np.isfinite(found["transfer_gain_se"]).all()
    turned = replace(seeds.runs[0], transform="rot90")
    own = judge_weights(
        replace(seeds.take([0]), runs=(turned,)), seeds.weights[:1], [[0]], ["test"]
    )
    start = found["transfer_start_error"][0]
    assert start == pytest.approx(own["test"].error[0], abs=1e-6)


def test_transfer_says_what_does_not_fit(seeds):
    with pytest.raises(CatalogError, match="nothing would be transferred"):
        replace(transfer, transform="identity").measure(seeds, seed=0)
    with pytest.raises(CatalogError, match="of the same shape"):
        replace(transfer, task="mnist").measure(seeds, seed=0)
    with pytest.raises(ValueError, match="above 0"):
        replace(transfer, lr=0.0)
