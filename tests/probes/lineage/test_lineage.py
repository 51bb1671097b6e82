"""Planted trees, frozen layers and embedded networks are found again."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from catalog import open as open_catalog
from catalog.alignment import permute, random_permutations
from probes import load, save
from probes.estimators.linear import LinearProbe
from probes.estimators.tree import TreeProbe
from probes.lineage import (
    Router,
    by_tensor,
    clustered,
    find_reuse,
    frozen_tensors,
    lineage_of,
    recover_parents,
    shared_tensors,
    squared_distances,
)
from probes.lineage.inheritance import precision
from probes.lineage.reuse import placements
from probes.lineage.survey import Found, parent_agreement
from probes.lineage.tree import rooted, spanning_tree, voted_root

MODULE = Layout(
    (
        Param("0.weight", (12, 7), ("h", None)),
        Param("0.bias", (12,), ("h",)),
        Param("2.weight", (9, 12), ("g", "h")),
        Param("2.bias", (9,), ("g",)),
        Param("4.weight", (3, 9), (None, "g")),
    )
)
HOST = Layout(
    (
        Param("stem", (5, 5)),
        *(Param(f"inner.{p.name}", p.shape) for p in MODULE),
        Param("head", (4, 3)),
    )
)


def planted(draw, sizes, d=4000, step=0.2, tails=False):
    """Random trees: weights, parents (-1 of roots), trees; rows in random order.

    With ``tails`` roots have outliers, which every step drowns a little more.
    """
    weights, parents, trees = [], [], []
    for tree, size in enumerate(sizes):
        root = draw.standard_t(4, d) if tails else draw.standard_normal(d)
        first = len(weights)
        weights.append(root)
        parents.append(-1)
        for k in range(1, size):
            up = first + int(draw.integers(0, k))
            weights.append(weights[up] + step * draw.standard_normal(d))
            parents.append(up)
        trees += [tree] * size
    order = draw.permutation(len(weights))
    place = np.argsort(order)
    up = np.array([-1 if p < 0 else place[p] for p in parents])[order]
    return np.float32(weights)[order], up, np.array(trees)[order]


# ---------------------------------------------------------------------------- distances


@given(st.integers(1, 6), st.integers(0, 9))
def test_distances_are_those_of_all_pairs_and_sum_over_tensors(n, seed):
    X = np.random.default_rng(seed).standard_normal((n, MODULE.d)).astype(np.float32)
    direct = np.square(X[:, None].astype(float) - X).sum(-1)
    np.testing.assert_allclose(squared_distances(X), direct, rtol=1e-4, atol=1e-3)
    parts = dict(by_tensor(X, MODULE))
    assert list(parts) == [p.name for p in MODULE]
    np.testing.assert_allclose(sum(parts.values()), direct, rtol=1e-4, atol=1e-3)


def test_distances_of_near_networks_keep_their_digits():
    draw = np.random.default_rng(0)
    X = (draw.standard_normal(5000) + 1e-3 * draw.standard_normal((6, 5000))).astype("f4")
    direct = np.square(X[:, None].astype(float) - X).sum(-1)
    np.testing.assert_allclose(squared_distances(X), direct, rtol=1e-3)


# -------------------------------------------------------------------------------- trees


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_planted_trees_are_recovered_from_their_roots(seed, sizes):
    X, up, trees = planted(np.random.default_rng(seed), sizes)
    found = recover_parents(X, roots=up < 0)
    np.testing.assert_array_equal(found.parent, up)
    assert len(set(zip(found.tree.tolist(), trees.tolist(), strict=True))) == len(sizes)
    children = up >= 0
    assert np.isnan(found.distance[~children]).all()
    assert np.isfinite(found.distance[children]).all()
    assert ((found.confidence[children] >= 0) & (found.confidence[children] <= 1)).all()


def test_edges_of_planted_trees_are_found_without_knowing_the_roots():
    X, up, _ = planted(np.random.default_rng(3), (25, 25))
    found = recover_parents(X).parent
    planted_edges = {frozenset((i, p)) for i, p in enumerate(up) if p >= 0}
    assert {frozenset((i, p)) for i, p in enumerate(found) if p >= 0} == planted_edges


def siblings(draw, n, d=3000, alike=0.6):
    """A root and fine-tunes of very different lengths that move alike."""
    root, common = draw.standard_normal((2, d))
    lengths = draw.uniform(0.05, 0.5, (n, 1))
    own = draw.standard_normal((n, d))
    steps = lengths * (alike**0.5 * common + (1 - alike) ** 0.5 * own)
    return np.float32(np.concatenate([root[None], root + steps]))


def test_siblings_that_move_alike_are_not_taken_for_parents():
    X = siblings(np.random.default_rng(0), 60)
    found = recover_parents(X)
    assert found.parent[0] == -1
    assert (found.parent[1:] == 0).mean() > 0.95
    near = recover_parents(X, inherited=0).parent
    assert (near[1:] == 0).mean() < 0.2


def test_a_tuned_sibling_keeps_its_own_child():
    draw = np.random.default_rng(1)
    X = siblings(draw, 30)
    child = X[7] + np.float32(0.2) * draw.standard_normal(X.shape[1]).astype(np.float32)
    found = recover_parents(np.concatenate([X, child[None]]))
    assert found.parent[-1] == 7
    assert found.confidence[-1] > 0.8


@given(st.integers(3, 12), st.integers(0, 99))
def test_weights_of_the_inverse_are_those_of_least_squares(n, seed):
    X = np.random.default_rng(seed).standard_normal((n, 40))
    inverse = precision(squared_distances(X))
    i = seed % n
    rest = np.delete(np.arange(n), i)
    base = X[rest[0]]  # weights of sum 1: a fit of differences
    solved = np.linalg.lstsq((X[rest[1:]] - base).T, X[i] - base, rcond=None)[0]
    expected = np.concatenate([[1 - solved.sum()], solved])
    np.testing.assert_allclose(-inverse[i, rest] / inverse[i, i], expected, atol=0.02)
    left = X[i] - expected @ X[rest]
    assert 1 / inverse[i, i] == pytest.approx(left @ left, rel=0.02)


def test_a_star_has_its_centre_as_root():
    draw = np.random.default_rng(0)
    X = draw.standard_normal(3000) + 0.3 * draw.standard_normal((15, 3000))
    X[4] = X.mean(0)
    found = recover_parents(X)
    assert found.parent[4] == -1
    assert (np.delete(found.parent, 4) == 4).all()


def test_kurtosis_gives_the_direction_of_a_chain():
    draw = np.random.default_rng(1)
    chain = [draw.standard_t(4, 20_000)]
    for _ in range(5):
        chain.append(chain[-1] + 0.3 * draw.standard_normal(20_000))
    found = recover_parents(np.array(chain), direction="kurtosis")
    assert found.parent.tolist() == [-1, 0, 1, 2, 3, 4]
    turned = recover_parents(np.array(chain), direction="rising kurtosis")
    assert turned.parent.tolist() == [1, 2, 3, 4, 5, -1]
    with pytest.raises(ValueError, match=r"direction must be one of .* Got 'up'"):
        recover_parents(np.array(chain), direction="up")


@given(st.integers(1, 12), st.integers(0, 99))
def test_the_spanning_tree_is_the_shortest_and_the_vote_the_best(n, seed):
    from scipy.sparse.csgraph import minimum_spanning_tree

    draw = np.random.default_rng(seed)
    away = draw.random((n, n)) + 0.1
    away = away + away.T
    edges = spanning_tree(away)
    expected = minimum_spanning_tree(np.triu(away, 1)).sum()
    assert sum(away[a, b] for a, b in edges) == pytest.approx(expected)
    falls = draw.permutation(n)

    def votes(root):
        up, _ = rooted(edges, root)
        return sum(np.sign(falls[p] - falls[i]) for i, p in enumerate(up) if p >= 0)

    assert votes(voted_root(edges, falls)) == max(votes(root) for root in range(n))


def test_two_roots_in_one_tree_are_refused():
    X, _, _ = planted(np.random.default_rng(0), (4,))
    with pytest.raises(ValueError, match=r"Tree 0 has 4 roots, rows \[0, 1, 2, 3\]"):
        recover_parents(X, roots=np.ones(4, bool))


def test_copies_have_no_distance():
    draw = np.random.default_rng(0)
    a = draw.standard_normal((1, 500))
    X = np.concatenate([a, a, a + 0.1 * draw.standard_normal((1, 500))])
    found = recover_parents(X, roots=[True, False, False])
    assert found.parent[1] == 0
    assert found.distance[1] == 0


# ------------------------------------------------------------------------------ routing


def test_networks_go_to_their_tree_and_strangers_to_none():
    draw = np.random.default_rng(0)
    X, _, trees = planted(draw, (30, 30, 30), step=0.1)
    half = np.arange(90) % 2 == 0
    router = Router(columns=500).fit(X[half])
    names = dict(zip(trees[half].tolist(), router.trees_.tolist(), strict=True))
    assert sorted(names.values()) == [0, 1, 2]
    expected = [names[t] for t in trees[~half].tolist()]
    assert router.predict(X[~half]).tolist() == expected
    strangers = draw.standard_normal((20, X.shape[1])).astype(np.float32)
    assert (router.predict(strangers) == -1).all()
    named = Router().fit(X[half], np.array(["a", "b", "c"])[trees[half]])
    assert named.predict(X[~half]).tolist() == ["abc"[t] for t in trees[~half]]
    assert named.predict(strangers[:2]).tolist() == ["", ""]


def test_a_tree_of_one_has_the_limit_of_the_others():
    X, _, _ = planted(np.random.default_rng(2), (10, 1))
    router = Router().fit(X)
    assert router.routes_.limits[0] == router.routes_.limits[1] < 0.9


@given(st.integers(0, 99))
def test_clusters_are_numbered_as_they_appear(seed):
    X, _, trees = planted(np.random.default_rng(seed), (5, 3, 4), d=600)
    found = clustered(X)
    first = [found.tolist().index(k) for k in range(3)]
    assert first == sorted(first)
    assert len(set(zip(found.tolist(), trees.tolist(), strict=True))) == 3


@pytest.mark.parametrize("params", [{"columns": 0}, {"apart": 1.0}])
def test_a_router_checks_its_parameters(params):
    with pytest.raises(ValueError, match="columns of Router"):
        Router(**params).fit(np.ones((3, 4)))


def test_an_expert_for_each_tree_knows_what_one_for_all_cannot(tmp_path):
    draw = np.random.default_rng(0)
    d, n = 40, 240
    roots = 20 * draw.standard_normal((2, d))
    trees = np.arange(n) % 2
    steps = draw.standard_normal((n, d))
    y = (steps[:, :4] * np.where(trees, 1, -1)[:, None] > 0).astype(int)
    X = (roots[trees] + steps).astype(np.float32)
    train, test = slice(0, 160), slice(160, n)
    probe = TreeProbe("classification", expert=LinearProbe(alphas=(0.001, 0.1)))
    probe.fit(X[train], y[train])
    one = LinearProbe("classification").fit(X[train], y[train])
    assert len(probe.experts_) == 2
    assert probe.score(X[test], y[test]) > 0.75 > 0.65 > one.score(X[test], y[test])
    save(probe, tmp_path / "tree")
    again = load(tmp_path / "tree")
    np.testing.assert_array_equal(again.predict(X), probe.predict(X))
    assert again.expert.alphas == (0.001, 0.1)
    strange = 20 * draw.standard_normal((3, d))
    assert again.tree(strange).tolist() == [-1] * 3
    assert again.predict(strange).shape == (3, 4)
    again.strangers = "refuse"
    with pytest.raises(ValueError, match="3 of 3 networks are near no root"):
        again.predict(strange)


# ------------------------------------------------------------------------------ sharing


def test_frozen_and_rounded_tensors_are_told_from_trained_ones():
    draw = np.random.default_rng(0)
    parent = draw.standard_normal((5, MODULE.d)).astype(np.float32)
    child = parent + np.float32(1e-3) * draw.standard_normal((5, MODULE.d)).astype("f4")
    still = ["0.weight", "2.bias"]
    for name in still:
        child[:, MODULE.slices[name]] = parent[:, MODULE.slices[name]]
    half = MODULE.slices["0.bias"]
    child[2:, half] = parent[2:, half].astype(np.float16)
    found = frozen_tensors(child, parent, MODULE)
    assert [name for name in found if found[name].all()] == still
    assert found["0.bias"].tolist() == [False, False, True, True, True]
    assert not found["2.weight"].any()
    with pytest.raises(LayoutMismatch, match="must both be"):
        frozen_tensors(child, parent[:2], MODULE)


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_a_rounding_is_named_by_the_finest_type_that_explains_it(kind):
    draw = np.random.default_rng(0)
    values = draw.standard_normal((50, 40)) * 10.0 ** draw.integers(-9, 3, (50, 40))
    stored = {"w": values.astype(kind)}
    (one,) = shared_tensors({"w": values}, stored)
    assert (one.kind, one.frozen) == (kind, True)
    moved = {"w": values * (1 + 1e-2)}
    assert shared_tensors({"w": values}, moved)[0].kind == "different"


def test_networks_without_a_common_tensor_cannot_be_compared():
    with pytest.raises(LayoutMismatch, match=r"no tensor of one name.*find_reuse"):
        shared_tensors({"a": np.ones(2)}, {"a": np.ones(3)})


# -------------------------------------------------------------------------------- reuse


def embedding(draw, n=12, parts=4, noise=0.0, kept=None, shuffled=False):
    """Hosts (n), of which the last three embed nothing; parts; who embeds which."""
    modules = draw.standard_normal((parts, MODULE.d)).astype(np.float32)
    hosts = draw.standard_normal((n, HOST.d)).astype(np.float32)
    truth = np.append(draw.integers(0, parts, n - 3), [-1] * 3)
    rows = np.flatnonzero(truth >= 0)
    copies = modules[truth[rows]]
    if shuffled:
        orders = random_permutations(MODULE, len(rows), seed=1)
        copies = permute(copies, orders, MODULE)
    for name, columns in MODULE.slices.items():
        if kept is None or name in kept:
            values = copies[:, columns]
            off = noise * draw.standard_normal(values.shape)
            hosts[rows[:, None], np.r_[HOST.slices[f"inner.{name}"]]] = values + off
    return hosts, modules, truth


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5]))
def test_embedded_networks_are_found_under_other_names_and_noise(seed, noise):
    hosts, modules, truth = embedding(np.random.default_rng(seed), noise=noise)
    found = find_reuse(hosts, HOST, modules, MODULE)
    np.testing.assert_array_equal(found.part, truth)
    if noise == 0:
        rows = np.flatnonzero(truth >= 0)
        np.testing.assert_allclose(found.scores[rows, truth[rows]], 1, atol=1e-5)


def test_partial_copies_and_reordered_units_are_found():
    draw = np.random.default_rng(5)
    hosts, modules, truth = embedding(draw, kept=("0.weight", "0.bias"), noise=0.1)
    found = find_reuse(hosts, HOST, modules, MODULE)
    np.testing.assert_array_equal(found.part, truth)
    hosts, modules, truth = embedding(draw, shuffled=True, noise=0.1)
    assert (find_reuse(hosts, HOST, modules, MODULE).part == -1).all()
    found = find_reuse(hosts, HOST, modules, MODULE, permuted=True)
    np.testing.assert_array_equal(found.part, truth)


def test_of_equal_parts_none_is_the_parent():
    hosts, modules, _ = embedding(np.random.default_rng(0), parts=2)
    modules[1] = modules[0]
    found = find_reuse(hosts, HOST, modules, MODULE)
    assert (found.part == -1).all()


def test_constant_and_scalar_tensors_say_nothing():
    layout = Layout((Param("scale", (64,)), Param("one", (1,)), Param("w", (2, 2))))
    hosts = np.ones((3, layout.d), np.float32)
    found = find_reuse(hosts, layout, hosts[:1], layout)
    assert (found.scores == 0).all()
    assert (found.part == -1).all()


def test_placements_are_the_longest_runs_of_one_shape():
    (place,) = placements(HOST, MODULE)
    assert place.part == tuple(p.name for p in MODULE)
    assert place.host == tuple(f"inner.{name}" for name in place.part)
    assert place.coverage == 1
    other = Layout((Param("x", (2, 2)),))
    assert not list(placements(HOST, other))
    nothing = find_reuse(np.ones((2, HOST.d)), HOST, np.ones((3, 4)), other)
    assert nothing.scores.shape == (2, 3)
    assert nothing.part.tolist() == [-1, -1]
    with pytest.raises(LayoutMismatch, match="parts must be"):
        find_reuse(np.ones((2, HOST.d)), HOST, np.ones((3, 5)), other)


# ------------------------------------------------------------------------------- survey


def named(weights, layout, names):
    parents = pa.nulls(len(names), pa.list_(pa.struct([("run_id", pa.string())])))
    table = pa.table({"run_id": names, "step": [0] * len(names), "parents": parents})
    return Population(np.float32(weights), layout, table)


def test_a_survey_finds_embedded_and_tuned_networks_together():
    draw = np.random.default_rng(0)
    hosts, modules, truth = embedding(draw)
    tuned = modules[0] + 0.1 * draw.standard_normal((6, MODULE.d))
    small = np.concatenate([modules, tuned])
    names = [f"m{i}" for i in range(4)] + [f"t{i}" for i in range(6)]
    found = lineage_of(
        [
            named(hosts, HOST, [f"h{i}" for i in range(12)]),
            named(small, MODULE, names),
        ]
    )
    by_id = {one.run_id: one for one in found}
    for i, part in enumerate(truth):
        one = by_id[f"h{i}"]
        if part > 0:
            assert (one.parent, one.relation) == (f"m{part}", "embedded")
        elif part < 0:
            assert one == Found(f"h{i}")
    assert all(by_id[f"t{i}"].parent == "m0" for i in range(6))
    assert all(by_id[f"m{i}"].parent is None for i in range(4))
    counts = parent_agreement(
        found, {"t0": ["m0"], "t1": ["m1"], "m1": ["m2"], "m2": ["gone"]}
    )
    assert (counts.right, counts.wrong, counts.missed) == (1, 1, 1)


def test_the_verb_compares_with_what_was_recorded(tmp_path):
    from click.testing import CliRunner

    import catalog
    from probes.lineage.cli import lineage

    hosts, modules, _ = embedding(np.random.default_rng(0))
    source, rows = tmp_path / "networks.npz", {}
    for k, row in enumerate(modules):
        for name, values in MODULE.unflatten(row).items():
            rows[f"part{k}|{name}"] = values
    for k, row in enumerate(hosts):
        for name, values in HOST.unflatten(row).items():
            rows[f"host{k}|{name}"] = values
    np.savez(source, **rows)
    catalog.import_source(tmp_path / "zoo", source)
    run = CliRunner().invoke(lineage, ["--catalog", str(tmp_path / "zoo"), "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.output)
    expected = {"right": 9, "wrong": 0, "missed": 0, "false": 0, "roots": 7}
    assert document["recorded_parents"] == expected
    assert sum(one["relation"] == "embedded" for one in document["networks"]) == 9
    printed = CliRunner().invoke(
        lineage, ["--catalog", str(tmp_path / "zoo"), "--limit", "2"]
    )
    assert "... 7 more" in printed.output
    assert "16 networks, 7 roots" in printed.output
    none = CliRunner().invoke(
        lineage, ["--catalog", str(tmp_path / "zoo"), "--where", "zoo = 'no'"]
    )
    assert isinstance(none.exception, NotFound)
    for where in ("true GROUP BY zoo", "true) OR (true", "run_id", "setseed(0.1) IS NULL"):
        wrong = CliRunner().invoke(
            lineage, ["--catalog", str(tmp_path / "zoo"), "--where", where]
        )
        assert isinstance(wrong.exception, CatalogError), where
    assert open_catalog(tmp_path / "zoo").sql("FROM runs").fetchall()
