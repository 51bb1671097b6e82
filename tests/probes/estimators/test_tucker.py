import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut

import probes.exact.centring
from catalog import Layout, Param
from probes.estimators.linear import LinearProbe
from probes.estimators.tucker import TuckerProbe
from probes.exact.centring import Centring
from probes.exact.dealing import deal
from probes.exact.features import coefficients, unseen
from probes.exact.ridge import Spectrum, path
from probes.exact.subspace import cores, own_bases, shared_bases
from probes.layers import layers_of

SIDE, CLASSES, DIM = 32, 12, 6
LAYOUT = Layout((Param("w", (SIDE, SIDE)),))


def population(n, seed, shared=True):
    """Labels of which each adds a matrix: all in one subspace, or each of rank 1."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.permutation(CLASSES) < CLASSES // 2 for _ in range(n)])
    if shared:
        left, right = (np.linalg.qr(rng.normal(size=(SIDE, DIM)))[0] for _ in range(2))
        small = rng.normal(size=(CLASSES, DIM, DIM)) * SIDE / DIM
        effects = left @ small @ right.T
    else:
        a, b = rng.normal(size=(2, CLASSES, SIDE))
        effects = 1.2 * a[:, :, None] * b[:, None, :]
    noise = rng.normal(size=(n, SIDE, SIDE))
    W = rng.normal(size=(SIDE, SIDE)) + 0.01 * (
        np.tensordot(labels, effects / 8, 1) + noise
    )
    return W.reshape(n, -1).astype(np.float32), labels.astype(int)


@pytest.mark.parametrize(("shared", "rank"), [(True, 8), (False, 1)])
def test_a_planted_subspace_is_found_and_beats_the_dense_expert(shared, rank):
    X, y = population(360, 0, shared)
    dense = LinearProbe("classification", LAYOUT).fit(X[:200], y[:200])
    bases = "shared" if shared else "target"
    tucker = TuckerProbe("classification", LAYOUT, bases=bases).fit(X[:200], y[:200])
    assert tucker.rank_ == rank
    assert tucker.score(X[200:], y[200:]) > dense.score(X[200:], y[200:]) + 0.03
    assert tucker.transform(X[:3]).shape[-2:] == (rank, rank)


def test_nothing_is_found_in_noise_where_cores_that_saw_all_rows_would():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 1024)), rng.normal(size=(200, 10))
    probe = TuckerProbe(layout=LAYOUT, ranks=(8,)).fit(X, y)
    assert probe.path_.mean(2).max() < 0.05
    Z = probe.transform(X).reshape(200, -1)
    optimistic = path(Spectrum.of_features(Z - 0), y, np.arange(200))
    assert optimistic.mean(1).max() > 0.15


def test_full_rank_is_the_dense_expert():
    X, y = population(60, 1)
    y = y[:, :3] + 0.0
    full = TuckerProbe(layout=LAYOUT, ranks=(SIDE,), alphas=[0.5]).fit(X, y)
    dense = LinearProbe(layout=LAYOUT, alphas=[0.5]).fit(X, y)
    # The matrices span at most what three targets have of full rank: all of it.
    np.testing.assert_allclose(full.predict(X), dense.predict(X), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 3, 40), (2, 40, 5), (4, 6, 7)])
def test_shared_bases_are_singular_vectors_of_the_unfoldings(shape):
    W = np.random.default_rng(0).normal(size=shape)
    left, right = shared_bases(W, 3)
    u = np.linalg.svd(np.concatenate(W, axis=1))[0][:, :3]
    v = np.linalg.svd(np.concatenate(W, axis=0))[2][:3].T
    np.testing.assert_allclose(np.abs(left[0].T @ u), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.abs(right[0].T @ v), np.eye(3), atol=1e-6)
    own = own_bases(W, 2)
    for matrix, one, other in zip(W, *own, strict=True):
        kept = one @ one.T @ matrix @ other @ other.T
        u, s, v = np.linalg.svd(matrix)
        np.testing.assert_allclose(kept, (u[:, :2] * s[:2]) @ v[:2], atol=1e-6)


@pytest.mark.parametrize("scale", ["global", "sample"])
@pytest.mark.parametrize("which", [0, 1], ids=["low_rank", "dense"])
def test_cores_are_the_centred_matrices_in_the_bases(which, scale, monkeypatch):
    monkeypatch.setattr(probes.exact.centring, "BLOCK", 100)
    monkeypatch.setattr("probes.exact.subspace.BLOCK", 100)
    layout = Layout((Param("lora_A", (2, 7)), Param("lora_B", (6, 2)), Param("w", (4, 5))))
    layer = layers_of(layout)[which]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, layout.d))
    centring = Centring.of(X, layer, scale=scale)
    left, right = (rng.normal(size=(3, side, 2)) for side in layer.shape)
    Z = centring.apply(X)
    expected = np.einsum("nij,sip,sjq->nspq", Z, left, right)
    np.testing.assert_allclose(cores(X, centring, left, right), expected)


@pytest.mark.parametrize("q", [4, 50])
def test_errors_on_unseen_rows_are_those_in_closed_form_for_one_group_left_out(q):
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(30, q)), rng.normal(size=(30, 2))
    groups = np.arange(30) % 3
    squares = 0
    for train, rest in LeaveOneGroupOut().split(Z, y, groups):
        (error,) = unseen(Z, y, train, rest, [0.5])
        coef, intercept = coefficients(Z[train], y[train], 0.5)
        np.testing.assert_allclose(error, y[rest] - Z[rest] @ coef - intercept)
        squares += np.square(error).sum(0)
    assert squares.shape == (2,)


def test_rows_of_a_group_are_dealt_together():
    groups = np.random.default_rng(0).integers(0, 11, 200)
    parts = deal(groups, 4, seed=1)
    assert set(parts) == {0, 1, 2, 3}
    assert all(len(set(parts[groups == g])) == 1 for g in range(11))
    with pytest.raises(ValueError, match="two groups"):
        deal(groups % 2, 4, seed=1)


def test_ranks_and_bases_that_are_none_are_refused():
    X, y = population(20, 0)
    with pytest.raises(ValueError, match="whole numbers"):
        TuckerProbe("classification", LAYOUT, ranks=(0,)).fit(X, y)
    with pytest.raises(ValueError, match="'both'"):
        TuckerProbe("classification", LAYOUT, bases="both").fit(X, y)
