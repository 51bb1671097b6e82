"""Loss and accuracy of a stack against one network at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoo.engine.evaluate import Evaluation
from zoo.engine.stack import build_architecture
from zoo.options.transform import transform
from zoo.samples import view

CPU = torch.device("cpu")


def score(data, split, runs, weights):
    views = [view(run, data, split) for run in runs]
    architecture = build_architecture(dict(runs[0].architecture))
    tensors = architecture.layout.unflatten(weights)
    tensors = {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}
    return Evaluation(data, split, runs, views, CPU).score(architecture, tensors)


def one(data, split, run, vector):
    """The same by the network's module on the whole split at once."""
    architecture, seen = (
        build_architecture(dict(run.architecture)),
        view(run, data, split),
    )
    module, state = architecture.module(), architecture.layout.unflatten(vector)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()})
    images = transform(run.transform, data.x[split][seen.index])
    logits, labels = module(torch.from_numpy(images)), torch.from_numpy(seen.labels)
    loss = functional.cross_entropy(logits.double(), labels).item()
    return loss, (logits.argmax(1) == labels).double().mean().item()


def draw_weights(run, n, scale=0.3):
    d = build_architecture(dict(run.architecture)).layout.d
    return np.random.default_rng(n).normal(0, scale, (n, d)).astype(np.float32)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("n", [1, 5])
def test_a_split_is_scored_as_torch_scores_it(blobs, make_run, network, split, n):
    runs, weights = [make_run(network)] * n, draw_weights(make_run(network), n)
    found = score(blobs, split, runs, weights)
    for i in range(n):
        loss, accuracy = one(blobs, split, runs[i], weights[i])
        assert found.loss[i] == pytest.approx(loss, rel=1e-5)
        assert found.value[i] == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_net_is_scored_on_its_own_task(blobs, make_run, split):
    runs = [
        make_run(classes=(0, 1, 2)),
        make_run(classes=(5, 3, 1), label_map=(2, 1, 0)),
        make_run(classes=(5, 4, 3), transform="rot90", label_noise=0.4),
        make_run(classes=(0, 1, 2), transform="negate", train_samples=11),
    ]
    weights = draw_weights(runs[0], 4)
    found = score(blobs, split, runs, weights)
    for i, run in enumerate(runs):
        expected = one(blobs, split, run, weights[i])
        assert (found.loss[i], found.value[i]) == pytest.approx(expected, rel=1e-5)


def test_long_splits_are_scored_in_chunks(blobs, make_run, monkeypatch):
    runs, weights = [make_run()] * 3, draw_weights(make_run(), 3)
    whole = score(blobs, "train", runs, weights)
    monkeypatch.setattr("zoo.engine.evaluate.CHUNK_FLOATS", 1)
    parts = score(blobs, "train", runs, weights)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-6)
    np.testing.assert_array_equal(parts.value, whole.value)


def test_bytes_are_normalised_as_they_are_scored(blobs, make_run):
    stored = {
        split: np.rint((x * blobs.std + blobs.mean) * 255).astype(np.uint8)
        for split, x in blobs.x.items()
    }
    runs, weights = [make_run()] * 2, draw_weights(make_run(), 2)
    found = score(replace(blobs, x=stored), "test", runs, weights)
    expected = score(blobs, "test", runs, weights)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    assert (found.value == expected.value).all()


@pytest.mark.parametrize("other", ["same data", "own data"])
def test_nan_logits_have_no_loss_and_no_accuracy(blobs, make_run, other):
    noise = 0.0 if other == "same data" else 0.3
    runs = [make_run(), make_run(label_noise=noise, train_samples=200), make_run()]
    weights = draw_weights(runs[0], 3)
    healthy = score(blobs, "train", runs, weights)
    weights[1, -1] = np.nan  # the bias of one class: the other logits stay finite
    found = score(blobs, "train", runs, weights)
    assert np.isnan([found.loss[1], found.value[1]]).all()
    for name in ("loss", "value"):
        values, before = getattr(found, name), getattr(healthy, name)
        assert values[[0, 2]].tolist() == before[[0, 2]].tolist()


def test_a_confident_net_is_right_and_has_almost_no_loss(blobs, make_run):
    run = make_run("linear")
    x = blobs.x["train"].reshape(240, -1)
    patterns = np.stack([x[blobs.y["train"] == k].mean(0) for k in range(6)])
    bias = -0.5 * (patterns**2).sum(1)
    vector = np.concatenate([patterns.ravel(), bias]).astype(np.float32)
    found = score(blobs, "train", [run], vector[None])
    assert found.value[0] == 1
    assert 0 <= found.loss[0] < 1e-3
