"""Learnt probes: the papers' formulas, exact shortcuts, what is learnt, and resuming."""

import numpy as np
import pytest
import torch

import probes.learning.descent
from catalog import CatalogError, Layout, Param
from probes.estimators.mvprobe import MVProbe
from probes.estimators.probex import ProbeX
from probes.exact.centring import Centring
from probes.layers import Dense, layers_of
from probes.learning.bases import Bases
from probes.learning.encoders import EncoderNetwork, MVProbeEncoder, ProbeXEncoder
from probes.learning.matrices import DenseMatrices, LowRankMatrices
from probes.learning.resident import Resident

MATRIX = Layout((Param("w", (12, 10)),))
ADAPTER = Layout((Param("q.lora_A.weight", (2, 9)), Param("q.lora_B.weight", (7, 2))))
SMALL = {"n_probes": 8, "n_projections": 8, "n_representation": 8, "epochs": 30, "lr": 0.01}
BOTH = pytest.mark.parametrize("kind", [ProbeX, MVProbe])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def planted(n=240, seed=0):
    """Labels that are signs of inner products with rank-1 matrices, on a common root."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((3, 12)), rng.standard_normal((3, 10))
    deltas = rng.standard_normal((n, 12, 10))
    y = (np.einsum("nij,ki,kj->nk", deltas, u, v) > 0).astype(int)
    root = 30 * rng.standard_normal((12, 10))
    return (root + deltas).reshape(n, -1).astype(np.float32), y


def numbers(module):
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


# --------------------------------------------------------------------------- formulas


def test_probex_is_the_formula_of_its_paper():
    X = draw(4, 6, 5)
    encoder = ProbeXEncoder((6, 5), 3, 4, 2)
    p = numbers(encoder)
    M = p["M.weight"].reshape(2, 3, 4)
    expected = [
        sum(M[:, i] @ np.maximum(p["V"].T @ x @ p["U"][:, i], 0) for i in range(3))
        + p["M.bias"]
        for x in X
    ]
    got = encoder(DenseMatrices(torch.from_numpy(X))).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_mvprobe_is_the_formula_of_its_paper():
    X = draw(4, 6, 5)
    encoder = MVProbeEncoder((6, 5), 3, 4, 2)
    p = numbers(encoder)
    expected = []
    for x in X:
        views = (x @ p["U"], x @ x.T @ p["W"], x.T @ p["V"], x.T @ x @ p["Z"])
        seen = []
        for i, view in enumerate(views):
            normal = (view - view.mean()) / view.std(ddof=1)
            seen.append(np.maximum(normal.T @ p[f"projections.{i}"], 0).ravel())
        expected.append(p["encoder.weight"] @ np.concatenate(seen) + p["encoder.bias"])
    T = torch.from_numpy(X)
    for batch in (DenseMatrices(T), DenseMatrices(T, T @ T.mT, T.mT @ T)):
        got = encoder(batch).detach().numpy()
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_sizes_are_those_of_the_papers():
    def count(encoder, rep):
        with torch.device("meta"):
            network = EncoderNetwork(encoder, [(768, 768)], rep, 100)
        return sum(p.numel() for p in network.parameters())

    assert count(lambda s: ProbeXEncoder(s, 128, 128, 128), 128) == 2_306_788
    assert count(lambda s: MVProbeEncoder(s, 128, 128, 512), 512) == 34_392_676


def test_a_linear_probex_is_a_tucker_contraction():
    X = draw(5, 6, 5)
    encoder = ProbeXEncoder((6, 5), 3, 4, 2, relu=False)
    p = numbers(encoder)
    core = p["M.weight"].reshape(2, 3, 4)
    expert = np.einsum("tla,ia,jl->tij", core, p["V"], p["U"])
    expected = np.einsum("tij,nij->nt", expert, X) + p["M.bias"]
    got = encoder(DenseMatrices(torch.from_numpy(X))).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_gradient_of_shared_products_is_that_of_autograd():
    X = torch.from_numpy(draw(4, 6, 5)).double()
    V = torch.from_numpy(draw(6, 3)).double().requires_grad_()
    batch = DenseMatrices(X)
    assert torch.autograd.gradcheck(batch.left, V)
    assert torch.autograd.gradcheck(batch.outer, V)


@pytest.mark.parametrize("root", ["mean", None])
@pytest.mark.parametrize("scale", ["global", "sample", None])
@pytest.mark.parametrize("kept", [True, False])
def test_low_rank_products_are_those_of_the_formed_matrix(root, scale, kept):
    X = draw(6, ADAPTER.d).astype(np.float64)
    (layer,) = layers_of(ADAPTER)
    centring = Centring.of(X, layer, root, scale)
    rows = torch.arange(6)
    factors = Resident.of(X, centring, torch.float64, second_order=kept).take(rows)
    assert isinstance(factors, LowRankMatrices)
    formed = DenseMatrices(torch.from_numpy(centring.apply(X)))
    right, left = (torch.from_numpy(draw(m, 3)).double() for m in (9, 7))
    for name, probe in (
        ("right", right),
        ("left", left),
        ("outer", left),
        ("inner", right),
    ):
        got, expected = (getattr(m, name)(probe) for m in (factors, formed))
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@BOTH
def test_a_low_rank_product_is_never_formed(kind, monkeypatch):
    X, y = draw(30, ADAPTER.d), draw(30)
    monkeypatch.setattr(Centring, "apply", None)
    probe = kind(layout=ADAPTER, root=None, **SMALL).fit(X, y)
    assert probe.predict(X).shape == (30,)


def test_gram_matrices_are_kept_where_they_fit(monkeypatch):
    X, y = planted(60)
    probe = MVProbe("classification", layout=MATRIX, **SMALL)
    expected = probe.fit(X, y).embed(X)
    assert set(probe._batches(X).layers[0].tensors) == {"X", "XXt", "XtX"}
    monkeypatch.setattr("probes.learning.resident.GRAM_BYTES", 0)
    assert set(probe._batches(X).layers[0].tensors) == {"X"}
    np.testing.assert_allclose(probe.fit(X, y).embed(X), expected, atol=1e-3)


def test_mvprobe_does_not_see_the_scale_of_a_network():
    X, y = planted(60)
    probe = MVProbe("classification", layout=MATRIX, root=None, **SMALL).fit(X, y)
    scales = np.random.default_rng(1).uniform(0.1, 10, (60, 1))
    np.testing.assert_allclose(
        probe.embed(scales * X), probe.embed(X), rtol=1e-6, atol=1e-8
    )


# --------------------------------------------------------------------------- learning


@BOTH
@pytest.mark.parametrize("cores", [None, 4])
def test_planted_labels_are_learnt_on_a_root(kind, cores):
    X, y = planted()
    sizes = {**SMALL, "n_probes": 16, "n_projections": 16, "n_representation": 16}
    probe = kind("classification", layout=MATRIX, cores=cores, **sizes)
    probe.fit(X[:160], y[:160])
    right = (probe.predict(X[160:]) == y[160:]).mean(1)
    error = right.std() / np.sqrt(len(right))
    assert right.mean() - 3 * error > 0.55


def test_raw_weights_of_one_tree_are_not_learnt():
    X, y = planted()
    probe = ProbeX.paper(layout=MATRIX, **SMALL).fit(X[:160], y[:160])
    assert probe.score(X[160:], y[160:]) < 0.62
    assert (probe.n_probes, probe.root, probe.scale) == (8, None, None)


def test_presets_are_the_published_ones():
    probex, mvprobe = ProbeX.paper(), MVProbe.paper()
    sizes = ("n_probes", "n_projections", "n_representation", "epochs", "lr", "batch_size")
    assert [getattr(probex, s) for s in sizes] == [128, 128, 128, 500, 1e-3, 128]
    assert [getattr(mvprobe, s) for s in sizes] == [128, 128, 512, 3000, 3e-4, 128]
    for probe in (probex, mvprobe):
        assert (probe.root, probe.scale, probe.cores) == (None, None, None)
        assert (probe.weight_decay, probe.evaluate_every) == (1e-5, 25)


@BOTH
def test_bfloat16_predicts_what_float32_does(kind):
    X, y = planted()
    params = {"task": "classification", "layout": MATRIX, **SMALL}
    scores = [
        kind(precision=precision, **params).fit(X[:160], y[:160]).score(X[160:], y[160:])
        for precision in ("float32", "bfloat16")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.05)


def test_bases_are_learnt_without_the_held_out_rows():
    X, y = planted(80)
    groups = np.arange(80) // 2
    params = {"layout": MATRIX, "cores": 3, **SMALL}
    probe = ProbeX("classification", **params).fit(X, y, groups)
    held = probe._split(groups)[1]
    other = y.copy()
    other[held] = 1 - other[held]
    again = ProbeX("classification", **params).fit(X, other, groups)
    assert isinstance(probe.seen_[0], Bases)
    np.testing.assert_array_equal(probe.seen_[0].left, again.seen_[0].left)
    assert set(groups[held]).isdisjoint(np.delete(groups, held))


def test_several_layers_have_learnt_weights():
    rng = np.random.default_rng(0)
    layout = Layout((Param("a", (6, 5)), Param("b", (4, 6))))
    X = rng.standard_normal((200, layout.d)).astype(np.float32)
    y = X[:, layout.slices["b"]][:, :3].sum(1)
    probe = ProbeX(layout=layout, **{**SMALL, "epochs": 60}).fit(X[:150], y[:150])
    assert probe.score(X[150:], y[150:]) > 0.5
    noise, signal = probe.weights_["mixture"]
    assert signal > noise


def test_the_best_checkpoint_is_kept():
    X, y = planted(100)
    params = {**SMALL, "epochs": 40, "lr": 0.03, "evaluate_every": 1}
    probe = ProbeX("classification", layout=MATRIX, **params).fit(X, y)
    held = probe._split(np.arange(100))[1]
    best = probe.curve_["validation_score"].max()
    assert probe.score(X[held], y[held]) == pytest.approx(best)
    assert probe.curve_["epoch"].tolist() == list(range(1, 41))


def test_patience_stops():
    X = draw(60, MATRIX.d)
    y = np.random.default_rng(1).integers(0, 2, 60)
    params = {**SMALL, "epochs": 300, "evaluate_every": 1, "patience": 3}
    probe = ProbeX("classification", layout=MATRIX, **params).fit(X, y)
    assert probe.curve_["epoch"][-1] < 100


# --------------------------------------------------------------------------- resuming


def watched(monkeypatch, probe, X, y, at=None):
    """Fit, interrupted in an epoch; the numbers of those that were begun."""
    original, seen = probes.learning.descent._epoch, []

    def epoch(optimizer, loss, rows, descent, number):
        seen.append(number)
        if number == at:
            raise KeyboardInterrupt
        return original(optimizer, loss, rows, descent, number)

    monkeypatch.setattr(probes.learning.descent, "PAUSE", 0.0)
    monkeypatch.setattr(probes.learning.descent, "_epoch", epoch)
    if at is None:
        probe.fit(X, y)
    else:
        with pytest.raises(KeyboardInterrupt, match=f"{at} epochs were done"):
            probe.fit(X, y)
    monkeypatch.setattr(probes.learning.descent, "_epoch", original)
    return seen


@BOTH
def test_a_killed_fit_goes_on_bit_for_bit(kind, monkeypatch, tmp_path):
    X, y = planted(60)
    params = {"task": "classification", "layout": MATRIX, **SMALL, "batch_size": 16}
    params |= {"epochs": 12, "evaluate_every": 3}
    whole = kind(**params).fit(X, y)
    half = kind(**params, resume=tmp_path / "state")
    watched(monkeypatch, half, X, y, at=7)
    resumed = kind(**params, resume=str(tmp_path / "state"))
    seen = watched(monkeypatch, resumed, X, y)
    assert seen == list(range(7, 12))
    for name, values in whole.weights_.items():
        np.testing.assert_array_equal(resumed.weights_[name], values)
    for name, values in whole.curve_.items():
        np.testing.assert_array_equal(resumed.curve_[name], values)


def test_a_state_of_another_fit_is_refused(tmp_path):
    X, y = planted(40)
    params = {"task": "classification", "layout": MATRIX, **SMALL, "epochs": 2}
    path = tmp_path / "state"
    ProbeX(**params, resume=path).fit(X, y)
    for change in ({"lr": 0.5}, {"random_state": 1}, {"root": None}):
        with pytest.raises(CatalogError, match="another"):
            ProbeX(**{**params, **change}, resume=path).fit(X, y)
    with pytest.raises(CatalogError, match="another"):
        ProbeX(**params, resume=path).fit(X + 1e-3 * draw(*X.shape), y)
    longer = ProbeX(**{**params, "epochs": 4}, resume=path).fit(X, y)
    assert longer.curve_["epoch"][-1] == 4


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs of ProbeX must be 1 or more. Got 0"),
        ({"cores": 0}, "cores of ProbeX must be 1 or more. Got 0"),
        ({"validation": 1.0}, "in \\[0, 1\\). Got 1.0"),
        ({"precision": "float16"}, "Got 'float16'"),
        ({"precision": "bfloat16", "root": None}, "root='mean'"),
        ({"lr": 1e30}, "smaller lr"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    X, y = planted(40)
    with pytest.raises(ValueError, match=message):
        ProbeX(layout=MATRIX, **{**SMALL, **change}).fit(X, y)


@BOTH
def test_one_group_cannot_be_split(kind):
    X, y = planted(20)
    with pytest.raises(ValueError, match="validation=0"):
        kind(layout=MATRIX, **SMALL).fit(X, y, np.zeros(20))


def test_a_batch_reuses_its_memory():
    X = draw(10, 12)
    resident = Resident.of(
        X,
        Centring.of(X, Dense("", 0, (3, 4)), None, None),
        torch.float32,
        second_order=False,
    )
    buffers = {}
    first = resident.take(torch.tensor([1, 2, 3]), buffers)
    again = resident.take(torch.tensor([4, 5]), buffers)
    assert first.X.data_ptr() == again.X.data_ptr()
    np.testing.assert_array_equal(again.X.numpy(), X[4:6].reshape(2, 3, 4))
