from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

import catalog
from catalog import Layout, LayoutMismatch, Param
from catalog.alignment import random_permutations
from probes.statistics.weight_statistics import WeightStatistics

CNN = Layout(
    (
        Param("conv.weight", (6, 2, 3, 3), ("c", None, None, None)),
        Param("conv.bias", (6,), ("c",)),
        Param("norm.weight", (6,), ("c",)),
        Param("flat.weight", (5, 6 * 4), ("h", "c*4")),
        Param("flat.bias", (5,), ("h",)),
        Param("out.weight", (3, 5), (None, "h")),
        Param("out.bias", (3,), (None,)),
    )
)


def mlp(*sizes):
    params = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        params += [Param(f"layer{i}.weight", (b, a)), Param(f"layer{i}.bias", (b,))]
    return Layout(tuple(params))


def networks(layout, n=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, layout.d)).astype(np.float32)


@parametrize_with_checks([WeightStatistics()])
def test_sklearn(estimator, check):
    check(estimator)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_the_order_of_units_does_not_matter(seed, aggregate):
    X = networks(CNN, 3, seed)
    moved = catalog.permute(X, random_permutations(CNN, 3, seed=seed), CNN)
    assert (moved != X).any()
    reader = WeightStatistics(CNN, aggregate=aggregate).fit(X)
    np.testing.assert_allclose(reader.transform(moved), reader.transform(X), atol=2e-5)


def test_names_say_what_columns_are():
    X = networks(CNN)
    reader = WeightStatistics(CNN).fit(X)
    found = dict(zip(reader.get_feature_names_out(), reader.transform(X).T, strict=True))
    kernel = X[:, CNN.slices["conv.weight"]]
    np.testing.assert_allclose(found["conv.weight p100"], kernel.max(1))
    np.testing.assert_allclose(
        found["conv.bias mean"], X[:, CNN.slices["conv.bias"]].mean(1), rtol=1e-5, atol=1e-6
    )
    norms = np.linalg.norm(X[:, CNN.slices["out.weight"]], axis=1)
    np.testing.assert_allclose(found["out.weight frobenius_norm"], norms, rtol=1e-5)
    assert not any(name.startswith("conv.bias spectral") for name in found)


def test_over_depth_networks_of_any_depth_have_the_same_statistics():
    rows = {}
    for layout in (CNN, mlp(4, 5, 6, 7), mlp(3, 1)):
        X = networks(layout)
        reader = WeightStatistics(layout, aggregate=True).fit(X)
        values = reader.transform(X)
        names = tuple(reader.get_feature_names_out())
        rows.setdefault(names, []).append(values)
        found = dict(zip(names, values.T, strict=True))
    ((names, parts),) = rows.items()
    assert len(parts) == 3
    assert not any(name.startswith("vector") for name in names)
    for statistic in ("std", "spectral_norm"):  # of one layer: first = last = mean
        for depth in ("last", "mean"):
            first = found[f"matrix first {statistic}"]
            np.testing.assert_array_equal(found[f"matrix {depth} {statistic}"], first)


def test_some_tensors_or_no_spectrum():
    X = networks(CNN)
    one = WeightStatistics(CNN, layer="out.weight", spectrum=False).fit(X)
    assert one.transform(X).shape == (4, 7)
    with pytest.raises(LayoutMismatch, match=r"population\.layout"):
        WeightStatistics(CNN).fit(X[:, 1:])
