"""Claim: generated networks are as good a start for another task as trained ones.

Starts: samples of a fitted generator (`generate_cohort.py --keep`), as many of its training
networks, the Gaussian null, and fresh random networks. Each is fine-tuned on another task,
the same images in the same order for all, at three learning rates; the rate that is best on
validation images counts, for each kind of start and number of epochs. One line: test
accuracy after 0, 1 and 5 epochs with 95 % intervals over networks, and the difference to a
random start and to training networks, paired by order of images.

    python benchmarks/generate_transfer.py DIR/seed_0 --transform rot90
    python benchmarks/generate_transfer.py DIR/seed_0 --relabel --new-head --images 200
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
from generators.judging.interval import mean_interval
from generators.methods import DeepWeightFlow
from generators.nulls import PCAGaussian
from zoo.measured import run_of
from zoo.process import tune_process
from zoo.run import Run
from zoo.stack import Stack, best_size, build_architecture
from zoo.task import Data, load_task, task_named
from zoo.training import train_stack

RATES = (0.0003, 0.001, 0.003)
EPOCHS = (0, 1, 5)


def main() -> None:
    options = arguments()
    tune_process(1)
    generator = DeepWeightFlow.load(options.generator)
    known = generator.training_
    row = {name: known.table[name][0].as_py() for name in known.table.column_names}
    of = run_of({"zoo": "", **row}, None, None)
    data = load_task(task_named(options.task or of.task), options.data)
    n = options.networks
    drawn = np.random.default_rng(options.seed).choice(len(known), n, replace=False)
    gaussian = PCAGaussian().fit_to(known, generator.canonicaliser_)
    starts: dict[str, Array | None] = {
        "samples": generator.sample(n, seed=options.seed).weights,
        "training networks": known.weights[drawn],
        "PCA-Gaussian": gaussian.sample(n, seed=options.seed).weights,
        "random": None,
    }
    if options.new_head:
        starts = {name: with_new_head(known, own) for name, own in starts.items()}
    epoch = -(-options.images // options.batch_size)
    base = Run(
        "transfer", data.task.name, of.architecture, EPOCHS[-1] * epoch,
        tuple(e * epoch for e in EPOCHS), optimizer="adamw", weight_decay=0.01,
        batch_size=options.batch_size, train_samples=options.images,
        transform=options.transform, train_evaluated=1,
        label_map=tuple((k + 3) % data.task.classes for k in range(data.task.classes))
        if options.relabel else None,
    )  # fmt: skip
    found = {name: best(name, base, weights, data, n) for name, weights in starts.items()}
    report(
        "generate_transfer",
        task=data.task.name,
        transform=options.transform,
        relabelled=options.relabel,
        new_head=options.new_head,
        images=options.images,
        networks=n,
        accuracy={name: lines(own) for name, own in found.items()},
        **{
            f"samples_minus_{name.replace(' ', '_')}": lines(found["samples"] - own)
            for name, own in found.items()
            if name != "samples"
        },
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("generator", type=Path, help="a saved DeepWeightFlow")
    parser.add_argument("--task", help="default: the networks' own, transformed")
    parser.add_argument("--transform", default="identity")
    parser.add_argument("--new-head", action="store_true", help="a new last layer for all")
    parser.add_argument("--relabel", action="store_true", help="class k is called k + 3")
    parser.add_argument("--data", type=Path, help="folder with the data as files")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def with_new_head(known: Population, weights: Array | None) -> Array | None:
    """The same networks with the last layer of fresh ones, alike for all starts."""
    if weights is None:
        return None
    architecture = build_architecture(json.loads(known.table["architecture"][0].as_py()))
    found = weights.copy()
    for i in range(len(found)):
        fresh = architecture.init(np.random.default_rng(i))
        for param in architecture.layout.params[-2:]:
            span = architecture.layout.slices[param.name]
            found[i, span] = fresh[span]
    return found


def best(name: str, base: Run, weights: Array | None, data: Data, n: int) -> Array:
    """Test accuracy (n, epochs) at the rate with the best mean validation accuracy."""
    progress(f"{name}, at {len(RATES)} rates")
    scores = [tuned(replace(base, lr=rate), weights, data, n) for rate in RATES]
    held = np.stack([s["validation"].mean(0) for s in scores])
    picked = held.argmax(0)
    return np.stack([scores[r]["test"][:, e] for e, r in enumerate(picked)], 1)


def tuned(base: Run, weights: Array | None, data: Data, n: int) -> Mapping[str, Array]:
    """Accuracy (n, epochs) by split; run i sees the images in order i."""
    runs = [
        replace(base, seed=i, init_from=None if weights is None else (f"start-{i}", 0))
        for i in range(n)
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
    """Mean and 95 % interval over networks, by epochs."""
    return {
        str(epochs): [digits(v) for v in (own.mean(), *mean_interval(own))]
        for epochs, own in zip(EPOCHS, values.T, strict=True)
    }


if __name__ == "__main__":
    main()
