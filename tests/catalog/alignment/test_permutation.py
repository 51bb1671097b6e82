"""Reordering units is a group action, on every tensor that carries the symbol."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import Layout, LayoutMismatch, NotFound, Param, Population
from catalog.alignment import compose, invert, permute, random_permutations

CONV = Layout(
    (
        Param("conv", (4, 2, 3), ("c", None, None)),
        Param("scale", (4,), ("c",)),
        Param("mean", (4,), ("c",), role="buffer"),
        Param("seen", (), (), "int64", "counter"),
        Param("fc", (5, 12), ("h", "c*3")),
        Param("mask", (5,), ("h",), "int64", "constant"),
        Param("out", (2, 5), (None, "h")),
    )
)
HEADS = Layout(
    (
        Param("q", (6, 4), ("head*3:qk", "s")),
        Param("k", (6, 4), ("head*3:qk", "s")),
        Param("v", (6, 4), ("head*3:value", "s")),
        Param("o", (4, 6), ("s", "head*3:value")),
        Param("gain", (2,), ("head",)),
        Param("slopes", (6,), ("head*3",)),
    )
)
layouts = st.sampled_from([CONV, HEADS])


def population(layout: Layout, n: int = 3) -> Population:
    rng = np.random.default_rng(0)
    extra = {
        p.name: rng.integers(0, 9, (n, *p.shape)).astype(np.int64) for p in layout.extra
    }
    weights = rng.standard_normal((n, layout.d)).astype(np.float32)
    table = pa.table({"run_id": [str(i) for i in range(n)], "step": [0] * n})
    return Population(weights, layout, table, extra)


def same(a: Population, b: Population) -> bool:
    return np.array_equal(a.weights, b.weights) and all(
        np.array_equal(a.extra[name], b.extra[name]) for name in a.extra
    )


@given(layouts, st.integers(0, 99))
@settings(deadline=None)
def test_inverting_undoes_and_composing_is_one_after_the_other(
    layout: Layout, seed: int
) -> None:
    start = population(layout)
    first = random_permutations(layout, 3, seed=seed)
    second = random_permutations(layout, 3, seed=seed + 1000)
    moved = permute(start, first)
    assert same(permute(moved, invert(first)), start)
    assert same(permute(moved, second), permute(start, compose(first, second)))
    shared = {name: p[0] for name, p in first.items()}
    again = permute(start, shared).select([0])
    assert same(again, moved.select([0]))


def test_every_tensor_with_the_symbol_is_reordered_by_hand() -> None:
    start = population(CONV, 1)
    order = {"c": np.array([2, 0, 3, 1]), "h": np.array([4, 3, 2, 1, 0])}
    old, new = start.state_dict(0), permute(start, order).state_dict(0)
    for name in ("conv", "scale", "mean"):
        assert np.array_equal(new[name], old[name][order["c"]])
    wide = old["fc"].reshape(5, 4, 3)[order["h"]][:, order["c"]].reshape(5, 12)
    assert np.array_equal(new["fc"], wide)
    assert np.array_equal(new["mask"], old["mask"][::-1])
    assert np.array_equal(new["out"], old["out"][:, ::-1])
    assert new["seen"] == old["seen"]


def test_units_within_heads_follow_their_head() -> None:
    start = population(HEADS, 1)
    order = {
        "head": np.array([1, 0]),
        "qk": np.array([5, 3, 4, 0, 1, 2]),
        "s": np.array([0, 2, 1, 3]),
    }
    old, new = start.state_dict(0), permute(start, order).state_dict(0)
    swapped = [3, 4, 5, 0, 1, 2]  # what has no order of its own moves with the heads
    assert np.array_equal(new["q"], old["q"][order["qk"]][:, order["s"]])
    assert np.array_equal(new["v"], old["v"][swapped][:, order["s"]])
    assert np.array_equal(new["o"], old["o"][order["s"]][:, swapped])
    assert np.array_equal(new["gain"], old["gain"][::-1])
    assert np.array_equal(new["slopes"], old["slopes"][swapped])


def test_drawing_some_symbols_leaves_the_others() -> None:
    drawn = random_permutations(HEADS, 50, seed=0, symbols=("qk",))
    assert drawn.keys() == {"head", "qk"}
    assert (drawn["head"] == [0, 1]).all()
    assert (drawn["qk"] // 3 == [0, 0, 0, 1, 1, 1]).all()
    assert len(np.unique(drawn["qk"], axis=0)) > 20


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        ({"d": np.arange(4)}, NotFound, "no symbol 'd'. Known: c, h"),
        ({"c": np.arange(5)}, LayoutMismatch, r"\(4,\) or \(3, 4\). Got int64 \(5,\)"),
        ({"c": np.zeros((2, 4), int)}, LayoutMismatch, r"Got int64 \(2, 4\)"),
        ({"c": np.arange(4.0)}, LayoutMismatch, "must hold integers.*float64"),
        (
            {"c": np.array([[0, 1, 2, 3], [0, 1, 1, 3], [3, 2, 1, 0]])},
            LayoutMismatch,
            r"Row 1 .* every number from 0 to 3 once: \[0, 1, 1, 3\]",
        ),
    ],
)
def test_what_is_no_permutation_is_refused(
    order: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        permute(population(CONV), order)


def test_heads_are_not_torn_apart() -> None:
    with pytest.raises(LayoutMismatch, match="'qk' must carry 3 positions as a whole"):
        permute(population(HEADS), {"qk": np.array([3, 4, 5, 0, 1, 2])})
    with pytest.raises(LayoutMismatch, match="'qk' must carry 3 positions as a whole"):
        permute(population(HEADS), {"qk": np.array([3, 1, 2, 0, 4, 5])})


def test_arrays_need_their_layout_and_its_width() -> None:
    start = population(CONV)
    order = {"c": np.array([1, 0, 2, 3])}
    moved = permute(start, order).weights
    assert np.array_equal(permute(start.weights, order, CONV), moved)
    assert np.array_equal(permute(start.weights[0], order, CONV), moved[0])
    with pytest.raises(TypeError, match="needs its layout"):
        permute(start.weights, order)  # type: ignore[call-overload]
    with pytest.raises(LayoutMismatch, match=re.escape("Got (3, 5)")):
        permute(start.weights[:, :5], order, CONV)
    assert permute(start.weights[:0], order, CONV).shape == (0, CONV.d)
    with pytest.raises(LayoutMismatch, match=r"of shapes \(4,\) and \(5,\)"):
        compose(order, {"c": np.arange(5)})
