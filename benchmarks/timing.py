"""Alternating timing: what every benchmark of this folder shares.

A shared machine drifts by a factor of three from day to day and within minutes, so
only ratios of times taken side by side count. Contestants run one after the other in
every round, in an order drawn anew (what ran before leaves its traces in caches and in
free memory), and medians over rounds are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

Contestants = Mapping[str, Callable[[], object]]


def sizes(doc: str | None, **known: tuple[float, float]) -> argparse.Namespace:
    """Options of a benchmark: each its size in full, and with ``--quick``."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    for name, (full, _) in known.items():
        parser.add_argument(f"--{name}", type=type(full), default=full)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    options = parser.parse_args()
    if options.quick:
        vars(options).update({name: small for name, (_, small) in known.items()})
    return options


def alternate(
    contestants: Contestants, rounds: int, *, rehearse: bool = False
) -> dict[str, float]:
    """Median seconds of each contestant; the first, untimed round warms up.

    What a contestant returns is freed before the next one starts. With ``rehearse``
    each one also runs untimed right before it is timed: some machines page out what is
    idle for seconds, and a warm page cache has to be warm for every contestant.
    """
    order = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    draw = random.Random(0)
    for round_ in range(rounds + 1):
        draw.shuffle(order)
        for name in order:
            if rehearse:
                contestants[name]()
            started = time.perf_counter()
            result = contestants[name]()
            elapsed = time.perf_counter() - started
            del result
            if round_:
                seconds[name].append(elapsed)
        progress(f"round {round_} of {rounds}")
    return {name: statistics.median(values) for name, values in seconds.items()}


def in_process(function: Callable[..., Any], *arguments: Any, cores: int = 0) -> Any:
    """Call a function in a new process, bound to some cores (0: all of them)."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _bind, (cores,)) as pool:
        return pool.submit(function, *arguments).result()


def milliseconds(medians: Mapping[str, float]) -> dict[str, float]:
    """Medians for the report, to four digits."""
    return {name: digits(1e3 * value) for name, value in medians.items()}


def digits(value: float) -> float:
    """Value to four significant digits."""
    return float(f"{value:.4g}")


def progress(text: str) -> None:
    """A line about where the benchmark stands."""
    print(text, file=sys.stderr, flush=True)


def report(benchmark: str, **values: Any) -> None:
    """The one line of results."""
    print(json.dumps({"benchmark": benchmark, "cores": os.cpu_count(), **values}))


def _bind(cores: int) -> None:
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
