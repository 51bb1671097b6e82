"""Claim: parents, trees and reused modules are recovered from weights alone.

Three parts, of which those whose data are there run:

- published tandem networks (``--tandem``, a catalogue with
  https://github.com/samsilverman/nonlinear-deformation-design imported): each of 40 embeds
  one of 10 forward networks. As they are; with noise of 0.01 to 0.5 standard deviations of
  each tensor; with units in another order; with half of the embedded tensors replaced by
  those of a stranger. AUC over all 400 pairs, of which 40 are true;
- `tree_mini` (``--trees``, a catalogue of it): trees from a half of the networks routed in
  the other half, strangers refused, parents recovered;
- planted trees of random depth, which need no data. Beside each stands what a user would
  write: nearest neighbour by cosine (parents), equality of tensors (reuse).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import catalog
from catalog import Layout, Population
from catalog.alignment import permute, random_permutations
from catalog.dtypes import Array
from probes.lineage import Router, find_reuse, lineage_of, recover_parents
from probes.lineage.survey import parent_agreement, populations_of, recorded_parents

NOISE = (0.01, 0.05, 0.1, 0.2, 0.5)
SEEDS = 5
REORDERED = 2
"""Seeds where units are matched: 400 matchings of 40 networks each."""


def noisy(X: Array, layout: Layout, share: float, seed: int) -> Array:
    """Networks with noise in standard deviations of each tensor of each network."""
    rng, moved = np.random.default_rng(seed), X.copy()
    for columns in layout.slices.values():
        part = moved[:, columns]
        deviation = share * part.std(1, keepdims=True)
        part += deviation * rng.standard_normal(part.shape, np.float32)
    return moved


def reordered(X: Array, layout: Layout, part: Layout, names: list[str], seed: int) -> Array:
    """Hosts whose embedded network has its units in another order."""
    at = np.concatenate([np.r_[layout.slices[name]] for name in names])
    moved = X.copy()
    orders = random_permutations(part, len(X), seed=seed)
    moved[:, at] = permute(np.ascontiguousarray(X[:, at]), orders, part)
    return moved


def partial(X: Array, layout: Layout, names: list[str], seed: int) -> Array:
    """Hosts in which a random half of the embedded tensors is that of a stranger."""
    rng, moved = np.random.default_rng(seed), X.copy()
    for i in range(len(X)):
        for name in rng.permutation(names)[: len(names) // 2]:
            columns = layout.slices[name]
            values = X[i, columns]
            drawn = values.std() * rng.standard_normal(values.shape, np.float32)
            moved[i, columns] = values.mean() + drawn
    return moved


def judged(scores: Array, found: Array, truth: Array) -> dict[str, float]:
    """AUC over pairs; links that are right, and that are false."""
    labels = truth[:, None] == np.arange(scores.shape[1])
    return {
        "auc": round(float(roc_auc_score(labels.ravel(), scores.ravel())), 5),
        "right": int((found == truth).sum()),
        "false": int(((found >= 0) & (found != truth)).sum()),
    }


def equality(hosts: Array, layout: Layout, parts: Population, names: list[str]) -> Array:
    """The textbook way: share of tensors that are equal bit for bit, (hosts, parts)."""
    pairs = list(zip(names, parts.layout.slices, strict=True))
    same = [
        (hosts[:, None, layout.slices[a]] == parts.weights[:, parts.layout.slices[b]]).all(
            2
        )
        for a, b in pairs
    ]
    return np.mean(same, axis=0)


def tandem(path: str) -> dict[str, object]:
    """The published population."""
    store = catalog.open(path)
    parts = store.load("zoo = 'zoo_tandem_metasurface' AND kind = 'forward'")
    hosts = store.load("zoo = 'zoo_tandem_metasurface' AND kind = 'tandem'")
    seeds = parts.table["seed"].to_pylist()
    truth = np.array([seeds.index(seed) for seed in hosts.table["seed"].to_pylist()])
    layout, own = hosts.layout, parts.layout
    plain = find_reuse(hosts.weights, layout, parts.weights, own)
    whole = plain.placements[plain.placement[0, plain.best[0]]]
    names = list(whole.host)
    survey = lineage_of([parts, hosts])
    known = recorded_parents([parts, hosts])
    out: dict[str, object] = {
        "hosts": len(hosts), "parts": len(parts),
        "survey": vars(parent_agreement(survey, known)),
        "as they are": judged(plain.scores, plain.part, truth),
    }  # fmt: skip

    def rows(moves: list[Array], permuted: bool) -> dict[str, object]:
        found = []
        for X in moves:
            reuse = find_reuse(X, layout, parts.weights, own, permuted=permuted)
            found.append(judged(reuse.scores, reuse.part, truth))
        equal = [
            judged(equality(X, layout, parts, names), np.zeros(len(truth)) - 1, truth)
            for X in moves
        ]
        aucs = [one["auc"] for one in found]
        return {
            "auc": round(float(np.mean(aucs)), 5), "auc_least": min(aucs),
            "right": round(float(np.mean([one["right"] for one in found])), 2),
            "false": round(float(np.mean([one["false"] for one in found])), 2),
            "auc_equality": round(float(np.mean([one["auc"] for one in equal])), 4),
        }  # fmt: skip

    X, draws = hosts.weights, range(SEEDS)
    for share in NOISE:
        out[f"noise {share}"] = rows([noisy(X, layout, share, s) for s in draws], False)
    for share in (0.0, *NOISE):
        moves = [
            noisy(reordered(X, layout, own, names, s), layout, share, s)
            for s in draws[:REORDERED]
        ]
        out[f"reordered, noise {share}"] = rows(moves, True)
    for share in (0.0, *NOISE):
        moves = [noisy(partial(X, layout, names, s), layout, share, s) for s in draws]
        out[f"half replaced, noise {share}"] = rows(moves, False)
    return out


def trees(path: str) -> dict[str, object]:
    """`tree_mini`: routing, strangers, parents."""
    (population,) = populations_of(
        catalog.open(path), "zoo IN ('tree_mini', 'tree_mini_roots')"
    )
    ids = population.table["run_id"].to_pylist()
    place = {run: i for i, run in enumerate(ids)}
    above = recorded_parents([population])
    up = np.array([place[above[run][0]] if above[run] else -1 for run in ids])
    tree = np.where(up < 0, np.arange(len(ids)), up)
    X = population.weights
    routed, refused = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        train = rng.random(len(X)) < 0.5
        router = Router(random_state=seed).fit(X[train])
        names = {}
        for known, number in zip(tree[train].tolist(), router.trees_.tolist(), strict=True):
            names.setdefault(known, number)
        expected = np.array([names[t] for t in tree[~train].tolist()])
        routed.append(float((router.predict(X[~train]) == expected).mean()))
        for left in np.unique(tree):  # a tree that the router has never seen
            seen = train & (tree != left)
            other = Router(random_state=seed).fit(X[seen])
            refused.append(float((other.predict(X[tree == left]) == -1).mean()))
            kept = other.predict(X[~train & (tree != left)])
            refused.append(float((kept >= 0).mean()))
    out: dict[str, object] = {
        "networks": len(ids), "trees": len(np.unique(tree)),
        "routed": min(routed), "refused_and_kept": min(refused),
    }  # fmt: skip
    children = up >= 0
    for direction in ("particular", "centre", "kurtosis", "rising kurtosis"):
        started = time.process_time()
        found = recover_parents(X, layout=population.layout, direction=direction)
        seconds = time.process_time() - started
        right = float((found.parent[children] == up[children]).mean())
        false = int((found.parent[~children] >= 0).sum())
        out[f"parents by {direction}"] = {
            "recovered": right, "false": false, "seconds": round(seconds, 1),
            "confidence_least": round(float(np.nanmin(found.confidence)), 3),
        }  # fmt: skip
    out["parents by nearest neighbour"] = nearest_neighbour(X, up)
    for name, columns in population.layout.slices.items():
        if columns.stop - columns.start > 5000:
            part = recover_parents(X[:, columns], trees=tree)
            right = float((part.parent[children] == up[children]).mean())
            out[f"parents by {name} alone"] = right
    return out


def nearest_neighbour(X: Array, up: Array) -> dict[str, float]:
    """The textbook way: the most similar other network, by cosine, is the parent."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -1)
    found, children = alike.argmax(1), up >= 0
    right = float((found[children] == up[children]).mean())
    return {"recovered": right, "false": int((~children).sum())}


