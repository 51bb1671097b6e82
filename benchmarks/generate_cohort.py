"""Claim: DeepWeightFlow makes networks that are novel and performant; no null does.

A cohort of networks that differ in their seed alone: `digits_mlp_seeds` (10,000 MLPs
64-32-32-10) or `mnist_cnn_seeds` (2,500 CNNs). The generator learns from the fixed training
runs, stops by the validation runs, and is judged against the test runs, as samples are and
with their last layer refit on training images; nulls are treated alike. For each seed:
processor-seconds of fitting and sampling, mean test accuracy, novelty, what is above the
frontier of nulls, and the share that is novel and performant.
Over seeds: the difference to the best null, with a paired 95 % interval. The best null is
the one with the largest mean share over all seeds, so it leans to the good side.

    python benchmarks/generate_cohort.py --catalog phasezoo-data --plot x.png
    python benchmarks/generate_cohort.py --zoo mnist_cnn_seeds --data DIR --images 1000
    python benchmarks/generate_cohort.py --paper --nulls 0
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from paired_difference import compare
from timing import digits, progress, report

import catalog
from catalog.console.table import table_lines
from catalog.quoting import literal
from generators.exam import Exam
from generators.judging.assessment import Assessment, assess
from generators.judging.judged import SPREADS
from generators.judging.plot import save_plot
from generators.judging.reference import Reference
from generators.methods import DeepWeightFlow
from generators.methods.choices import chosen_network, usual_schedule
from zoo.workers.process import tune_process

OURS = "deepweightflow"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", default="phasezoo-data", help="with the zoo")
    parser.add_argument("--zoo", default="digits_mlp_seeds")
    parser.add_argument("--data", type=Path, help="folder with the data as files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, help="training networks, at most")
    parser.add_argument("--samples", type=int, default=500, help="of the generator")
    parser.add_argument("--nulls", type=int, default=300, help="of each; 0: no nulls")
    parser.add_argument("--iterations", type=int, help="default: the generator's own")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of the solver")
    parser.add_argument("--images", type=int, help="test images, at most")
    parser.add_argument("--paper", action="store_true", help="100 networks, as published")
    parser.add_argument("--calibrate", nargs="*", default=["head"])
    parser.add_argument(
        "--keep", type=Path, help="folder for fitted generators, or of them"
    )
    parser.add_argument("--plot", type=Path, help=".svg or .png, of the first seed")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    tune_process(1)
    store = catalog.open(options.catalog)

    def loaded(split: str, limit: int | None = None) -> catalog.Population:
        end = "" if limit is None else f" LIMIT {limit}"
        return store.load(
            f"zoo = {literal(options.zoo)} AND step = steps AND split_by_run = "
            f"{literal(split)} ORDER BY seed{end}"
        )

    train = loaded("train", 100 if options.paper else options.train)
    validation, heldout = loaded("validation"), loaded("test")
    exam = Exam.of(train, folder=options.data, images=options.images)
    calibrations = (None, *options.calibrate)
    by_seed: list[list[Assessment]] = []
    for seed in range(options.seeds):
        generator, fitting = fitted(options, seed, train, validation)
        started = time.process_time()
        samples = generator.sample(options.samples, seed=seed)
        sampling = time.process_time() - started
        started = time.process_time()
        reference = Reference.of(generator, train, heldout, exam)
        found = assess(
            reference, {OURS: (samples, False)}, calibrations=calibrations,
            null_count=options.nulls, seed=seed, label="judging",
        )  # fmt: skip
        judging = time.process_time() - started
        by_seed.append(found)
        for own in found:
            progress("\n".join(table_lines(own.rows()[:2])))
        if options.plot and not seed:
            save_plot(found, options.plot)
        report(
            "generate_cohort", zoo=options.zoo, seed=seed, train=len(train),
            heldout=len(heldout), paper=options.paper, images=options.images,
            kept=generator.flow_.curve.kept,
            solver_error=digits(generator.flow_.solver.error),
            processor_seconds={
                "fit": digits(fitting), "sample": digits(sampling), "judge": digits(judging)
            },
            judged={
                str(own.calibration): values(own, found[0].heldout.bar) for own in found
            },
        )  # fmt: skip
    for i, calibration in enumerate(calibrations):
        own = [one[i] for one in by_seed]
        report(
            "generate_cohort", zoo=options.zoo, seeds=options.seeds, paper=options.paper,
            calibration=str(calibration),
            accuracy=digits(float(np.mean([a.samples[0].accuracy.mean() for a in own]))),
            novelty=digits(float(np.mean([np.median(a.samples[0].novelty) for a in own]))),
            ours=shares(own),
            heldout={str(s): digits(float(own[0].heldout.performant(s).mean()))
                     for s in SPREADS},
            difference_to_best_null={
                str(spread): difference(own, spread) for spread in SPREADS
            } if options.nulls else None,
        )  # fmt: skip


def fitted(
    options: argparse.Namespace,
    seed: int,
    train: catalog.Population,
    validation: catalog.Population,
) -> tuple[DeepWeightFlow, float]:
    """A generator and its processor-seconds: kept from before, or fitted now."""
    kept = options.keep and options.keep / f"seed_{seed}"
    if kept and kept.exists():
        return DeepWeightFlow.load(kept), float(kept.with_suffix(".seconds").read_text())
    started = time.process_time()
    generator = made(options, seed, train).fit(train, validation, label=f"seed {seed}")
    seconds = time.process_time() - started
    if kept:
        generator.save(kept)
        kept.with_suffix(".seconds").write_text(str(seconds))
    return generator, seconds


def made(
    options: argparse.Namespace, seed: int, train: catalog.Population
) -> DeepWeightFlow:
    """The generator that is measured, not fitted."""
    if options.paper:
        return DeepWeightFlow.paper(seed=seed)
    asked = DeepWeightFlow(velocity="learnt_steps", tolerance=options.tolerance, seed=seed)
    if options.iterations is None:
        return asked
    usual = usual_schedule(*chosen_network(asked, train))
    schedule = replace(usual, iterations=options.iterations)
    return DeepWeightFlow(
        velocity="learnt_steps", tolerance=options.tolerance, seed=seed, schedule=schedule
    )


def values(own: Assessment, plain: float) -> dict[str, object]:
    """What is reported of one calibration; the bar without any is ``plain``."""
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
                "at_uncalibrated_bar": digits(
                    float(((judged.accuracy >= plain) & (judged.novelty >= 0.5)).mean())
                ),
                "spaces": {
                    name: digits(float(np.median(v)))
                    for name, v in {**judged.spaces, **judged.functions}.items()
                },
                "d1_over_d2": digits(float(np.median(judged.ratio))),
                "overlap": digits(float(judged.overlap.mean())),
                "copying_score": {n: digits(v) for n, v in judged.scores.items()},
                "two_sample": {
                    name: [digits(t.sampled), digits(t.heldout)]
                    for name, t in judged.tests.items()
                },
                "dispersion": {n: digits(v) for n, v in judged.dispersion.items()},
                "coverage": judged.coverage,
                "ensemble_gain": digits(judged.gain),
            }
            for judged in (ours, own.heldout)
        },
    }


def shares(own: Sequence[Assessment]) -> dict[str, list[float]]:
    """Share of novel and performant samples of each seed."""
    return {
        str(spread): [
            digits(float(one.samples[0].performant(spread).mean())) for one in own
        ]
        for spread in SPREADS
    }


def difference(own: Sequence[Assessment], spread: float) -> dict[str, object]:
    """Ours minus the null with the largest mean share."""
    by_null = np.array([[n.performant(spread).mean() for n in one.nulls] for one in own])
    best = int(by_null.mean(0).argmax())
    ours, theirs = [one.samples[0] for one in own], [one.nulls[best] for one in own]
    found = compare(ours, theirs, spread)
    return {
        "null": theirs[0].label,
        "theirs": digits(float(by_null.mean(0)[best])),
        "difference": [digits(v) for v in (found.mean, found.low, found.high)],
    }


if __name__ == "__main__":
    main()
