"""DeepWeightFlow: from networks to networks, saved, conditioned, in part, refused."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from catalog import (
    CatalogError,
    Layout,
    LayoutMismatch,
    NotFound,
    Param,
    Population,
    ShardCorrupt,
)
from catalog.alignment import permute, random_permutations
from catalog.errors import BadSetting
from generators.codes.canonical import rectified
from generators.codes.training_set import one_population
from generators.flow.conditions import Conditions
from generators.flow.schedule import Schedule
from generators.flow.solver import Solver
from generators.methods import DeepWeightFlow
from generators.registry import generator_named
from generators.samples import fingerprint
from zoo.architectures import MLP, CNNSmall, ResNet18, ViT
from zoo.modules.outputs import outputs

QUICK = Schedule(iterations=60, batch_size=32, every=20)
SIZES = {"width": 32, "depth": 1, "embedding": 16}
PLAIN = Layout((Param("body", (6,)), Param("head", (2, 3))))


def networks(weights, layout=PLAIN, **columns):
    n = len(weights)
    table = pa.table(
        {"run_id": [f"r{i:04d}" for i in range(n)], "step": [9] * n, **columns}
    )
    return Population(np.asarray(weights, np.float32), layout, table)


def planted(n=400, seed=0):
    """Weights whose second direction is linear in a column, around a far mean."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    weights = rng.standard_normal((n, PLAIN.d)) * np.linspace(1, 3, PLAIN.d) + 5
    weights[:, 1] += 4 * z
    kind = np.where(rng.random(n) < 0.5, "a", "b")
    weights[:, 2] += np.where(kind == "a", -3, 3)
    return networks(weights, accuracy=0.9 + 0.01 * z, kind=kind.tolist(), zoo=["z"] * n)


def generator(**settings):
    settings = {"strategy": None, "schedule": QUICK, "sizes": SIZES, **settings}
    return DeepWeightFlow(**settings)


@pytest.fixture(scope="module")
def plain():
    return generator(predictors=["accuracy"]).fit(planted())


@pytest.fixture(scope="module")
def conditioned():
    slow = Schedule(iterations=600, batch_size=64, lr=2e-3, every=50)
    return generator(conditions=["accuracy", "kind"], schedule=slow).fit(planted())


def test_samples_have_mean_and_covariance_of_a_gaussian_population():
    rng = np.random.default_rng(3)
    mix = rng.standard_normal((PLAIN.d, PLAIN.d))
    population = networks(rng.standard_normal((800, PLAIN.d)) @ mix + 7)
    made = generator().fit(population).sample(3000, seed=1).weights
    true = np.cov(population.weights.T)
    error = np.abs(made.mean(0) - population.weights.mean(0)) / np.sqrt(true.diagonal())
    assert error.max() < 0.25
    assert np.linalg.norm(np.cov(made.T) - true) < 0.2 * np.linalg.norm(true)


def test_same_seed_same_bytes_also_after_loading(plain, conditioned, tmp_path):
    for fitted, condition in ((plain, None), (conditioned, {"accuracy": 0.91})):
        path = tmp_path / "generator.safetensors"
        fitted.save(path)
        loaded = DeepWeightFlow.load(path)
        ours, theirs = (g.sample(7, seed=5, condition=condition) for g in (fitted, loaded))
        assert ours.weights.tobytes() == theirs.weights.tobytes()
        assert ours.table.equals(theirs.table)
        assert ours.weights.tobytes() != fitted.sample(7, seed=6).weights.tobytes()
        assert fingerprint(loaded.training_) == fingerprint(fitted.training_)
        again = tmp_path / "again.safetensors"
        loaded.save(again)
        assert again.read_bytes() == path.read_bytes()


def test_samples_know_where_they_are_from(plain):
    made = plain.sample(3, seed=1)
    assert made.layout == PLAIN
    assert made["zoo"].tolist() == ["z_generated"] * 3
    assert made["source"].tolist() == ["generated"] * 3
    assert made["step"].tolist() == [9] * 3
    assert len(set(made["run_id"])) == 3
    assert "accuracy" not in made.table.column_names
    assert json.loads(made["config"][1])["row"] == 1
    assert not set(plain.sample(3, seed=2)["run_id"]) & set(made["run_id"])


