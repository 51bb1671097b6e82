"""Claim: stacks of narrow residual networks train faster than one network at a time.

Ours: one one-thread process per core, each training a stack of `--nets` ResNet-18 through
`zoo.engine.train_stack.train_stack`, every run with its own order, learning rate and seed.
Against what a user would write: as many one-thread processes, each training one `torch.nn`
model at a time with the data resident in memory and `torch.optim.SGD` (foreach). Both sides
alternate, and all processes of a side run at once; medians over rounds of model-steps per
second summed over processes. Evaluation is in neither side.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context

import torch
from timing import digits, progress, report, sizes
from train_stack import baseline, stacked, steps_per_second

from zoo.architectures import ResNet18
from zoo.run import Run
from zoo.task import Data, Raw, Task, prepare
from zoo.workers.process import tune_process

CPU = torch.device("cpu")
SIDES = ("stacked", "one at a time")


@cache
def data_of(side: int) -> Data:
    """2,500 random colour images: speed does not depend on the pixels."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (2500, 3, side, side), generator=draw, dtype=torch.uint8)
    labels = torch.randint(10, (2500,), generator=draw)
    x, y = pixels.numpy(), labels.numpy()
    task = Task("cifar10", "random images", (3, side, side), 10, 100)
    return prepare(task, Raw(x[:2400], y[:2400], x[2400:], y[2400:], 1 / 255))


@cache
def single(width: int, side: int, batch: int) -> Callable[[], int]:
    """A training step of one module, warmed up."""
    step = baseline(runs_of(width, side, batch, 1)[0], data_of(side), "foreach", CPU)
    step()
    return step


def runs_of(width: int, side: int, batch: int, nets: int) -> list[Run]:
    """Runs that differ in learning rate and seed."""
    network = ResNet18(width, (3, side, side)).config()
    run = Run("benchmark", "cifar10", network, 10**9, (0,), batch_size=batch)
    return [replace(run, seed=i, lr=0.01 + 1e-3 * i) for i in range(nets)]


def rate(way: str, width: int, side: int, batch: int, nets: int, seconds: float) -> float:
    """Model-steps per second of one process."""
    tune_process(1)
    if way == "stacked":
        return stacked(runs_of(width, side, batch, nets), data_of(side), seconds, CPU)
    return steps_per_second(single(width, side, batch), seconds, CPU)


def main() -> None:
    options = sizes(
        __doc__,
        width=(8, 2),
        nets=(6, 2),
        side=(16, 8),
        batch=(32, 8),
        rounds=(5, 1),
        seconds=(4.0, 0.1),
    )
    size = (options.width, options.side, options.batch, options.nets, options.seconds)
    rates: dict[str, list[float]] = {way: [] for way in SIDES}
    # One pool per process, so that every process gets one of the calls.
    pools = [
        ProcessPoolExecutor(1, get_context("spawn")) for _ in range(os.cpu_count() or 1)
    ]
    for round_ in range(options.rounds + 1):
        for way in SIDES:
            running = [pool.submit(rate, way, *size) for pool in pools]
            total = sum(future.result() for future in running)
            if round_:  # the first round warms up
                rates[way].append(total)
        progress(f"round {round_} of {options.rounds}")
    for pool in pools:
        pool.shutdown()
    medians = {way: statistics.median(values) for way, values in rates.items()}
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    report(
        "resnet_stack",
        width=options.width,
        nets=options.nets,
        side=options.side,
        batch=options.batch,
        model_steps_per_second={way: digits(v) for way, v in medians.items()},
        ratio=digits(medians["stacked"] / medians["one at a time"]),
        ratio_range=[digits(min(ratios)), digits(max(ratios))],
    )


if __name__ == "__main__":
    main()
