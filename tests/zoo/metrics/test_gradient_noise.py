"""Gradient noise against the gradients of single samples."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoo.architectures import MLP, CNNSmall
from zoo.metrics import gradient_noise
from zoo.metrics.gradient_noise import GradientNoise
from zoo.networks import Networks
from zoo.randomness import stream

CPU = torch.device("cpu")
gradient_noise_module = sys.modules["zoo.metrics.gradient_noise"]
NETWORK = MLP((400, 4, 6), "tanh")


@pytest.fixture
def stacked(blobs, make_run) -> Callable[..., Networks]:
    def make(network=NETWORK, nets=4, **fields) -> Networks:
        draws = [2 * network.init(stream(seed, "init")) for seed in range(nets)]
        runs = (replace(make_run(), **fields),) * nets
        return Networks(
            network, blobs, runs, (0,) * nets, ("",) * nets, np.stack(draws), CPU
        )

    return make


def exact(networks: Networks, i: int, count: int) -> tuple[float, float]:
    """Squared norm of the mean gradient, and trace of the covariance (n - 1)."""
    module = networks.architecture.module()
    state = networks.architecture.layout.unflatten(networks.weights[i].copy())
    module.load_state_dict({k: torch.from_numpy(a) for k, a in state.items()})
    module.double()
    batch = next(networks.samples("train", count, 0).batches())
    rows = []
    for x, y in zip(batch.x[i].double(), batch.y[i], strict=True):
        loss = functional.cross_entropy(module(x[None]), y[None])
        grads = torch.autograd.grad(loss, list(module.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    gradients = torch.stack(rows)
    return float(gradients.mean(0).square().sum()), float(gradients.var(0).sum())


@pytest.mark.parametrize("network", [NETWORK, CNNSmall(2, (1, 20, 20), 6)])
def test_batches_of_one_sample_give_the_exact_trace_and_norm(stacked, network):
    networks = stacked(network)
    found = GradientNoise(batch_size=1, batches=60).measure(networks, seed=0)
    for i in range(len(networks)):
        norm, variance = exact(networks, i, 60)
        assert found["gradient_variance"][i] == pytest.approx(variance, rel=1e-4)
        # Unbiased for what the samples were drawn from: less the noise of their mean.
        unbiased = norm - variance / 60
        assert found["gradient_norm_sq"][i] == pytest.approx(
            unbiased, rel=1e-4, abs=1e-4 * norm
        )
        assert found["gradient_noise_scale"][i] == pytest.approx(
            variance / unbiased, rel=1e-3
        )


def test_larger_batches_estimate_the_same_without_bias(stacked):
    networks = stacked(nets=1)
    norm, variance = exact(networks, 0, 240)
    found = [
        GradientNoise(batch_size=16, batches=15).measure(networks, seed=s)
        for s in range(40)
    ]
    for name, right in (
        ("gradient_variance", variance),
        ("gradient_norm_sq", norm - variance / 240),
    ):
        values = np.array([f[name][0] for f in found])
        assert values.std() > 0
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - right) <= 4 * error


def test_the_jackknife_error_is_the_spread_over_independent_samples(stacked):
    networks = stacked(nets=1)
    metric = GradientNoise(batch_size=4, batches=12)
    found = [metric.measure(networks, seed=seed) for seed in range(60)]
    spread = np.std([f["gradient_noise_scale"][0] for f in found])
    claimed = np.median([f["gradient_noise_scale_se"][0] for f in found])
    assert 0.5 * spread <= claimed <= 2 * spread


def test_a_stack_gives_what_one_network_at_a_time_gives(stacked):
    networks, metric = stacked(), GradientNoise(8, 10)
    together = metric.measure(networks, seed=3)
    for i in range(len(networks)):
        alone = metric.measure(networks.take([i]), seed=3)
        for name, values in together.items():
            assert alone[name][0] == pytest.approx(values[i], rel=1e-3)


def test_a_dead_network_is_nan_and_changes_no_bit_of_the_others(stacked):
    networks, metric = stacked(), GradientNoise(8, 10)
    clean = metric.measure(networks, seed=3)
    networks.weights[1] = np.nan
    beside = metric.measure(networks, seed=3)
    for name, values in clean.items():
        assert (values[[0, 2, 3]] == beside[name][[0, 2, 3]]).all()
        assert np.isnan(beside[name][1])


def test_a_run_with_few_samples_decides_nothing_for_the_others(stacked):
    many, metric = stacked(nets=3), GradientNoise(8, 10)
    few = tuple(replace(r, train_samples=30) for r in many.runs[:1])
    fewer = tuple(replace(r, train_samples=20) for r in many.runs[:1])
    mixed = replace(many, runs=(few[0], fewer[0], many.runs[2]))
    found = metric.measure(mixed, seed=0)
    right = metric.measure(many, seed=0)
    for name, values in found.items():
        assert np.isfinite(values[0])
        assert np.isnan(values[1])  # two batches of eight are too few
        assert values[2] == pytest.approx(right[name][2], rel=1e-4)


@pytest.mark.parametrize("network", [NETWORK, CNNSmall(2, (1, 20, 20), 6)])
def test_gradients_that_are_not_kept_give_the_same(stacked, network, monkeypatch):
    networks, metric = stacked(network), GradientNoise(8, 10)
    found = metric.measure(networks, seed=3)
    products, kept = gradient_noise_module._products, []

    def seen(gradients, keep):
        kept.append(keep)
        return products(gradients, keep)

    monkeypatch.setattr(gradient_noise_module, "_products", seen)
    monkeypatch.setattr(gradient_noise_module, "GROUP_BYTES", 1)
    small = metric.measure(networks, seed=3)
    assert kept == [False] * len(networks)
    for name, values in found.items():
        np.testing.assert_allclose(small[name], values, rtol=1e-3)


def test_the_estimates_are_those_of_stacked_gradients():
    """Squared norms over k batches and with one left out, from the definition."""
    draw = torch.Generator().manual_seed(0)
    gradients = torch.randn(7, 3, 11, generator=draw)
    for keep in (True, False):
        single, along = gradient_noise_module._products(lambda: iter(gradients), keep)
        np.testing.assert_allclose(single, gradients.square().sum(2).T, rtol=1e-5)
        total = along.sum(1)
        np.testing.assert_allclose(total, gradients.sum(0).square().sum(1), rtol=1e-5)
        for i in range(7):
            left = torch.cat((gradients[:i], gradients[i + 1 :])).sum(0)
            without = total - 2 * along[:, i] + single[:, i]
            np.testing.assert_allclose(without, left.square().sum(1), rtol=1e-4)


def test_progress_ends_at_one(stacked):
    shares: list[float] = []
    gradient_noise.measure(stacked(), seed=0, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize(("field", "value"), [("batch_size", 0), ("batches", 2)])
def test_settings_without_an_error_estimate_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}.*at least.*Got {value}"):
        GradientNoise(**{field: value})
    with pytest.raises(ValueError, match=r"split setting of GradientNoise .* Got 'foo'"):
        GradientNoise(split="foo")
