"""Claim: how novel and accurate networks get that nobody learned to make.

Nulls on `digits_mlp_seeds` (10,000 digits MLPs 64-32-32-10), aligned and not, as they are
and with their last layer refit on training samples: mean test accuracy, median novelty
(1 is the distance between training networks), agreement with the nearest training network,
and the share that is novel and performant at novelty 0.25, 0.5 and 0.9 with Wilson
intervals. Above them stand the held-out networks, and the frontier that a method must beat.
Also the seconds that judging ten thousand networks takes.

Example: python benchmarks/generate_nulls.py --catalog phasezoo-data --train 7000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from timing import digits, progress, report

import catalog
from catalog.console.table import table_lines
from catalog.dtypes import Array
from catalog.population import Population
from catalog.quoting import literal
from generators.exam import Exam
from generators.judging.assessment import Assessment, assess
from generators.judging.judged import SPREADS, Judged
from generators.judging.plot import save_plot
from generators.judging.reference import Reference
from generators.nulls import Train, TrainNoise
from probes.judging.bootstrap import share_interval
from zoo.workers.process import tune_process


def main() -> None:
    options = arguments()
    tune_process(1)
    train, heldout = loaded(options, "train", options.train), loaded(options, "test", None)
    progress(f"{len(train):,} training and {len(heldout):,} held-out networks")
    start = time.perf_counter()
    exam, fitted = Exam.of(train), Train().fit(train)
    aligned = time.perf_counter() - start
    reference = Reference.of(fitted, train, heldout, exam)
    calibrations = [None, *options.calibrate]
    start = time.perf_counter()
    for calibration in calibrations:
        reference.yardstick(calibration)
    yardsticks = time.perf_counter() - start
    many = TrainNoise().fit_to(fitted.training_, fitted.canonicaliser_)
    samples = many.sample(options.judged)
    start = time.perf_counter()
    reference.judge(samples)
    judging = time.perf_counter() - start
    found = assess(
        reference, {}, calibrations=calibrations, null_count=options.nulls, label="nulls"
    )
    for own in found:
        progress("\n".join(table_lines(own.rows())))
    if options.plot:
        save_plot(found, options.plot)
    report(
        "generate_nulls",
        train=len(train),
        heldout=len(heldout),
        samples_of_each=options.nulls,
        seconds={
            "aligning": digits(aligned),
            "references": digits(yardsticks),
            f"judging {options.judged}": digits(judging),
        },
        judged={str(own.calibration): values(own) for own in found},
    )


def values(own: Assessment) -> dict[str, object]:
    """Held-out networks, all nulls, and their frontier."""
    return {
        "bar": digits(own.heldout.bar),
        "heldout": line(own.heldout),
        "nulls": {judged.label: line(judged) for judged in own.nulls},
        "frontier": [[digits(n), digits(a), label] for n, a, label in own.frontier.points],
    }


def line(judged: Judged) -> dict[str, object]:
    row = judged.row_of(judged.label)
    keys = ("accuracy", "novelty", "in function", "agreement", "overlap")
    return {
        **{key: digits(row[key]) for key in keys},
        "novel_and_performant": {
            str(spread): interval(judged.performant(spread)) for spread in SPREADS
        },
    }


def interval(passed: Array) -> list[float]:
    low, high = share_interval(passed)
    return [digits(float(passed.mean())), digits(low), digits(high)]


def loaded(options: argparse.Namespace, split: str, count: int | None) -> Population:
    limit = "" if count is None else f" LIMIT {count}"
    return catalog.open(options.catalog).load(
        f"zoo = 'digits_mlp_seeds' AND step = steps AND split_by_run = {literal(split)} "
        f"AND seed < {options.seeds} ORDER BY seed{limit}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", default="phasezoo-data", help="with digits_mlp_seeds")
    parser.add_argument("--seeds", type=int, default=10_000, help="of the zoo, at most")
    parser.add_argument("--train", type=int, default=None, help="networks, at most")
    parser.add_argument("--nulls", type=int, default=500, help="samples of each")
    parser.add_argument("--judged", type=int, default=10_000, help="samples that are timed")
    parser.add_argument("--calibrate", nargs="*", default=["head"])
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.nulls, options.judged = 400, 20, 200
    return options


if __name__ == "__main__":
    main()
