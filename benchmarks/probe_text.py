"""Claim: networks of classes that no probe has seen are told by the names of the classes.

`lora_tree_mini` in a catalogue: LoRA adapters of one root, each fine-tuned on one of 30
named classes, 20 seeds each. Classes are held out: those of the fixed split, and further
draws of as many; a probe aligned to text embeddings names the networks of held-out classes
among their names. Beside it stand chance, and the nearest class name: the class of the most
similar training network (cosine of updates), then the held-out name nearest to it in text.
Accuracies are means over draws of held-out classes, with 95 % intervals (Student's t over
draws; networks of a class are no independent evidence about names).

    phasezoo train lora_tree_mini_root --data DIR --catalog FOLDER
    phasezoo train lora_tree_mini --data DIR --catalog FOLDER
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import t as student
from timing import digits, progress, report

import catalog
from catalog import Population
from catalog.dtypes import Array
from probes.exact.gram import products
from probes.layers import LowRank, layers_of
from probes.text import TextProbe, TextRidge, nearest_names
from probes.text.aligned import TextAligned

HELD_OUT = 7
"""Classes of each draw; the fixed split has 4 for tests and 3 for validation."""


def contestants(layers: list[str], epochs: int) -> dict[str, TextAligned]:
    return {
        "ridge, minilm": TextRidge("minilm", layer=layers),
        "ridge, letters of names": TextRidge("ngrams", layer=layers),
        "probex, minilm": TextProbe("minilm", layer=layers, epochs=epochs),
    }


def similar(nets: Population, train: Array, test: Array) -> Array:
    """For each tested network (m,) the row of the training network most similar to it."""
    total = np.zeros((len(test), len(train)))
    for layer in layers_of(nets.layout):
        if isinstance(layer, LowRank):
            K = products(nets.weights, nets.weights, layer)
            norm = np.sqrt(K.diagonal())
            total += (K / norm[:, None] / norm)[np.ix_(test, train)]
    return train[total.argmax(1)]


def interval(values: list[float]) -> list[float]:
    mean, n = float(np.mean(values)), len(values)
    half = float(student.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / n**0.5
    return [digits(mean), digits(mean - half), digits(mean + half)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    nets = catalog.open(options.catalog).load("zoo = 'lora_tree_mini' AND step = steps")
    names = np.asarray(nets["class_name"]).astype(str)
    every, layers = np.unique(names), layers_of(nets.layout)
    updates = [layer.name for layer in layers if isinstance(layer, LowRank)]
    fixed = np.unique(names[np.asarray(nets["split_by_class"]) == "test"])
    draws = [fixed]
    for seed in range(options.draws):
        rng = np.random.default_rng(seed)
        draws.append(rng.choice(every, HELD_OUT, replace=False))
    found: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for number, held in enumerate(draws):
        test = np.flatnonzero(np.isin(names, held))
        train = np.flatnonzero(~np.isin(names, held))
        nearest = names[similar(nets, train, test)]
        for name, probe in contestants(updates, options.epochs).items():
            started = time.process_time()
            probe.set_params(layout=nets.layout)
            probe.fit(nets.weights[train], names[train])
            said = probe.zero_shot(nets.weights[test], held.tolist())
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
            found.setdefault(name, []).append(float((said == names[test]).mean()))
        for encoder in ("minilm", "ngrams"):
            said = nearest_names(nearest, held.tolist(), encoder)
            key = f"nearest class name, {encoder}"
            found.setdefault(key, []).append(float((said == names[test]).mean()))
        progress(f"draw {number}: { {k: round(v[-1], 3) for k, v in found.items()} }")
    for name, values in found.items():
        report(
            "probe_text", contestant=name, fixed_split=digits(values[0]),
            fixed_chance=digits(1 / len(fixed)), draws=options.draws,
            accuracy=interval(values[1:]), chance=digits(1 / HELD_OUT),
            processor_seconds=digits(seconds.get(name, 0.0) / len(draws)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