def planted(n: int, d: int) -> dict[str, object]:
    """Trees of random depth whose roots have heavy tails, as MoTHer assumes."""
    right, nearest, false = [], [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        X, up = np.empty((n, d), np.float32), np.full(n, -1)
        for i in range(n):
            if i % (n // 4) == 0:
                first = i
                X[i] = rng.standard_t(4, d)
                continue
            up[i] = rng.integers(first, i)
            X[i] = X[up[i]] + 0.2 * rng.standard_normal(d)
        found = recover_parents(X, direction="kurtosis")
        children = up >= 0
        right.append(float((found.parent[children] == up[children]).mean()))
        false.append(int((found.parent[~children] >= 0).sum()))
        nearest.append(nearest_neighbour(X, up)["recovered"])
    return {
        "recovered": [round(min(right), 4), round(max(right), 4)], "false": max(false),
        "nearest_neighbour": [round(min(nearest), 4), round(max(nearest), 4)],
    }  # fmt: skip


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tandem", metavar="DIR", help="catalogue with the tandem zoo")
    parser.add_argument("--trees", metavar="DIR", help="catalogue with tree_mini")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    options = parser.parse_args()
    n, d = (40, 2000) if options.quick else (400, 20_000)
    document: dict[str, object] = {"benchmark": "lineage", "planted": planted(n, d)}
    if options.tandem and Path(options.tandem).is_dir():
        document["tandem"] = tandem(options.tandem)
    if options.trees and Path(options.trees).is_dir():
        document["tree_mini"] = trees(options.trees)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
