"""Claim: DeepWeightFlow makes digits MLPs that are novel and performant; no null does.

`digits_mlp_seeds` (10,000 MLPs 64-32-32-10): the generator learns from the fixed training
runs, stops by the validation runs, and is judged against the test runs, as samples are and
with their last layer refit on training images; nulls are treated alike. For each seed:
processor-seconds of fitting and sampling, mean test accuracy, novelty, what is above the
frontier of nulls, and the share that is novel and performant. Over seeds: the difference to
the best null, with a paired 95 % interval. The best null is the one with the largest mean
share over all seeds, so it leans to the good side.

Example: python benchmarks/generate_digits.py --catalog phasezoo-data --seeds 5 --plot x.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from timing import digits, progress, report

import catalog
from catalog.table import table_lines
from generators.judging.assessment import Assessment, assess
from generators.judging.compare import compare
from generators.judging.exam import Exam
from generators.judging.judged import SPREADS
from generators.judging.plot import save_plot
from generators.judging.reference import Reference
from generators.methods import DeepWeightFlow

CALIBRATIONS = (None, "head")
OURS = "deepweightflow"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", default="phasezoo-data", help="with digits_mlp_seeds")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, help="training networks, at most")
    parser.add_argument("--samples", type=int, default=500, help="of each generator")
    parser.add_argument("--paper", action="store_true", help="100 networks, as published")
    parser.add_argument("--plot", type=Path, help=".svg or .png, of the first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = catalog.open(options.catalog)

    def loaded(split: str, limit: int | None = None) -> catalog.Population:
        end = "" if limit is None else f" LIMIT {limit}"
        return store.load(
            f"zoo = 'digits_mlp_seeds' AND step = steps AND split_by_run = '{split}' "
            f"ORDER BY seed{end}"
        )

    train = loaded("train", 100 if options.paper else options.train)
    validation, heldout = loaded("validation"), loaded("test")
    exam = Exam.of(train)
    by_seed: list[list[Assessment]] = []
    for seed in range(options.seeds):
        make = DeepWeightFlow.paper if options.paper else DeepWeightFlow
        started = time.process_time()
        generator = make(seed=seed).fit(train, validation, label=f"seed {seed}")
        fitting = time.process_time() - started
        started = time.process_time()
        samples = generator.sample(options.samples, seed=seed)
        sampling = time.process_time() - started
        started = time.process_time()
        reference = Reference.of(generator, train, heldout, exam)
        found = assess(
            reference, {OURS: (samples, False)}, calibrations=CALIBRATIONS,
            null_count=options.samples, seed=seed, label="judging",
        )  # fmt: skip
        judging = time.process_time() - started
        by_seed.append(found)
        for own in found:
            progress("\n".join(table_lines(own.rows()[:2])))
        if options.plot and not seed:
            save_plot(found, options.plot)
        report(
            "generate_digits", seed=seed, train=len(train), heldout=len(heldout),
            paper=options.paper,
            kept=generator.flow_.curve.kept,
            solver_error=digits(generator.flow_.solver.error),
            processor_seconds={
                "fit": digits(fitting), "sample": digits(sampling), "judge": digits(judging)
            },
            judged={str(own.calibration): values(own) for own in found},
        )  # fmt: skip
    for i, calibration in enumerate(CALIBRATIONS):
        report(
            "generate_digits",
            seeds=options.seeds,
            calibration=str(calibration),
            difference_to_best_null={
                str(spread): difference([one[i] for one in by_seed], spread)
                for spread in SPREADS
            },
        )


def values(own: Assessment) -> dict[str, object]:
    (ours,) = own.samples
    return {
        "bar": digits(own.heldout.bar),
        "above_frontier": digits(own.above(ours)),
        **{
            judged.label: {
                "accuracy": digits(float(judged.accuracy.mean())),
                "novelty": digits(float(judged.row_of("")["novelty"])),
                "agreement": digits(float(judged.row_of("")["agreement"])),
                "novel_and_performant": [
                    digits(float(judged.performant(s).mean())) for s in SPREADS
                ],
                "in_function_too": [
                    digits(float(judged.performant(s, functional=True).mean()))
                    for s in SPREADS
                ],
            }
            for judged in (ours, own.heldout)
        },
    }


def difference(own: Sequence[Assessment], spread: float) -> dict[str, object]:
    """Ours minus the null with the largest mean share."""
    shares = np.array([[n.performant(spread).mean() for n in one.nulls] for one in own])
    best = int(shares.mean(0).argmax())
    ours, theirs = [one.samples[0] for one in own], [one.nulls[best] for one in own]
    found = compare(ours, theirs, spread)
    return {
        "null": theirs[0].label,
        "theirs": digits(float(shares.mean(0)[best])),
        "difference": [digits(v) for v in (found.mean, found.low, found.high)],
    }


if __name__ == "__main__":
    main()
