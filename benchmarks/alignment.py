"""Claim: aligned digits MLPs can be averaged; which canonicaliser is best, in one table.

Networks of `digits_mlp_seeds` (64-32-32-10, full recipe) are aligned by every strategy,
with and without balanced scales, and, for comparison, to one network by the same descent
from the identity, where published weight matching starts. Judged by test accuracy of
midpoints of random pairs, of means of 16 (soups) and of the mean of all, and by that of the
first two after REPAIR. Means over draws
of the reference network, with 95 % intervals (Student's t over draws; the networks are the
same in every draw). The function that checks symmetries, and all accuracies, are plain
numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch
from repair import trained
from scipy.stats import t as student
from timing import digits, progress, report, sizes

from catalog import Canonicaliser, Population, permute
from catalog.alignment import match
from catalog.dtypes import Array
from catalog.layout import Layout
from zoo.merging.repair import repair
from zoo.networks import Networks
from zoo.task import Data

PAIRS, SOUPS = 500, 200


def logits(layout: Layout, weights: Array, x: Array) -> Array:
    """Outputs (n, b, 10) of stacked MLPs."""
    tensors = layout.unflatten(weights)
    for k in range(3):
        x = x @ tensors[f"layer{k}.weight"].transpose(0, 2, 1)
        x = x + tensors[f"layer{k}.bias"][:, None]
        x = np.maximum(x, 0) if k < 2 else x
    return x


def accuracy(layout: Layout, weights: Array, data: Data) -> Array:
    """Test accuracy (n,) in per cent."""
    x, y = data.x["test"].reshape(len(data.y["test"]), -1), data.y["test"]
    parts = [
        (logits(layout, weights[i : i + 100], x).argmax(2) == y).mean(1)
        for i in range(0, len(weights), 100)
    ]
    return 100 * np.concatenate(parts)


def judged(networks: Networks, weights: Array) -> dict[str, float]:
    """Mean accuracies of midpoints, soups and the mean of all; the same picks each time.

    ``weights`` are those of the networks, with their units in another order.
    """
    layout, data = networks.architecture.layout, networks.data
    draw, n = np.random.default_rng(0), len(weights)
    pairs = np.stack([draw.choice(n, 2, replace=False) for _ in range(PAIRS)])
    soups = np.stack([draw.choice(n, min(16, n), replace=False) for _ in range(SOUPS)])
    mean = weights.mean(0)
    spread = ((weights - mean) ** 2).sum(1).mean() * n / (n - 1)
    found = {}
    for name, groups in (("midpoint", pairs), ("soup16", soups)):
        means = np.stack([weights[group].mean(0) for group in groups])
        found[name] = float(accuracy(layout, means, data).mean())
        fixed = repair(networks, means, list(groups), [weights[g] for g in groups])
        found[f"{name}_repaired"] = float(accuracy(layout, fixed, data).mean())
    return {
        **found,
        "mean_of_all": float(accuracy(layout, mean[None], data)[0]),
        "pair_distance": float(np.sqrt(2 * spread)),
    }


def variants(
    population: Population, check: Callable[[Array], Array]
) -> Iterator[tuple[str, Callable[[int], Array]]]:
    """Name, and aligned weights by draw."""
    layout, weights = population.layout, population.weights

    def from_identity(draw: int) -> Array:
        row = int(np.random.default_rng(draw).integers(len(weights)))
        same = {key: np.arange(size) for key, size in layout.symbols.items()}
        found = match(weights, weights[row], layout, start=same)
        return permute(weights, found.permutations, layout)

    yield "none", lambda draw: weights
    yield "reference, from the identity", from_identity
    for balance in (False, True):
        for strategy in ("reference", "mean", "cycle"):
            name = f"{strategy}, balanced" if balance else strategy
            yield (
                name,
                lambda draw, s=strategy, b=balance: (
                    Canonicaliser(s, balance=b, seed=draw)
                    .fit_transform(population, check=check)
                    .weights
                ),
            )


def interval(values: list[float]) -> list[float]:
    """Mean and the ends of its 95 % interval."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return [digits(mean)]
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return [digits(mean), digits(mean - half), digits(mean + half)]


def main() -> None:
    options = sizes(__doc__, most=(1000, 40), draws=(5, 2))
    torch.set_num_threads(1)
    networks = trained(options.most)
    data, layout = networks.data, networks.architecture.layout
    inputs = data.x["validation"].reshape(len(data.y["validation"]), -1)[:64]
    own = accuracy(layout, networks.weights, data)
    progress(f"trained: {own.mean():.2f} % test accuracy")
    for n in sorted({min(100, options.most), options.most}):
        table = pa.table({"run_id": [str(i) for i in range(n)], "step": [1500] * n})
        some = networks.take(range(n))
        population = Population(some.weights, layout, table)
        for name, aligned in variants(population, lambda w: logits(layout, w, inputs)):
            found: dict[str, list[float]] = {}
            seconds = []
            for draw in range(1 if name == "none" else options.draws):
                started = time.process_time()
                weights = aligned(draw)
                seconds.append(time.process_time() - started)
                for key, value in judged(some, weights).items():
                    found.setdefault(key, []).append(value)
            row = {key: interval(values) for key, values in found.items()}
            progress(f"{n} {name}: {row}")
            report(
                "alignment",
                networks=n,
                variant=name,
                draws=len(seconds),
                processor_seconds=digits(float(np.median(seconds))),
                **row,
            )


if __name__ == "__main__":
    main()
