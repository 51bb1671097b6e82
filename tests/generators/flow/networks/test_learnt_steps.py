"""Learnt steps: a velocity that runs the networks that it makes."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from catalog import CatalogError, Layout, Param, Population
from generators.codes.standardised import Standardised
from generators.flow.likelihood import log_density
from generators.flow.networks.learnt_step import LARGEST, LearntStep
from generators.flow.networks.learnt_steps import LearntSteps
from generators.flow.noise import Noise
from generators.flow.path import GaussianStart
from generators.flow.restart import Restart
from generators.flow.schedule import Schedule
from generators.flow.solver import Solver
from generators.methods import DeepWeightFlow
from generators.methods.choices import chosen_network, usual_schedule
from zoo.architectures import MLP, CNNSmall
from zoo.randomness import stream

NETWORKS = (MLP((6, 5, 4, 3)), CNNSmall(2, (1, 20, 20), 3))
SHORT = Schedule(iterations=8, batch_size=8, every=4, times="middle", warmup=2, clip=1.0)


def population(network, n=40, seed=0):
    rng = np.random.default_rng(seed)
    weights = 0.4 * rng.standard_normal((n, network.layout.d)).astype(np.float32)
    table = pa.table(
        {
            "run_id": [f"r{i}" for i in range(n)],
            "step": [9] * n,
            "architecture": [json.dumps(network.config())] * n,
        }
    )
    return Population(weights, network.layout, table)


def test_a_step_without_what_is_learnt_is_a_step_of_descent():
    """With all gains at their start and one input, it is the gradient of cross-entropy."""
    network = MLP((4, 3, 2), "identity")
    torch.manual_seed(0)
    step = LearntStep(network, 1, 0, 4)
    with torch.no_grad():
        step.solutions[0].zero_()
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(2, network.layout.d, generator=rng).requires_grad_()
    found = step(weights, torch.zeros(2, 4))
    tensors = step._tensors(weights)
    logits = network.forward(tensors, step.inputs.expand(2, 1, 4))
    wanted = torch.softmax(10 * step.targets, -1).expand(2, 1, 2)
    loss = -(wanted * torch.log_softmax(logits, -1)).sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    head = network.layout.slices["layer1.weight"]
    # Behind the hidden layer nothing but the gate stands between error and gradient.
    torch.testing.assert_close(found[:, head], -gradient[:, head])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda v: v.name)
def test_begins_near_nothing_and_is_learnt_through(network):
    torch.manual_seed(0)
    d = network.layout.d
    steps = LearntSteps(d, 2, architecture=network.config(), inputs=4, width=6)
    x, t, about = torch.randn(3, d), torch.full((3, 1), 0.5), torch.randn(3, 2)
    steps(x, t, about).square().sum().backward()
    without = [
        name
        for name, parameter in steps.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert without == []
    with torch.no_grad():
        alone = torch.cat([steps(x[i : i + 1], t[:1], about[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(steps(x, t, about), alone, rtol=1e-4, atol=1e-5)
        assert not steps(x, t, about).requires_grad


def test_convolutions_begin_no_larger_than_other_layers():
    network = NETWORKS[1]
    some = torch.from_numpy(population(network).weights)
    deviation, none = some.std(0), torch.zeros(40, 16)
    torch.manual_seed(0)
    step = LearntStep(network, 16, 6, 16)

    def sizes():
        change = step(some.clone().requires_grad_(), none, False) / deviation
        parts = [change[:, span] for span in network.layout.slices.values()]
        return torch.stack([part.square().mean().sqrt() for part in parts]).detach()

    before = sizes()
    assert before.max() > 4 * LARGEST
    step.begin(some.clone(), deviation, none)
    torch.testing.assert_close(sizes(), before.clamp(max=LARGEST))
    plain = LearntStep(NETWORKS[0], 16, 6, 16)
    plain.begin(torch.randn(9, NETWORKS[0].layout.d), torch.ones(1), none[:9])
    assert (plain.scale == 1).all()


def test_a_flow_from_before_there_was_a_buffer_means_what_it_begins_with():
    sizes = {"inputs": 4, "width": 4, "steps": 1}
    made = DeepWeightFlow(
        velocity="learnt_steps", sizes=sizes, strategy=None, schedule=SHORT
    ).fit(population(NETWORKS[0]))
    flow = made.flow_
    older = {n: v for n, v in flow.state.items() if not n.endswith(".scale")}
    assert len(older) == len(flow.state) - 1
    found = replace(flow, state=older).residual()
    x, t = torch.randn(5, flow.k), torch.full((5, 1), 0.5)
    torch.testing.assert_close(found(x, t), flow.residual()(x, t), rtol=0, atol=0)
    untold = {n: v for n, v in flow.state.items() if n != "network.deviation"}
    with pytest.raises(RuntimeError, match="Missing key"):
        _ = replace(flow, state=untold).velocity


@pytest.mark.parametrize("network", NETWORKS, ids=lambda v: v.name)
def test_it_is_the_default_where_networks_can_be_run(network, tmp_path):
    some = population(network)
    sizes = {"inputs": 4, "width": 4, "steps": 1}
    made = DeepWeightFlow(
        velocity="learnt_steps", sizes=sizes, strategy=None, schedule=SHORT
    ).fit(some)
    assert isinstance(made.codes_, Standardised)
    first = made.sample(5, seed=3)
    path = tmp_path / "generator.safetensors"
    made.save(path)
    np.testing.assert_array_equal(
        DeepWeightFlow.load(path).sample(5, seed=3).weights, first.weights
    )
    assert chosen_network(DeepWeightFlow(), some)[0] == "learnt_steps"
    unknown = Population(
        some.weights, some.layout, some.table.drop_columns(["architecture"])
    )
    assert chosen_network(DeepWeightFlow(), unknown)[0] == "film_mlp"
    assert chosen_network(DeepWeightFlow(components=3), some)[0] == "film_mlp"


def test_the_gaussian_itself_is_kept_where_no_network_is_better(tmp_path):
    some = population(NETWORKS[0], n=300)
    sizes = {"inputs": 4, "width": 4, "steps": 1}
    still = replace(SHORT, lr=0.0, final_lr=0.0)
    kinds = {"velocity": "learnt_steps", "sizes": sizes, "strategy": None}
    made = DeepWeightFlow(**kinds, schedule=still).fit(some)
    curve = made.flow_.curve
    assert curve.kept == 0
    assert curve.validation_loss[1] > curve.validation_loss[0]  # untrained is not zero
    x, t = torch.randn(5, made.flow_.k), torch.full((5, 1), 0.5)
    assert (made.flow_.residual()(x, t) == 0).all()
    made.save(tmp_path / "g")
    loaded = DeepWeightFlow.load(tmp_path / "g")
    assert (loaded.flow_.residual()(x, t) == 0).all()
    ends = made.flow_.velocity.start.scale(torch.ones(1, 1))
    own = stream(3, "samples").standard_normal((4, len(made.codes_.spread)), np.float32)
    expected = made.codes_.decode(own @ made.codes_.spread * ends.numpy())
    np.testing.assert_allclose(loaded.sample(4, seed=3).weights, expected, atol=1e-5)
    assert "samples are drawn from that Gaussian, as by pca_gaussian" in loaded.notes[0]
    last = DeepWeightFlow(**kinds, schedule=replace(still, keep="last")).fit(some)
    assert (last.flow_.residual()(x, t) != 0).any()
    assert [note.partition(" by ")[0] for note in last.notes] == ["Solved"]


def test_a_density_needs_more_networks_than_weights():
    some, d = population(NETWORKS[0], n=30), NETWORKS[0].layout.d
    kinds = {"strategy": None, "schedule": SHORT}
    sizes = {"inputs": 4, "width": 4, "steps": 1}
    made = DeepWeightFlow(velocity="learnt_steps", sizes=sizes, **kinds).fit(some)
    with pytest.raises(
        CatalogError, match=rf"fill 26 of {d} dim.*velocity='film_mlp'.*more than {d}"
    ):
        made.log_density(some)
    film = DeepWeightFlow(velocity="film_mlp", sizes={"width": 8}, **kinds).fit(some)
    assert np.isfinite(film.log_density(some.select([0, 1]))).all()


def test_networks_that_cannot_be_run_are_refused():
    layout = Layout((Param("w", (4,)),))
    rows = pa.table({"run_id": [f"r{i}" for i in range(20)], "step": [1] * 20})
    some = Population(np.eye(20, 4, dtype=np.float32), layout, rows)
    with pytest.raises(CatalogError, match="recorded architecture"):
        DeepWeightFlow(velocity="learnt_steps").fit(some)


def test_standardised_codes_come_back_and_noise_spreads_as_they_do():
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((6, 6))
    X = (rng.standard_normal((4000, 6)) @ mixed + 3).astype(np.float32)
    codes = Standardised.fit(X, Layout((Param("w", (6,)),)))
    found = codes.encode(X)
    np.testing.assert_allclose(codes.decode(found), X, atol=1e-5)
    np.testing.assert_allclose(found.std(0), 1, rtol=1e-3)
    noise = Noise(6, torch.from_numpy(codes.spread), torch.Generator().manual_seed(0))
    drawn = torch.cat([noise.rows(100) for _ in range(300)]).numpy()
    # 30,000 rows that share a pool of 8,192: standard errors of about .011.
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(found.T), atol=0.05)


def test_density_with_a_spread_is_that_of_the_gaussian():
    spread = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    x = torch.tensor([[0.3, -0.2], [1.0, 2.0]])
    start, solver = GaussianStart(torch.ones(2)), Solver()
    known = torch.distributions.MultivariateNormal(torch.zeros(2), spread.T @ spread)
    found = log_density(lambda x, t: torch.zeros_like(x), start, x, solver, spread=spread)
    torch.testing.assert_close(found, known.log_prob(x))
    with pytest.raises(CatalogError, match=r"no density: .* fill 1 of 2 dimensions"):
        log_density(lambda x, t: x, start, x, solver, spread=spread[:1])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda v: v.name)
def test_convolutions_have_inputs_and_a_schedule_of_their_own(network):
    many_places = network.name == "cnn_small"
    sizes = {"architecture": network.config()}
    (inputs,) = {len(step.inputs) for step in LearntSteps(network.layout.d, **sizes).steps}
    assert inputs == (64 if many_places else 128)
    assert usual_schedule("learnt_steps", sizes).batch_size == (8 if many_places else 32)
    assert usual_schedule("film_mlp", {}) == Schedule()


@pytest.mark.parametrize("velocity", ["learnt_steps", "film_mlp"])
def test_learnt_steps_restart_unless_told_and_others_where_told(velocity):
    learnt = velocity == "learnt_steps"
    made = DeepWeightFlow(
        velocity=velocity, sizes={"inputs": 4, "steps": 1} if learnt else {"width": 8},
        strategy=None, schedule=replace(SHORT, iterations=3, keep="last"),
    ).fit(population(NETWORKS[0]))  # fmt: skip
    assert made.flow_.restart == (Restart() if learnt else None)
    settings = [
        json.loads(own["config"][0])["settings"]
        for own in (made.sample(2), made.sample(2, restarts=1), made.sample(2, restarts=0))
    ]
    usual = Restart().times if learnt else 0
    assert [own["restarts"] for own in settings] == [usual, 1, 0]


@pytest.mark.parametrize("velocity", ["learnt_steps", "film_mlp"])
def test_samples_with_a_condition_restart_less_and_are_guided_more(velocity):
    learnt, known = velocity == "learnt_steps", population(NETWORKS[0])
    table = known.table.append_column("lr", pa.array(np.linspace(0, 1, len(known))))
    made = DeepWeightFlow(
        conditions=["lr"], velocity=velocity, strategy=None,
        sizes={"inputs": 4, "steps": 1} if learnt else {"width": 8},
        schedule=replace(SHORT, iterations=3, keep="last"),
    ).fit(replace(known, table=table))  # fmt: skip
    wanted = {"lr": 0.5}
    found = [
        json.loads(own["config"][0])["settings"]
        for own in (
            made.sample(2),
            made.sample(2, condition=wanted),
            made.sample(2, condition=wanted, guidance=1.0, restarts=2),
        )
    ]
    told = [(own["restarts"], own["guidance"]) for own in found]
    usual = [(64, 1.0), (16, 1.5)] if learnt else [(0, 1.0), (0, 1.0)]
    assert told == [*usual, (2, 1.0)]