def test_conditions_are_followed_together_and_alone(conditioned):
    high, low = (
        conditioned.sample(300, condition={"accuracy": a, "kind": "a"}).weights
        for a in (0.915, 0.885)
    )
    slope = (high[:, 1].mean() - low[:, 1].mean()) / 3  # standard deviations apart
    assert slope == pytest.approx(4, rel=0.2)
    other = conditioned.sample(300, condition={"kind": "b"}).weights
    assert other[:, 2].mean() - high[:, 2].mean() == pytest.approx(6, rel=0.25)
    strong = conditioned.sample(300, condition={"accuracy": 0.915}, guidance=2.0).weights
    plain = conditioned.sample(300, condition={"accuracy": 0.915}).weights
    assert strong[:, 1].mean() > plain[:, 1].mean() + 1


def test_the_mean_of_an_unlearnt_flow_is_that_of_the_networks_asked_for():
    rng = np.random.default_rng(7)
    n = 600
    rare = np.arange(n) % 10 == 0
    lr = rng.standard_normal(n) + 2 * rare
    weights = 0.1 * rng.standard_normal((n, PLAIN.d))
    weights[:, 0] += 3 * rare
    weights[:, 1] += lr
    kind = np.where(rare, "rare", "common").tolist()
    still = Schedule(iterations=1, lr=0, final_lr=0, keep="last")
    fitted = generator(conditions=["kind", "lr"], schedule=still, shrinkage=0.0)
    fitted.fit(networks(weights, kind=kind, lr=lr))
    draws = {name: fitted.sample(4000, condition={"kind": name}) for name in set(kind)}
    for name, made in draws.items():
        own = weights[np.array(kind) == name].mean(0)
        np.testing.assert_allclose(made.weights[:, :2].mean(0), own[:2], atol=0.1)
    slope, offset = np.polyfit(lr, weights[:, 0], 1)  # lr alone tells the kind in part
    made = fitted.sample(4000, condition={"lr": 3.0}).weights[:, 0].mean()
    assert made == pytest.approx(3 * slope + offset, abs=0.1)
    free = fitted.sample(4000).weights.mean(0)
    np.testing.assert_allclose(free[:2], weights.mean(0)[:2], atol=0.1)


def test_a_state_without_buffers_of_its_own_is_read_as_what_it_meant(conditioned):
    new = conditioned.flow_
    added = {"on", "effect.mean", "effect.covariance", "effect.column"}
    assert added < set(new.state)
    old = replace(new, state={n: v for n, v in new.state.items() if n not in added})
    asked = torch.tensor([[1.0, 0.5, 0.0, 1.0], [1.0, 0.5, 0.0, 0.0]])
    effect = old.velocity.effect
    torch.testing.assert_close(effect(asked), asked @ effect.weight.T)
    assert old.velocity.on
    with pytest.raises(RuntimeError, match="Missing key"):
        _ = replace(new, state={"on": new.state["on"]}).velocity


def test_conditions_that_nothing_was_learned_of_are_refused(conditioned, plain):
    with pytest.raises(
        CatalogError, match=r"accuracy = 0.99 is outside.*0\.8\d+ to 0\.9\d+"
    ):
        conditioned.sample(2, condition={"accuracy": 0.99})
    flagged = conditioned.sample(2, condition={"accuracy": 0.99}, extrapolate=True)
    assert flagged["extrapolated"].tolist() == [True, True]
    inside = conditioned.sample(2, condition={"accuracy": 0.9}, extrapolate=True)
    assert inside["extrapolated"].tolist() == [False, False]
    with pytest.raises(NotFound, match="No training network has kind = 'c'"):
        conditioned.sample(2, condition={"kind": "c"})
    with pytest.raises(NotFound, match=r"no condition 'acuracy'. Closest: accuracy"):
        conditioned.sample(2, condition={"acuracy": 0.9})
    with pytest.raises(CatalogError, match=r"accuracy must be a number. Got 'high'"):
        conditioned.sample(2, condition={"accuracy": "high"})
    for odd in (float("nan"), None):
        with pytest.raises(CatalogError, match=r"accuracy must be a (finite )?number. Got"):
            conditioned.sample(2, condition={"accuracy": odd}, extrapolate=True)
    with pytest.raises(NotFound, match=r"Fit one with conditions=\['accuracy'\]"):
        plain.sample(2, condition={"accuracy": 0.9})


