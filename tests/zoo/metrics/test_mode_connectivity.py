"""Mode connectivity: planted barriers and planted ways around them."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catalog import Layout, Param
from zoo.engine.descent import Stopped
from zoo.engine.stack import build_architecture
from zoo.metrics.mode_connectivity import VALUES, ModeConnectivity, connectivity
from zoo.networks import Networks
from zoo.samples import view

CPU = torch.device("cpu")
QUICK = ModeConnectivity(steps=60, batch_size=16, samples=100)


@dataclass(frozen=True)
class Hill:
    """Right on every sample where its parameters are farther than 1 from the origin."""

    dimensions: int
    activations = 4
    fewest = 2

    @property
    def layout(self):
        return Layout((Param("theta", (self.dimensions,)),))

    def forward(self, tensors, x, *, training=False, taps=None):
        height = tensors["theta"].square().sum(1) - 1
        first = height.view(-1, 1).expand(*x.shape[:2])
        return torch.stack((first, torch.zeros_like(first)), 2)


@pytest.fixture
def hill(blobs, make_run):
    """Two networks on opposite sides of the hill; all labels are 0."""

    def hill(*places):
        runs = tuple(
            make_run(seed=s, cell="c", classes=(0, 1), label_map=(0, 0))
            for s in range(len(places))
        )
        weights = np.array(places, np.float32)
        steps, cells = (40,) * len(places), ("c",) * len(places)
        return Networks(Hill(weights.shape[1]), blobs, runs, steps, cells, weights, CPU)

    return hill


@pytest.fixture(scope="module")
def zoo(blobs, make_run, fit):
    """Two cells of three trained seeds, on the same noisy labels."""
    runs = tuple(
        make_run(seed=seed, cell=cell, lr=lr, label_noise=0.3, noise_seed=0)
        for cell, lr in (("a", 0.02), ("b", 0.05))
        for seed in range(3)
    )
    weights = fit(blobs, *runs).checkpoints[-1].weights
    network = build_architecture(dict(runs[0].architecture))
    cells = tuple(run.cell for run in runs)
    return Networks(network, blobs, runs, (40,) * 6, cells, weights, CPU)


def test_a_barrier_that_no_curve_avoids_is_negative(hill):
    found = QUICK.measure(hill([-2.0], [2.0]), seed=0)
    for name in ("mode_connectivity", "mode_connectivity_test", "linear_barrier"):
        assert found[name].tolist() == [-1, -1]
    assert (found["mode_connectivity_loss"] < -0.3).all()


def test_a_curve_finds_the_way_around(hill):
    metric = replace(QUICK, steps=300)
    found = metric.measure(hill([-2.0, 0.3], [2.0, 0.3]), seed=0)
    assert found["linear_barrier"].tolist() == [-1, -1]
    assert found["mode_connectivity"].tolist() == [0, 0]
    assert found["mode_connectivity_test"].tolist() == [0, 0]


def test_ends_that_are_worse_than_the_middle_are_positive(hill):
    found = QUICK.measure(hill([-0.9, 0.0], [0.0, 0.9]), seed=0)
    assert found["mode_connectivity"].tolist() == [1, 1]


def test_a_permuted_copy_is_connected_but_not_in_a_line(blobs, make_run, fit):
    """Eight networks beside copies of theirs: the barrier is 0.18 (sd 0.12)."""
    runs = [
        make_run(seed=s, cell=str(s), steps=400, checkpoints=(400,), lr=0.05)
        for s in range(8)
    ]
    weights = fit(blobs, *runs).checkpoints[-1].weights
    network = build_architecture(dict(runs[0].architecture))
    tensors = {k: v.copy() for k, v in network.layout.unflatten(weights).items()}
    order = np.roll(np.arange(7), 3)
    tensors["layer0.weight"] = tensors["layer0.weight"][:, order]
    tensors["layer0.bias"] = tensors["layer0.bias"][:, order]
    tensors["layer1.weight"] = tensors["layer1.weight"][:, :, order]
    both = np.concatenate((weights, network.layout.flatten(tensors)))
    pairs = (*runs, *(replace(run, seed=run.seed + 8) for run in runs))
    cells = tuple(run.cell for run in pairs)
    networks = Networks(network, blobs, pairs, (400,) * 16, cells, both, CPU)
    found = replace(QUICK, steps=300).measure(networks, seed=0)
    assert found["linear_barrier"].mean() < -0.05
    assert (np.abs(found["mode_connectivity"]) < 0.05).all()

    copy = replace(networks, weights=np.concatenate((weights, weights)))
    found = QUICK.measure(copy, seed=0)
    assert (found["linear_barrier"] == 0).all()
    assert (np.abs(found["mode_connectivity"]) < 0.02).all()


def test_errors_along_the_line_are_those_of_each_module(zoo, blobs):
    found = replace(QUICK, samples=10**6).measure(zoo, seed=0)
    x = torch.from_numpy(blobs.x["train"])
    y = torch.from_numpy(view(zoo.runs[0], blobs, "train").labels)
    barriers = []
    for i, j in zoo.pairs():
        errors = []
        for t in np.linspace(0, 1, 11):
            module = zoo.architecture.module()
            point = ((1 - t) * zoo.weights[i] + t * zoo.weights[j])[None]
            tensors = zoo.architecture.layout.unflatten(point.astype(np.float32))
            module.load_state_dict(
                {k: torch.from_numpy(v[0].copy()) for k, v in tensors.items()}
            )
            errors.append(float((module(x).argmax(1) != y).double().mean()))
        ends = (errors[0] + errors[-1]) / 2
        barriers.append(max((ends - e for e in errors), key=abs))
    per_network = [
        np.mean([b for b, pair in zip(barriers, zoo.pairs(), strict=True) if i in pair])
        for i in range(6)
    ]
    np.testing.assert_allclose(found["linear_barrier"], per_network, atol=0.005)


def test_every_column_has_values_and_errors_of_three_seeds(zoo):
    found = QUICK.measure(zoo, seed=0)
    assert set(found) == {column.name for column in QUICK.columns}
    assert all(column.shape == (6,) for column in found.values())
    assert all(np.isfinite(column).all() for column in found.values())
    for name in VALUES:  # one for each cell; errors of few samples may be equal
        several = 2 if name == "mode_connectivity_loss" else 1
        assert several <= len(set(found[f"{name}_se"].tolist())) <= 2
    again = QUICK.measure(zoo, seed=0)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_a_cell_alone_gets_what_it_gets_beside_others(zoo):
    found, alone = QUICK.measure(zoo, seed=0), QUICK.measure(zoo.take([5, 3, 4]), seed=0)
    for name in VALUES:
        np.testing.assert_allclose(alone[name], found[name][[5, 3, 4]], atol=0.011)


def test_dead_networks_and_singles_are_not_measured(zoo):
    weights = zoo.weights.copy()
    weights[1] = np.inf
    found = QUICK.measure(zoo, seed=0)
    beside = QUICK.measure(replace(zoo, weights=weights), seed=0)
    for name in VALUES:
        assert np.isnan(beside[name][1])
        assert np.array_equal(found[name][3:], beside[name][3:])
        assert np.isfinite(beside[name][[0, 2]]).all()
    assert np.isnan(beside["mode_connectivity_se"][:3]).all()
    assert beside["mode_connectivity_pairs"].tolist() == [1, 0, 1, 2, 2, 2]

    single = QUICK.measure(zoo.take([0, 3]), seed=0)
    assert single.pop("mode_connectivity_pairs").tolist() == [0, 0]
    assert set(single) == {name + end for name in VALUES for end in ("", "_se")}
    assert all(np.isnan(column).all() for column in single.values())


def test_a_curve_that_diverges_is_not_measured(hill):
    found = replace(QUICK, lr=1e30).measure(hill([-2.0], [2.0]), seed=0)
    assert np.isnan(found["mode_connectivity"]).all()
    assert found["linear_barrier"].tolist() == [-1, -1]


def test_cells_may_see_different_numbers_of_samples(zoo):
    runs = tuple(
        replace(run, train_samples=10 if run.cell == "b" else None) for run in zoo.runs
    )
    found = QUICK.measure(replace(zoo, runs=runs), seed=0)
    assert np.isfinite(found["mode_connectivity"]).all()
    np.testing.assert_array_equal(
        found["mode_connectivity"][:3], QUICK.measure(zoo, seed=0)["mode_connectivity"][:3]
    )


@given(arrays(np.float64, (3, 5), elements=st.floats(0, 1)))
def test_connectivity_is_the_farthest_from_the_ends(errors):
    found = connectivity(errors)
    for value, row in zip(found, errors, strict=True):
        gaps = (row[0] + row[-1]) / 2 - row[1:-1]
        assert abs(value) == np.abs(gaps).max()
        assert value in gaps
    np.testing.assert_array_equal(connectivity(errors[:, ::-1]), found)


def test_ends_of_unequal_errors_are_no_barrier():
    down = np.array([[0.5, 0.4, 0.25, 0.1, 0.0]])
    both = np.concatenate((down, down[:, ::-1]))
    np.testing.assert_allclose(connectivity(both), -0.15)  # a tie counts as a barrier
    straight = np.linspace(0.5, 0.0, 3)[None]
    assert connectivity(straight).tolist() == [0]


class Slow:
    """A clock by which every look at it takes a while."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def monotonic(self):
        self.now += self.seconds
        return self.now


