"""Barriers: planted ones, and that neighbours do not matter."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoo.landscape.barrier import (
    along_lines,
    barrier_height,
    between,
    layer_barriers,
    layers,
)
from zoo.landscape.softmax_temperature import inverse_temperature
from zoo.merging.alignment import by_weights
from zoo.merging.made_weights import judge_weights
from zoo.metrics import barrier

FEW = {"points": 5, "samples": 300}


def pairs_of(networks, count=3):
    return networks.pairs()[:count]


def ends(networks, pairs):
    return networks.weights[pairs[:, 0]], networks.weights[pairs[:, 1]]


def test_between_a_network_and_itself_is_no_barrier(seeds, normalised):
    for networks in (seeds, normalised):
        one = networks.weights[:2]
        lines = along_lines(networks, one, one, [[0], [1]], calibrate="validation", **FEW)
        for found in (lines.loss, lines.error, lines.calibrated):
            for values in found.values():
                np.testing.assert_allclose(barrier_height(values), 0, atol=1e-6)


def test_a_shuffled_copy_is_behind_a_barrier_until_it_is_aligned(seeds, shuffled):
    first, other = seeds.weights, shuffled(seeds)
    groups, layout = [[i] for i in range(8)], seeds.architecture.layout
    raw = along_lines(seeds, first, other, groups, **FEW)
    aligned = along_lines(seeds, first, by_weights(other, first, layout), groups, **FEW)
    for split in ("train", "test"):
        assert (barrier_height(raw.loss[split]) > 0.1).all()
        assert (barrier_height(raw.error[split]) > 0.01).all()
        np.testing.assert_allclose(barrier_height(aligned.loss[split]), 0, atol=1e-5)
        np.testing.assert_allclose(barrier_height(aligned.error[split]), 0, atol=1e-6)


def test_a_line_is_judged_as_its_points_one_at_a_time(seeds):
    pairs = pairs_of(seeds)
    first, last = ends(seeds, pairs)
    lines = along_lines(seeds, first, last, list(pairs), points=5)
    for k, t in enumerate(lines.t):
        for m, pair in enumerate(pairs):
            point = (1 - t) * first[m] + t * last[m]
            own = judge_weights(
                seeds, point[None].astype(np.float32), [pair], ["train", "test"]
            )
            for split, judged in own.items():
                assert lines.loss[split][m, k] == pytest.approx(judged.loss[0], rel=1e-4)
                assert lines.error[split][m, k] == pytest.approx(judged.error[0], abs=2e-3)


def test_lines_do_not_depend_on_their_neighbours(seeds):
    pairs = pairs_of(seeds, 4)
    first, last = ends(seeds, pairs)
    last = last.copy()
    last[1] = np.nan
    together = along_lines(seeds, first, last, list(pairs), calibrate="validation", **FEW)
    rest = [0, 2, 3]
    alone = along_lines(
        seeds, first[rest], last[rest], list(pairs[rest]), calibrate="validation", **FEW
    )
    for name in ("loss", "error", "calibrated"):
        for split, values in getattr(together, name).items():
            expected = getattr(alone, name)[split]
            np.testing.assert_allclose(values[rest], expected, rtol=1e-4, atol=1e-6)
            assert np.isnan(barrier_height(values)[1])


def test_the_ends_of_a_line_are_the_networks(seeds):
    first, last = ends(seeds, pairs_of(seeds, 1))
    assert (between(first, last, np.zeros(1)) == first).all()
    assert (between(first, last, np.ones(1)) == last).all()


def test_statistics_of_batch_normalisation_are_estimated_at_every_point(normalised):
    first, last = ends(normalised, normalised.pairs())
    buffers = np.concatenate(
        [
            np.arange(normalised.architecture.layout.d)[columns]
            for name, columns in normalised.architecture.layout.slices.items()
            if "running" in name
        ]
    )
    broken = first.copy()
    broken[:, buffers] = 7.0
    sound, other = (
        along_lines(normalised, a, last, [[0, 1]], points=3) for a in (first, broken)
    )
    np.testing.assert_allclose(sound.loss["test"], other.loss["test"], rtol=1e-4)


def test_layers_are_interpolated_one_by_one(seeds):
    layout = seeds.architecture.layout
    assert list(layers(layout)) == ["layer0", "layer1", "layer2"]
    pairs = pairs_of(seeds, 2)
    first, last = ends(seeds, pairs)
    found = layer_barriers(seeds, first, last, list(pairs), points=3)
    assert set(found) == {"layer0", "layer1", "layer2"}
    everything = {"all": [p.name for p in layout]}
    whole = layer_barriers(seeds, first, last, list(pairs), parts=everything, points=3)
    lines = along_lines(seeds, first, last, list(pairs), points=3, splits=("train",))
    expected = barrier_height(lines.loss["train"])
    np.testing.assert_allclose(whole["all"], expected, rtol=1e-4)
    # By hand: the last layer of the second network in the first, half way.
    mixed = first.copy()
    for name in ("layer2.weight", "layer2.bias"):
        columns = layout.slices[name]
        mixed[:, columns] = last[:, columns]
    point = judge_weights(seeds, mixed, list(pairs), ["train"])["train"].loss
    level = (lines.loss["train"][:, 0] + lines.loss["train"][:, -1]) / 2
    assert (found["layer2"] >= (point - level) / 2 - 1e-5).all()


def test_the_temperature_is_that_of_least_loss():
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 50, 5, generator=draw)
    labels = torch.randint(5, (4, 50), generator=draw)
    noisy = logits.gather(2, labels[:, :, None])
    logits.scatter_(2, labels[:, :, None], noisy + 2)
    logits[2, 3] = torch.nan
    counted = torch.ones(4, 50, dtype=torch.bool)
    counted[1, 25:] = False
    beta = inverse_temperature(logits, labels, counted)
    assert beta.isnan().tolist() == [False, False, True, False]
    grid = torch.logspace(-3, 3, 1201)
    for i in (0, 1, 3):
        own = counted[i]
        losses = [
            functional.cross_entropy(b * logits[i, own], labels[i, own]) for b in grid
        ]
        best = grid[torch.stack(losses).argmin()]
        assert float(beta[i]) == pytest.approx(float(best), rel=0.02)


def test_without_mistakes_the_temperature_is_bounded():
    logits = torch.eye(3)[None].repeat(1, 2, 1)
    labels = torch.arange(3).repeat(1, 2)
    found = inverse_temperature(logits, labels, torch.ones(1, 6, dtype=torch.bool))
    assert 30 < float(found[0]) <= 32


def test_what_is_wrong_is_said(seeds):
    one = seeds.weights[:1]
    with pytest.raises(ValueError, match="points parameter must be at least 2"):
        along_lines(seeds, one, one, [[0]], points=1)
    with pytest.raises(ValueError, match="for the result"):
        along_lines(seeds, one, one, [[0]], calibrate="test")
    with pytest.raises(ValueError, match="one of validation, train"):
        replace(barrier, calibrate="test")


def test_the_metric_falls_with_alignment_and_is_symmetric(seeds):
    quick = replace(barrier, points=5, samples=300)
    found = quick.measure(seeds, seed=0)
    back = quick.measure(seeds.take(range(7, -1, -1)), seed=0)
    for name, values in found.items():
        np.testing.assert_allclose(values, back[name][::-1], rtol=1e-3, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:  # one pair at a time: the same
        patch.setattr(import_module("zoo.metrics.barrier"), "COPIES", 1 << 40)
        alone = quick.measure(seeds, seed=0)
    for name, values in found.items():
        np.testing.assert_allclose(values, alone[name], rtol=1e-3, atol=1e-5)
    raw, aligned = found["barrier_test_loss"], found["aligned_barrier_test_loss"]
    assert (aligned < raw).all()
    assert (found["singular_aligned"] > found["singular_raw"]).all()
