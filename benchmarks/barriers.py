"""Claim: alignment raises the barrier of at most one pair of seeds in twenty.

All networks of `digits_mlp_phases` at their last step; every pair of seeds of a cell, 288
pairs. Share of pairs whose barrier on test data is at most that of the pair as it is, and
the mean barrier, by width and for ways to align: weights matched, as the metric `barrier`
does; with restarts; with scales balanced first; activations matched. Barriers on
validation data stand beside them: ways are to be compared there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import t as student
from timing import digits, progress, report, sizes

from catalog import permute
from catalog.alignment import match
from catalog.dtypes import Array
from zoo.engine.stack import build_architecture, plan
from zoo.engine.train_stack import train_stack
from zoo.landscape.barrier import along_lines, barrier_height
from zoo.merging.activation_matching import match_activations
from zoo.merging.alignment import balanced, by_weights
from zoo.networks import Networks
from zoo.recipes import RECIPES
from zoo.run import Run
from zoo.task import Data, load_task
from zoo.tasks import TASKS

SPLITS = ("validation", "test")
PAIRS = 6
"""Of the four seeds of a cell."""


def main() -> None:
    options = sizes(__doc__, widths=(8, 2))
    torch.set_num_threads(1)
    heights: dict[str, dict[str, dict[int, Array]]] = {}
    for networks in trained(options.widths):
        width = networks.runs[0].width
        for way, found in barriers(networks).items():
            for split, each in found.items():
                heights.setdefault(way, {}).setdefault(split, {})[width] = each
        progress(f"width {width} measured")
    for way, by_split in heights.items():
        for split, found in by_split.items():
            before, plain = heights["none"][split], heights["weights"][split]
            # A cell has as many pairs as any other, one after the other.
            more = np.concatenate([found[w] - plain[w] for w in found])
            cells = more.reshape(-1, PAIRS).mean(1)
            half = float(student.ppf(0.975, len(cells) - 1)) * cells.std(ddof=1)
            lower = {w: found[w] <= before[w] for w in found}
            report(
                "barriers",
                way=way,
                split=split,
                pairs=sum(map(len, lower.values())),
                not_higher=float(np.concatenate(list(lower.values())).mean()),
                by_width={w: float(own.mean()) for w, own in lower.items()},
                mean_barrier=float(np.concatenate(list(found.values())).mean()),
                more_than_weights=[
                    digits(float(v)) for v in (cells.mean(), half / len(cells) ** 0.5)
                ],
            )


def trained(count: int) -> list[Networks]:
    """Networks of the first widths of the recipe, at their last step."""
    data = load_task(TASKS["digits"])
    runs: dict[int, list[Run]] = {}
    for run in RECIPES["digits_mlp_phases"].runs(data):
        runs.setdefault(run.width, []).append(run)
    return [_trained(runs[width], data) for width in sorted(runs)[:count]]


def _trained(runs: list[Run], data: Data) -> Networks:
    cpu, weights = torch.device("cpu"), {}
    places = {run.run_id(data.fingerprint): i for i, run in enumerate(runs)}
    for stack in plan(runs, data, 1 << 30):
        last = train_stack(stack, data, cpu).checkpoints[-1]
        for run, row in zip(stack.runs, last.weights, strict=True):
            weights[places[run.run_id(data.fingerprint)]] = row
    progress(f"{len(runs)} networks of width {runs[0].width} trained")
    network = build_architecture(dict(runs[0].architecture))
    stacked = np.stack([weights[i] for i in range(len(runs))])
    steps, cells = (tuple(getattr(r, k) for r in runs) for k in ("steps", "cell"))
    return Networks(network, data, tuple(runs), steps, cells, stacked, cpu)


def barriers(networks: Networks) -> dict[str, dict[str, Array]]:
    """Barriers of the loss of every pair, by way and split."""
    pairs, layout = networks.pairs(), networks.architecture.layout
    plain = [networks.weights[pairs[:, side]] for side in (0, 1)]
    own = balanced(networks)
    level = [own[pairs[:, side]] for side in (0, 1)]

    def restarted(weights: Array, reference: Array) -> Array:
        found = match(weights, reference, layout, restarts=20)
        return permute(weights, found.permutations, layout)

    def by_activations(weights: Array, reference: Array) -> Array:
        order = match_activations(networks, weights, reference, list(pairs))
        return permute(weights, order, layout)

    def matched(weights: Array, reference: Array) -> Array:
        return by_weights(weights, reference, layout)

    def unmoved(weights: Array, reference: Array) -> Array:
        return weights

    ways: dict[str, tuple[list[Array], Callable[[Array, Array], Array]]] = {
        "none": (plain, unmoved),
        "weights": (plain, matched),
        "weights, 20 restarts": (plain, restarted),
        "activations": (plain, by_activations),
        "balanced, weights": (level, matched),
        "balanced, weights, 20 restarts": (level, restarted),
        "balanced, activations": (level, by_activations),
    }
    found = {}
    for way, ((first, last), move) in ways.items():
        lines = along_lines(
            networks, first, move(last, first), list(pairs), splits=SPLITS, samples=2000
        )
        found[way] = {split: barrier_height(lines.loss[split]) for split in SPLITS}
    return found


if __name__ == "__main__":
    main()
