"""REPAIR: the statistics of the parents, and what that is worth."""

import numpy as np
import pytest
import torch

from catalog import LayoutMismatch, permute
from catalog.alignment import check_symmetries, scalable
from zoo.architectures import CNNSmall
from zoo.engine.stack_weights import StackWeights
from zoo.landscape.singular_alignment import singular_alignment
from zoo.merging.activation_matching import match_activations
from zoo.merging.alignment import align_groups, balanced, outputs_of
from zoo.merging.made_weights import judge_weights, refresh_weights
from zoo.merging.repair import repair, repairable
from zoo.networks import Networks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(blobs, make_run, fit):
    """A cell of three small CNNs."""
    runs = [make_run("cnn", seed=seed, cell="a") for seed in range(3)]
    weights = fit(blobs, *runs).checkpoints[-1].weights
    network = CNNSmall(3, (1, 20, 20), 6, "tanh")
    return Networks(network, blobs, tuple(runs), (40,) * 3, ("a",) * 3, weights, CPU)


def moments(networks, weights, name):
    """Mean and deviation of what a layer gives on all training inputs."""
    (batch,) = networks.take([0]).samples("train", 10_000, 0).batches()
    found = {}

    def keep(layer, x):
        found[layer] = x.clone()  # activations may overwrite it
        return x

    stack = StackWeights(networks.architecture.layout, weights, CPU)
    x = batch.x.expand(len(weights), *batch.x.shape[1:])
    with torch.no_grad():
        networks.architecture.forward(stack.tensors, x, edit=keep)
    own = found[name].transpose(1, 2).flatten(2)
    return own.mean(2).numpy(), own.std(2, correction=0).numpy()


def test_a_network_repaired_with_itself_is_itself(seeds, images):
    for networks in (seeds, images):
        for copies in (1, 3):
            groups = [[i] * copies for i in range(len(networks))]
            parents = [networks.weights[g] for g in groups]
            found = repair(networks, networks.weights, groups, parents)
            largest = np.abs(networks.weights).max()
            assert np.abs(found - networks.weights).max() <= 1e-5 * largest


def test_pre_activations_get_the_moments_of_the_parents(seeds, images):
    for networks, group in ((seeds, [0, 1, 2]), (images, [0, 1, 2])):
        parents = networks.weights[group]
        mean = parents.mean(0)[None]
        found = repair(networks, mean, [group], [parents], samples=10_000)
        for layer in networks.architecture.affine:
            goal = [m.mean(0) for m in moments(networks, parents, layer)]
            own = [m[0] for m in moments(networks, found, layer)]
            before = [m[0] for m in moments(networks, mean, layer)]
            alive = goal[1] > 0.1
            np.testing.assert_allclose(own[0], goal[0], atol=0.02)
            np.testing.assert_allclose(own[1][alive], goal[1][alive], rtol=0.02)
            assert np.abs(before[1] - goal[1]).max() > 0.05


def test_edits_see_what_the_forward_pass_computes(seeds, images):
    for networks in (seeds, images):
        stack = networks.stacked()
        (batch,) = networks.samples("train", 40, 0).batches()
        seen = []

        def keep(name, x, seen=seen):
            seen.append(name)
            return x

        with torch.no_grad():
            plain = networks.architecture.forward(stack.tensors, batch.x)
            edited = networks.architecture.forward(stack.tensors, batch.x, edit=keep)
        assert tuple(seen) == networks.architecture.affine
        torch.testing.assert_close(edited, plain, rtol=1e-4, atol=1e-5)


def test_repair_raises_the_accuracy_of_aligned_averages(seeds):
    groups = list(seeds.pairs())
    layout = seeds.architecture.layout
    aligned = align_groups(balanced(seeds), layout, groups)
    means = np.stack([own.mean(0) for own in aligned])
    repaired = repair(seeds, means, groups, aligned)
    before, after = (
        judge_weights(seeds, w, groups, ["test"])["test"].error for w in (means, repaired)
    )
    gain = before - after
    assert gain.mean() - 2 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0


def test_a_dead_network_changes_nothing_for_others(seeds):
    groups = [[0, 1], [2, 3], [4, 5]]
    weights = np.stack([seeds.weights[g].mean(0) for g in groups])
    parents = [seeds.weights[g].copy() for g in groups]
    clean = repair(seeds, weights, groups, parents)
    parents[1][0], weights[1] = np.nan, np.nan
    beside = repair(seeds, weights, groups, parents)
    assert (clean[[0, 2]] == beside[[0, 2]]).all()


def test_networks_with_batch_normalisation_are_refreshed(normalised):
    mean = normalised.weights.mean(0)[None]
    found = repair(normalised, mean, [[0, 1]], [normalised.weights], samples=256)
    fresh = refresh_weights(normalised, mean, [[0, 1]], samples=256)
    assert (found == fresh).all()
    assert (found != mean).any()
    layout, stale = normalised.architecture.layout, mean.copy()
    for name, columns in layout.slices.items():
        if layout[name].role == "buffer":
            stale[:, columns] = 3
    again = repair(normalised, stale, [[0, 1]], [normalised.weights], samples=256)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)
    assert repairable(normalised.architecture)


def test_the_mean_of_shuffled_copies_is_the_network(seeds, shuffled):
    one = seeds.take([0, 0, 0, 4, 4])
    copies = shuffled(one)
    groups = [[0, 1, 2], [3, 4]]
    for own, g in zip(
        align_groups(copies, seeds.architecture.layout, groups), groups, strict=True
    ):
        assert np.abs(own - copies[g[0]]).max() <= 1e-6


def test_groups_are_aligned_as_if_they_were_alone(seeds):
    layout, groups = seeds.architecture.layout, [[0, 1, 2, 3], [4, 5, 6], [7]]
    together = align_groups(seeds.weights, layout, groups)
    for own, group in zip(together, groups, strict=True):
        (alone,) = align_groups(seeds.weights, layout, [group])
        assert (own == alone).all()


def test_symmetries_are_checked_with_outputs(seeds):
    layout = seeds.architecture.layout
    found = check_symmetries(
        seeds.weights[:1], layout, outputs_of(seeds), scaled=scalable(layout)
    )
    assert max(found.values()) < 1e-5
    assert set(found) >= set(layout.symbols)


def test_activation_matching_finds_planted_orders(seeds, images, shuffled, normalised):
    for networks in (seeds, images):
        n, layout = len(networks), networks.architecture.layout
        other, groups = shuffled(networks), [[i] for i in range(n)]
        orders = match_activations(networks, other, networks.weights, groups)
        back = permute(other, orders, layout)
        # Units that are dead on all inputs cannot be told apart, and do not matter.
        outputs = outputs_of(networks)
        after, before = outputs(back), outputs(networks.weights)
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
        assert np.isclose(back, networks.weights).mean() > 0.9
    with pytest.raises(LayoutMismatch, match="Match by weights"):
        match_activations(normalised, normalised.weights, normalised.weights, [[0], [1]])


def test_singular_vectors_agree_with_themselves_and_not_with_others(seeds, shuffled):
    layout, own = seeds.architecture.layout, seeds.weights
    total, by_layer = singular_alignment(own, own, layout)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert set(by_layer) == {f"layer{k}.weight" for k in range(3)}
    other, _ = singular_alignment(own, shuffled(seeds), layout)
    assert np.abs(other).max() < 0.5
    with pytest.raises(ValueError, match="at most 1"):
        singular_alignment(own, own, layout, threshold=0)
