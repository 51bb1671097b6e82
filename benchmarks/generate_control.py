"""Claim: networks of a requested accuracy, better than what looking them up gives.

The generator learns from all checkpoints of the training runs of `digits_mlp_seeds` with
their validation accuracy as condition, and is asked for values over the zoo's range; what
it makes is measured on the same validation images, which no network was trained on. Slope
of measured over requested accuracy with 95 % interval over samples, mean absolute error and
novelty as everywhere (the smallest over weights, matched and not, and function), beside
retrieval: the training networks nearest to the request as they are (copies), and moved away
from all training networks: with noise, halfway to another retrieved one, or drawn from the
Gaussian of those retrieved. Retrieved networks are aligned, as the generator's are.

    python benchmarks/generate_control.py --catalog phasezoo-data
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
from timing import digits, progress, report

import catalog
from catalog.dtypes import Array
from catalog.quoting import literal
from generators.exam import Exam
from generators.flow.schedule import OF_LEARNT_STEPS
from generators.judging.control import control
from generators.judging.reference import Reference
from generators.methods import DeepWeightFlow
from generators.nulls import PCAGaussian, Retrieval
from zoo.workers.process import tune_process

ASKED = "validation_accuracy"
RETRIEVED = 500
"""Training networks near a request whose Gaussian is drawn from."""


def main() -> None:
    options = arguments()
    tune_process(1)
    store = catalog.open(options.catalog)

    def loaded(split: str, limit: int) -> catalog.Population:
        mine = f"zoo = 'digits_mlp_seeds' AND split_by_run = {literal(split)}"
        return store.load(
            f"{mine} AND seed IN (SELECT seed FROM runs WHERE {mine} ORDER BY seed "
            f"LIMIT {limit}) ORDER BY seed, step"
        )

    train, validation = loaded("train", options.runs), loaded("validation", options.runs)
    heldout = loaded("test", options.runs)
    exam = Exam.of(train)
    known = train[ASKED].astype(float)
    low, high = np.quantile(known, (0.01, 0.99))
    asked = np.linspace(low, high, options.values)
    each = options.samples
    requested = np.repeat(asked, each)
    for seed in range(options.first, options.first + options.seeds):
        started = time.process_time()
        generator = DeepWeightFlow(
            conditions=(ASKED,),
            schedule=replace(OF_LEARNT_STEPS, iterations=options.iterations),
            seed=seed,
        ).fit(train, validation, label=f"seed {seed}")
        fitting = time.process_time() - started
        reference = Reference.of(generator, train, heldout, exam)

        def line(
            weights: Array, reference: Reference = reference, seed: int = seed
        ) -> dict[str, object]:
            answered = 1 - exam.answers(weights, "validation").wrong.mean(1)
            found = control(requested, answered, seed=seed)
            novelty = float(np.median(reference.judge(networks(weights, train)).novelty))
            slope = [digits(v) for v in (found.slope, found.low, found.high)]
            return {
                "slope": slope, "error": digits(found.error), "novelty": digits(novelty),
                "measured": [digits(v) for v in answered.reshape(-1, each).mean(1)],
            }  # fmt: skip

        sets: dict[str, Array] = {}
        for guidance in (None, *options.guidance):
            about = "" if guidance is None else f", guidance {guidance:g}"
            sets[f"samples{about}"] = np.concatenate(
                [
                    generator.sample(
                        each, seed=seed * 1000 + i, condition={ASKED: value},
                        guidance=guidance,
                    ).weights
                    for i, value in enumerate(asked)
                ]
            )  # fmt: skip
        near = Retrieval().fit_to(generator.training_, generator.canonicaliser_)
        copies = [near.sample(2 * each, seed=seed, condition={ASKED: v}) for v in asked]
        first = np.concatenate([own.weights[:each] for own in copies])
        second = np.concatenate([own.weights[each:] for own in copies])
        gaussians = []
        for i, value in enumerate(asked):
            some = near.sample(RETRIEVED, seed=seed, condition={ASKED: value})
            around = PCAGaussian().fit_to(some, generator.canonicaliser_)
            gaussians.append(around.sample(each, seed=seed * 1000 + i).weights)
        spread = generator.training_.weights.std(0)
        noise = np.random.default_rng(seed).standard_normal(first.shape, np.float32)
        sets["retrieved (copies)"] = first
        sets["retrieved, halfway to another"] = (first + second) / 2
        sets[f"Gaussian of {RETRIEVED} retrieved"] = np.concatenate(gaussians)
        for sigma in (0.3, 0.5, 1.0, 1.4):
            sets[f"retrieved + {sigma:g} sd"] = first + np.float32(sigma) * spread * noise
        rows = {name: line(weights) for name, weights in sets.items()}
        for name, own in rows.items():
            progress(f"{name}: {own}")
        report(
            "generate_control", seed=seed, networks=len(train),
            fit_processor_seconds=digits(fitting),
            requested=[digits(v) for v in asked], samples_of_each=each, sets=rows,
        )  # fmt: skip


def networks(weights: Array, like: catalog.Population) -> catalog.Population:
    """Weights as samples to judge."""
    n = len(weights)
    table = pa.table({"run_id": [f"sample {i}" for i in range(n)], "step": [0] * n})
    return catalog.Population(weights, like.layout, table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", default="phasezoo-data", help="with digits_mlp_seeds")
    parser.add_argument("--runs", type=int, default=10_000, help="training runs, at most")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="of the seeds")
    parser.add_argument("--iterations", type=int, default=OF_LEARNT_STEPS.iterations)
    parser.add_argument("--values", type=int, default=10, help="requested accuracies")
    parser.add_argument("--samples", type=int, default=40, help="for each of them")
    parser.add_argument(
        "--guidance", type=float, nargs="*", default=[1.0, 2.0], help="beside the default"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
