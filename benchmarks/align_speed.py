"""Claim: matching many networks at once is at least five times as fast as one by one.

Ours: `catalog.alignment.match` of all networks to one reference, until nothing moves, and
with two sweeps after the start. Against what a user would
write: Git Re-Basin's weight matching in numpy, a network at a time (coordinate descent over
layers in random order from the identity, until no layer gains more than 1e-12), with
`scipy.optimize.linear_sum_assignment`. Both alternate on one thread; processor-seconds
count. The objective is the mean inner product of reference and matched network: ours must
not be worse. Networks: digits MLPs, trained in full; `cnn_small`, trained for some steps on
noisy patterns. A last row times ours on transformers (192 wide, 6 blocks) at initialisation
and shuffled with noise; nothing public of that kind is timed beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from alignment_planted import SIDE, patterns, trained
from scipy.optimize import linear_sum_assignment
from timing import digits, progress, report, sizes

from catalog.alignment import match, permute, random_permutations
from catalog.axis_symbol import read_symbol
from catalog.dtypes import Array
from catalog.layout import Layout
from zoo.architectures import CNNSmall, ViT
from zoo.engine.stack import plan
from zoo.engine.train_stack import train_stack
from zoo.randomness import stream
from zoo.recipes import RECIPES
from zoo.task import load_task
from zoo.tasks import TASKS

Spec = list[tuple[str, tuple[int, ...], slice, tuple[str | None, ...]]]


def digits_mlps(count: int) -> tuple[Layout, Array]:
    """The first networks of `digits_mlp_seeds`, at their last step."""
    data = load_task(TASKS["digits"])
    recipe = RECIPES["digits_mlp_seeds"]
    recipe = replace(recipe, seeds=range(count), checkpoints=(1.0,))
    found = {}
    for stack in plan(recipe.runs(data), data, 1 << 30):
        last = train_stack(stack, data, torch.device("cpu")).checkpoints[-1]
        found |= {run.seed: w for run, w in zip(stack.runs, last.weights, strict=True)}
    return recipe.network(32).layout, np.stack([found[seed] for seed in range(count)])


def specification(layout: Layout) -> Spec:
    """Axes as Git Re-Basin names them; flattened channels get an axis of their own."""
    spec: Spec = []
    for name, columns in layout.slices.items():
        shape: list[int] = []
        axes: list[str | None] = []
        for size, symbol in zip(layout[name].shape, layout[name].axes, strict=True):
            unit, block, _ = (None, 1, None) if symbol is None else read_symbol(symbol)
            shape += [size // block] + [block] * (block > 1)
            axes += [unit] + [None] * (block > 1)
        spec.append((name, tuple(shape), columns, tuple(axes)))
    return spec


def permuted(
    spec: Spec, orders: dict[str, Array], name: str, value: Array, but: int | None
) -> Array:
    axes = next(axes for other, _, _, axes in spec if other == name)
    for axis, key in enumerate(axes):
        if key is not None and axis != but:
            value = np.take(value, orders[key], axis=axis)
    return value


def one_by_one(
    spec: Spec, reference: dict[str, Array], network: dict[str, Array], draw: Array
) -> dict[str, Array]:
    """Weight matching of one network, as published."""
    carried: dict[str, list[tuple[str, int]]] = {}
    sizes: dict[str, int] = {}
    for name, shape, _, axes in spec:
        for axis, key in enumerate(axes):
            if key is not None:
                carried.setdefault(key, []).append((name, axis))
                sizes[key] = shape[axis]
    orders = {key: np.arange(size) for key, size in sizes.items()}
    names = list(orders)
    for _ in range(100):
        progressed = False
        for index in draw.permutation(len(names)):
            key = names[index]
            n = sizes[key]
            votes = np.zeros((n, n))
            for name, axis in carried[key]:
                ours = np.moveaxis(reference[name], axis, 0).reshape(n, -1)
                theirs = permuted(spec, orders, name, network[name], axis)
                theirs = np.moveaxis(theirs, axis, 0).reshape(n, -1)
                votes += ours @ theirs.T
            rows, columns = linear_sum_assignment(votes, maximize=True)
            before = votes[np.arange(n), orders[key]].sum()
            if votes[rows, columns].sum() > before + 1e-12:
                progressed = True
            orders[key] = columns
        if not progressed:
            break
    return orders


def all_one_by_one(layout: Layout, weights: Array, reference: Array) -> dict[str, Array]:
    spec, draw = specification(layout), np.random.RandomState(42)
    tensors = [
        {name: w[columns].reshape(shape) for name, shape, columns, _ in spec}
        for w in (reference, *weights)
    ]
    found = [one_by_one(spec, tensors[0], network, draw) for network in tensors[1:]]
    return {key: np.stack([orders[key] for orders in found]) for key in found[0]}


def objective(
    layout: Layout, weights: Array, reference: Array, orders: dict[str, Array]
) -> float:
    moved = permute(weights, orders, layout).astype(np.float64)
    return float((moved @ reference).mean())


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def compare(case: str, layout: Layout, weights: Array, rounds: int) -> None:
    reference, others = weights[0], weights[1:]
    contestants: dict[str, Callable[[], dict[str, Array]]] = {
        "ours": lambda: match(others, reference, layout).permutations,
        "two_sweeps": lambda: match(others, reference, layout, sweeps=2).permutations,
        "one_by_one": lambda: all_one_by_one(layout, others, reference),
    }
    reached = {k: objective(layout, others, reference, f()) for k, f in contestants.items()}
    taken: dict[str, list[float]] = {k: [] for k in contestants}
    for number in range(rounds):
        for name, function in contestants.items():
            taken[name].append(seconds(function))
        progress(f"{case}: round {number + 1} of {rounds}")
    theirs = taken["one_by_one"]
    ratios = {
        name: [a / b for a, b in zip(theirs, own, strict=True)]
        for name, own in taken.items()
        if own is not theirs
    }
    report(
        "align_speed",
        case=case,
        networks=len(others),
        processor_seconds={k: digits(statistics.median(v)) for k, v in taken.items()},
        ratio={k: digits(statistics.median(v)) for k, v in ratios.items()},
        ratio_range={k: [digits(min(v)), digits(max(v))] for k, v in ratios.items()},
        objective={k: round(v, 4) for k, v in reached.items()},
    )


def transformers(ratio: int, count: int) -> None:
    network = ViT(192, (3, 32, 32), depth=6, heads=3, mlp_ratio=ratio)
    layout, rng = network.layout, np.random.default_rng(0)
    start = [network.init(stream(seed, "init")) for seed in range(count + 1)]
    weights = np.stack(start) + 0.01 * rng.standard_normal(
        (count + 1, layout.d), np.float32
    )
    reference, others = weights[0], weights[1:]
    planted = np.tile(reference, (count, 1))
    for columns in layout.slices.values():
        shape = (count, columns.stop - columns.start)
        deviation = 0.5 * reference[columns].std()
        planted[:, columns] += deviation * rng.standard_normal(shape, np.float32)
    planted = permute(planted, random_permutations(layout, count, seed=0), layout)
    for case, some in (("independent", others), ("shuffled, noise 0.5", planted)):
        match(some[:1], reference, layout)
        taken = seconds(lambda some=some: match(some, reference, layout))
        report(
            "align_speed",
            case=f"vit 192 wide, 6 blocks, mlp ratio {ratio}: {case}",
            networks=count,
            d=layout.d,
            processor_seconds_per_network=digits(taken / count),
        )


def main() -> None:
    options = sizes(
        __doc__, mlps=(1001, 11), cnns=(101, 6), steps=(300, 5), rounds=(5, 1), vits=(5, 1)
    )
    torch.set_num_threads(1)
    compare("digits mlp", *digits_mlps(options.mlps), options.rounds)
    network = CNNSmall(8, (1, SIDE, SIDE))
    weights, _ = trained(network, patterns(), options.cnns, options.steps)
    compare("cnn_small", network.layout, weights, options.rounds)
    for ratio in (2, 4):
        transformers(ratio, options.vits)


if __name__ == "__main__":
    main()
