"""Scores against plain means over each network's own samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoo.engine.stack import build_architecture
from zoo.metrics.scores import Scores, scores
from zoo.networks import Networks
from zoo.samples import view

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def zoo(blobs, make_run, fit):
    runs = tuple(make_run(seed=s, cell="c", label_noise=0.1) for s in range(3))
    weights = fit(blobs, *runs).checkpoints[-1].weights
    network = build_architecture(dict(runs[0].architecture))
    return Networks(network, blobs, runs, (40,) * 3, ("c",) * 3, weights, CPU)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_they_are_means_over_what_each_network_sees(zoo, blobs, split):
    found = scores.measure(zoo, seed=0)
    assert set(found) == {column.name for column in scores.columns}
    for i, run in enumerate(zoo.runs):
        module = zoo.architecture.module()
        tensors = zoo.architecture.layout.unflatten(zoo.weights[i].copy())
        module.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
        seen = view(run, blobs, split)
        y = torch.from_numpy(seen.labels)
        with torch.no_grad():
            logits = module(torch.from_numpy(blobs.x[split][seen.index]))
        each = functional.cross_entropy(logits, y, reduction="none").double()
        wrong = (logits.argmax(1) != y).double()
        for name, values in (("loss", each), ("error", wrong)):
            own = f"evaluated_{split}_{name}"
            assert found[own][i] == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
            error = float(values.std()) / len(y) ** 0.5
            assert found[f"{own}_se"][i] == pytest.approx(error, rel=1e-4, abs=1e-6)


def test_a_run_with_few_samples_decides_nothing_for_the_others(zoo):
    few = replace(zoo.runs[0], train_samples=20)
    found = scores.measure(replace(zoo, runs=(few, *zoo.runs[1:])), seed=0)
    right = scores.measure(zoo, seed=0)
    for name, values in found.items():
        np.testing.assert_allclose(values[1:], right[name][1:], rtol=1e-5)
    assert found["evaluated_train_loss"][0] != right["evaluated_train_loss"][0]
    assert found["evaluated_test_loss"][0] == right["evaluated_test_loss"][0]


def test_one_sample_has_no_error_and_dead_networks_have_nothing(zoo):
    run = replace(zoo.runs[0], train_samples=1)
    weights = zoo.weights.copy()
    weights[1] = np.nan
    found = scores.measure(replace(zoo, runs=(run, *zoo.runs[1:]), weights=weights), seed=0)
    assert np.isfinite(found["evaluated_train_loss"]).tolist() == [True, False, True]
    assert np.isfinite(found["evaluated_train_loss_se"]).tolist() == [False, False, True]


def test_progress_ends_at_one(zoo):
    shares: list[float] = []
    scores.measure(zoo, seed=0, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"samples setting of Scores .* Got 0"):
        Scores(samples=0)
