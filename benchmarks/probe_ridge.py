"""Claim: the exact linear expert of a layer takes seconds and hardly more than the layer.

One layer of networks that were fine-tuned on half of the classes each (labels: which), as
in Model Jungle: root + the sum of a matrix of rank 1 for each label, of eight random terms
and of noise. Ours: `LinearProbe`, all labels, 31 penalties, errors by leaving one out, the
fit. Against what a user would write on the flat matrix: scikit-learn's `RidgeCV` with the
same penalties, which also leaves one out, and `SGDClassifier` on centred and scaled
weights, a class at a time (few classes, times their number; it has one penalty). Each
contestant runs in a process of its own on one thread; processor-seconds count, without
making the data. They meet on a smaller layer (``--against``), as `RidgeCV` takes 5.5 times
the layer; ours alone runs on the full one. Peak memory is that of the whole process after
the fit, Python included, over the bytes of the layer. `TuckerProbe` is timed beside them;
chance is 0.5.

Then the Gram matrix of low-rank updates against forming their products, and the sweep over
layers of a catalogue, read one by one, against loading it and `RidgeCV` for each layer.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV, SGDClassifier
from synthetic import layout, population, weights_catalog
from timing import digits, in_process, progress, report, sizes

import catalog
from catalog import Layout, Param
from catalog.dtypes import Array
from probes import sweep
from probes.estimators.linear import LinearProbe
from probes.estimators.tucker import TuckerProbe
from probes.exact.gram import factored, gram
from probes.exact.ridge import ALPHAS
from probes.layers import LowRank, layers_of

TEST = 200
SGD = {"classes": 2, "epochs": 10}


def fine_tuned(n: int, side: int, classes: int, first: int = 0) -> tuple[Array, Array]:
    """Networks first to first + n, (n, side * side), and their labels (n, classes)."""
    shared = np.random.default_rng(0)
    root = 0.03 * shared.standard_normal((side, side), np.float32)
    left = shared.standard_normal((side, classes), np.float32)
    right = shared.standard_normal((classes, side), np.float32)
    X = np.empty((n, side * side), np.float32)
    labels = np.zeros((n, classes), int)
    for i in range(n):
        own = np.random.default_rng([1, first + i])
        labels[i, own.permutation(classes)[: classes // 2]] = 1
        strength = 8 / side * labels[i] * (1 + 0.2 * own.standard_normal(classes))
        change = (left * strength.astype(np.float32)) @ right
        nuisance = np.float32(8 / side) * own.standard_normal((side, 8), np.float32)
        change += nuisance @ own.standard_normal((8, side), np.float32)
        change += own.standard_normal((side, side), np.float32)
        scale = np.float32(1e-3 * np.exp(own.uniform(np.log(0.5), np.log(2))))
        X[i] = (root + scale * change).reshape(-1)
    return X, labels


def contestant(name: str, n: int, side: int, classes: int) -> dict[str, float]:
    X, y = fine_tuned(n, side, classes)
    which = slice(0, SGD["classes"]) if name == "sgd" else slice(None)
    square = Layout((Param("w", (side, side)),))
    fits: Any = {
        "linear": LinearProbe("classification", square).fit,
        "tucker": TuckerProbe("classification", square).fit,
        "tucker_target": TuckerProbe("classification", square, bases="target").fit,
        "ridge_cv": ridge_cv,
        "sgd": sgd,
    }
    wall, started = time.perf_counter(), time.process_time()
    model = fits[name](X, y[:, which])
    taken, wall = time.process_time() - started, time.perf_counter() - wall
    share = peak() / X.nbytes
    del X
    test, truth = fine_tuned(TEST, side, classes, first=n)
    predicted = model.predict(test)
    if name == "ridge_cv":
        predicted = predicted > 0.5
    if name == "sgd":
        taken *= classes / SGD["classes"]
    right = float((predicted == truth[:, which]).mean())
    return {"seconds": taken, "wall": wall, "memory": share, "accuracy": right}


def ridge_cv(X: Array, y: Array) -> Any:
    few = X[:: max(len(X) // 50, 1)].astype(np.float64)
    unit = float(np.square(few - few.mean(0)).sum() / len(few))
    return RidgeCV(np.array(ALPHAS) * unit).fit(X, y)


class sgd:
    """One classifier for each label, on weights without root and scale."""

    def __init__(self, X: Array, y: Array) -> None:
        self.root = X.mean(0)
        X -= self.root
        self.scale = np.float32(np.sqrt(np.square(X[::20]).mean()))
        X /= self.scale
        self.models = [
            SGDClassifier(
                "log_loss", max_iter=SGD["epochs"], tol=None, eta0=1e-6,
                learning_rate="constant",
            ).fit(X, labels)
            for labels in y.T
        ]  # fmt: skip

    def predict(self, X: Array) -> Array:
        """Labels (n, classes)."""
        X = (X - self.root) / self.scale
        return np.stack([model.predict(X) for model in self.models], axis=1)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def one_layer(networks: int, side: int, classes: int, rounds: int, rivals: bool) -> None:
    found: dict[str, list[dict[str, float]]] = {}
    for round_ in range(rounds):
        names = ["linear"] + ["ridge_cv"] * rivals
        if not round_:
            names += ["tucker", "tucker_target"] + ["sgd"] * rivals
        for name in names:
            result = in_process(contestant, name, networks, side, classes)
            found.setdefault(name, []).append(result)
            progress(f"{name}: { {k: digits(v) for k, v in result.items()} }")
    table = {
        key: {
            name: digits(statistics.median(result[key] for result in results))
            for name, results in found.items()
        }
        for key in ("seconds", "wall", "memory", "accuracy")
    }
    ratio = {}
    if rivals:
        pairs = zip(found["ridge_cv"], found["linear"], strict=True)
        each = [theirs["seconds"] / ours["seconds"] for theirs, ours in pairs]
        ratio["ridge_cv"] = digits(statistics.median(each))
        ratio["sgd"] = digits(table["seconds"]["sgd"] / table["seconds"]["linear"])
    report(
        "probe_ridge",
        case=f"one layer: {networks} networks, {side} x {side}, {classes} labels",
        layer_gb=digits(networks * side * side * 4 / 1e9),
        processor_seconds=table["seconds"],
        wall_seconds_of_what_ran=table["wall"],
        peak_memory_over_layer=table["memory"],
        test_accuracy={**table["accuracy"], "chance": 0.5},
        sgd=SGD if rivals else None,
        ratio=ratio,
    )


def low_rank(networks: int, rank: int, rounds: int) -> None:
    rows, columns = 1280, 768
    pair = Layout((Param("lora_A", (rank, columns)), Param("lora_B", (rows, rank))))
    X = np.random.default_rng(0).standard_normal((networks, pair.d), np.float32)
    layer = layers_of(pair)[0]
    assert isinstance(layer, LowRank)

    def formed() -> Array:
        whole = layer.of(X).reshape(networks, -1)
        return whole @ whole.T

    def ours() -> Array:
        return gram(X, layer, root=None, scale=None)[0]

    apart = float(np.abs(formed() - ours()).max() / np.abs(ours()).max())
    taken: dict[str, list[float]] = {"ours": [], "formed": []}
    for _ in range(rounds):
        for name, function in (("ours", ours), ("formed", formed)):
            started = time.process_time()
            function()
            taken[name].append(time.process_time() - started)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    report(
        "probe_ridge",
        case=f"low-rank Gram: {networks} networks, {rows} x {columns}, rank {rank}",
        from_factors=factored(layer),
        processor_seconds={name: digits(value) for name, value in medians.items()},
        ratio=digits(medians["formed"] / medians["ours"]),
        largest_relative_difference=digits(apart),
    )


def sweep_ours(folder: Path, y: Array) -> dict[str, float]:
    before = peak()
    selection = catalog.open(folder).select("true ORDER BY run_id, step")
    started = time.process_time()
    sweep(selection, y)
    return {"seconds": time.process_time() - started, "bytes": peak() - before}


def sweep_by_hand(folder: Path, y: Array) -> dict[str, float]:
    before = peak()
    store = catalog.open(folder)
    started = time.process_time()
    networks = store.load("true ORDER BY run_id, step")
    for name in networks.layout.slices:
        ridge_cv(networks.tensor(name).reshape(len(networks), -1), y)
    return {"seconds": time.process_time() - started, "bytes": peak() - before}


def all_layers(networks: int, layers: int, side: int, rounds: int) -> None:
    y = np.random.default_rng(0).standard_normal((networks, 10))
    shapes = tuple((f"layer{i}.weight", (side, side)) for i in range(layers))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zoo"
        weights_catalog(path, population(networks, layout(shapes)))
        found: dict[str, list[dict[str, float]]] = {"ours": [], "by_hand": []}
        for _ in range(rounds):
            for name, function in (("ours", sweep_ours), ("by_hand", sweep_by_hand)):
                found[name].append(in_process(function, path, y))
    medians = {
        key: {k: statistics.median(r[key] for r in v) for k, v in found.items()}
        for key in ("seconds", "bytes")
    }
    layer = networks * side * side * 4
    report(
        "probe_ridge",
        case=f"sweep: {networks} networks, {layers} layers of {side} x {side}, 10 targets",
        processor_seconds={k: digits(v) for k, v in medians["seconds"].items()},
        memory_over_layer={k: digits(v / layer) for k, v in medians["bytes"].items()},
        ratio=digits(medians["seconds"]["by_hand"] / medians["seconds"]["ours"]),
    )


def main() -> None:
    options = sizes(
        __doc__, networks=(1000, 60), side=(768, 32), against=(384, 24),
        classes=(100, 6), rounds=(3, 1), lora=(256, 16), layers=(8, 2), swept=(256, 16),
    )  # fmt: skip
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of processes
    for side, rivals in ((options.against, True), (options.side, False)):
        one_layer(options.networks, side, options.classes, options.rounds, rivals)
    for rank in (4, 16, 32):
        in_process(low_rank, options.lora, rank, options.rounds)
    all_layers(options.networks, options.layers, options.swept, options.rounds)


if __name__ == "__main__":
    main()
