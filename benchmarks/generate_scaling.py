"""Claim: more networks and canonical units make better samples; what else does is told.

One fit each on `digits_mlp_seeds`: 100, 1,000 and all training runs; without canonical
units; with all four checkpoints of 2,500 runs and the step as condition, asked for the
last; with validation accuracy as condition, asked for its 90th percentile; the FiLM network
on whitened components; and fewer iterations. One line each: processor-seconds, test
accuracy, novelty and the share that is novel and performant, as they are and with each
refit of the last layer. Bars are those of the held-out networks, novelty is to what was
learnt from.

    python benchmarks/generate_scaling.py --catalog phasezoo-data --iterations 2000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from timing import digits, progress, report

import catalog
from catalog.quoting import literal
from generators.exam import Exam
from generators.flow.schedule import OF_LEARNT_STEPS
from generators.generator import Condition
from generators.judging.judged import SPREADS
from generators.judging.reference import Reference
from generators.methods import DeepWeightFlow
from zoo.workers.process import tune_process

CALIBRATIONS = (None, "head", "head_steps")


@dataclass(frozen=True)
class Variant:
    """One fit: how many runs, which checkpoints, and settings of the generator."""

    runs: int = 10_000
    checkpoints: str = "step = steps"
    iterations: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "all": Variant(),
    "1,000 networks": Variant(1000),
    "100 networks": Variant(100),
    "units as they were": Variant(settings={"strategy": None}),
    "trajectories, step asked for": Variant(
        2500, checkpoints="true", settings={"conditions": ("step",)}
    ),
    "accuracy asked for": Variant(settings={"conditions": ("validation_accuracy",)}),
    "FiLM on components": Variant(settings={"velocity": "film_mlp", "schedule": None}),
    "an eighth of the iterations": Variant(iterations=0.125),
    "a quarter of the iterations": Variant(iterations=0.25),
    "half of the iterations": Variant(iterations=0.5),
    "twice the iterations": Variant(iterations=2.0),
}


def main() -> None:
    options = arguments()
    tune_process(1)
    store = catalog.open(options.catalog)

    def loaded(split: str, variant: Variant) -> catalog.Population:
        mine = f"zoo = 'digits_mlp_seeds' AND split_by_run = {literal(split)}"
        return store.load(
            f"{mine} AND {variant.checkpoints} AND seed IN (SELECT seed FROM runs WHERE "
            f"{mine} ORDER BY seed LIMIT {variant.runs}) ORDER BY seed, step"
        )

    heldout = loaded("test", Variant())
    for name in options.only or VARIANTS:
        variant = VARIANTS[name]
        train = loaded("train", variant)
        validation = loaded("validation", replace(variant, runs=10_000))
        schedule = replace(
            OF_LEARNT_STEPS, iterations=round(options.iterations * variant.iterations)
        )
        settings = {"schedule": schedule, **variant.settings}
        started = time.process_time()
        generator = DeepWeightFlow(seed=options.seed, **settings)
        generator.fit(train, validation, label=name)
        fitting = time.process_time() - started
        condition = asked(train, variant)
        samples = generator.sample(
            options.samples, seed=options.seed, condition=condition, guidance=1.0
        )
        reference = Reference.of(generator, train, heldout, Exam.of(train))
        judged = {c: reference.judge(samples, calibration=c) for c in CALIBRATIONS}
        line = {
            str(c): {
                "accuracy": digits(float(own.accuracy.mean())),
                "novelty": digits(float(np.median(own.novelty))),
                "novel_and_performant": [
                    digits(float(own.performant(s).mean())) for s in SPREADS
                ],
            }
            for c, own in judged.items()
        }
        progress(f"{name}: {line}")
        report(
            "generate_scaling", variant=name, networks=len(train),
            condition=condition, kept=generator.flow_.curve.kept,
            fit_processor_seconds=digits(fitting), judged=line,
        )  # fmt: skip


def asked(train: catalog.Population, variant: Variant) -> Condition | None:
    """The last step, or the 90th percentile of accuracy."""
    names = variant.settings.get("conditions")
    if not names:
        return None
    values = train[names[0]].astype(float)
    return {
        names[0]: float(values.max() if names[0] == "step" else np.quantile(values, 0.9))
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", default="phasezoo-data", help="with digits_mlp_seeds")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
