"""The symbols of every family are right, and matching finds what was planted in them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch

from catalog import Canonicaliser, Population
from catalog.alignment import (
    SymmetryBroken,
    check_symmetries,
    invert,
    match,
    permute,
    random_permutations,
    scalable,
)
from catalog.dtypes import Array
from zoo.architectures import (
    ARCHITECTURES,
    GPT,
    MLP,
    CNNSmall,
    LoRAMLP,
    ResNet18,
    ResNet50,
    ViT,
)
from zoo.engine.stack import Stack
from zoo.engine.train_stack import train_stack
from zoo.randomness import stream
from zoo.recipes import RECIPES
from zoo.run import Run

MEMBERS = [
    (MLP((9, 8, 7, 4)), (9,)),
    (MLP((9, 8, 7, 4), "tanh"), (9,)),
    (LoRAMLP((9, 8, 7, 4), 3), (9,)),
    (CNNSmall(6, (2, 21, 23)), (2, 21, 23)),
    (ResNet18(4, (3, 8, 9)), (3, 8, 9)),
    (ResNet50(4, (2, 8, 9)), (2, 8, 9)),
    (ViT(12, (3, 8, 8), depth=2, heads=3), (3, 8, 8)),
    (ViT(8, (1, 8, 8), depth=2, heads=1), (1, 8, 8)),
    (GPT(12, (7,), 11, depth=2, heads=2), (7,)),
    (GPT(16, (6,), 9, depth=2, heads=4, tied=False), (6,)),
]
member = pytest.mark.parametrize(
    ("network", "shape"), MEMBERS, ids=[repr(network) for network, _ in MEMBERS]
)


def test_every_family_is_there():
    families = set(ARCHITECTURES)
    assert {network.name for network, _ in MEMBERS} == families


def outputs_of(network, shape):
    """Outputs of stacked weights on a fixed batch, in evaluation."""
    draw = np.random.default_rng(0)
    if isinstance(network, GPT):
        x = torch.from_numpy(draw.integers(0, network.classes, (5, *shape)))
    else:
        x = torch.from_numpy(draw.standard_normal((5, *shape), np.float32))

    def outputs(weights: Array) -> Array:
        tensors = network.layout.unflatten(torch.from_numpy(weights))
        with torch.no_grad():
            found = network.forward(tensors, x.expand(len(weights), *x.shape))
        return found.numpy()

    return outputs


@cache
def six_moved(network, shape):
    """Initial networks, moved so that nothing is constant; statistics fit the weights."""
    n, draw = 6, np.random.default_rng(0)
    starts = np.stack([network.init(stream(i, "init")) for i in range(n)])
    near, above = draw.standard_normal((2, *starts.shape), np.float32)
    weights = starts * (1 + 0.1 * near) + 0.03 * np.abs(above)
    if isinstance(network, ResNet18 | ResNet50):
        tensors = network.layout.unflatten(torch.from_numpy(weights))
        x = torch.from_numpy(draw.standard_normal((n, 16, *shape), np.float32))
        for _ in range(40):
            network.forward(tensors, x, training=True)
    return weights


def moved(network, shape, n):
    return six_moved(network, shape)[:n].copy()


@member
def test_every_symbol_keeps_the_function(network, shape):
    found = check_symmetries(
        moved(network, shape, 2), network.layout, outputs_of(network, shape)
    )
    free = {name for name, size in network.layout.symbols.items() if size > 1}
    assert found.keys() >= {f for f in free if not f.startswith("head")}


@member
def test_a_symbol_that_a_tensor_lacks_is_found(network, shape):
    """Whichever tensor it is."""
    outputs, weights = outputs_of(network, shape), moved(network, shape, 1)
    params = network.layout.params
    carriers = [i for i, p in enumerate(params) if any(p.axes)]
    for i in carriers[:: max(1, len(carriers) // 8)]:
        bare = replace(params[i], axes=(None,) * len(params[i].shape))
        layout = type(network.layout)((*params[:i], bare, *params[i + 1 :]))
        with pytest.raises(SymmetryBroken) as broken:
            check_symmetries(weights, layout, outputs)
        assert any(broken.value.symbol in str(axis) for axis in params[i].axes)


@member
def test_aligned_networks_compute_the_same(network, shape):
    outputs, weights = outputs_of(network, shape), moved(network, shape, 6)
    table = pa.table({"run_id": list("abcdef"), "step": [0] * 6})
    some = Population(weights, network.layout, table)
    rectified = isinstance(network, MLP | CNNSmall) and network.activation == "relu"
    deep = isinstance(network, ResNet18 | ResNet50)
    for strategy in ("reference", "mean") if deep else ("reference", "mean", "cycle"):
        found = Canonicaliser(strategy, balance=rectified).fit_transform(
            some, check=outputs
        )
        before, after = outputs(weights), outputs(found.weights)
        assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()
        assert (found.weights != weights).any(1).sum() >= 5
    scaled = MLP | LoRAMLP | CNNSmall | GPT | ViT
    assert bool(scalable(network.layout)) == isinstance(network, scaled)


@pytest.mark.parametrize("network", [ViT(12, (3, 8, 8), heads=3), MLP((9, 8, 4), "gelu")])
def test_units_that_are_not_rectified_are_not_rescaled(network):
    shape = network.shape if isinstance(network, ViT) else (9,)
    table = pa.table({"run_id": ["a"], "step": [0]})
    some = Population(moved(network, shape, 1), network.layout, table)
    with pytest.raises(SymmetryBroken, match="Rescaling the units of 'hidden"):
        Canonicaliser(balance=True).fit(some, check=outputs_of(network, shape))


# ------------------------------------------------------------------ trained networks


def trained(network, data, nets, steps, **settings):
    common = {"lr": 0.005, "batch_size": 20, "optimizer": "adamw", **settings}
    runs = [
        Run("t", data.task.name, network.config(), steps, (steps,), seed=s, **common)
        for s in range(nets)
    ]
    last = train_stack(Stack(tuple(runs)), data, torch.device("cpu")).checkpoints[-1]
    return last.weights


def planted(layout, reference, n, noise, seed):
    """Shuffled copies with noise in deviations of each tensor, and how to undo it."""
    draw, copies = np.random.default_rng(seed), np.tile(reference, (n, 1))
    for columns in layout.slices.values():
        extra = draw.standard_normal((n, columns.stop - columns.start), np.float32)
        copies[:, columns] += noise * reference[columns].std() * extra
    orders = random_permutations(layout, n, seed=seed)
    return permute(copies, orders, layout), invert(orders)


@pytest.mark.parametrize(
    "network",
    [
        MLP((400, 16, 16, 6)),
        CNNSmall(8, (1, 20, 20), 6),
        ResNet18(4, (1, 20, 20), 6),
        ViT(12, (1, 20, 20), 6, depth=2, heads=3),
    ],
    ids=["mlp", "cnn_small", "resnet18", "vit"],
)
def test_planted_orders_of_trained_networks_are_found(network, blobs):
    """In noise of half a weight's size two units may be alike: 0.99 (sd 0.02) are right."""
    layout = network.layout
    references = trained(network, blobs, 5, 24)
    for noise, least in ((0.0, 1.0), (0.5, 0.9)):
        right = []
        for i, reference in enumerate(references):
            copies, undone = planted(layout, reference, 10, noise, i)
            found = match(copies, reference, layout).permutations
            equal = [(found[key] == order).all(1) for key, order in undone.items()]
            right.append(np.all(equal, axis=0))
        assert np.mean(right) >= least


