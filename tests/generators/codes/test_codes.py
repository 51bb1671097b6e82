"""Codes: exact, invertible, white, and of whole trajectories."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.covariance import ledoit_wolf

from catalog import Canonicaliser, CatalogError, Layout, NotFound, Param, Population
from catalog.alignment.permutation import permute
from generators.codes.canonical import in_canonical_units, last_rows
from generators.codes.chosen import Chosen
from generators.codes.codes import Codes
from generators.codes.components import Components


@pytest.mark.parametrize(("n", "d"), [(12, 50), (80, 20), (21, 20)])
def test_all_components_lose_nothing(n, d):
    X = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    found = Components.fit(X)
    assert len(found.basis) == min(n - 1, d)
    assert found.share == pytest.approx(1)
    np.testing.assert_allclose(found.decode(found.encode(X)), X, atol=2e-6)
    np.testing.assert_allclose(
        found.basis @ found.basis.T, np.eye(len(found.basis)), atol=2e-6
    )


def test_inner_products_and_covariance_find_the_same_components():
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((30, 30)) * np.geomspace(9, 1, 30)).astype(np.float32)
    wide = np.concatenate([X, np.zeros_like(X)], 1)  # 60 columns: by inner products
    narrow, other = Components.fit(X), Components.fit(wide)
    np.testing.assert_allclose(narrow.deviation, other.deviation, rtol=1e-5)
    cosine = np.abs((narrow.basis * other.basis[:, :30]).sum(1))
    np.testing.assert_allclose(cosine, 1, atol=1e-4)


def test_whitened_codes_have_unit_covariance():
    rng = np.random.default_rng(2)
    X = (rng.standard_normal((40, 12)) @ rng.standard_normal((12, 12))).astype(np.float32)
    layout = Layout((Param("w", (12,)),))
    codes = Codes.fit(X, layout).encode(X)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(12), atol=1e-4)
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)


def test_shrinkage_pulls_variances_to_their_mean_and_stays_invertible():
    X = np.random.default_rng(3).standard_normal((10, 30)).astype(np.float32)
    plain, shrunk = Components.fit(X), Components.fit(X, shrinkage=1.0)
    np.testing.assert_allclose(shrunk.deviation**2, (plain.deviation**2).mean())
    codes = Codes.fit(X, Layout((Param("w", (30,)),)), shrinkage=0.5)
    np.testing.assert_allclose(codes.decode(codes.encode(X)), X, atol=2e-6)


def test_fewer_components_keep_the_largest():
    rng = np.random.default_rng(4)
    X = (rng.standard_normal((200, 6)) * [8, 5, 3, 0.1, 0.1, 0.1]).astype(np.float32)
    codes = Codes.fit(X, Layout((Param("w", (6,)),)), k=3)
    assert codes.k == 3
    assert codes.components.share > 0.999
    assert 0 < codes.lost(X).mean() < 0.1


def test_constant_columns_and_duplicates_leave_the_rank():
    X = np.zeros((6, 5), np.float32)
    X[:, 1] = [1, 1, 2, 2, 3, 3]
    found = Components.fit(X)
    assert found.basis.shape == (1, 5)
    np.testing.assert_allclose(found.decode(found.encode(X)), X, atol=1e-6)


def test_equal_networks_and_wrong_sizes_are_refused():
    with pytest.raises(CatalogError, match="All 4 networks have the same weights"):
        Components.fit(np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match=r"from 1 to 3, the rank of 4 networks.*Got 9"):
        Components.fit(np.eye(4, dtype=np.float32), 9)


NORM = Layout(
    (
        Param("conv.weight", (2, 3)),
        Param("bn.running_mean", (2,), role="buffer"),
        Param("bn.running_var", (2,), role="buffer"),
        Param("head.weight", (2, 2)),
    )
)


def test_variances_of_normalisation_stay_positive():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((9, NORM.d)).astype(np.float32)
    X[:, NORM.slices["bn.running_var"]] = rng.uniform(0.01, 0.1, (9, 2))
    codes = Codes.fit(X, NORM)
    np.testing.assert_allclose(codes.decode(codes.encode(X)), X, rtol=1e-4, atol=1e-5)
    wild = codes.decode(10 * rng.standard_normal((50, codes.k)))
    assert (wild[:, NORM.slices["bn.running_var"]] > 0).all()
    assert (wild[:, NORM.slices["bn.running_mean"]] < 0).any()


def test_chosen_tensors_change_and_others_stay():
    X = np.random.default_rng(6).standard_normal((9, NORM.d)).astype(np.float32)
    codes = Codes.fit(X, NORM, tensors=["head.*"])
    made = codes.decode(np.zeros((2, codes.k)), X[:2])
    head = NORM.slices["head.weight"]
    np.testing.assert_allclose(
        made[:, head], X[:, head].mean(0)[None].repeat(2, 0), atol=1e-6
    )
    assert (np.delete(made, np.r_[head], 1) == np.delete(X[:2], np.r_[head], 1)).all()
    with pytest.raises(ValueError, match="not modelled"):
        codes.decode(np.zeros((1, codes.k)))
    with pytest.raises(NotFound, match="No tensor matches 'haed"):
        Chosen.of(X, NORM, "haed.*")


def test_all_checkpoints_of_a_run_get_the_order_of_its_last():
    rng = np.random.default_rng(7)
    layout = Layout((Param("in", (4, 3), ("h", None)), Param("out", (2, 4), (None, "h"))))
    end = rng.standard_normal((5, layout.d)).astype(np.float32)
    early = end + 2 * rng.standard_normal(end.shape).astype(np.float32)
    table = pa.table({"run_id": [f"r{i}" for i in range(5)] * 2, "step": [9] * 5 + [1] * 5})
    both = Population(np.concatenate([end, early]), layout, table)
    last, run = last_rows(both)
    assert last.tolist() == [0, 1, 2, 3, 4]
    assert run.tolist() == [0, 1, 2, 3, 4] * 2
    units = Canonicaliser().fit(both.select(last))
    moved = in_canonical_units(units, both)
    order = units.symmetries(both.select(last)).permutations
    expected = permute(both.select(np.arange(5, 10)), order)
    np.testing.assert_array_equal(moved.weights[5:], expected.weights)
    own = units.transform(both.select(np.arange(5, 10)))
    assert (own.weights != moved.weights[5:]).any()


def test_estimated_shrinkage_is_that_of_ledoit_and_wolf():
    rng = np.random.default_rng(8)
    for n, d in ((40, 15), (15, 40)):
        X = (rng.standard_normal((n, d)) * np.geomspace(3, 1, d)).astype(np.float32)
        expected = ledoit_wolf(X.astype(np.float64))[1]
        assert Components.fit(X, shrinkage=None).shrinkage == pytest.approx(
            expected, rel=1e-3
        )


def test_repeated_checkpoints_shrink_no_less():
    rng = np.random.default_rng(9)
    X = (rng.standard_normal((40, 15)) * np.geomspace(3, 1, 15)).astype(np.float32)
    one = Components.fit(X, shrinkage=None)
    runs = np.tile(np.arange(40), 3)
    same = Components.fit(np.tile(X, (3, 1)), shrinkage=None, runs=runs)
    blind = Components.fit(np.tile(X, (3, 1)), shrinkage=None)
    assert same.shrinkage == pytest.approx(one.shrinkage, rel=1e-3)
    assert blind.shrinkage < one.shrinkage / 2


def test_shrunk_variances_are_nearer_to_those_of_new_networks():
    rng = np.random.default_rng(10)
    layout, scale = Layout((Param("w", (60,)),)), np.geomspace(4, 1, 60)
    X, new = (rng.standard_normal((n, 60)) * scale for n in (80, 4000))
    codes = [
        Codes.fit(X.astype(np.float32), layout, shrinkage=s).encode(new.astype(np.float32))
        for s in (0.0, None)
    ]
    off = [np.abs(np.log(c.var(0))).mean() for c in codes]
    assert off[1] < 0.7 * off[0]
