"""Claim: networks of classes that no probe has seen are told by the names of the classes.

`lora_tree_mini` in a catalogue: LoRA adapters of one root, each fine-tuned on one of 30
named classes, 20 networks of each. The 4 classes of the fixed split are used once, for the
last lines. Of the other 26, draws of 6 are held out: probes learn from 20 classes, and name
the networks of the 6 among their names (chance 1/6), or rank networks by a name (search).

Beside them stands the nearest class name: the training class that a network is most like
(by mean weights, or by ridge), then the held-out name nearest to it in text. Two controls:
an encoder that knows letters alone, and training names that are dealt anew to classes.

Intervals are 95 % of the pigeonhole bootstrap [1]_: draws and classes are both drawn again,
for draws share classes, and networks of a class answer as one. It errs on the wide side.
The second interval draws only draws again: what more draws from these 26 classes would
give, and not what other classes would. On the fixed test networks are drawn again in each
class: that tells about more networks of these four classes, and nothing about others.

    phasezoo train lora_tree_mini_root --data DIR --catalog FOLDER
    phasezoo train lora_tree_mini --data DIR --catalog FOLDER

.. [1] Owen 2007, Annals of Applied Statistics 1: the pigeonhole bootstrap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from class_descriptions import DESCRIPTIONS
from timing import digits, progress, report

import catalog
from catalog import Layout
from catalog.dtypes import Array
from probes.layers import layers_of
from probes.text import TextBilinear, TextProbe, TextRidge, nearest_names
from probes.text.aligned import TextAligned
from probes.text.encoder import TEMPLATES, Encoder
from probes.text.encoders import embedded, encoder_of

HELD_OUT, SEEDS, REPLICATES, TOP = 6, 5, 2000, 10
BASELINES = ("nearest name, mean weights", "nearest name, ridge")
MAIN = "bilinear"
COMPARED = (MAIN, f"{MAIN}, balanced", f"{MAIN}, one prompt", f"{MAIN}, descriptions")
"""Contestants whose difference to the nearest name is reported, by the same words."""


@cache
def vector(encoder: str, text: str) -> tuple[float, ...]:
    return tuple(known(encoder)([text])[0].tolist())


known = cache(encoder_of)


def kept(encoder: str, described: bool = False) -> Encoder:
    """An encoder that keeps what it was asked; or of names, with a description each."""

    def vectors(texts: list[str]) -> Array:
        if described:
            words = [DESCRIPTIONS[name] for name in texts]
            return embedded(plain, texts, TEMPLATES) + embedded(plain, words, "{}")
        return np.array([vector(encoder, text) for text in texts])

    plain = kept(encoder) if described else None
    return vectors


def contestants(layout: Layout) -> dict[str, Callable[[], TextAligned]]:
    minilm, letters, words = kept("minilm"), kept("ngrams"), kept("minilm", True)
    return {
        MAIN: lambda: TextBilinear(minilm, layout=layout),
        "bilinear, one prompt": lambda: TextBilinear(
            minilm, layout=layout, template=TEMPLATES[0]
        ),
        "bilinear, descriptions": lambda: TextBilinear(words, layout=layout, template="{}"),
        "bilinear, letters of names": lambda: TextBilinear(letters, layout=layout),
        "ridge, one prompt": lambda: TextRidge(minilm, layout=layout),
        "ridge, nine prompts": lambda: TextRidge(minilm, layout=layout, template=TEMPLATES),
    }


def classes_of(features: list[Array], names: Array, train: Array, test: Array) -> Array:
    """The training class whose mean weights are most like each tested network's."""
    classes = np.unique(names[train])
    total = np.zeros((len(test), len(classes)))
    for F in features:
        centred = F - F[train].mean(0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        means = [centred[train][names[train] == c].mean(0) for c in classes]
        total += centred[test] @ np.stack(means).T
    found: Array = classes[total.argmax(1)]
    return found


def answers(
    nets: catalog.Population,
    features: list[Array],
    names: Array,
    train: Array,
    test: Array,
    seed: int,
    epochs: int,
) -> Iterator[tuple[str, Array, float]]:
    """Contestant, names told to tested networks, seconds."""
    X, held = nets.weights, np.unique(names[test]).tolist()
    for name, make in contestants(nets.layout).items():
        started = time.process_time()
        probe = make().set_params(random_state=seed).fit(X[train], names[train])
        said = probe.zero_shot(X[test], held)
        yield name, said, time.process_time() - started
        if name == MAIN:
            yield f"{name}, balanced", probe.zero_shot(X[test], held, balanced=True), 0.0
            most = {
                BASELINES[0]: classes_of(features, names, train, test),
                BASELINES[1]: probe.predict(X[test]),
            }
    minilm = kept("minilm")
    for name, classes in most.items():
        yield name, nearest_names(classes, held, minilm, TEMPLATES), 0.0
        yield f"{name}, one prompt", nearest_names(classes, held, minilm), 0.0
        described = nearest_names(classes, held, kept("minilm", True), "{}")
        yield f"{name}, descriptions", described, 0.0
    classes = np.unique(names[train])
    other = dict(
        zip(classes, np.random.default_rng(seed).permutation(classes), strict=True)
    )
    shuffled = contestants(nets.layout)[MAIN]().fit(
        X[train], [other[n] for n in names[train]]
    )
    yield "bilinear, names dealt anew", shuffled.zero_shot(X[test], held), 0.0
    if epochs:
        started = time.process_time()
        probe = TextProbe(
            minilm, layout=nets.layout, layer=updates(nets.layout), epochs=epochs
        )
        said = (
            probe.set_params(random_state=seed)
            .fit(X[train], names[train])
            .zero_shot(X[test], held)
        )
        yield "probex", said, time.process_time() - started


def updates(layout: Layout) -> list[str]:
    return [x.name for x in layers_of(layout) if "base_layer" not in x.name]


def found_by(similarity: Array, right: Array) -> tuple[float, float]:
    """Precision of the first ten, and reciprocal rank of the first right one."""
    ranked = right[np.argsort(-similarity, kind="stable")]
    return float(ranked[:TOP].mean()), 1 / (1 + int(ranked.argmax()))


def at_random(n: int, right: int) -> tuple[float, float]:
    """`found_by` in any order: its expectation."""
    first, left = np.zeros(n), 1.0
    for i in range(n - right + 1):
        first[i] = left * right / (n - i)
        left *= 1 - right / (n - i)
    return right / n, float((first / np.arange(1, n + 1)).sum())


def bootstrap(draw: Array, group: Array, values: Array, both: bool = True) -> list[float]:
    """Mean and interval over draws and, if both, over classes."""
    rng, found = np.random.default_rng(0), []
    for _ in range(REPLICATES):
        weight = resampled(draw.max() + 1, rng)[draw]
        if both:
            weight = weight * resampled(group.max() + 1, rng)[group]
        found.append((weight * values).sum() / weight.sum())
    return [digits(v) for v in (values.mean(), *np.quantile(found, (0.025, 0.975)))]


def resampled(n: int, rng: np.random.Generator) -> Array:
    return rng.multinomial(n, np.full(n, 1 / n)).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--draws", type=int, default=20, help="of each of five seeds")
    parser.add_argument("--epochs", type=int, default=0, help="of ProbeX; 0: without it")
    parser.add_argument("--fixed", action="store_true", help="also the fixed test, once")
    options = parser.parse_args()
    nets = catalog.open(options.catalog).load("zoo = 'lora_tree_mini' AND step = steps")
    names = np.asarray(nets["class_name"]).astype(str)
    reserved = np.asarray(nets["split_by_class"]) == "test"
    names_known = np.unique(names[~reserved])
    wanted = set(updates(nets.layout))
    features = [
        x.of(nets.weights).reshape(len(nets), -1)
        for x in layers_of(nets.layout)
        if x.name in wanted
    ]
    everyone = np.flatnonzero(~reserved)
    rows: dict[str, list[tuple[int, int, float]]] = {}
    seconds: dict[str, float] = {}
    count = SEEDS * options.draws
    for draw in range(count):
        seed = draw // options.draws
        rng = np.random.default_rng([seed, draw])
        held = np.sort(rng.choice(names_known, HELD_OUT, replace=False))
        test = everyone[np.isin(names[everyone], held)]
        train = everyone[~np.isin(names[everyone], held)]
        told = answers(nets, features, names, train, test, seed, options.epochs)
        for contestant, said, spent in told:
            seconds[contestant] = seconds.get(contestant, 0.0) + spent
            for name in held:
                share = float((said[names[test] == name] == name).mean())
                at = int(np.searchsorted(names_known, name))
                rows.setdefault(contestant, []).append((draw, at, share))
        probe = contestants(nets.layout)[MAIN]().set_params(random_state=seed)
        probe.fit(nets.weights[train], names[train])
        for where, among in (("all 520", everyone), ("120 of held-out classes", test)):
            similarity = probe.similarity(nets.weights[among], held.tolist())
            for j, name in enumerate(held):
                at = int(np.searchsorted(names_known, name))
                scores = found_by(similarity[:, j], names[among] == name)
                for score, value in zip(("precision at 10", "MRR"), scores, strict=True):
                    key = f"search among {where}: {score}"
                    rows.setdefault(key, []).append((draw, at, value))
        progress(f"draw {draw + 1} of {count}: {share_of(rows, MAIN)}")
    show(rows, seconds, count)
    if options.fixed:
        once(nets, features, names, everyone, np.flatnonzero(reserved), options.epochs)


def share_of(rows: dict[str, list[tuple[int, int, float]]], name: str) -> float:
    return digits(float(np.mean([value for *_, value in rows[name]])))


def show(
    rows: dict[str, list[tuple[int, int, float]]], seconds: dict[str, float], count: int
) -> None:
    table = {name: np.array(values).T for name, values in rows.items()}
    for name, (draw, group, values) in table.items():
        keys = draw.astype(int), group.astype(int)
        chance = 1 / HELD_OUT
        if name.startswith("search"):
            n = 520 if "520" in name else 120
            chance = at_random(n, 20)[0 if "precision" in name else 1]
        report(
            "probe_text", contestant=name, draws=count, chance=digits(chance),
            score=bootstrap(*keys, values), over_draws=bootstrap(*keys, values, False),
            processor_seconds=digits(seconds.get(name, 0.0) / count),
        )  # fmt: skip
    for name in table:
        for other in table:
            ends = [x.split(", ")[-1] for x in (name, other)]
            words = ends[0] == ends[1] if "descriptions" in ends else True
            if name in COMPARED and other.startswith("nearest") and words:
                draw, group, values = table[name]
                keys, less = (draw.astype(int), group.astype(int)), table[other][2]
                report(
                    "probe_text", contestant=name, less=other,
                    difference=bootstrap(*keys, values - less),
                    over_draws=bootstrap(*keys, values - less, False),
                )  # fmt: skip


def once(
    nets: catalog.Population,
    features: list[Array],
    names: Array,
    train: Array,
    test: Array,
    epochs: int,
) -> None:
    """The fixed test."""
    held, own = np.unique(names[test], return_inverse=True)
    for contestant, said, _ in answers(nets, features, names, train, test, 0, epochs):
        right = (said == names[test]).astype(float)
        rng, found = np.random.default_rng(0), []
        for _ in range(REPLICATES):
            drawn = [
                rng.choice(right[own == c], (own == c).sum()) for c in range(len(held))
            ]
            found.append(np.mean([one.mean() for one in drawn]))
        each = {str(name): digits(right[own == c].mean()) for c, name in enumerate(held)}
        low, high = np.quantile(found, (0.025, 0.975))
        report(
            "probe_text", fixed_test=contestant, chance=digits(1 / len(held)),
            accuracy=[digits(right.mean()), digits(low), digits(high)], each=each,
        )  # fmt: skip


if __name__ == "__main__":
    main()
