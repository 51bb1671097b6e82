"""Claim: generated networks are as good a start for another task as trained ones.

Starts: samples of fitted generators (`generate_cohort.py --keep`), as many of their
training networks, the Gaussian null, and fresh random networks. Each is fine-tuned on
another task, the same images in the same order for all, at three learning rates; the rate
that is best on validation images counts, for each fit, kind of start and number of epochs.
One line: test accuracy after 0, 1 and 5 epochs with 95 % intervals over fits and networks,
and the difference to a random start and to training networks, paired by order of images.

    python benchmarks/generate_transfer.py DIR/seed_? --transform rot90
    python benchmarks/generate_transfer.py DIR/seed_? --relabel --new-head --images 200
    python benchmarks/generate_transfer.py DIR/seed_0 --task fashion_mnist --data DATA
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from timing import digits, progress, report

from catalog import Population
from catalog.dtypes import Array
from generators.methods import DeepWeightFlow
from generators.nulls import PCAGaussian
from probes.judging.bootstrap import grouped_interval
from zoo.engine.stack import Stack, best_size, build_architecture
from zoo.engine.train_stack import train_stack
from zoo.run import Run
from zoo.stored import run_of
from zoo.task import Data, load_task
from zoo.tasks import TASKS
from zoo.workers.process import tune_process

RATES = (0.0003, 0.001, 0.003)
EPOCHS = (0, 1, 5)


def main() -> None:
    options = arguments()
    tune_process(1)
    every = [of_fit(options, path, i) for i, path in enumerate(options.generators)]
    found = {name: np.stack([own[name] for own in every]) for name in every[0]}
    report(
        "generate_transfer",
        task=options.task,
        transform=options.transform,
        relabelled=options.relabel,
        new_head=options.new_head,
        images=options.images,
        fits=len(every),
        networks=options.networks,
        accuracy={name: lines(own) for name, own in found.items()},
        **{
            f"samples_minus_{name.replace(' ', '_')}": lines(found["samples"] - own)
            for name, own in found.items()
            if name != "samples"
        },
    )


def of_fit(options: argparse.Namespace, path: Path, seed: int) -> dict[str, Array]:
    """Test accuracy (n, epochs) by start, for one fitted generator."""
    generator = DeepWeightFlow.load(path)
    known = generator.training_
    row = {name: known.table[name][0].as_py() for name in known.table.column_names}
    of = run_of({"zoo": "", **row}, None, None)
    data = load_task(TASKS[options.task or of.task], options.data)
    n = options.networks
    drawn = np.random.default_rng(seed).choice(len(known), n, replace=False)
    gaussian = PCAGaussian().fit_to(known, generator.canonicaliser_)
    starts: dict[str, Array | None] = {
        "samples": generator.sample(n, seed=seed).weights,
        "training networks": known.weights[drawn],
        "PCA-Gaussian": gaussian.sample(n, seed=seed).weights,
        "random": None,
    }
    # Networks of different fits get different heads, and images in different orders.
    seeds = range(seed * n, (seed + 1) * n)
    if options.new_head:
        starts = {name: with_new_head(known, own, seeds) for name, own in starts.items()}
    epoch = -(-options.images // options.batch_size)
    base = Run(
        "transfer", data.task.name, of.architecture, EPOCHS[-1] * epoch,
        tuple(e * epoch for e in EPOCHS), optimizer="adamw", weight_decay=0.01,
        batch_size=options.batch_size, train_samples=options.images,
        transform=options.transform, train_evaluated=1,
        label_map=tuple((k + 3) % data.task.classes for k in range(data.task.classes))
        if options.relabel else None,
    )  # fmt: skip
    return {
        name: best(f"fit {seed}, {name}", base, weights, data, seeds)
        for name, weights in starts.items()
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("generators", type=Path, nargs="+", help="saved DeepWeightFlows")
    parser.add_argument("--task", help="default: the networks' own, transformed")
    parser.add_argument("--transform", default="identity")
    parser.add_argument("--new-head", action="store_true", help="a new last layer for all")
    parser.add_argument("--relabel", action="store_true", help="class k is called k + 3")
    parser.add_argument("--data", type=Path, help="folder with the data as files")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--networks", type=int, default=60)
    return parser.parse_args()


def with_new_head(known: Population, weights: Array | None, seeds: range) -> Array | None:
    """The same networks with the last layer of fresh ones, alike for all starts."""
    if weights is None:
        return None
    architecture = build_architecture(json.loads(known.table["architecture"][0].as_py()))
    found = weights.copy()
    for i, own in enumerate(seeds):
        fresh = architecture.init(np.random.default_rng(own))
        for param in architecture.layout.params[-2:]:
            span = architecture.layout.slices[param.name]
            found[i, span] = fresh[span]
    return found


def best(name: str, base: Run, weights: Array | None, data: Data, seeds: range) -> Array:
    """Test accuracy (n, epochs) at the rate with the best mean validation accuracy."""
    progress(f"{name}, at {len(RATES)} rates")
    scores = [tuned(replace(base, lr=rate), weights, data, seeds) for rate in RATES]
    held = np.stack([s["validation"].mean(0) for s in scores])
    picked = held.argmax(0)
    return np.stack([scores[r]["test"][:, e] for e, r in enumerate(picked)], 1)


def tuned(
    base: Run, weights: Array | None, data: Data, seeds: range
) -> Mapping[str, Array]:
    """Accuracy (n, epochs) by split; the seed decides in which order images are seen."""
    n = len(seeds)
    runs = [
        replace(base, seed=s, init_from=None if weights is None else (f"start-{i}", 0))
        for i, s in enumerate(seeds)
    ]
    start = {} if weights is None else {(f"start-{i}", 0): weights[i] for i in range(n)}
    size = best_size(runs[0], Stack((runs[0],)).architecture)
    parts = [
        train_stack(
            Stack(tuple(runs[i : i + size])), data, torch.device("cpu"), start=start
        )
        for i in range(0, n, size)
    ]
    return {
        split: np.concatenate(
            [np.stack([c.scores[split].value for c in p.checkpoints], 1) for p in parts]
        )
        for split in ("validation", "test")
    }


def lines(values: Array) -> dict[str, list[float]]:
    """Mean of (fits, n, epochs) and 95 % interval over fits and networks, by epochs."""
    return {
        str(epochs): [digits(v) for v in (own.mean(), *grouped_interval(own))]
        for epochs, own in zip(EPOCHS, np.moveaxis(values, -1, 0), strict=True)
    }


if __name__ == "__main__":
    main()
