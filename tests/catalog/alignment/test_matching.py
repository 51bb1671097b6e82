"""Matching finds planted orders, from any order, and never loses against none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from catalog import Layout, LayoutMismatch, Param
from catalog.alignment import invert, match, permute, random_permutations
from catalog.alignment.assignment import assign
from catalog.alignment.cycle import universe
from catalog.dtypes import Array


def mlp(*sizes: int) -> Layout:
    params = []
    for k, (into, out) in enumerate(pairwise(sizes)):
        last = k == len(sizes) - 2
        axes = (None if last else f"h{k + 1}", f"h{k}" if k else None)
        params.append(Param(f"{k}.weight", (out, into), axes))
        params.append(Param(f"{k}.bias", (out,), axes[:1]))
    return Layout(tuple(params))


CNN = Layout(
    (
        Param("a", (6, 1, 3, 3), ("a", None, None, None)),
        Param("a.bias", (6,), ("a",)),
        Param("b", (4, 6, 2, 2), ("b", "a", None, None)),
        Param("fc", (9, 16), ("h", "b*4")),
        Param("out", (3, 9), (None, "h")),
    )
)
RESIDUAL = Layout(
    (
        Param("stem", (8, 12), ("s", None)),
        Param("1.in", (10, 8), ("1", "s")),
        Param("1.norm", (10,), ("1",)),
        Param("1.var", (10,), ("1",), role="buffer"),
        Param("1.out", (8, 10), ("s", "1")),
        Param("square", (8, 8), ("s", "s")),
        Param("head", (3, 8), (None, "s")),
    )
)
BLOCK = Layout(
    (
        Param("embed", (7, 8), (None, "s")),
        Param("q", (12, 8), ("head*4:qk", "s")),
        Param("q.bias", (12,), ("head*4:qk",)),
        Param("k", (12, 8), ("head*4:qk", "s")),
        Param("v", (12, 8), ("head*4:value", "s")),
        Param("o", (8, 12), ("s", "head*4:value")),
    )
)
ADRIFT = Layout((Param("a", (7, 5), ("u", "v")), Param("b", (5, 7), ("v", "u"))))
"""No tensor has one symbol alone: nothing tells where to begin but sorted weights."""
LAYOUTS = {"mlp": mlp(9, 8, 7, 4), "cnn": CNN, "residual": RESIDUAL, "heads": BLOCK}
EVERY = pytest.mark.parametrize("name", [*LAYOUTS, "adrift"])
LAYOUTS["adrift"] = ADRIFT


def planted(
    layout: Layout, n: int, noise: float, seed: int = 0
) -> tuple[Array, Array, dict[str, Array]]:
    """A reference, shuffled noisy copies of it, and the orders that undo the shuffle."""
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(layout.d, np.float32)
    copies = reference + noise * rng.standard_normal((n, layout.d), np.float32)
    orders = random_permutations(layout, n, seed=seed + 1)
    return reference, permute(copies, orders, layout), invert(orders)


@EVERY
def test_planted_orders_are_found(name: str) -> None:
    layout = LAYOUTS[name]
    for noise in (0.0, 0.1):
        reference, copies, right = planted(layout, 40, noise)
        found = match(copies, reference, layout)
        for key, order in right.items():
            assert np.array_equal(found.permutations[key], order), (key, noise)
        moved = permute(copies, found.permutations, layout)
        votes = [layout.slices[p.name] for p in layout if p.role == "parameter"]
        own = sum((moved[:, c] @ reference[c] for c in votes if any(_axes(layout, c))), 0)
        assert np.allclose(found.objective, own, rtol=1e-4)


def _axes(layout: Layout, columns: slice) -> tuple[str | None, ...]:
    (name,) = [n for n, c in layout.slices.items() if c == columns]
    return layout[name].axes


@EVERY
def test_a_shuffled_copy_has_the_same_representative(name: str) -> None:
    """Unrelated networks: there is nothing right to be found, only the same."""
    layout = LAYOUTS[name]
    rng = np.random.default_rng(5)
    reference, *networks = rng.standard_normal((31, layout.d)).astype(np.float32)
    weights = np.stack(networks)
    shuffled = permute(weights, random_permutations(layout, 30, seed=2), layout)
    for options in ({}, {"restarts": 3, "seed": 4}, {"sweeps": 0}, {"sweeps": 1}):
        one, other = (
            permute(w, match(w, reference, layout, **options).permutations, layout)
            for w in (weights, shuffled)
        )
        assert np.allclose(one, other, rtol=1e-5, atol=0)


@EVERY
def test_descent_never_falls_and_restarts_never_hurt(name: str) -> None:
    layout = LAYOUTS[name]
    rng = np.random.default_rng(6)
    reference, weights = rng.standard_normal(layout.d), rng.standard_normal((25, layout.d))
    ends = [match(weights, reference, layout, sweeps=s).objective for s in (0, 1, 2, 100)]
    for before, after in pairwise(ends):
        assert (after >= before - 1e-4).all()
    again = match(weights, reference, layout, restarts=4).objective
    assert (again >= ends[-1] - 1e-4).all()
    assert again.mean() > ends[-1].mean()
    identity = {k: np.arange(s) for k, s in layout.symbols.items()}
    kept = match(weights, reference, layout, start=identity)
    parts = [c for n, c in layout.slices.items() if layout[n].role == "parameter"]
    unaligned = sum((weights[:, c] @ reference[c] for c in parts), 0)
    fixed = [c for c in parts if not any(_axes(layout, c))]
    unaligned = unaligned - sum((weights[:, c] @ reference[c] for c in fixed), 0)
    assert (kept.objective >= unaligned - 1e-3).all()


def test_neighbours_do_not_matter_and_a_reference_may_be_given_for_each() -> None:
    layout = mlp(9, 8, 7, 4)
    rng = np.random.default_rng(7)
    references = rng.standard_normal((20, layout.d)).astype(np.float32)
    weights = rng.standard_normal((20, layout.d)).astype(np.float32)
    together = match(weights, references, layout, restarts=1)
    for i in range(20):
        alone = match(weights[i : i + 1], references[i : i + 1], layout, restarts=1)
        for key, order in alone.permutations.items():
            assert np.array_equal(order[0], together.permutations[key][i])
    shared = match(weights, references[3], layout)
    repeated = match(weights, np.tile(references[3], (20, 1)), layout)
    for key, order in shared.permutations.items():
        assert np.array_equal(order, repeated.permutations[key])
    assert match(weights[:0], references[0], layout).permutations["h1"].shape == (0, 8)


def test_running_statistics_move_along_and_do_not_vote() -> None:
    reference, copies, right = planted(RESIDUAL, 10, 0.0)
    copies[:, RESIDUAL.slices["1.var"]] = 1e6 * np.random.default_rng(0).random((10, 10))
    found = match(copies, reference, RESIDUAL).permutations
    assert np.array_equal(found["1"], right["1"])


@given(st.integers(1, 40), st.integers(0, 20), st.integers(0, 3), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_assignments_are_the_best(n: int, size: int, digits: int, seed: int) -> None:
    """Also with many ties, where another order may be as good."""
    votes = np.random.default_rng(seed).standard_normal((n, size, size)).round(digits)
    for kind in (np.float32, np.float64):
        given = votes.astype(kind)
        found = assign(given)
        assert (np.sort(found, axis=1) == np.arange(size)).all()
        for row, order in zip(given.astype(np.float64), found, strict=True):
            best = row[linear_sum_assignment(row, maximize=True)].sum()
            assert np.isclose(row[np.arange(size), order].sum(), best, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "cnn", "heads"])
def test_a_universe_undoes_all_shuffles_together(name: str) -> None:
    layout = LAYOUTS[name]
    _, copies, _ = planted(layout, 12, 0.3)
    wrong = random_permutations(layout, 12, seed=9)
    start = match(copies, copies[4], layout).permutations
    for given_start, softened in ((start, 0.5), (start, 0.0)):
        orders = universe(copies, layout, given_start, softened=softened)
        moved = permute(copies, orders, layout)
        assert np.linalg.norm(moved - moved.mean(0), axis=1).max() < 0.5 * layout.d**0.5
    bad, good = (
        permute(copies, universe(copies, layout, wrong, steps=s), layout) for s in (0, 60)
    )
    assert good.mean(0) @ good.mean(0) > bad.mean(0) @ bad.mean(0)


def test_what_cannot_be_matched_is_refused() -> None:
    layout = mlp(3, 4, 2)
    weights = np.zeros((3, layout.d), np.float32)
    with pytest.raises(LayoutMismatch, match=rf"Got \(3, {layout.d}\) and \(5,\)"):
        match(weights, weights[0, :5], layout)
    weights[1, 2] = np.nan
    with pytest.raises(LayoutMismatch, match=r"1 of 3 rows of weights .* first row 1"):
        match(weights, weights[0], layout)
    with pytest.raises(LayoutMismatch, match="1 of 1 rows of reference"):
        match(weights[:1], weights[1], layout)
    bare = Layout((Param("w", (3, 2)),))
    with pytest.raises(LayoutMismatch, match=r"no axis symbols.*--axes chain"):
        match(np.zeros((1, 6)), np.zeros(6), bare)
