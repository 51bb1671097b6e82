"""Calibration: against scikit-learn, batch statistics, REPAIR's goals; on training data."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from generators.calibration import CALIBRATIONS, BatchNorm, Head, HeadSteps, Repair
from generators.calibration.head import descended, ridge_regression
from generators.calibration.last_layer import LastLayer
from generators.exam import Exam
from zoo.architectures import ResNet18, ViT
from zoo.engine.evaluate import Evaluation
from zoo.engine.stack_weights import StackWeights
from zoo.merging.repair import unit_statistics
from zoo.networks import Networks
from zoo.run import Run
from zoo.samples import view


def exam_of(architecture, data, n=3):
    run = Run("laws", "digits", architecture.config(), 1, (1,))
    weights = np.stack([architecture.init(np.random.default_rng(i)) for i in range(n)])
    one = Networks(
        architecture, data, (run,), (1,), ("",), weights[:1], torch.device("cpu")
    )
    return Exam(one), weights


@pytest.fixture(scope="module")
def resnet(digits_data):
    return exam_of(ResNet18(2, (1, 8, 8)), digits_data)


def test_calibrations_are_registered():
    assert set(CALIBRATIONS) == {"batch_norm", "head", "head_steps", "repair"}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_calibration_touches_what_it_says_and_never_the_test_split(
    name, judge, resnet, monkeypatch
):
    calibration = CALIBRATIONS[name]()
    exam, weights = judge.exam, judge.fitted.training_.weights[:6]
    if calibration.refusal(exam):
        exam, weights = resnet
    assert not calibration.refusal(exam)
    assert 10 < len(calibration.summary) < 80
    blank = np.zeros_like(exam.networks.data.x["test"])
    expected = calibration.apply(exam, weights, calibration.learn(exam, weights))
    monkeypatch.setitem(exam.networks.data.x, "test", blank)
    learnt = calibration.learn(exam, weights)
    found = calibration.apply(exam, weights, learnt)
    touched = calibration.touched(exam)
    assert found.tobytes() == expected.tobytes()
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found[:, ~touched] == weights[:, ~touched]).all()
    assert (found[:, touched] != weights[:, touched]).any(1).all()
    alone = calibration.apply(exam, weights[2:3], learnt)
    np.testing.assert_allclose(alone, found[2:3], rtol=1e-3, atol=1e-4)


def test_a_refit_head_is_the_ridge_regression_of_scikit_learn(judge):
    weights = judge.train.weights[:5]
    calibration = Head(ridge=0.05)
    found = calibration.apply(judge.exam, weights, {})
    layer = LastLayer.of(judge.exam)
    layout = judge.train.layout
    assert (layer.weight, layer.features) == ("layer1.weight", 8)
    x, labels = judge.exam.inputs("train", 2048)
    hidden = layout.unflatten(weights)
    for i in range(5):
        w, b = hidden["layer0.weight"][i], hidden["layer0.bias"][i]
        features = np.maximum(x.flatten(1).numpy() @ w.T + b, 0).astype(float)
        size = np.sqrt(np.square(features - features.mean(0)).sum(0))
        size[size == 0] = 1
        targets = np.eye(10)[labels.numpy()]
        oracle = Ridge(alpha=0.05).fit(features / size, targets)
        oracle.coef_ /= size
        ours = layout.unflatten(found[i])
        np.testing.assert_allclose(ours["layer1.weight"], oracle.coef_, atol=2e-4)
        np.testing.assert_allclose(ours["layer1.bias"], oracle.intercept_, atol=2e-4)


def test_a_refit_head_does_not_depend_on_the_order_of_units(judge):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((1, 50, 6)).astype(np.float32))
    targets = functional.one_hot(torch.arange(50) % 3).double()
    order = torch.from_numpy(rng.permutation(6))
    weight, bias = ridge_regression(features, targets, 0.01)
    moved, same = ridge_regression(features[..., order], targets, 0.01)
    torch.testing.assert_close(moved, weight[..., order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same, bias, rtol=1e-4, atol=1e-5)


def test_dead_and_broken_networks_do_not_stop_the_others():
    features = torch.randn(3, 40, 5, generator=torch.Generator().manual_seed(0))
    features[0], features[1, 0, 0] = 0, torch.inf
    targets = functional.one_hot(torch.arange(40) % 4).double()
    weight, bias = ridge_regression(features, targets, 0.01)
    assert not weight[0].any()
    torch.testing.assert_close(bias[0], targets.mean(0))
    assert weight[1].isnan().any()
    assert weight[2].isfinite().all()


def test_every_step_of_the_head_lowers_the_loss(judge):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((4, 80, 6)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, 80))
    targets = functional.one_hot(labels).float()
    own = torch.from_numpy(rng.standard_normal((4, 3, 7)).astype(np.float32) * 3)

    def losses(head):
        logits = features @ head[..., :-1].mT + head[..., -1][:, None]
        each = functional.cross_entropy(
            logits.flatten(0, 1), labels.repeat(4), reduction="none"
        )
        return each.view(4, 80).mean(1)

    path = [losses(descended(features, targets, own, k)) for k in range(12)]
    assert all((b <= a + 1e-6).all() for a, b in itertools.pairwise(path))
    assert (path[-1] < path[0]).all()
    # In the end it is the regression itself: no direction goes down.
    end = descended(features, targets, own, 400).requires_grad_()
    losses(end).sum().backward()
    assert end.grad.abs().max() < 1e-3


def test_trained_networks_keep_their_accuracy_under_steps(judge):
    before = judge.exam.answers(judge.train.weights).accuracy.mean()
    stepped = HeadSteps().apply(judge.exam, judge.train.weights, {})
    assert judge.exam.answers(stepped).accuracy.mean() > before - 0.005


@pytest.mark.parametrize(
    "architecture", [ResNet18(2, (1, 8, 8)), ViT.scaled(8, (1, 8, 8), 10)]
)
def test_families_have_a_last_layer_with_its_features(architecture, digits_data):
    exam, weights = exam_of(architecture, digits_data)
    layer = LastLayer.of(exam)
    x, _ = exam.inputs("train", 5)
    ((part, stack, features),) = layer.parts(exam, weights, x)
    assert part == slice(0, 3)
    logits = architecture.forward(stack, x.expand(3, *x.shape)).detach()
    weight, bias = stack[layer.weight], stack[layer.bias]
    own = (features @ weight.mT + bias[:, None]).detach()
    torch.testing.assert_close(own, logits, rtol=1e-4, atol=1e-4)


def test_statistics_of_batches_are_estimated_anew(resnet):
    exam, weights = resnet
    found = BatchNorm(samples=256).apply(exam, weights, {})
    data, run = exam.networks.data, exam.networks.runs[0]
    seen = view(run, data, "train")
    own = Evaluation(data, "train", [run] * 3, [seen] * 3, torch.device("cpu"))
    layout = exam.networks.architecture.layout
    stacks = [StackWeights(layout, w, torch.device("cpu")) for w in (weights, found)]
    losses = [own.score(exam.networks.architecture, s.tensors).loss.mean() for s in stacks]
    assert losses[1] < losses[0]
    again = BatchNorm(samples=256).apply(exam, found, {})
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)


def test_repair_gives_units_the_mean_statistics_of_training_networks(judge):
    training = judge.fitted.training_.weights
    own = np.repeat(training.mean(0, keepdims=True), 3, 0)
    own[1] *= 1.3
    own[2] += np.random.default_rng(0).normal(0, 0.05, own[2].shape)
    calibration = Repair()
    goals = calibration.learn(judge.exam, training)
    found = calibration.apply(judge.exam, own, goals)
    reached = unit_statistics(judge.exam.networks, [[0]] * 3, list(found[:, None]))
    assert set(reached) == {"layer0", "layer1"}
    for name, pair in reached.items():
        for values, goal in zip(pair, goals[name], strict=True):
            np.testing.assert_allclose(values, np.tile(goal, (3, 1)), rtol=0.02, atol=0.02)
    accuracy = judge.exam.answers(np.concatenate([own, found])).accuracy
    assert accuracy[3:].mean() > accuracy[:3].mean()
