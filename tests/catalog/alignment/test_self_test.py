"""Wrong and missing symbols are found, and named."""

from dataclasses import replace

import numpy as np
import pytest

from catalog import Layout, LayoutMismatch, NotFound, Param
from catalog.alignment import SymmetryBroken, check_symmetries
from catalog.dtypes import Array

LAYOUT = Layout(
    (
        Param("0.weight", (6, 5), ("a", None)),
        Param("0.bias", (6,), ("a",)),
        Param("0.mean", (6,), ("a",), role="buffer"),
        Param("1.weight", (6, 6), ("b", "a")),
        Param("1.bias", (6,), ("b",)),
        Param("2.weight", (3, 6), (None, "b")),
    )
)
X = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32)
WEIGHTS = np.random.default_rng(2).standard_normal((3, LAYOUT.d)).astype(np.float32)


def outputs(weights: Array) -> Array:
    """A rectified layer, then one that is not."""
    t = LAYOUT.unflatten(weights)
    x = X @ t["0.weight"].transpose(0, 2, 1) + (t["0.bias"] - t["0.mean"])[:, None]
    x = np.maximum(x, 0) @ t["1.weight"].transpose(0, 2, 1) + t["1.bias"][:, None]
    return np.tanh(x) @ t["2.weight"].transpose(0, 2, 1)


def with_axes(**axes: tuple[str | None, ...]) -> Layout:
    params = (
        replace(p, axes=axes.get("_" + p.name.replace(".", "_"), p.axes)) for p in LAYOUT
    )
    return Layout(tuple(params))


def test_right_symbols_pass() -> None:
    found = check_symmetries(WEIGHTS, LAYOUT, outputs, scaled=())
    assert found.keys() == {"a", "b"}
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize(
    ("layout", "symbol", "tensors"),
    [
        (with_axes(_0_bias=(None,)), "a", "0.weight, 0.mean, 1.weight"),
        (with_axes(_0_mean=(None,)), "a", "0.weight, 0.bias, 1.weight"),
        (with_axes(_1_weight=("a", "b")), "a", "0.weight, 0.bias, 0.mean, 1.weight"),
        (with_axes(_2_weight=(None, "a")), "a", "1.weight, 2.weight"),
        (with_axes(_2_weight=("out", "b")), "out", "2.weight"),
        (with_axes(_2_weight=(None, None)), "b", "1.weight, 1.bias"),
        (with_axes(_1_bias=("a",)), "a", "0.weight, 0.bias, 0.mean, 1.weight, 1.bias"),
    ],
)
def test_wrong_and_missing_symbols_are_named(
    layout: Layout, symbol: str, tensors: str
) -> None:
    with pytest.raises(
        SymmetryBroken, match=rf"units of '{symbol}' changes.*{tensors}"
    ) as e:
        check_symmetries(WEIGHTS, layout, outputs)
    assert e.value.symbol == symbol
    assert e.value.tensors == layout.carriers(symbol)
    assert e.value.change > 1e-3


def test_errors_do_not_hide_behind_zeros() -> None:
    """As initialised networks have them: there a bias may stand in any order."""
    start = WEIGHTS.copy()
    start[:, LAYOUT.slices["0.bias"]] = 0
    start[:, LAYOUT.slices["0.mean"]] = 0
    with pytest.raises(SymmetryBroken, match="units of 'a'"):
        check_symmetries(start, with_axes(_0_bias=(None,)), outputs)


def test_buffers_before_the_first_step_hide_nothing() -> None:
    fresh = WEIGHTS.copy()
    fresh[:, LAYOUT.slices["0.mean"]] = 0
    with pytest.raises(SymmetryBroken, match="'a'"):
        check_symmetries(fresh, with_axes(_0_mean=(None,)), outputs)


def test_scales_of_units_that_are_not_rectified_are_named() -> None:
    without = Layout(tuple(p for p in LAYOUT if p.name != "0.mean"))
    weights = np.delete(WEIGHTS, np.arange(*_range("0.mean")), axis=1)

    def bare(some: Array) -> Array:
        at, size = _range("0.mean")[0], 6
        return outputs(np.insert(some, [at] * size, 0, axis=1))

    found = check_symmetries(weights, without, bare, scaled=("a",))
    assert found["scale of a"] < 1e-6
    with pytest.raises(
        SymmetryBroken, match=r"Rescaling .* 'b' .*those of \['a'\] that are"
    ):
        check_symmetries(weights, without, bare, scaled=("a", "b"))
    with pytest.raises(NotFound, match="no symbol 'c'"):
        check_symmetries(weights, without, bare, scaled=("c",))


def _range(name: str) -> tuple[int, int]:
    columns = LAYOUT.slices[name]
    return columns.start, columns.stop


def test_units_within_heads_are_tried_on_their_own() -> None:
    layout = Layout(
        (
            Param("q", (6, 5), ("head*3:qk", None)),
            Param("k", (6, 5), ("head*3:qk", None)),
            Param("gain", (2,), ("head",)),
        )
    )

    def scores(weights: Array, per_head: bool = True) -> Array:
        t = layout.unflatten(weights)
        q, k = ((X @ t[n].transpose(0, 2, 1)).reshape(-1, 20, 2, 3) for n in "qk")
        if not per_head:
            k = np.cumsum(k, 3)
        return np.einsum("nahi,nbhi,nh->nab", q, k, t["gain"])

    weights = np.random.default_rng(3).standard_normal((2, layout.d)).astype(np.float32)
    assert check_symmetries(weights, layout, scores).keys() == {"head", "qk"}
    with pytest.raises(SymmetryBroken, match="'qk'"):
        check_symmetries(weights, layout, lambda w: scores(w, False))
    wrong = Layout(
        tuple(replace(p, axes=(None,)) if p.name == "gain" else p for p in layout)
    )
    with pytest.raises(SymmetryBroken, match="'head'"):
        check_symmetries(weights, wrong, scores)


def test_a_test_that_cannot_fail_is_refused() -> None:
    for made, message in (
        (lambda w: np.zeros((len(w), 3)), "give 0 for all inputs"),
        (lambda w: np.full((len(w), 3), np.nan), "not finite"),
        (lambda w: np.ones((1, 3)), "one row per network"),
        (lambda w: np.ones((len(w), 0)), "one row per network"),
    ):
        with pytest.raises(LayoutMismatch, match=message):
            check_symmetries(WEIGHTS, LAYOUT, made)
    with pytest.raises(LayoutMismatch, match="do not depend on the weights"):
        check_symmetries(WEIGHTS, LAYOUT, lambda w: np.ones((len(w), 3)))
    with pytest.raises(LayoutMismatch, match="Nothing to check"):
        check_symmetries(WEIGHTS[:0], LAYOUT, outputs)
