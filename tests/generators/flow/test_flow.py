"""Flows: exact where the answer is known, and they recover what is planted."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from catalog import CatalogError, NotFound
from catalog.errors import BadSetting
from generators.flow.coupling import coupled
from generators.flow.effect import Effect, linear_effect
from generators.flow.guidance import Pull, conditional, pulled
from generators.flow.likelihood import log_density
from generators.flow.path import GaussianStart, NoStart, interpolate
from generators.flow.rows import FlowRows
from generators.flow.schedule import Schedule
from generators.flow.solver import Solver, accurate_solver
from generators.flow.training import learn
from generators.flow.velocity import Velocity


def normal(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw)


def nothing(x, t):
    return torch.zeros_like(x)


def test_the_known_velocity_takes_a_standard_normal_to_itself():
    start, x = GaussianStart(torch.ones(3)), normal(5, 3)
    torch.testing.assert_close(Solver("euler", 1).solve(nothing, start, x), x)
    times = torch.linspace(0, 1, 2001, dtype=torch.float64)
    y = x.double()
    for now, then in pairwise(times):  # by hand, without the scaling
        middle = y + (then - now) / 2 * start.rate(now.view(1, 1)) * y
        y = y + (then - now) * start.rate(((now + then) / 2).view(1, 1)) * middle
    torch.testing.assert_close(y, x.double(), rtol=0, atol=1e-6)
    at = torch.tensor([[0.3]])
    torch.testing.assert_close(
        start.rate(at), ((2 * at - 1) / ((1 - at) ** 2 + at**2)) + 0 * x[:1]
    )


def test_the_known_velocity_reaches_the_deviations_of_the_data():
    deviation = torch.tensor([0.1, 1.0, 7.0])
    found = Solver("rk4", 2).solve(nothing, GaussianStart(deviation), normal(4, 3))
    torch.testing.assert_close(found, deviation * normal(4, 3))


def test_the_known_velocity_is_the_expected_velocity_of_gaussian_data():
    deviation = torch.tensor([2.0])
    start, t = GaussianStart(deviation), torch.full((1, 1), 0.4)
    noise, data = normal(400_000, 1), deviation * normal(400_000, 1, seed=1)
    x, u = interpolate(noise, data, t), data - noise
    slope = (x * u).mean() / (x * x).mean()
    assert float(start.rate(t)) == pytest.approx(float(slope), abs=0.01)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_solvers_have_their_order_and_go_back(method, order):
    def slope(y, t):
        return (2 * t) * y

    y = torch.ones(1, 1, dtype=torch.float64)
    errors = [abs(float(Solver(method, n).integrate(slope, y)) - math.e) for n in (8, 16)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)
    end = Solver(method, 400).integrate(slope, y)
    back = Solver(method, 400).integrate(slope, end, backward=True)
    assert float(back) == pytest.approx(1, abs=0.01)


def test_the_error_of_a_solver_is_about_the_true_one():
    start = NoStart(1.0)

    def field(x, t):
        return x * torch.cos(6 * t)

    solver = accurate_solver(field, start, normal(8, 2), tolerance=1e-3)
    true = math.exp(math.sin(6) / 6)
    off = float(
        (solver.solve(field, start, normal(8, 2)) / normal(8, 2) - true).abs().max()
    )
    assert solver.error <= 1e-3
    assert off / true == pytest.approx(solver.error, rel=0.3, abs=1e-6)
    coarse = accurate_solver(field, start, normal(8, 2), tolerance=0, most=8)
    assert coarse.steps == 8
    assert coarse.error > 0


def test_transport_within_a_batch_costs_less_and_keeps_both_sides():
    noise, data = normal(64, 5), normal(64, 5, seed=1)
    found = coupled(noise, data, "optimal_transport")
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, noise.tolist()))
    before, after = ((a - data).square().sum() for a in (noise, found))
    assert after < 0.8 * before
    assert coupled(noise, data, "independent") is noise
    same = coupled(noise, noise[torch.randperm(64)], "optimal_transport")
    assert len({tuple(r) for r in same.tolist()}) == 64


def test_transport_keeps_noise_within_its_condition():
    noise, data = normal(60, 2), normal(60, 2, seed=1)
    group = torch.arange(60)[:, None] % 2 == torch.tensor([[0, 1]])
    found = coupled(noise, data, "optimal_transport", group.float())
    for half in (0, 1):
        assert set(map(tuple, found[half::2].tolist())) == set(
            map(tuple, noise[half::2].tolist())
        )


def trained(codes, features=None, spans=(), start=None, iterations=600, **settings):
    torch.manual_seed(0)
    codes = torch.as_tensor(codes, dtype=torch.float32)
    start = start or GaussianStart(codes.std(0))
    found = Velocity(
        start,
        "film_mlp",
        codes.shape[1],
        0 if features is None else features.shape[1],
        {"width": 64, "depth": 1, "embedding": 32},
    )
    schedule = Schedule(iterations=iterations, lr=3e-3, **{"patience": 99, **settings})
    cut = len(codes) // 10
    parts = [
        FlowRows(codes[rows], None if features is None else features[rows], spans)
        for rows in (slice(cut, None), slice(cut))
    ]
    return found, learn(found, parts[0], parts[1], schedule)


@pytest.fixture(scope="module")
def mixture():
    """Two narrow modes of unequal weight at (-1.5, 0) and (1.5, 0), before and after."""
    rng = np.random.default_rng(0)
    side = np.where(rng.random(1200) < 0.3, -1.5, 1.5)
    codes = np.stack([side, np.zeros(1200)], 1) + 0.2 * rng.standard_normal((1200, 2))
    return trained(codes - codes.mean(0), batch_size=128), codes.mean(0)


@torch.no_grad()
def test_a_flow_finds_the_modes_of_a_mixture(mixture):
    (velocity, curve), mean = mixture
    assert curve.validation_loss[0] > 1.5 * min(curve.validation_loss)
    made = (
        Solver("rk4", 16).solve(velocity.residual, velocity.start, normal(1000, 2)).numpy()
    )
    made += mean
    near = np.abs(np.abs(made[:, 0]) - 1.5) < 0.7
    assert near.mean() > 0.93
    assert (made[:, 0] < 0).mean() == pytest.approx(0.3, abs=0.06)
    assert made[near, 1].std() == pytest.approx(0.2, abs=0.06)


def test_density_of_a_mixture_integrates_to_one(mixture):
    (velocity, _), _ = mixture
    axis = torch.linspace(-4, 4, 41)
    grid = torch.cartesian_prod(axis, axis / 2)
    found = log_density(velocity.residual, velocity.start, grid, Solver("rk4", 12))
    step = float(axis[1] - axis[0])
    assert float(found.exp().sum()) * step * step / 2 == pytest.approx(1, abs=0.05)


def test_density_of_a_gaussian_is_exact():
    deviation = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    x = normal(6, 3).double()
    expected = torch.distributions.Normal(0.0, deviation).log_prob(x).sum(1)
    found = log_density(nothing, GaussianStart(deviation), x, Solver("rk4", 1))
    torch.testing.assert_close(found, expected)
    turn = torch.tensor([[0, 1.0, 0], [-1, 0, 0], [0, 0, 0.4]], dtype=torch.float64)

    def turning(x, t):  # dy/dt = A y: y(1) = exp(A) y(0)
        return x @ turn.T

    through = torch.linalg.matrix_exp(turn)
    expected = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), 0.25 * through @ through.T
    ).log_prob(x)
    exact = log_density(turning, NoStart(0.5), x, Solver("rk4", 40))
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-6)
    estimated = log_density(turning, NoStart(0.5), x, Solver("rk4", 40), probes=4)
    torch.testing.assert_close(estimated, expected, rtol=0, atol=1e-6)  # skew part: 0
    with pytest.raises(ValueError, match="probes must be 1 or more"):
        log_density(turning, NoStart(0.5), x, Solver(), probes=0)


def test_estimated_divergence_is_right_on_average():
    mix = normal(4, 4).double()

    def field(x, t):
        return torch.tanh(x @ mix)

    x, start = normal(3, 4, seed=1).double(), GaussianStart(torch.ones(4).double())
    exact = log_density(field, start, x, Solver("rk4", 8))
    some = torch.stack(
        [
            log_density(field, start, x, Solver("rk4", 8), probes=8, seed=s)
            for s in range(40)
        ]
    )
    error = some.std(0) / 40**0.5
    assert ((some.mean(0) - exact).abs() < 4 * error).all()
    assert (error > 0).all()


@torch.no_grad()
def test_a_condition_that_shifts_codes_is_followed():
    rng = np.random.default_rng(1)
    z = rng.standard_normal(1500)
    codes = np.stack([z + 0.5 * rng.standard_normal(1500), rng.standard_normal(1500)], 1)
    features = torch.as_tensor(np.stack([np.ones(1500), z], 1), dtype=torch.float32)
    velocity, _ = trained(codes, features, (slice(2),), batch_size=128, iterations=1000)
    asked, got = np.array([-1.5, 0, 1.5]), []
    for value in asked:
        own = torch.tensor([1, value], dtype=torch.float32)
        residual = conditional(velocity, own, 1.0)
        got.append(Solver("rk4", 8).solve(residual, velocity.start, normal(600, 2)))
    means = np.array([float(g[:, 0].mean()) for g in got])
    assert np.polyfit(asked, means, 1)[0] == pytest.approx(1, abs=0.15)
    assert np.abs(np.array([float(g[:, 1].mean()) for g in got])).max() < 0.2
    assert float(got[1][:, 0].std()) == pytest.approx(0.5, abs=0.12)
    free = Solver("rk4", 8).solve(
        conditional(velocity, None, 1.0), velocity.start, normal(600, 2)
    )
    assert float(free[:, 0].std()) == pytest.approx(1.25**0.5, abs=0.15)


@torch.no_grad()
def test_guidance_of_one_is_conditional_and_of_zero_is_not():
    torch.manual_seed(1)
    velocity = Velocity(GaussianStart(torch.ones(3)), "film_mlp", 3, 2, {"width": 8})
    for weight in velocity.parameters():
        weight.copy_(torch.randn_like(weight) / 3)
    x, t, own = normal(4, 3), torch.full((4, 1), 0.3), torch.tensor([1.0, 0.5])
    asked, plain = velocity.residual(x, t, own.expand(4, 2)), velocity.residual(x, t)
    assert (conditional(velocity, own, 1.0)(x, t) == asked).all()
    assert (conditional(velocity, own, 0.0)(x, t) == plain).all()
    assert (conditional(velocity, None, 5.0)(x, t) == plain).all()
    torch.testing.assert_close(
        conditional(velocity, own, 2.0)(x, t), 2 * asked - plain, rtol=1e-4, atol=1e-4
    )
    assert float((asked - plain).abs().max()) > 0.1


def test_a_pull_gives_the_exact_posterior_of_a_gaussian():
    deviation = torch.tensor([1.0, 2.0])
    w, error, target = torch.tensor([1.0, -0.5]), 0.3, 2.0
    start = GaussianStart(deviation)
    residual = pulled(nothing, start, [Pull(w, 0.5, error, target)])
    made = Solver("rk4", 64).solve(residual, start, normal(20_000, 2)).numpy()
    C = np.diag(deviation.numpy() ** 2)
    w = w.numpy()
    gain = C @ w / (w @ C @ w + error**2)
    np.testing.assert_allclose(made.mean(0), gain * (target - 0.5), atol=0.03)
    np.testing.assert_allclose(np.cov(made.T), C - np.outer(gain, w @ C), atol=0.05)


def test_training_repeats_and_the_gate_keeps_the_best():
    codes = normal(80, 4).numpy()
    (one, curve), (two, _) = (
        trained(codes, iterations=400, every=20, patience=3, batch_size=16) for _ in "ab"
    )
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    best = int(np.argmin(curve.validation_loss))
    assert curve.kept == curve.iteration[best]
    assert curve.iteration[-1] == curve.iteration[best] + 3 * 20  # noise: it stops early
    assert math.isnan(curve.train_loss[0])


def test_a_network_that_begins_badly_may_get_better_but_the_gaussian_is_kept():
    torch.manual_seed(0)
    velocity = Velocity(GaussianStart(torch.ones(3)), "film_mlp", 3, 0, {"width": 8})
    velocity.network.outward.bias.data.fill_(1.0)
    settings = {"every": 10, "patience": 2, "decay": 0.0, "coupling": "independent"}
    schedule = Schedule(iterations=50, lr=1e-3, **settings)
    rows, held = FlowRows(normal(300, 3, seed=5)), FlowRows(normal(300, 3, seed=6))
    curve = learn(velocity, rows, held, schedule)
    losses = curve.validation_loss
    assert len(losses) == 6  # patience counts from the untrained network
    assert losses[0] < losses[-1] < losses[1]
    assert curve.kept == 0
    x, t = normal(5, 3), torch.full((5, 1), 0.3)
    assert (velocity.residual(x, t) == 0).all()


def test_an_infinite_loss_is_refused_and_networks_are_named():
    with pytest.raises(CatalogError, match=r"loss is (nan|inf) at step 1.*lr=0.0003"):
        trained(np.full((20, 2), 1e30), start=GaussianStart(torch.ones(2)), iterations=2)
    with pytest.raises(NotFound, match=r"No velocity network 'film'\. Closest: film_mlp"):
        Velocity(NoStart(), "film", 2)


@torch.no_grad()
def test_an_untrained_velocity_samples_the_gaussian():
    for network in ("film_mlp", "published_mlp"):
        velocity = Velocity(GaussianStart(torch.full((3,), 2.0)), network, 3).eval()
        made = Solver("rk4", 3).solve(velocity.residual, velocity.start, normal(5, 3))
        torch.testing.assert_close(made, 2 * normal(5, 3))


def test_the_linear_effect_keeps_what_is_there_and_not_chance():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((100, 1))
    codes = rng.standard_normal((100, 80))
    codes[:, 0] = 3 * z[:, 0]
    found = linear_effect(codes, z)
    plain = np.linalg.lstsq(z - z.mean(), codes, rcond=None)[0].T
    assert found[0, 0] == pytest.approx(3, rel=1e-5)
    assert (found[1:] ** 2).sum() < 0.5 * (plain[1:] ** 2).sum()
    assert (found[1:] == 0).mean() > 0.5
    assert (linear_effect(codes[:2], z[:2]) == 0).all()


def begun(codes, features, *spans):
    rows = FlowRows(
        *(torch.as_tensor(a, dtype=torch.float32) for a in (codes, features)), spans
    )
    found = Effect(features.shape[1], codes.shape[1])
    found.begin(rows)
    return lambda *asked: found(torch.tensor([asked]))[0].detach().numpy()


def test_the_effect_of_a_name_is_its_mean_minus_the_mean_of_all():
    rng = np.random.default_rng(0)
    rare = np.arange(400) % 10 == 0
    codes = np.where(rare, 2.66, -0.31)[:, None] + 1e-3 * rng.standard_normal((400, 3))
    effect = begun(codes, np.stack([~rare, rare], 1), slice(2))
    mean = codes.mean(0)
    np.testing.assert_allclose(effect(1.0, 0.0), codes[~rare].mean(0) - mean, atol=1e-4)
    np.testing.assert_allclose(effect(0.0, 1.0), codes[rare].mean(0) - mean, atol=1e-4)
    assert (effect(0.0, 0.0) == 0).all()


def test_some_of_several_conditions_have_the_effect_of_a_regression_on_them_alone():
    rng = np.random.default_rng(1)
    n, unit = 3000, np.ones(3000)
    a = rng.standard_normal(n)
    b = 0.9 * a + 0.4 * rng.standard_normal(n)
    name = rng.random(n) < 1 / (1 + np.exp(-2 * a + 1))
    codes = np.stack([a + 2 * b - 3 * name, b + name], 1)
    codes = codes + 0.01 * rng.standard_normal((n, 2))
    features = np.stack([unit, a, unit, b, ~name, name], 1).astype(np.float64)
    effect = begun(codes, features, slice(0, 2), slice(2, 4), slice(4, 6))

    def alone(*columns):
        X = np.stack([unit, *columns], 1)
        return np.linalg.lstsq(X, codes, rcond=None)[0]

    mean = codes.mean(0)
    on_a, on_name, on_two = alone(a), alone(name), alone(a, name)
    on_all = alone(a, b, name)
    for found, expected in (
        (effect(1.0, 0.7, 0.0, 0.0, 0.0, 0.0), on_a[0] + 0.7 * on_a[1]),
        (effect(0.0, 0.0, 0.0, 0.0, 0.0, 1.0), on_name[0] + on_name[1]),
        (effect(1.0, -1.5, 0.0, 0.0, 1.0, 0.0), on_two[0] - 1.5 * on_two[1]),
        (effect(1.0, 0.5, 1.0, 0.3, 0.0, 1.0), on_all.T @ [1, 0.5, 0.3, 1]),
    ):
        np.testing.assert_allclose(found, expected - mean, atol=0.01)
    assert abs(on_a[1] - on_all[1]).max() > 0.5  # what the others explain counts


def test_rows_with_other_columns_asked_for_have_their_own_effects():
    rng = np.random.default_rng(2)
    features = torch.tensor(rng.standard_normal((50, 3)), dtype=torch.float32)
    codes = features @ torch.randn(3, 4) + 1
    effect = Effect(3, 4)
    effect.begin(FlowRows(codes, features, (slice(1), slice(1, 2), slice(2, 3))))
    asked = features * torch.tensor(rng.random((50, 3)) < 0.5)
    one_by_one = torch.cat([effect(row[None]) for row in asked])
    torch.testing.assert_close(effect(asked), one_by_one)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"coupling": "nonsense"},
            NotFound,
            "independent, optimal_transport. Got 'nonsense'",
        ),
        ({"keep": "best"}, NotFound, "keep setting of Schedule must be one of validation"),
        ({"times": "midle"}, NotFound, "Closest: middle"),
        ({"source": None}, NotFound, "fresh, fixed. Got None"),
        (
            {"iterations": "500"},
            ValueError,
            "Got '500'. Pass, for example, iterations=2000",
        ),
        ({"iterations": 0}, ValueError, "whole number of at least 1. Got 0"),
        ({"batch_size": 2.0}, ValueError, "batch_size setting of Schedule must be"),
        ({"every": True}, ValueError, "every setting of Schedule must be"),
        ({"patience": 0}, ValueError, "patience setting of Schedule must be"),
        ({"warmup": -1}, ValueError, "whole number of at least 0"),
        ({"lr": math.nan}, ValueError, "finite number, at least 0. Got nan"),
        ({"lr": -1e-3}, ValueError, "lr setting of Schedule"),
        ({"dropout": 1.2}, ValueError, "at least 0 and at most 1"),
        ({"decay": 1.0}, ValueError, "at least 0 and below 1"),
        ({"clip": 0}, ValueError, "finite number, above 0"),
        ({"betas": 0.9}, ValueError, r"two numbers. Got 0.9.*betas=\(0.9, 0.95\)"),
        ({"betas": (0.9, 1)}, ValueError, "below 1. Got 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_schedules_that_cannot_be_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Schedule(**settings)


def test_solvers_that_cannot_be_are_refused():
    with pytest.raises(NotFound, match=r"euler, heun, rk4\. Got 'rk5'\. Closest: rk4"):
        Solver("rk5")
    for steps in (0, -1, 2.5, "8", None):
        with pytest.raises(BadSetting, match=r"steps setting.*Pass, for example, steps=8"):
            Solver("rk4", steps)
    assert Solver("rk4", np.int64(3)).steps == 3
