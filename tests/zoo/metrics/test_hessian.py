"""Eigenvalues and trace against dense Hessians in double precision."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import zoo.objectives
from zoo.architectures import MLP, CNNSmall
from zoo.landscape.lanczos import deflated, lanczos
from zoo.metrics import hessian
from zoo.metrics.hessian import Hessian
from zoo.networks import Networks
from zoo.objective import Batch, Objective
from zoo.randomness import stream

CPU, COUNT = torch.device("cpu"), 60
NETWORKS = [
    MLP((400, 2, 6), "relu"),
    MLP((400, 2, 3, 6), "tanh"),
    CNNSmall(2, (1, 20, 20), 6, "relu"),
]
one_of_each = pytest.mark.parametrize("network", NETWORKS, ids=repr)


@pytest.fixture(scope="module")
def stacked(blobs, make_run) -> Callable[..., Networks]:
    def make(network=NETWORKS[1], nets=3) -> Networks:
        draws = [2 * network.init(stream(seed, "init")) for seed in range(nets)]
        runs = (make_run(),) * nets
        return Networks(
            network, blobs, runs, (0,) * nets, ("",) * nets, np.stack(draws), CPU
        )

    return make


def module_of(networks: Networks, i: int) -> nn.Module:
    module = networks.architecture.module()
    state = networks.architecture.layout.unflatten(networks.weights[i].copy())
    module.load_state_dict({k: torch.from_numpy(a) for k, a in state.items()})
    return module.double()


def dense(networks: Networks, i: int) -> Tensor:
    """The Hessian (p, p) of one network."""
    module = module_of(networks, i)
    batch = next(networks.samples("train", COUNT, 0).batches())
    loss = functional.cross_entropy(module(batch.x[i].double()), batch.y[i])
    leaves = list(module.parameters())
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in first])
    rows = torch.autograd.grad(
        flat, leaves, torch.eye(len(flat), dtype=torch.float64), is_grads_batched=True
    )
    return torch.cat([r.flatten(1) for r in rows], 1)


@one_of_each
def test_eigenvalues_are_those_of_the_dense_hessian(network, stacked):
    networks = stacked(network)
    found = Hessian(samples=COUNT).measure(networks, seed=0)
    assert found["hessian_top_eig_converged"].all()
    for i in range(len(networks)):
        values = torch.linalg.eigvalsh(dense(networks, i)).numpy()
        top = values[np.abs(values).argmax()]
        assert found["hessian_top_eig"][i] == pytest.approx(top, rel=1e-3)
        for name in ("top", "min"):
            ritz = found[f"hessian_{name}_eig"][i]
            bound = found[f"hessian_{name}_eig_residual"][i] + 1e-5 * abs(top)
            assert np.abs(values - ritz).min() <= bound
        assert found["hessian_min_eig"][i] >= values[0] - 1e-5 * abs(top)


@one_of_each
def test_many_iterations_find_the_smallest_eigenvalue_too(network, stacked):
    networks = stacked(network, 1)
    metric = Hessian(samples=COUNT, iterations=150, tolerance=1e-30)
    found = metric.measure(networks, seed=0)
    values = torch.linalg.eigvalsh(dense(networks, 0)).numpy()
    assert found["hessian_min_eig"][0] == pytest.approx(values[0], rel=1e-3)


@one_of_each
def test_the_trace_is_within_three_standard_errors_in_most_seeds(network, stacked):
    networks = stacked(network, 1)
    # All samples that the run sees, so that they are the same for every seed.
    networks = replace(networks, runs=(replace(networks.runs[0], train_samples=COUNT),))
    right = float(dense(networks, 0).trace())
    near, errors = 0, []
    for seed in range(20):
        found = Hessian(samples=COUNT).measure(networks, seed=seed)
        error, se = found["hessian_trace"][0] - right, found["hessian_trace_se"][0]
        assert se > 0
        near += abs(error) <= 3 * se
        errors.append(error / se)
    assert near >= 19
    assert abs(np.mean(errors)) < 1  # 4 standard errors of a mean of 20
    assert np.std(errors) > 0.3


def test_a_stack_gives_what_one_network_at_a_time_gives(stacked):
    networks, metric = stacked(nets=4), Hessian(samples=COUNT, probes=4)
    together = metric.measure(networks, seed=3)
    for i in range(len(networks)):
        alone = metric.measure(networks.take([i]), seed=3)
        for name in ("hessian_top_eig", "hessian_trace", "hessian_trace_se"):
            assert alone[name][0] == pytest.approx(together[name][i], rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_dead_network_is_nan_and_changes_no_bit_of_the_others(stacked, bad):
    networks, metric = stacked(nets=4), Hessian(samples=COUNT, probes=3)
    clean = metric.measure(networks, seed=3)
    networks.weights[1] = bad
    beside = metric.measure(networks, seed=3)
    for name, values in clean.items():
        assert (values[[0, 2, 3]] == beside[name][[0, 2, 3]]).all()
    if not np.isfinite(bad):
        assert np.isnan(beside["hessian_trace"][1])
        assert not beside["hessian_top_eig_converged"][1]


def test_a_network_that_converges_late_stops_its_neighbours_at_the_same_bits(stacked):
    networks, metric = stacked(nets=3), Hessian(samples=COUNT, probes=2, tolerance=1e-4)
    first = metric.measure(networks, seed=0)
    networks.weights[2] *= 0.1
    second = metric.measure(networks, seed=0)
    assert first["hessian_top_eig"][2] != second["hessian_top_eig"][2]
    for name, values in first.items():
        assert (values[:2] == second[name][:2]).all()


def test_too_few_iterations_are_said(stacked):
    found = Hessian(samples=COUNT, iterations=2, probes=2).measure(stacked(), seed=0)
    assert not found["hessian_top_eig_converged"].any()
    assert (found["hessian_top_eig_residual"] > 0).all()
    assert np.isfinite(found["hessian_trace"]).all()


def test_runs_with_fewer_samples_decide_nothing_for_the_others(stacked):
    many, metric = stacked(nets=2), Hessian(samples=COUNT, probes=2)
    few = replace(many, runs=(replace(many.runs[0], train_samples=20), many.runs[1]))
    found, right = (metric.measure(n, seed=0)["hessian_top_eig"] for n in (few, many))
    assert found[1] == pytest.approx(right[1], rel=1e-4)
    assert found[0] != pytest.approx(right[0], rel=1e-4)


class Squares(Objective):
    """Half the squared distance of the logits to one-hot labels; not cross-entropy."""

    name = "squares"

    def loss(self, architecture, tensors, batch: Batch, *, training=False):
        logits = architecture.forward(tensors, batch.x, training=training)
        aim = functional.one_hot(batch.y, logits.shape[-1])
        return 0.5 * (logits - aim).square().sum(2).mean(1)

    def judge(self, architecture, tensors, batch):
        raise NotImplementedError

    def chance(self, data, run):
        raise NotImplementedError


def test_any_objective_has_a_hessian(stacked, monkeypatch):
    """That of a linear model under squares is the inputs' second moment, per class."""
    monkeypatch.setattr(zoo.objectives, "squares", Squares(), raising=False)
    networks = stacked(MLP((400, 6)), 2)
    task = replace(networks.data.task, objective="squares")
    networks = replace(networks, data=replace(networks.data, task=task))
    found = Hessian(samples=COUNT, probes=5).measure(networks, seed=0)
    x = next(networks.samples("train", COUNT, 0).batches()).x[0].flatten(1).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    moments = x.T @ x / len(x)
    top = float(torch.linalg.eigvalsh(moments)[-1])
    assert found["hessian_top_eig"] == pytest.approx(top, rel=1e-3)
    trace, se = found["hessian_trace"], found["hessian_trace_se"]
    assert (abs(trace - 6 * float(moments.trace())) <= 4 * se).all()


