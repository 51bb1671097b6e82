"""Probes on phase zoos: within a zoo, and with each zoo held out in turn.

What is predicted from weights alone: test accuracy, generalisation gap (train minus test
accuracy), logarithm of the Hessian trace, phase. Within a zoo: five folds of runs
(`--by cell`: of cells), five seeds. Across zoos: each held out in turn, where penalties
are chosen on the others. Beside our probe: the linear statistics that were published as a
baseline (the classic seven per tensor, ridge on standardised features: arXiv:2002.11448),
and the trivial answer.

``--make`` trains the zoos first, the CNNs from ``--data DIR``. The Hessian and the phases
of digits zoos come from ``phasezoo measure ZOO --steps last`` and ``phasezoo phases ZOO
--step last``. Statistics relative to their zoo use weights of the held-out zoo, never its
targets.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from timing import digits, report

import catalog
from catalog import Catalog, CatalogError
from catalog.dtypes import Array
from catalog.quoting import literal
from probes.estimators.statistics_probe import StatisticsProbe
from probes.fitting.inputs import ProbeInputs, weight_statistics
from probes.fitting.selection import TargetSelection
from probes.judging.folds import Folds
from probes.judging.judge import Judgement, judge, score_difference
from probes.judging.kinship import parents_in
from probes.statistics.within import Within
from zoo import Axis, Recipe, train

TARGETS = {
    "test_accuracy": "test_accuracy",
    "gap": "gap=train_accuracy - test_accuracy",
    "log_trace": "log_trace=CASE WHEN hessian_trace > 0 THEN ln(hessian_trace) END",
    "phase": "phase=CASE WHEN phase <> 'unmeasured' THEN phase END",
}
COMMON = {"momentum": 0.9, "schedule": "cosine", "batch_size": 32}
MADE = (
    "digits_mlp_phases",
    "digits_mlp_batch_phases",
    Recipe(
        name="digits_mlp_deep",
        summary="digits MLPs of four hidden tanh layers",
        paper="grid chosen here",
        cost="a minute",
        task="digits",
        architecture="mlp",
        load=Axis("width", (4, 8, 16, 32)),
        temperature=Axis("lr", (0.001, 0.003, 0.01, 0.03)),
        seeds=range(4),
        epochs=40,
        checkpoints=(0.0, 0.1, 0.5, 1.0),
        settings={**COMMON, "label_noise": 0.03},
        options={"depth": 4, "activation": "tanh"},
    ),
    Recipe(
        name="fashion_cnn_lr",
        summary="small CNNs on 500 images of Fashion-MNIST",
        paper="grid chosen here",
        cost="a few minutes",
        task="fashion_mnist",
        architecture="cnn_small",
        load=Axis("width", (2, 4)),
        temperature=Axis("lr", (0.002, 0.008, 0.032, 0.064)),
        seeds=range(4),
        epochs=16,
        checkpoints=(0.0, 1.0),
        settings={
            **COMMON,
            "train_samples": 500,
            "subset_seed": 0,
            "label_noise": 0.04,
        },
    ),
)
READS = {"layer": None, "spectrum": True, "aggregate": False}


def published(material: ProbeInputs) -> Array:
    """The classic seven alone."""
    of_values = ("mean", "std", "p0", "p25", "p50", "p75", "p100")
    kept = [name.split()[-1] in of_values for name in material.statistics]
    return material.X[:, kept]


def contestants(
    material: ProbeInputs, task: str
) -> dict[str, tuple[StatisticsProbe, Array]]:
    ours = StatisticsProbe(task, described=True)
    linear = StatisticsProbe(task, model="ridge", shape="standard", described=True)
    return {
        "ours": (ours, material.X),
        "published": (linear, published(material)),
    }


def figures(judged: Judgement) -> dict[str, Any]:
    return {
        one.score: [digits(v) for v in (one.value, one.low, one.high, one.baseline)]
        for one in judged.estimates()
    }


def within(store: Catalog, zoo: str, target: str, by: str, seeds: int) -> None:
    try:
        question = TargetSelection.of(
            store, [TARGETS[target]], where=f"zoo = {literal(zoo)}"
        )
    except CatalogError as error:
        print(f"{zoo}, {target}: {error}", file=sys.stderr)
        return
    started = time.process_time()
    material = weight_statistics(store, question.table, READS)
    described = time.process_time() - started
    parents = parents_in(store)
    folds = [
        Folds.of(question.table, parents, by, deal=5, seed=seed) for seed in range(seeds)
    ]
    values, results, taken = question.values, {}, {}
    for name, (probe, X) in contestants(material, values.task).items():
        started = time.process_time()
        results[name] = judge(probe, X, values.y, folds)
        taken[name] = digits(time.process_time() - started)
    score = "r2" if values.task == "regression" else "accuracy"
    gain = score_difference(results["ours"], results["published"], score)
    report(
        "probe_phase_zoos",
        case="within",
        zoo=zoo,
        target=target,
        by=by,
        networks=len(question),
        seeds=seeds,
        **{name: figures(judged) for name, judged in results.items()},
        gain={score: [digits(v) for v in gain]},
        describe_seconds=digits(described),
        fit_seconds=taken,
    )


def across(store: Catalog, zoos: Sequence[str], target: str) -> None:
    listed = ", ".join(map(literal, zoos))
    question = TargetSelection.of(store, [TARGETS[target]], where=f"zoo IN ({listed})")
    folds = Folds.of(question.table, parents_in(store), "zoo")
    read = weight_statistics(store, question.table, READS)
    own = np.unique(question.table["zoo"].to_pylist(), return_inverse=True)[1]
    for relative in (None, "standard", "quantile"):  # zoos are whole: one shaping for all
        X = (
            read.X
            if relative is None
            else Within.of(read.X, own, relative).apply(read.X, own)
        )
        material = replace(read, X=X)
        for name, (probe, X) in contestants(material, question.values.task).items():
            judged = judge(probe, X, question.values.y, folds)
            report(
                "probe_phase_zoos",
                case="across",
                target=target,
                relative=relative,
                probe=name,
                all=figures(judged),
                zoos={
                    zoo: {
                        e.score: [digits(v) for v in (e.value, e.low, e.high)] for e in own
                    }
                    for zoo, own in judged.by_fold().items()
                },
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--make", action="store_true", help="train the zoos first")
    parser.add_argument("--data", help="folder with Fashion-MNIST, for --make")
    parser.add_argument("--zoos", nargs="+", help="default: all with networks")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--by", default="run", choices=["run", "cell"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for recipe in MADE if options.make else ():
        embedded = isinstance(recipe, str) or recipe.task == "digits"
        train(recipe, options.catalog, data=None if embedded else options.data)
    store = catalog.open(options.catalog)
    known = store.sql("SELECT DISTINCT zoo FROM models WHERE row IS NOT NULL").fetchall()
    zoos = options.zoos or sorted(zoo for (zoo,) in known)
    for target in options.targets:
        for zoo in zoos:
            within(store, zoo, target, options.by, options.seeds)
    for target in options.targets:
        if target != "phase" and len(zoos) > 1:
            across(store, zoos, target)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
