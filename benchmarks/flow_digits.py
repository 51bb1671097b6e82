"""Claim: what flows on principal components make of digits MLPs, as published and as here.

Networks of `digits_mlp_seeds` (64-32-32-10, last checkpoints) from a catalogue. One JSON
line: seconds to fit, the validation loss (where the gate kept it, first and last), test
accuracy of samples, of held-out networks, and of the Gaussian with the mean and covariance
of the codes; and the median distance of weights to the nearest training network in
transported space over that among training networks, which is not yet novelty: a copy whose
units are in another order is far there (see `generate_cohort.py`).

    python benchmarks/flow_digits.py CATALOG --nets 2000
    python benchmarks/flow_digits.py CATALOG --nets 9000 --components 300
    python benchmarks/flow_digits.py CATALOG --nets 100 --published
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from alignment import accuracy
from timing import digits, progress, report

import catalog
from catalog.dtypes import Array
from generators.codes.canonical import in_canonical_units
from generators.flow.schedule import Schedule
from generators.methods import DeepWeightFlow
from zoo.task import load_task
from zoo.tasks import TASKS

HELD, QUERIES = 500, 500
"""Held-out networks; training networks whose nearest other one is sought."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("catalog")
    parser.add_argument("--nets", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--components", type=int)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true")
    return parser.parse_args()


def nearest(points: Array, others: Array, skip_self: bool = False) -> Array:
    found = torch.cdist(torch.from_numpy(points), torch.from_numpy(others))
    if skip_self:
        found.fill_diagonal_(torch.inf)
    return found.min(1).values.numpy()


def main() -> None:
    chosen = options()
    zoo = catalog.open(chosen.catalog)
    where = "zoo = 'digits_mlp_seeds' AND step = steps"
    training = zoo.load(f"{where} AND seed < {chosen.nets}")
    held = zoo.load(f"{where} AND seed >= {10_000 - HELD}")
    if chosen.published:
        generator = DeepWeightFlow.paper(seed=chosen.seed)
    else:
        schedule = Schedule(iterations=chosen.iterations)
        generator = DeepWeightFlow(
            components=chosen.components,
            velocity="film_mlp",
            schedule=schedule,
            seed=chosen.seed,
        )
    started = time.perf_counter()
    generator.fit(training, held, label="flow")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    samples = generator.sample(chosen.samples, temperature=chosen.temperature)
    sampling = time.perf_counter() - started
    data, known = load_task(TASKS["digits"]), generator.training_.weights
    codes = np.random.default_rng(chosen.seed).standard_normal(
        (chosen.samples, generator.codes_.k), np.float32
    )
    gaussian = generator.codes_.decode(codes * generator.codes_.deviation)
    own = in_canonical_units(generator.canonicaliser_, held).weights
    apart = float(np.median(nearest(known[:QUERIES], known, skip_self=True)))
    progress(f"{len(training)} networks, {seconds:.0f} s")

    def judged(weights: Array) -> dict[str, Any]:
        right = accuracy(training.layout, weights, data)
        far = float(np.median(nearest(weights, known)))
        return {
            "accuracy": digits(right.mean()),
            "sd": digits(right.std(ddof=1)),
            "weight_distance": digits(far / apart),
        }

    curve, solver = generator.flow_.curve, generator.flow_.solver
    every = max(len(curve.iteration) // 10, 1)
    report(
        "flow_digits",
        networks=len(training),
        published=chosen.published,
        components=generator.codes_.k,
        shrinkage=digits(generator.codes_.components.shrinkage),
        temperature=chosen.temperature,
        fit_seconds=digits(seconds),
        sample_seconds=digits(sampling),
        iterations=curve.iteration[-1],
        kept=curve.kept,
        validation_loss={
            i: digits(v) if np.isfinite(v) else None
            for i, v in zip(
                curve.iteration[::every], curve.validation_loss[::every], strict=True
            )
        },
        solver=[solver.method, solver.steps, digits(solver.error)],
        samples=judged(samples.weights),
        held_out=judged(own),
        gaussian=judged(gaussian),
    )


if __name__ == "__main__":
    main()