def test_fifty_trained_mlps_have_one_representative_in_any_order(digits):
    n, recipe = 50, replace(RECIPES["digits_mlp_seeds"], steps=500)
    runs = replace(recipe, seeds=range(n), checkpoints=(1.0,)).runs(digits)
    stack = Stack(tuple(runs))
    weights = train_stack(stack, digits, torch.device("cpu")).checkpoints[-1].weights
    layout = recipe.network(32).layout
    table = pa.table({"run_id": [str(i) for i in range(n)], "step": [500] * n})
    some = Population(weights, layout, table)
    shuffled = permute(some, random_permutations(layout, n, seed=0))
    for strategy in ("reference", "mean", "cycle"):
        for balance in ((), ("hidden1", "hidden2")):
            frozen = Canonicaliser(strategy, balance=balance).fit(some.select(range(25)))
            one, other = (frozen.transform(p).weights for p in (some, shuffled))
            assert np.allclose(one, other, rtol=1e-5, atol=1e-7 if balance else 0)
    same = {name: np.arange(size) for name, size in layout.symbols.items()}
    ends = [
        permute(
            p.weights, match(p.weights, weights[0], layout, start=same).permutations, layout
        )
        for p in (some, shuffled)
    ]
    assert np.isclose(*ends).all(1).mean() < 0.5  # from the identity, as published
