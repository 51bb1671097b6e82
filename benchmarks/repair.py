"""Claim: REPAIR raises the accuracy of aligned averages; and what lies between two.

Networks of `digits_mlp_seeds` (64-32-32-10, full recipe). Averages of disjoint groups, as
the units stand, aligned (`zoo.merging.alignment`), with balanced scales aligned, and each
of them repaired, by test accuracy in per cent; then barriers of the test loss between
disjoint pairs, without alignment and with weights or activations matched. Means with 95 %
intervals (Student's t over groups, which share no network).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from align_speed import digits_mlps
from scipy.stats import t as student
from timing import digits, progress, report, sizes

from catalog import permute
from catalog.dtypes import Array
from zoo.engine.stack import build_architecture
from zoo.landscape.barrier import along_lines, barrier_height, layer_barriers
from zoo.landscape.singular_alignment import singular_alignment
from zoo.merging.activation_matching import match_activations
from zoo.merging.alignment import align_groups, balanced, by_weights
from zoo.merging.made_weights import judge_weights
from zoo.merging.repair import repair
from zoo.networks import Networks
from zoo.recipes import RECIPES
from zoo.task import load_task
from zoo.tasks import TASKS


def main() -> None:
    options = sizes(__doc__, networks=(192, 16))
    torch.set_num_threads(1)
    networks = trained(options.networks)
    progress(f"{len(networks)} networks trained")
    soups = {}
    for size in (2, 4, 8, 16):
        soups[size] = averages(networks, size)
        progress(f"averages of {size}: {soups[size]}")
    every = [[i] for i in range(len(networks))]
    report(
        "repair",
        networks=len(networks),
        single=estimate(accuracy(networks, networks.weights, every)),
        averages=soups,
        lines=lines(networks),
    )


def trained(count: int) -> Networks:
    """The first networks of the recipe."""
    data = load_task(TASKS["digits"])
    recipe = replace(RECIPES["digits_mlp_seeds"], seeds=range(count))
    _, weights = digits_mlps(count)
    runs = tuple(recipe.runs(data))
    network = build_architecture(dict(runs[0].architecture))
    steps, cells = (runs[0].steps,) * count, tuple(run.cell for run in runs)
    return Networks(network, data, runs, steps, cells, weights, torch.device("cpu"))


def averages(networks: Networks, size: int) -> dict[str, list[float | None]]:
    """Test accuracy of every kind of average."""
    groups = np.arange(len(networks) // size * size).reshape(-1, size)
    layout, listed = networks.architecture.layout, list(groups)
    ends = {
        "raw": [networks.weights[g] for g in groups],
        "aligned": align_groups(networks.weights, layout, listed),
        "balanced, aligned": align_groups(balanced(networks), layout, listed),
    }
    found = {}
    for kind, parents in ends.items():
        means = np.stack([weights.mean(0) for weights in parents])
        found[kind] = estimate(accuracy(networks, means, list(groups)))
        fixed = repair(networks, means, list(groups), parents)
        found[f"{kind} + REPAIR"] = estimate(accuracy(networks, fixed, list(groups)))
    return found


def lines(networks: Networks) -> dict[str, dict[str, list[float | None]]]:
    """Barriers and agreement of singular vectors, by how the second network was aligned."""
    pairs = np.arange(len(networks) // 2 * 2).reshape(-1, 2)
    layout = networks.architecture.layout
    first, other = networks.weights[pairs[:, 0]], networks.weights[pairs[:, 1]]
    seen = match_activations(networks, other, first, list(pairs))
    ends = {
        "raw": (first, other),
        "activations": (first, permute(other, seen, layout)),
        "weights": (first, by_weights(other, first, layout)),
    }
    found = {}
    for kind, (a, b) in ends.items():
        along = {
            split: along_lines(networks, a, b, list(pairs), calibrate=split)
            for split in ("train", "validation")
        }
        line = along["validation"]
        values = {
            f"{split} {what}": barrier_height(values[split])
            for split in ("train", "test")
            for what, values in (("loss", line.loss), ("error", line.error))
        }
        for split, own_line in along.items():
            name = f"test loss, temperature from {split}"
            values[name] = barrier_height(own_line.calibrated["test"])
        values["singular vectors"] = singular_alignment(a, b, layout)[0]
        parts = layer_barriers(networks, a, b, list(pairs), split="test")
        values |= {f"{layer} alone, test loss": v for layer, v in parts.items()}
        found[kind] = {name: estimate(each) for name, each in values.items()}
        progress(f"{kind}: {found[kind]}")
    return found


def accuracy(
    networks: Networks, weights: Array, groups: Sequence[Array | list[int]]
) -> Array:
    """Test accuracy (k,) in per cent."""
    judged = judge_weights(networks, weights, groups, ["test"])["test"]
    return 100 * (1 - judged.error)


def estimate(values: Array) -> list[float | None]:
    """Mean and half of the 95 % interval, which one value does not have."""
    if len(values) < 2:
        return [digits(float(values.mean())), None]
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return [digits(float(values.mean())), digits(float(half))]


if __name__ == "__main__":
    main()
