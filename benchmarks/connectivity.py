"""Claim: curves between seeds are fitted many times faster in stacks than one at a time.

The zoo is that of `digits_mlp_phases` with clean labels, trained first and untimed: 48
cells (8 widths, 6 learning rates) of 4 seeds, 6 pairs each, 288 curves. Ours: two
one-thread processes, each measuring `zoo.metrics.mode_connectivity` on half of the cells of
every width. Against what a user would write: two one-thread processes, each fitting one
curve at a time in plain torch, data in memory, SGD in the faster of its two variants,
chosen in the same run. Both take the same steps, batch size and points, on the line before
the fit (training split) and on the curve after it (training and test split). The recipe's
wrong labels differ by seed, and a curve sees those of both ends; without them both sides
see the same data.

The baseline fits `--curves` curves of every width in each process, and the time of all 18
is extrapolated from them; ours does everything. Sides alternate; medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoo.engine.stack import build_architecture, plan
from zoo.engine.train_stack import train_stack
from zoo.landscape.curve import annealed
from zoo.metrics.mode_connectivity import RATES, ModeConnectivity, connectivity
from zoo.networks import Networks
from zoo.recipes import RECIPES
from zoo.run import Run
from zoo.task import Data, load_task
from zoo.tasks import TASKS
from zoo.workers.process import tune_process

CPU = torch.device("cpu")
PROCESSES = 2
VARIANTS = ("fused", "foreach")


def trained(data: Data, part: int, epochs: float) -> list[Networks]:
    """Cells of the zoo that one process has, one entry per width."""
    recipe = RECIPES["digits_mlp_phases"]
    clean = {**recipe.settings, "label_noise": 0.0}
    recipe = replace(recipe, epochs=epochs, settings=clean)
    lrs = recipe.temperature.values[part::PROCESSES]
    runs = [run for run in recipe.runs(data) if run.lr in lrs]
    rows: dict[int | None, list[tuple[Run, np.ndarray]]] = {}
    for stack in plan(runs, data, 1 << 30):
        weights = train_stack(stack, data, CPU).checkpoints[-1].weights
        for run, row in zip(stack.runs, weights, strict=True):
            rows.setdefault(run.width, []).append((run, row))
    return [_networks(data, group) for group in rows.values()]


def _networks(data: Data, rows: list[tuple[Run, np.ndarray]]) -> Networks:
    runs = tuple(run for run, _ in rows)
    return Networks(
        build_architecture(dict(runs[0].architecture)),
        data,
        runs,
        tuple(run.steps for run in runs),
        tuple(run.cell for run in runs),
        np.stack([row for _, row in rows]),
        CPU,
    )


class Textbook:
    """One curve at a time: a module whose parameters are views of the curve's point."""

    def __init__(self, networks: Networks, metric: ModeConnectivity, variant: str) -> None:
        self.networks, self.metric, self.variant = networks, metric, variant
        self.lr = RATES["sgd"] if metric.lr is None else metric.lr
        self.splits = {
            split: tuple(torch.from_numpy(v[split]) for v in (data.x, data.y))
            for data in [networks.data]
            for split in ("train", "test")
        }
        self.module = networks.architecture.module()
        count = sum(p.numel() for p in self.module.parameters())
        self.point, self.gradient = torch.zeros(count), torch.zeros(count)
        at = 0
        for parameter in self.module.parameters():
            columns, shape = slice(at, at + parameter.numel()), parameter.shape
            parameter.data = self.point[columns].view(shape)
            parameter.grad = self.gradient[columns].view(shape)
            at += parameter.numel()

    def fit(self, i: int, j: int) -> float:
        """Mode connectivity of a pair."""
        first, last = (torch.from_numpy(self.networks.weights[k]) for k in (i, j))
        middle = (first + last) / 2
        straight = self.errors(first, middle, last, "train")
        metric = self.metric
        options = {"fused": True} if self.variant == "fused" else {"foreach": True}
        moves = torch.optim.SGD([middle], self.lr, metric.momentum, **options)
        middle.grad = torch.empty_like(middle)
        batches = self.batches()
        for step in range(metric.steps):
            x, y = next(batches)
            t = float(torch.rand(()))
            self.move(first, middle, last, t)
            self.gradient.zero_()
            functional.cross_entropy(self.module(x), y).backward()
            torch.mul(self.gradient, 2 * t * (1 - t), out=middle.grad)
            moves.param_groups[0]["lr"] = self.lr * annealed(step, metric.steps)
            moves.step()
        found = [self.errors(first, middle, last, split) for split in self.splits]
        return float(connectivity(np.array([straight, *found]))[1])

    @torch.no_grad()
    def move(self, first: Tensor, middle: Tensor, last: Tensor, t: float) -> None:
        """Put the module at t."""
        torch.mul(first, (1 - t) ** 2, out=self.point)
        self.point.add_(middle, alpha=2 * t * (1 - t)).add_(last, alpha=t**2)

    @torch.no_grad()
    def errors(
        self, first: Tensor, middle: Tensor, last: Tensor, split: str
    ) -> list[float]:
        """Errors along the curve."""
        x, y = self.splits[split]
        found = []
        for t in np.linspace(0, 1, self.metric.points):
            self.move(first, middle, last, float(t))
            found.append(float((self.module(x).argmax(1) != y).float().mean()))
        return found

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Minibatches of the training split, epoch after epoch."""
        x, y = self.splits["train"]
        size = self.metric.batch_size
        while True:
            order = torch.randperm(len(x))
            for start in range(0, len(x) - size + 1, size):
                picks = order[start : start + size]
                yield x[picks], y[picks]


def seconds(
    zoo: list[Networks], metric: ModeConnectivity, side: str, curves: int, skip: int
) -> tuple[float, float]:
    """Seconds for all curves of this process, and the mean connectivity that was found."""
    total, values = 0.0, []
    for networks in zoo:
        pairs = networks.pairs()
        started = time.perf_counter()
        if side == "stacked":
            values.append(np.nanmean(metric.measure(networks, seed=0)["mode_connectivity"]))
            total += time.perf_counter() - started
            continue
        textbook = Textbook(networks, metric, side)
        chosen = pairs[(np.arange(curves) * len(pairs) // curves + skip) % len(pairs)]
        found = [textbook.fit(*pair) for pair in chosen.tolist()]
        values.append(np.nanmean(found))
        total += (time.perf_counter() - started) * len(pairs) / len(chosen)
    return total, float(np.mean(values))


def child(options: argparse.Namespace) -> None:
    """Answer each line on stdin (a side) with seconds and a mean on stdout."""
    tune_process(1)
    torch.manual_seed(options.child)
    data = load_task(TASKS["digits"])
    zoo = trained(data, options.child, options.epochs)
    metric = ModeConnectivity(steps=options.steps, batch_size=options.batch)
    for number, line in enumerate(sys.stdin):
        found = seconds(zoo, metric, line.strip(), options.curves, number)
        print(*found, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = ModeConnectivity()
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--batch", type=int, default=default.batch_size)
    parser.add_argument("--epochs", type=float, default=40.0, help="of the zoo")
    parser.add_argument("--curves", type=int, default=2, help="per width and process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.steps, options.epochs, options.curves, options.rounds = 40, 1.0, 1, 1
    if options.child is not None:
        child(options)
        return
    settings = ("steps", "batch", "epochs", "curves")
    flags = [f"--{name}={getattr(options, name)}" for name in settings]
    children = [
        subprocess.Popen(
            [sys.executable, __file__, *flags, f"--child={part}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(PROCESSES)
    ]
    times: dict[str, list[float]] = {side: [] for side in (*VARIANTS, "stacked")}
    means: dict[str, list[float]] = {side: [] for side in times}
    for number in range(options.rounds + 1):
        for side in times:
            for process in children:
                assert process.stdin is not None
                process.stdin.write(side + "\n")
                process.stdin.flush()
            answers = [
                [float(word) for word in process.stdout.readline().split()]
                for process in children
                if process.stdout
            ]
            if number:  # the first round warms up
                times[side].append(max(answer[0] for answer in answers))
                means[side].append(statistics.mean(answer[1] for answer in answers))
        print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)
    for process in children:
        if process.stdin:
            process.stdin.close()
        process.wait()
    medians = {side: statistics.median(each) for side, each in times.items()}
    best = min(VARIANTS, key=lambda side: medians[side])
    ratios = [a / b for a, b in zip(times[best], times["stacked"], strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "connectivity",
                "curves": 288,
                "steps": options.steps,
                "batch": options.batch,
                "seconds": {side: round(value, 3) for side, value in medians.items()},
                "mean_connectivity": {
                    side: round(statistics.median(each), 4) for side, each in means.items()
                },
                "baseline": best,
                "ratio": round(medians[best] / medians["stacked"], 2),
                "range": [round(min(ratios), 2), round(max(ratios), 2)],
            }
        )
    )


if __name__ == "__main__":
    main()