def planted(values: np.ndarray, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    q, _ = np.linalg.qr(draw.normal(size=(len(values), len(values))))
    return (q * values) @ q.T


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_lanczos_finds_planted_eigenvalues_and_keeps_signs(size):
    spectra = [
        np.linspace(-9, 4, size),
        np.linspace(-1, 8, size),
        np.ones(size),
        np.zeros(size),
    ]
    stack = np.stack([planted(s, i) for i, s in enumerate(spectra)])
    matrices = torch.from_numpy(stack).float()
    start = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    found = lanczos(
        lambda v: torch.bmm(matrices, v.unsqueeze(2)).squeeze(2), start, 60, 1e-6
    )
    assert found.converged.all()
    right = [s[np.abs(s).argmax()] for s in spectra]
    assert found.top == pytest.approx(right, rel=1e-4, abs=1e-6)
    basis = found.basis
    gram = torch.bmm(basis, basis.mT)
    used = torch.from_numpy(found.products)
    for i in range(4):
        assert (gram[i] - torch.diag((torch.arange(len(gram[i])) < used[i]).float())).abs(
        ).max() < 1e-5  # fmt: skip
    rest = deflated(basis, start)
    assert torch.bmm(basis, rest.unsqueeze(2)).abs().max() < 1e-5


def test_a_rival_of_the_other_sign_delays_convergence():
    """+1 shows first, -1.03 is in a crowd."""
    draw = np.random.default_rng(0)
    crowd = draw.uniform(-1, -0.9, 30)
    spectrum = np.concatenate(([1, -1.03], crowd, draw.normal(0, 0.01, 168)))
    matrix = torch.from_numpy(planted(spectrum, 1)).float()
    starts = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    found = lanczos(lambda v: v @ matrix, starts, 60, 1e-4)
    wrong = np.abs(found.top + 1.03) > 1e-2
    assert (wrong & found.converged).sum() <= 5
    assert found.converged.sum() > 150


def test_progress_ends_at_one(stacked):
    shares: list[float] = []
    Hessian(samples=20, probes=2).measure(stacked(), seed=0, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert hessian.passes(10, 0, 100) > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 0), ("probes", 1), ("iterations", 0), ("tolerance", 0.0)],
)
def test_settings_that_measure_nothing_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} setting of Hessian must be"):
        Hessian(**{field: value})
    with pytest.raises(ValueError, match=r"split setting of Hessian .* Got 'foo'"):
        Hessian(split="foo")
