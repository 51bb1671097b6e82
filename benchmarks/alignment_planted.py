"""Claim: planted permutations of trained networks are found, with noise too.

Networks of every family are trained for a short time on noisy patterns. Each is copied,
the units of the copies are shuffled, and noise of 0.5 standard deviations of each tensor is
added; matching to the original must give the shuffle back, symbol by symbol. Beside it
stands the same descent from the identity, where published weight matching starts.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from timing import digits, progress, report, sizes

from catalog.alignment import invert, match, permute, random_permutations
from catalog.dtypes import Array
from catalog.layout import Layout
from zoo.architecture import Architecture
from zoo.architectures import MLP, CNNSmall, ResNet18, ViT
from zoo.engine.stack import Stack
from zoo.engine.train_stack import train_stack
from zoo.randomness import stream
from zoo.run import Run
from zoo.task import Data, Raw, Task, load_task, prepare
from zoo.tasks import TASKS

SIDE = 20


def patterns() -> Data:
    """1,200 training images of ten noisy patterns."""
    task = Task("patterns", "noisy patterns", (1, SIDE, SIDE), 10, validation=100)
    draw = stream(0, "patterns")
    shapes = draw.integers(0, 160, (10, 1, SIDE, SIDE))
    labels = draw.permutation(1500) % 10
    images = shapes[labels] + draw.integers(0, 96, (1500, 1, SIDE, SIDE))
    x, y = images.astype(np.uint8), labels.astype(np.int64)
    return prepare(task, Raw(x[:1300], y[:1300], x[1300:], y[1300:], 1 / 255))


def trained(
    network: Architecture, data: Data, nets: int, steps: int
) -> tuple[Array, float]:
    """Weights (nets, d) of networks that differ in their seed, and their accuracy."""
    common = {"lr": 0.003, "batch_size": 32, "optimizer": "adamw", "schedule": "linear"}
    runs = tuple(
        Run("planted", data.task.name, network.config(), steps, (steps,), seed=s, **common)
        for s in range(nets)
    )
    last = train_stack(Stack(runs), data, torch.device("cpu")).checkpoints[-1]
    return last.weights, float(1 - np.mean(last.scores["test"].error))


def recovered(
    layout: Layout, weights: Array, copies: int, noise: float, restarts: int
) -> tuple[float, float, float]:
    """Shares of copies found whole, by us and from the identity; our seconds for each."""
    found, identity, seconds = [], [], 0.0
    rng = np.random.default_rng(0)
    for i, reference in enumerate(weights):
        planted = random_permutations(layout, copies, seed=i)
        moved = np.tile(reference, (copies, 1))
        for columns in layout.slices.values():
            shape = (copies, columns.stop - columns.start)
            deviation = noise * reference[columns].std()
            moved[:, columns] += deviation * rng.standard_normal(shape, np.float32)
        moved = permute(moved, planted, layout)
        right = invert(planted)
        started = time.process_time()
        ours = match(moved, reference, layout, restarts=restarts).permutations
        seconds += time.process_time() - started
        same = {k: np.tile(np.arange(s), (copies, 1)) for k, s in layout.symbols.items()}
        theirs = match(moved, reference, layout, start=same).permutations
        for kept, got in ((found, ours), (identity, theirs)):
            kept.append(np.all([(got[k] == right[k]).all(1) for k in right], axis=0))
    return float(np.mean(found)), float(np.mean(identity)), seconds / len(weights) / copies


def main() -> None:
    options = sizes(__doc__, nets=(10, 2), copies=(10, 3), steps=(300, 10), restarts=(0, 0))
    torch.set_num_threads(1)
    images = patterns()
    shape = (1, SIDE, SIDE)
    cases: list[tuple[str, Architecture, Data]] = [
        ("mlp", MLP((64, 32, 32, 10)), load_task(TASKS["digits"])),
        ("cnn_small", CNNSmall(8, shape), images),
        ("resnet18 w4", ResNet18(4, shape), images),
        ("resnet18 w8", ResNet18(8, shape), images),
        ("vit", ViT(24, shape, depth=4, heads=3), images),
    ]
    for name, network, data in cases:
        weights, accuracy = trained(network, data, options.nets, options.steps)
        for noise in (0.0, 0.5):
            ours, identity, seconds = recovered(
                network.layout, weights, options.copies, noise, options.restarts
            )
            progress(f"{name} noise {noise}: {ours:.0%}, from the identity {identity:.0%}")
            report(
                "alignment_planted",
                case=name,
                accuracy=digits(accuracy),
                d=network.layout.d,
                networks=options.nets * options.copies,
                noise=noise,
                recovered=digits(ours),
                from_identity=digits(identity),
                seconds_per_network=digits(seconds),
            )


if __name__ == "__main__":
    main()
