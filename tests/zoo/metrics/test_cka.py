"""CKA: the definition in Gram matrices, its invariances, and networks of known kinship."""

import json
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import Layout, Param
from zoo.architectures.resnet import ResNet18
from zoo.engine.stack import build_architecture
from zoo.landscape.linear_cka import Features
from zoo.metrics.cka import CKA, cka
from zoo.networks import Networks
from zoo.randomness import stream
from zoo.samples import view

CPU = torch.device("cpu")
WIDTHS = st.sampled_from([(20, 3, 5), (6, 9, 30), (12, 40, 40), (15, 15, 2)])


def defined(x, y, debiased=False):
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) in n x n matrices."""

    def hsic(k, m):
        n = len(k)
        if not debiased:
            h = np.eye(n) - 1 / n
            return np.trace(k @ h @ m @ h)
        k, m = (a - np.diag(np.diag(a)) for a in (k, m))
        one = np.ones(n)
        return (
            np.trace(k @ m)
            + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * one @ k @ m @ one
        )

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def of(x, y, **options):
    first, second = (Features.of(torch.from_numpy(v)[None]) for v in (x, y))
    return float(first.cka(second, torch.tensor([[0, 0]]), **options)[0])


def drawn(widths, seed):
    """Features of two networks that share something."""
    n, p, q = widths
    draw = np.random.default_rng(seed)
    common = draw.normal(size=(n, 2))
    return [
        draw.normal(size=(n, k)) + common @ draw.normal(size=(2, k)) + 3 for k in (p, q)
    ]


@given(WIDTHS, st.integers(0, 100), st.booleans())
@settings(deadline=None)
def test_it_is_the_definition(widths, seed, debiased):
    n, p, q = widths
    x, y = drawn((n, max(p, q), max(p, q)), seed)
    assert of(x, y, debiased=debiased) == pytest.approx(defined(x, y, debiased), abs=1e-9)


@given(WIDTHS, st.integers(0, 100), st.booleans())
@settings(deadline=None)
def test_rotation_scale_and_shift_do_not_matter(widths, seed, debiased):
    n, p, _ = widths
    x, y = drawn((n, p, p), seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(p, p)))
    moved = 7 * x @ turn - 2
    same = of(x, y, debiased=debiased)
    assert of(moved, y, debiased=debiased) == pytest.approx(same, abs=1e-8)
    assert of(moved, x, debiased=debiased) == pytest.approx(1, abs=1e-8)
    order = np.random.default_rng(seed).permutation(n)
    assert of(x[order], y[order], debiased=debiased) == pytest.approx(same, abs=1e-8)


def test_noise_has_none_once_debiased():
    draw = np.random.default_rng(0)
    found = {False: [], True: []}
    for _ in range(40):
        x, y = draw.normal(size=(2, 50, 25))
        for debiased, values in found.items():
            values.append(of(x, y, debiased=debiased))
    assert 0.25 < np.mean(found[False]) < 0.4  # d / (d + n) = 1/3
    assert abs(np.mean(found[True])) < 0.02


def test_what_does_not_vary_has_no_similarity():
    x, y = drawn((1283, 3, 3), 0)
    constant = np.broadcast_to(np.float32([0.1, 1e5 / 3, -3e-7]), x.shape).copy()
    assert np.isnan(of(constant, y))
    assert np.isnan(of(constant, constant))


def test_too_few_samples_are_an_error():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"at least 4 samples\. Got 3"):
        of(x, x, debiased=True)


# ----------------------------------------------------------------------- of networks


@dataclass(frozen=True)
class Tokens:
    """Token networks: logits of each position are a linear map of its pixels."""

    activations = 4

    @property
    def layout(self):
        return Layout((Param("w", (3, 20)),))

    def init(self, generator):
        return generator.normal(size=60).astype(np.float32)

    def forward(self, tensors, x, *, training=False, taps=None):
        logits = x.squeeze(2) @ tensors["w"].mT.unsqueeze(1)
        if taps is not None:
            taps["embedding"] = x.squeeze(2)
        return logits


@pytest.fixture(scope="module")
def zoo(blobs, make_run, fit):
    """Two cells of three trained seeds."""

    def zoo(network="mlp", **fields):
        runs = tuple(
            make_run(network, seed=seed, cell=cell, lr=lr, **fields)
            for cell, lr in (("a", 0.02), ("b", 0.05))
            for seed in range(3)
        )
        weights = fit(blobs, *runs).checkpoints[-1].weights
        architecture = build_architecture(dict(runs[0].architecture))
        cells = tuple(run.cell for run in runs)
        return Networks(architecture, blobs, runs, (40,) * 6, cells, weights, CPU)

    return zoo


def features_of(networks, i, weights=None):
    """Hidden features and logits of one network on the validation split, in torch."""
    module = networks.architecture.module()
    weights = networks.weights[i] if weights is None else weights
    tensors = networks.architecture.layout.unflatten(weights[None])
    module.load_state_dict({k: torch.from_numpy(v[0].copy()) for k, v in tensors.items()})
    seen = view(networks.runs[i], networks.data, "validation")
    x = torch.from_numpy(networks.data.x["validation"][seen.index])
    with torch.no_grad():
        hidden = module[:-1](x).numpy().astype(np.float64)
        return hidden, module(x).numpy().astype(np.float64)


@pytest.mark.parametrize("debiased", [False, True])
def test_a_network_has_the_mean_over_its_partners(zoo, debiased):
    networks = zoo()
    found = CKA(debiased=debiased).measure(networks, seed=0)
    features = [features_of(networks, i) for i in range(6)]
    for column, which in (("hidden_cka", 0), ("logit_cka", 1)):
        for i in range(6):
            others = [j for j in range(6) if j // 3 == i // 3 and j != i]
            values = [
                defined(features[i][which], features[j][which], debiased) for j in others
            ]
            assert found[column][i] == pytest.approx(np.mean(values), abs=1e-5)
            trio = range(i // 3 * 3, i // 3 * 3 + 3)
            left = [
                defined(features[j][which], features[k][which], debiased)
                for j in trio
                for k in trio
                if j < k
            ]
            error = np.sqrt(2 / 3 * np.sum((left - np.mean(left)) ** 2))
            assert found[f"{column}_se"][i] == pytest.approx(error, abs=1e-5)
    for end in ("", "_se"):
        np.testing.assert_array_equal(found[f"cka_first{end}"], found[f"hidden_cka{end}"])
        np.testing.assert_array_equal(found[f"cka_last{end}"], found[f"hidden_cka{end}"])
    for text, value in zip(found["layer_cka"], found["hidden_cka"], strict=True):
        assert json.loads(text) == {"layer0": round(value, 6)}


def test_the_anchor_is_of_fresh_networks(zoo):
    networks = zoo()
    measured = cka.measure(networks, seed=7)
    found = measured["logit_cka_random"]
    draws = [networks.architecture.init(stream(7, f"random network {k}")) for k in range(3)]
    for i in range(6):
        mine = features_of(networks, i)[1]
        values = [defined(mine, features_of(networks, i, draw)[1]) for draw in draws]
        assert found[i] == pytest.approx(np.mean(values), abs=1e-5)
        error = np.std(values, ddof=1) / 3**0.5
        assert measured["logit_cka_random_se"][i] == pytest.approx(error, abs=1e-5)
    alone = CKA(random=1).measure(networks, seed=7)
    assert np.isnan(alone["logit_cka_random_se"]).all()
    assert found.mean() < cka.measure(networks, seed=7)["logit_cka"].mean() - 0.1
    assert (cka.measure(networks, seed=8)["logit_cka_random"] != found).all()


def test_layers_stand_in_order_and_maps_are_flat(zoo):
    networks = zoo("cnn")
    found = CKA(samples=20).measure(networks, seed=0)
    for i in range(6):
        layers = list(json.loads(found["layer_cka"][i]).values())
        assert len(layers) > 2
        assert layers[0] == pytest.approx(found["cka_first"][i], abs=1e-5)
        assert layers[-1] == pytest.approx(found["cka_last"][i], abs=1e-5)
        assert np.mean(layers) == pytest.approx(found["hidden_cka"][i], abs=1e-5)


def test_networks_without_hidden_layers_have_only_logits(zoo):
    found = cka.measure(zoo("linear"), seed=0)
    assert set(found) == {column.name for column in cka.columns}
    assert np.isfinite(found["logit_cka"]).all()
    assert np.isnan(found["hidden_cka"]).all()
    assert found["layer_cka"].tolist() == [None] * 6


def test_a_permuted_copy_is_the_same(zoo):
    networks = zoo()
    layout = networks.architecture.layout
    tensors = {k: v.copy() for k, v in layout.unflatten(networks.weights[:1]).items()}
    tensors["layer0.weight"] = tensors["layer0.weight"][:, ::-1]
    tensors["layer0.bias"] = tensors["layer0.bias"][:, ::-1]
    tensors["layer1.weight"] = tensors["layer1.weight"][:, :, ::-1]
    networks.weights[1] = layout.flatten(tensors)[0]
    found = cka.measure(networks.take([0, 1]), seed=0)
    for name in ("logit_cka", "hidden_cka"):
        np.testing.assert_allclose(found[name], 1, atol=1e-6)


def test_a_dead_network_changes_no_bit_of_its_neighbours(zoo):
    networks = zoo()
    found = cka.measure(networks, seed=0)
    networks.weights[1] = np.nan
    beside = cka.measure(networks, seed=0)
    for name in ("logit_cka", "logit_cka_random", "hidden_cka"):
        assert np.isnan(beside[name][1])
        assert np.array_equal(found[name][3:], beside[name][3:])
        assert np.isfinite(beside[name][[0, 2]]).all()
    assert beside["layer_cka"][1] is None


def test_seeds_see_the_same_inputs_whatever_they_were_trained_on(zoo):
    networks = zoo(train_samples=60, label_noise=0.1)
    metric = CKA(split="train")
    plain = replace(
        networks,
        runs=tuple(replace(r, train_samples=None, label_noise=0.0) for r in networks.runs),
    )
    found, whole = (metric.measure(n, seed=0) for n in (networks, plain))
    assert np.array_equal(found["logit_cka"], whole["logit_cka"])


def test_cells_of_other_classes_see_inputs_of_their_own(zoo):
    networks = zoo()
    alone = cka.measure(networks.take([0, 1, 2]), seed=0)
    runs = tuple(
        replace(run, classes=(0, 1, 2)) if run.cell == "b" else run for run in networks.runs
    )
    found = cka.measure(replace(networks, runs=runs), seed=0)
    assert np.array_equal(found["logit_cka"][:3], alone["logit_cka"])
    assert (found["logit_cka"] != cka.measure(networks, seed=0)["logit_cka"])[3:].all()


def test_small_memory_gives_the_same(zoo, monkeypatch):
    networks = zoo("cnn")
    found = CKA(samples=20).measure(networks, seed=0)
    monkeypatch.setattr(sys.modules["zoo.metrics.cka"], "FEATURE_FLOATS", 1)
    monkeypatch.setattr(sys.modules["zoo.metrics.cka"], "KEPT_FLOATS", 1)
    monkeypatch.setattr("zoo.landscape.linear_cka.BLOCK_FLOATS", 1)
    kept = []
    of = CKA._features

    def counted(*arguments):
        features = of(*arguments)
        kept.append(len(features))
        return features

    monkeypatch.setattr(CKA, "_features", counted)
    shares: list[float] = []
    small = CKA(samples=20).measure(networks, seed=0, progress=shares.append)
    for name in ("logit_cka", "logit_cka_random", "hidden_cka", "cka_first", "cka_last"):
        np.testing.assert_allclose(small[name], found[name], atol=1e-5)
    assert list(json.loads(small["layer_cka"][0])) == list(
        json.loads(found["layer_cka"][0])
    )
    assert set(kept) == {1}
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_anchor_does_not_depend_on_how_many_are_measured(blobs, make_run):
    """Statistics of batch normalisation are those of batches of one size."""
    network = ResNet18(2, (1, 20, 20), 6)
    weights = np.stack([network.init(stream(s, "init")) for s in range(2)])
    runs = tuple(make_run(seed=s, architecture=network.config()) for s in range(2))
    networks = Networks(network, blobs, runs, (0,) * 2, ("c",) * 2, weights, CPU)
    metric = CKA(split="train", samples=200, random=2)
    alone = metric.measure(networks, seed=0)
    cells = tuple(str(i // 2) for i in range(24))
    beside = metric.measure(replace(networks.take([0, 1] * 12), cells=cells), seed=0)
    for name in ("logit_cka_random", "logit_cka"):
        np.testing.assert_allclose(beside[name][:2], alone[name], rtol=1e-4)


def test_each_token_is_a_sample(zoo):
    networks = zoo()
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(6, 60)).astype(np.float32)
    found = cka.measure(replace(networks, architecture=Tokens(), weights=weights), seed=0)
    x = networks.data.x["validation"].reshape(-1, 20).astype(np.float64)
    first, second, third = (x @ w.reshape(3, 20).T for w in weights[:3])
    expected = np.mean([defined(first, second), defined(first, third)])
    assert found["logit_cka"][0] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(found["hidden_cka"], 1)


def test_of_long_texts_some_tokens_count(zoo, monkeypatch):
    """Of 30 sequences of 20 tokens 4 each, the same of every network."""
    monkeypatch.setattr(sys.modules["zoo.metrics.cka"], "TOKENS", 130)
    networks = zoo()
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(6, 60)).astype(np.float32)
    sizes = []
    of = Features.of

    def counted(values):
        sizes.append(values.shape[1])
        return of(values)

    monkeypatch.setattr(Features, "of", counted)
    found = cka.measure(replace(networks, architecture=Tokens(), weights=weights), seed=0)
    assert set(sizes) == {120}
    np.testing.assert_allclose(found["hidden_cka"], 1)
    monkeypatch.setattr(sys.modules["zoo.metrics.cka"], "TOKENS", 8192)
    whole = cka.measure(replace(networks, architecture=Tokens(), weights=weights), seed=0)
    np.testing.assert_allclose(found["logit_cka"], whole["logit_cka"], atol=0.15)
    assert (found["logit_cka"] != whole["logit_cka"]).all()


@pytest.mark.parametrize(
    ("name", "value"), [("split", "dev"), ("samples", 3), ("random", 0)]
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} .* Got '?{value}"):
        CKA(**{name: value})
