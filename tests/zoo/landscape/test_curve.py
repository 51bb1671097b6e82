"""Curves between networks: geometry, data, and the oracle of one curve in plain torch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call
from torch.nn import functional

from zoo.engine.stack import build_architecture
from zoo.landscape.curve import Curves, annealed
from zoo.networks import Networks
from zoo.randomness import stream
from zoo.samples import view

CPU = torch.device("cpu")
FIT = {"steps": 40, "batch_size": 16, "lr": 0.05}


@pytest.fixture
def cell(blobs, make_run, fit):
    """Trained seeds of one cell; fields of the runs by keyword."""

    def cell(seeds=3, **fields):
        runs = [
            make_run(seed=s, cell="c", weight_decay=1e-3, **fields) for s in range(seeds)
        ]
        weights = fit(blobs, *runs).checkpoints[-1].weights
        architecture = build_architecture(dict(runs[0].architecture))
        steps, cells = (40,) * seeds, ("c",) * seeds
        return Networks(architecture, blobs, tuple(runs), steps, cells, weights, CPU)

    return cell


def test_the_rate_falls_to_a_hundredth_and_does_not_compound():
    by_epoch = [1, 1, 1, 1, 1, 1, 0.7525, 0.505, 0.2575, 0.01]
    assert [annealed(epoch, 10) for epoch in range(10)] == pytest.approx(by_epoch)


@given(st.integers(1, 500))
def test_the_rate_never_rises(steps):
    factors = [annealed(step, steps) for step in range(steps)]
    assert factors[: (steps + 1) // 2] == [1.0] * ((steps + 1) // 2)
    assert all(a >= b for a, b in pairwise(factors))
    assert steps < 10 or factors[-1] == pytest.approx(0.01)


def test_a_curve_is_the_oracles(cell, blobs):
    networks = cell(2)
    curves = Curves(networks, networks.pairs(), seed=5)
    first, last = (end[0].double() for end in (curves.first, curves.last))
    middle = ((first + last) / 2).requires_grad_()
    module = networks.architecture.module().double()
    shapes = {name: value.shape for name, value in module.named_parameters()}
    seen = view(networks.runs[0], blobs, "train")
    order, t = stream(curves.runs[0].seed_for("order"), "order"), curves._draws(40)
    moves = torch.optim.SGD([middle], lr=0.05, momentum=0.9)
    rows = np.concatenate([order.permutation(240) for _ in range(3)])
    for step in range(40):
        at = rows[16 * step : 16 * step + 16]
        s = t[step, 0].double()
        point = (1 - s) ** 2 * first + 2 * s * (1 - s) * middle + s**2 * last
        parts = point.split([shape.numel() for shape in shapes.values()])
        tensors = {
            name: part.view(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        x = torch.from_numpy(blobs.x["train"][seen.index[at]]).double()
        logits = functional_call(module, tensors, (x,))
        loss = functional.cross_entropy(logits, torch.from_numpy(seen.labels[at]))
        loss = loss + 1e-3 / 2 * point.square().sum()
        moves.param_groups[0]["lr"] = 0.05 * annealed(step, 40)
        moves.zero_grad()
        loss.backward()
        moves.step()
    before = curves.middle[0].clone()
    assert (curves.fit(**FIT) == -1).all()
    moved = (middle - before).abs().max()
    assert moved > 0.02
    assert (curves.middle[0] - middle).abs().max() < 1e-3 * moved


def test_ends_never_move_and_points_are_on_the_curve(cell):
    networks = cell()
    kept = networks.weights.copy()
    curves = Curves(networks, networks.pairs(), seed=0)
    ends = curves.first.clone(), curves.last.clone()
    straight = curves.middle.clone()
    curves.fit(**FIT)
    assert not torch.equal(curves.middle, straight)
    for t, end in zip((0.0, 1.0), ends, strict=True):
        curves.move(t)
        assert torch.equal(curves.weights.parameters, end)
        assert {row.tobytes() for row in end.numpy()} <= {row.tobytes() for row in kept}
    assert np.array_equal(networks.weights, kept)
    curves.move(0.3)
    expected = 0.49 * ends[0] + 0.42 * curves.middle + 0.09 * ends[1]
    torch.testing.assert_close(curves.weights.parameters, expected)


def test_before_the_fit_it_is_a_line_of_constant_speed(cell):
    networks = cell()
    curves = Curves(networks, networks.pairs(), seed=0)
    curves.move(0.2)
    expected = 0.8 * curves.first + 0.2 * curves.last
    torch.testing.assert_close(curves.weights.parameters, expected)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_a_stack_fits_what_each_curve_alone_does(cell, network):
    networks = cell(network=network)
    pairs = networks.pairs()
    together = Curves(networks, pairs, seed=1)
    together.fit(**FIT)
    for row, pair in enumerate(pairs):
        alone = Curves(networks, pair[None], seed=1)
        alone.fit(**FIT)
        moved = (alone.middle[0] - (alone.first + alone.last)[0] / 2).abs().max()
        assert (together.middle[row] - alone.middle[0]).abs().max() < 1e-3 * moved


def test_the_order_of_the_networks_does_not_matter(cell):
    networks = cell(2)
    middles = []
    for rows in ([0, 1], [1, 0]):
        curves = Curves(networks.take(rows), np.array([[0, 1]]), seed=1)
        curves.fit(**FIT)
        middles.append(curves.middle)
    assert torch.equal(*middles)


def test_curves_and_seeds_have_draws_of_their_own(cell):
    networks = cell()
    draws = [Curves(networks, networks.pairs(), seed=s)._draws(50) for s in (0, 1)]
    columns = torch.cat(draws, 1)[:, :, 0]
    assert len(set(map(tuple, columns.T.tolist()))) == 6
    assert 0.3 < columns.mean() < 0.7
    assert columns.min() >= 0
    assert columns.max() <= 1


def test_a_dead_end_changes_no_bit_of_other_curves(cell):
    networks = cell(4)
    pairs = networks.pairs()
    middles = []
    for broken in (False, True):
        if broken:
            networks.weights[0] = np.nan
        curves = Curves(networks, pairs, seed=1)
        diverged = curves.fit(**FIT)
        middles.append(curves.middle)
    with_dead = (pairs == 0).any(1)
    assert np.array_equal(diverged >= 0, with_dead)
    assert torch.equal(middles[0][~with_dead], middles[1][~with_dead])


def test_a_curve_sees_what_its_ends_saw(cell):
    same = cell(2, train_samples=50, subset_seed=3, label_noise=0.2, noise_seed=1)
    (seen,) = Curves(same, same.pairs(), seed=0).views("train")
    own = view(same.runs[0], same.data, "train")
    assert np.array_equal(seen.index, own.index)
    assert np.array_equal(seen.labels, own.labels)

    for fields in ({"train_samples": 50}, {"label_noise": 0.2}):
        networks = cell(2, **fields)
        curves = Curves(networks, networks.pairs(), seed=0)
        (seen,) = curves.views("train")
        both = [view(run, networks.data, "train") for run in networks.runs]
        assert len(seen.index) == 2 * len(both[0].index)
        expected = {(i, y) for v in both for i, y in zip(v.index, v.labels, strict=True)}
        found = set(zip(seen.index, seen.labels, strict=True))
        assert found == expected
        (test,) = curves.views("test")
        assert len(test.index) == 54


def test_settings_are_checked(cell):
    networks = cell(2)
    curves = Curves(networks, networks.pairs(), seed=0)
    with pytest.raises(ValueError, match=r"from 1 to 240.* Got 241"):
        curves.fit(steps=1, batch_size=241, lr=0.1)
    runs = (networks.runs[0], replace(networks.runs[1], classes=(0, 1)))
    with pytest.raises(ValueError, match=r"the same classes. Got None and \(0, 1\)"):
        Curves(replace(networks, runs=runs), networks.pairs(), seed=0)