def test_names_that_look_like_numbers_are_asked_for_by_number_or_text():
    table = pa.table({"digit": ["1", "2", "0.10", "a"], "twice": ["01", "1.00", "01", "2"]})
    some = Conditions.fit(table, ["digit", "twice"])
    for value, place in ((1.0, 1), (2, 2), ("2", 2), (0.1, 0), ("a", 3)):
        features, outside = some.asked({"digit": value})
        assert features.tolist() == [float(i == place) for i in range(7)]
        assert outside == []
    with pytest.raises(NotFound, match=r"No training network has digit = 3\.0"):
        some.asked({"digit": 3.0})
    with pytest.raises(
        CatalogError, match=r"twice = 1 may be '01' or '1.00'.*'twice': '01'"
    ):
        some.asked({"twice": 1})
    assert some.asked({"twice": "1.00"})[0].tolist() == [0, 0, 0, 0, 0, 1, 0]


def test_columns_that_teach_nothing_are_refused():
    some = planted(40)
    constant = networks(some.weights, lr=[0.1] * 40)
    missing = networks(some.weights, lr=[0.1] * 39 + [None])
    infinite = networks(some.weights, lr=[0.1] * 39 + [float("nan")])
    tenth = networks(planted(60).weights, lr=[0.1] * 60)
    assert np.full(60, 0.1).std() > 0  # of equal numbers
    for same in (constant, tenth):
        with pytest.raises(CatalogError, match=r"All training networks have lr = 0\.1"):
            generator(conditions=["lr"]).fit(same)
    with pytest.raises(CatalogError, match=r"1 of 40 networks have no lr.*IS NOT NULL"):
        generator(conditions=["lr"]).fit(missing)
    with pytest.raises(CatalogError, match="1 of 40 networks have a lr that is not finite"):
        generator(conditions=["lr"]).fit(infinite)
    with pytest.raises(NotFound, match=r"No column 'acc'. Closest: accuracy"):
        generator(conditions=["acc"]).fit(some)
    with pytest.raises(CatalogError, match="'kind' holds no numbers"):
        generator(predictors=["kind"]).fit(some)
    with pytest.raises(ValueError, match=r"such as \('accuracy',\)"):
        generator(conditions="accuracy").fit(some)


def test_a_predictor_draws_samples_and_best_of_chooses(plain):
    one = plain.predictors_["accuracy"]
    assert 0.5 < one.skill < 1
    free, drawn = plain.sample(300), plain.sample(300, toward={"accuracy": 0.915})
    codes = (plain.codes_.encode(p.weights) for p in (free, drawn))
    before, after = (float((c @ one.coefficients).mean()) + one.intercept for c in codes)
    spread = float((plain.codes_.encode(free.weights) @ one.coefficients).std())
    share = spread**2 / (spread**2 + one.error**2)
    assert after - before == pytest.approx(share * (0.915 - before), rel=0.15)
    best = plain.sample(40, best_of=5, score=lambda p: p.weights[:, 1])
    every = plain.sample(200).weights.reshape(40, 5, -1)
    assert (best.weights[:, 1] == every[:, :, 1].max(1)).all()
    with pytest.raises(CatalogError, match="best_of = 3 needs score="):
        plain.sample(2, best_of=3)
    with pytest.raises(NotFound, match="No predictor of 'loss'"):
        plain.sample(2, toward={"loss": 0.1})
    with pytest.raises(BadSetting, match="accuracy setting of toward must be a finite"):
        plain.sample(2, toward={"accuracy": float("nan")}, extrapolate=True)
    with pytest.raises(CatalogError, match="accuracy = 2 is outside"):
        plain.sample(2, toward={"accuracy": 2})


def test_density_is_that_of_the_gaussian_where_it_is_one():
    rng = np.random.default_rng(5)
    population = networks(rng.standard_normal((300, PLAIN.d)) * 2 + 1)
    still = Schedule(iterations=1, lr=0, final_lr=0)
    fitted = generator(schedule=still, shrinkage=0.0).fit(population)
    X = fitted.training_.weights
    covariance, off = np.cov(X.T), population.weights[:5] - X.mean(0)
    expected = -0.5 * np.einsum("nd,nd->n", off, np.linalg.solve(covariance, off.T).T)
    expected -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    found = fitted.log_density(population.select(np.arange(5)))
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    guessed = fitted.log_density(population.select(np.arange(5)), probes=2)
    np.testing.assert_allclose(guessed, found, rtol=1e-4)


