"""Balancing keeps what rectified networks compute, and is where the norm is least."""

import numpy as np
import pytest

from catalog import Layout, LayoutMismatch, Param
from catalog.alignment import (
    balance,
    normalise,
    permute,
    random_permutations,
    rescale,
    scalable,
)
from catalog.dtypes import Array

LAYOUT = Layout(
    (
        Param("0.weight", (6, 5), ("a", None)),
        Param("0.bias", (6,), ("a",)),
        Param("1.weight", (4, 12), ("b", "a*2")),
        Param("1.bias", (4,), ("b",)),
        Param("2.weight", (3, 4), (None, "b")),
        Param("2.bias", (3,), (None,)),
    )
)
X = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32)


def outputs(weights: Array) -> Array:
    t = LAYOUT.unflatten(weights)
    x = np.maximum(X @ t["0.weight"].transpose(0, 2, 1) + t["0.bias"][:, None], 0)
    x = np.stack([x, x**2 / (x + 1e-30)], 3).reshape(*x.shape[:2], -1)  # two positions
    x = np.maximum(x @ t["1.weight"].transpose(0, 2, 1) + t["1.bias"][:, None], 0)
    return x @ t["2.weight"].transpose(0, 2, 1) + t["2.bias"][:, None]


def networks(n: int) -> Array:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, LAYOUT.d)) * rng.exponential(3, LAYOUT.d)).astype("f4")


def test_the_function_stays_and_norms_in_and_out_are_equal() -> None:
    weights = networks(30)
    even, scales = balance(weights, LAYOUT, ("a", "b"))
    before, after = outputs(weights), outputs(even)
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()
    t = {k: v.astype(np.float64) ** 2 for k, v in LAYOUT.unflatten(even).items()}
    into = t["0.weight"].sum(2) + t["0.bias"]
    out = t["1.weight"].reshape(30, 4, 6, 2).sum((1, 3))
    assert np.allclose(into, out, rtol=1e-4)
    assert np.allclose(t["1.weight"].sum(2) + t["1.bias"], t["2.weight"].sum(1), rtol=1e-4)
    assert np.array_equal(rescale(weights, LAYOUT, scales), even)
    for factor in (0.9, 1.1):
        other = {
            k: s * np.where(np.arange(s.shape[1]) == 1, factor, 1)
            for k, s in scales.items()
        }
        norms = [np.linalg.norm(w, axis=1) for w in (even, rescale(weights, LAYOUT, other))]
        assert (norms[0] < norms[1]).all()


def test_scales_of_a_network_are_found_again_and_follow_its_units() -> None:
    weights = networks(10)
    even, _ = balance(weights, LAYOUT, ("a", "b"))
    random = {"a": np.exp(np.random.default_rng(3).standard_normal((10, 6)))}
    again, _ = balance(rescale(weights, LAYOUT, random), LAYOUT, ("a", "b"))
    assert np.allclose(again, even, rtol=1e-4, atol=1e-5)
    order = random_permutations(LAYOUT, 10, seed=0)
    shuffled, _ = balance(permute(weights, order, LAYOUT), LAYOUT, ("a", "b"))
    assert np.allclose(shuffled, permute(even, order, LAYOUT), rtol=1e-5)


def test_normalised_units_read_with_norm_one_whatever_reads_them() -> None:
    weights = networks(10)
    found = normalise(weights, LAYOUT, ("a", "b"))
    before, after = outputs(weights), outputs(found)
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()
    t = LAYOUT.unflatten(found)
    for layer in ("0", "1"):
        into = (t[f"{layer}.weight"] ** 2).sum(2) + t[f"{layer}.bias"] ** 2
        assert np.allclose(into, 1, rtol=1e-5)
    rng = np.random.default_rng(3)
    scales = {"a": np.exp(rng.standard_normal((10, 6))), "b": np.exp(rng.random((10, 4)))}
    again = normalise(rescale(weights, LAYOUT, scales), LAYOUT, ("a", "b"))
    assert np.allclose(again, found, rtol=1e-4, atol=1e-5)
    assert np.array_equal(normalise(weights, LAYOUT, ("b", "a")), found)
    head = LAYOUT.slices["2.weight"]
    other = weights.copy()
    other[:, head] *= 7
    body = np.r_[0 : head.start]
    assert np.allclose(normalise(other, LAYOUT, ("a", "b"))[:, body], found[:, body])
    dead = weights.copy()
    for name in ("0.weight", "0.bias"):
        LAYOUT.unflatten(dead)[name][:, 2] = 0
    assert np.isfinite(normalise(dead, LAYOUT, ("a", "b"))).all()


def test_dead_units_keep_their_scale() -> None:
    weights = networks(2)
    t = LAYOUT.unflatten(weights)
    t["0.weight"][0, 2] = 0
    t["0.bias"][0, 2] = 0
    t["2.weight"][1, :, 3] = 0
    even, scales = balance(weights, LAYOUT, ("a", "b"))
    assert scales["a"][0, 2] == scales["b"][1, 3] == 1
    assert np.isfinite(even).all()
    assert all((s > 0).all() for s in scales.values())


def test_deep_chains_have_one_balance() -> None:
    params = [Param("0", (8, 8), ("h0", None))]
    params += [Param(str(i), (8, 8), (f"h{i}", f"h{i - 1}")) for i in range(1, 24)]
    layout = Layout((*params, Param("24", (4, 8), (None, "h23"))))
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((3, layout.d), np.float32)
    factors = {name: np.exp(rng.uniform(-1, 1, (3, 8))) for name in layout.symbols}
    names = tuple(layout.symbols)
    one, _ = balance(weights, layout, names)
    other, _ = balance(rescale(weights, layout, factors), layout, names)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_only_plain_layers_are_scalable() -> None:
    assert scalable(LAYOUT) == ("a", "b")
    normalised = Layout(
        (
            Param("w", (4, 3), ("n", None)),
            Param("bias", (4,), ("n",)),
            Param("gain", (4,), ("n",)),
            Param("stream", (5, 4), ("s", "n")),
            Param("square", (5, 5), ("s", "s")),
            Param("kept", (2, 5), ("unread", "s")),
            Param("stats.w", (2, 4), ("stats", "n")),
            Param("stats.mean", (2,), ("stats",), role="buffer"),
            Param("out", (2, 2), (None, "stats")),
        )
    )
    assert scalable(normalised) == ()
    weights = np.ones((1, normalised.d), np.float32)
    for name in ("n", "s", "unread", "stats"):
        with pytest.raises(LayoutMismatch, match=f"'{name}' cannot be rescaled.*: none"):
            balance(weights, normalised, (name,))