def test_the_share_of_the_work_rises_to_one_while_curves_are_fitted(zoo, monkeypatch):
    monkeypatch.setattr("zoo.landscape.curve.time", Slow(0.1))
    shares: list[float] = []
    QUICK.measure(zoo, seed=0, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(set(shares)) > QUICK.steps / 4
    assert max(b - a for a, b in pairwise(shares)) < 0.2


def test_a_stop_is_heard_within_a_fit(zoo, monkeypatch):
    monkeypatch.setattr("zoo.landscape.curve.time", Slow(0.3))
    calls = 0

    def stop(share):
        nonlocal calls
        calls += 1
        if calls > QUICK.points + 3:  # the line is done
            raise Stopped

    with pytest.raises(Stopped):
        replace(QUICK, steps=20_000).measure(zoo, seed=0, progress=stop)


def test_connectivity_has_a_sign_and_no_value_where_one_is_missing():
    rows = np.array([[0.1, 0.5, 0.3], [0.5, 0.1, 0.3], [0.2, 0.2, 0.2], [0.1, np.nan, 0]])
    np.testing.assert_allclose(connectivity(rows), [-0.3, 0.3, 0, np.nan])


@pytest.mark.parametrize(
    ("name", "value", "law"),
    [
        ("points", 10, "odd"),
        ("points", 1, "odd"),
        ("lr", 0.0, "above"),
        ("epochs", -1, "above"),
        ("epochs", float("inf"), "finite"),
        ("momentum", 1.0, "below"),
        ("steps", 0, "least"),
        ("samples", -3, "least"),
    ],
)
def test_settings_are_checked(name, value, law):
    with pytest.raises(ValueError, match=f"{name} .*{law}.* Got {value}"):
        ModeConnectivity(**{name: value})


def test_the_cost_counts_pairs_steps_and_points():
    metric = ModeConnectivity(steps=10, batch_size=8, samples=6, refreshed=3, points=3)
    assert metric.passes(4, 6, 100) == 6 * (80 + 2 * 3 * 15 / 3)
    by_epoch = replace(metric, epochs=2.0)
    assert by_epoch.passes(4, 6, 20) == 6 * (2 * 2 * 8 + 30)


def test_a_longer_fit_lowers_the_loss_on_the_curve(zoo):
    short, longer = (
        replace(QUICK, steps=steps).measure(zoo, seed=0)["mode_connectivity_loss"]
        for steps in (1, 200)
    )
    assert (longer > short).all()