def test_chosen_tensors_are_made_and_the_rest_is_of_training_networks(tmp_path):
    population = planted(60)
    fitted = generator(tensors=["head"]).fit(population)
    made = fitted.sample(9)
    bodies = {row[:6].tobytes() for row in fitted.training_.weights}
    assert all(row[:6].tobytes() in bodies for row in made.weights)
    heads = {row[6:].tobytes() for row in fitted.training_.weights}
    assert not any(row[6:].tobytes() in heads for row in made.weights)
    own = population.select([3])
    based = fitted.sample(9, base=own)
    assert (based.weights[:, :6] == own.weights[:, :6]).all()
    assert (based.weights[:, 6:] == made.weights[:, 6:]).all()
    with pytest.raises(CatalogError, match=r"1 network, or one for each of 9.*Got 2"):
        fitted.sample(9, base=population.select([1, 2]))
    five, first = population.select(np.arange(5)), np.arange(5) * 3
    chosen = fitted.sample(5, base=five, best_of=3, score=lambda p: np.arange(15.0))
    assert (chosen.weights[:, :6] == five.weights[:, :6]).all()
    every = fitted.sample(15).weights[:, 6:]
    assert (chosen.weights[:, 6:] == every[first + 2]).all()  # the best of each three
    two = population.select([1, 2])
    with pytest.raises(CatalogError, match=r"one for each of 5 samples. Got 2"):
        fitted.sample(5, base=two, best_of=3, score=lambda p: np.arange(15.0))
    fitted.save(tmp_path / "g")
    assert (DeepWeightFlow.load(tmp_path / "g").sample(9).weights == made.weights).all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"conditions": 5}, ValueError, r"sequence of columns, such as \('test_acc.*Got 5"),
        ({"conditions": [5]}, ValueError, "conditions setting of DeepWeightFlow must be"),
        ({"tensors": 3}, ValueError, "must be a glob or a sequence of globs. Got 3"),
        ({"components": 2.5}, ValueError, "whole number of at least 1. Got 2.5"),
        ({"shrinkage": 2}, ValueError, "at least 0 and at most 1. Got 2"),
        ({"source": 0}, ValueError, "finite number, above 0. Got 0"),
        (
            {"strategy": "meen"},
            NotFound,
            "reference, mean, cycle. Got 'meen'. Closest: mean",
        ),
        ({"reference": -1}, ValueError, "whole number of at least 0"),
        ({"schedule": {"iterations": 5}}, ValueError, "must be a Schedule, such as"),
        ({"solver": "rk4"}, ValueError, r"must be a Solver, such as Solver\('rk4', 8\)"),
        ({"tolerance": "tight"}, ValueError, "tolerance=0.001, or leave the setting out"),
        ({"seed": 0.5}, ValueError, "The seed setting of DeepWeightFlow must be"),
        ({"sizes": 64}, ValueError, "must be a mapping, such as"),
        (
            {"sizes": {"widht": 64}},
            NotFound,
            "no size 'widht'. Closest: width.*sizes={'width': 256",
        ),
        (
            {"sizes": {"width": "64"}},
            ValueError,
            "width setting of film_mlp must be a whole",
        ),
        ({"sizes": {"dropout": 1.0}}, ValueError, "dropout setting.*below 1. Got 1.0"),
        (
            {"velocity": "learnt_steps", "sizes": {"architecture": {}}},
            NotFound,
            "The velocity 'learnt_steps' has no size 'architecture'",
        ),
        (
            {"velocity": "published_mlp", "conditions": ["accuracy"]},
            ValueError,
            "takes no conditions",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_are_refused_before_networks_are_read(
    settings, error, message
):
    with pytest.raises(error, match=message):
        generator(**settings).fit(None)


def test_settings_from_the_command_line_are_refused_with_a_message():
    for text in ('schedule={"iterations": 0}', 'solver={"method": "rk5"}'):
        with pytest.raises(
            CatalogError, match=r"(The iterations setting|solver\.method) of "
        ):
            generator_named("deepweightflow", [text])


@pytest.mark.parametrize("name", ["temperature", "guidance", "strength"])
def test_samples_are_not_asked_for_with_what_is_no_number(plain, name):
    for value in (float("nan"), float("inf"), "1"):
        with pytest.raises(BadSetting, match=f"The {name} setting of sample must be a fin"):
            plain.sample(2, **{name: value})
    with pytest.raises(BadSetting, match=r"temperature setting.*at least 0\. Got -1"):
        plain.sample(2, temperature=-1)


def test_networks_that_cannot_be_learned_from_are_refused(plain):
    some = planted(40)
    with pytest.raises(CatalogError, match=r"9 runs .9 networks. are too few: at least 10"):
        generator().fit(some.select(np.arange(9)))
    broken = planted(40)
    broken.weights[7, 2] = np.nan
    with pytest.raises(
        LayoutMismatch, match=r"1 of 40 training networks.*first run 'r0007'"
    ):
        generator().fit(broken)
    with pytest.raises(LayoutMismatch, match="1 of 40 validation networks"):
        generator().fit(networks(some.weights, accuracy=some["accuracy"]), broken)
    with pytest.raises(CatalogError, match="40 runs are in training and validation"):
        generator().fit(some, some)
    other = networks(np.zeros((12, 4)), Layout((Param("w", (4,)),)))
    with pytest.raises(LayoutMismatch, match="Validation networks have layout"):
        generator().fit(some, other)
    with pytest.raises(LayoutMismatch, match=r"Got 2: 40 x layout \w+ .d = 12.; 12 x"):
        generator().fit([some, other])
    assert len(one_population([some, planted(20)])) == 60
    with pytest.raises(NotFound, match=r"No velocity 'mlp'. Closest: "):
        generator(velocity="mlp").fit(some)
    with pytest.raises(ValueError, match="components must be from 1 to 12"):
        generator(components=99).fit(some)
    with pytest.raises(CatalogError, match="not fitted"):
        generator().sample(1)
    with pytest.raises(CatalogError, match="not fitted"):
        generator().save("nowhere")
    with pytest.raises(CatalogError, match="base= has no use"):
        plain.sample(1, base=some)


def test_a_damaged_file_is_refused(plain, tmp_path):
    path = tmp_path / "generator.safetensors"
    plain.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match="not a readable safetensors file"):
        DeepWeightFlow.load(path)
    for at in (len(whole) - 3, len(whole) // 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ShardCorrupt, match="has changed since it was written"):
            DeepWeightFlow.load(path)
    text = whole.replace(b'seed\\\\":0', b'seed\\\\":1').replace(
        b'seed\\": 0', b'seed\\": 1'
    )
    assert text != whole
    path.write_bytes(text)
    with pytest.raises(ShardCorrupt, match="has changed"):
        DeepWeightFlow.load(path)


ARCHITECTURES = [
    (MLP((6, 5, 4, 3)), "relu"),
    (MLP((6, 5, 4, 3), "gelu"), "gelu"),
    (CNNSmall(4, (1, 20, 20), 3), "relu"),
    (ResNet18.scaled(2, (1, 8, 8), 3), "norm"),
    (ViT.scaled(6, (1, 4, 4), 3), "gelu"),
]


@pytest.mark.parametrize(("network", "kind"), ARCHITECTURES, ids=lambda v: str(v)[:12])
def test_every_architecture_is_fitted_and_sampled(network, kind):
    rng, n = np.random.default_rng(0), 24
    layout = network.layout
    weights = np.zeros((n, layout.d), np.float32)
    for name, span in layout.slices.items():
        if name.endswith("running_var") or "norm" in name or "bn" in name:
            weights[:, span] = rng.uniform(0.5, 1.5, weights[:, span].shape)
        else:
            weights[:, span] = 0.5 * rng.standard_normal(weights[:, span].shape)
    extra = {p.name: np.full((n, *p.shape), 30, np.int64) for p in layout.extra}
    table = pa.table({"run_id": [f"r{i}" for i in range(n)], "step": [30] * n})
    population = Population(weights, layout, table, extra)
    shape = {MLP: (6,), CNNSmall: (1, 20, 20), ResNet18: (1, 8, 8), ViT: (1, 4, 4)}
    x = rng.standard_normal((5, *shape[type(network)])).astype(np.float32)
    recorded = json.dumps(network.config())
    about = population.table.append_column("architecture", pa.array([recorded] * n))
    population = Population(weights, layout, about, extra)
    check = outputs(population, x)
    fitted = generator(strategy="mean").fit(population, check=check)
    scaled = fitted.canonicaliser_.scaled_
    assert scaled == rectified(population, check)
    assert bool(scaled) == (kind == "relu")
    made = fitted.sample(4)
    assert np.isfinite(check(made.weights)).all()
    assert all((made.extra[p.name] == 30).all() for p in layout.extra)
    for name, span in layout.slices.items():
        if name.endswith("running_var"):
            assert (made.weights[:, span] > 0).all()
    # Canonical networks compute what they computed.
    held = np.isin(population["run_id"], fitted.training_["run_id"])
    np.testing.assert_allclose(
        check(fitted.training_.weights), check(weights[held]), rtol=1e-2, atol=1e-3
    )


def test_the_order_of_units_does_not_matter():
    network, rng = MLP((6, 5, 4, 3)), np.random.default_rng(1)
    population = networks(rng.standard_normal((30, network.layout.d)) + 1, network.layout)
    order = random_permutations(network.layout, 30, seed=2)
    for symbol in order:
        order[symbol][0] = np.arange(len(order[symbol][0]))  # the others follow it
    shuffled = permute(population, order)
    assert (shuffled.weights != population.weights).any(1).sum() == 29
    more = networks(rng.standard_normal((38, network.layout.d)) + 1, network.layout)
    held = more.select(np.arange(30, 38))
    ours, theirs = (
        generator(strategy="mean", reference=0).fit(p, held).sample(3).weights
        for p in (population, shuffled)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_published_settings_copy():
    rng = np.random.default_rng(0)
    population = networks(rng.standard_normal((20, PLAIN.d)))
    fitted = DeepWeightFlow.paper(components=10, width=96, iterations=1500)
    fitted.strategy = None
    fitted.fit(population)
    assert len(fitted.training_) == 20
    assert fitted.flow_.solver.steps == 99
    assert fitted.flow_.solver == Solver("rk4", 99, fitted.flow_.solver.error)
    made = fitted.sample(50).weights
    far = np.linalg.norm(made[:, None] - population.weights, axis=2).min(1)
    apart = np.linalg.norm(population.weights[:, None] - population.weights, axis=2)
    between = np.where(np.eye(20) > 0, np.inf, apart).min(1)
    assert np.median(far) < 0.5 * np.median(between)
    # Within the ten components, far nearer to a network than draws of their Gaussian.
    drawn = rng.standard_normal((50, fitted.codes_.k)).astype(np.float32)
    gaussian = fitted.codes_.decode(drawn * fitted.codes_.deviation)
    seen = fitted.codes_.decode(fitted.codes_.encode(population.weights))
    ours, theirs = (
        np.median(np.linalg.norm(own[:, None] - seen, axis=2).min(1))
        for own in (made, gaussian)
    )
    assert ours < 0.5 * theirs


def test_temperature_moves_samples_towards_the_mean(plain):
    warm, cold = plain.sample(200), plain.sample(200, temperature=0.3)
    spread = [
        np.linalg.norm(p.weights - p.weights.mean(0), axis=1).mean() for p in (warm, cold)
    ]
    assert spread[1] == pytest.approx(0.3 * spread[0], rel=0.1)


def test_trajectories_are_learned_with_the_step_as_a_condition():
    network, rng = MLP((6, 5, 4, 3)), np.random.default_rng(2)
    centre = rng.standard_normal(network.layout.d)
    end = networks(centre + 0.1 * rng.standard_normal((60, len(centre))), network.layout)
    end = permute(end, random_permutations(network.layout, 60, seed=3))
    early = networks(0.2 * end.weights, network.layout)
    early = Population(
        early.weights,
        early.layout,
        early.table.set_column(1, "step", pa.array([1] * 60)),
    )
    slow = Schedule(iterations=200, batch_size=32, lr=1e-3, every=20)
    fitted = generator(strategy="mean", conditions=["step"], schedule=slow)
    fitted.fit(Population.concat([early, end]))
    runs, steps = fitted.training_["run_id"], fitted.training_["step"]
    assert len(set(runs)) == 54  # both checkpoints of a held-out run are held out
    late = {
        r: w for r, s, w in zip(runs, steps, fitted.training_.weights, strict=True) if s > 1
    }
    for run, step, row in zip(runs, steps, fitted.training_.weights, strict=True):
        if step == 1:
            np.testing.assert_allclose(row, 0.2 * late[run], rtol=1e-5)
    means = [fitted.sample(100, condition={"step": s}).weights.mean(0) for s in (1, 9)]
    assert np.linalg.norm(means[0]) / np.linalg.norm(means[1]) == pytest.approx(
        0.2, abs=0.1
    )
