"""What every exported architecture, task and recipe promises."""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.init import _calculate_fan_in_and_fan_out as fans

import catalog
from catalog import Writer, schema
from catalog.axis_symbol import split_symbol
from catalog.storage.splits import SPLITS
from catalog.upkeep.verify import verify
from zoo.architectures import (
    ARCHITECTURES,
    GPT,
    MLP,
    CNNSmall,
    LoRAMLP,
    ResNet18,
    ResNet50,
    ViT,
)
from zoo.engine.stack import Stack, build_architecture, plan
from zoo.engine.train_stack import train_stack
from zoo.measuring.request import chosen_metrics
from zoo.measuring.worker import measured_table
from zoo.metrics import METRICS
from zoo.networks import Networks
from zoo.randomness import stream
from zoo.recipe import spread_runs
from zoo.recipes import RECIPES
from zoo.run import Run
from zoo.stacked.activation import ACTIVATIONS
from zoo.task import load_task
from zoo.tasks import TASKS
from zoo.training.train import train
from zoo.training.worker import Shards, train_into

CPU, NETS, BATCH = torch.device("cpu"), 3, 5
IMAGE = (2, 20, 23)
PLAIN = (MLP, CNNSmall)
"""Families of any activation, with torch's default initialisation."""

MEMBERS = [
    *((f.scaled(1, IMAGE, 3), IMAGE) for f in PLAIN),
    *((f.scaled(8, IMAGE, 10), IMAGE) for f in PLAIN),
    *(
        (f.scaled(5, IMAGE, 3, activation=name), IMAGE)
        for f in PLAIN
        for name in ACTIVATIONS
    ),
    (MLP((6, 4)), (6,)),
    (MLP((16, 5, 4, 3, 2), "gelu"), (1, 4, 4)),
    (LoRAMLP.scaled(5, IMAGE, 3, rank=2), IMAGE),
    (LoRAMLP((16, 12, 9, 2), 4, activation="tanh"), (1, 4, 4)),
    (CNNSmall(16, (1, 28, 28)), (1, 28, 28)),
    (CNNSmall(6, (3, 32, 32), 100), (3, 32, 32)),
    (ResNet18.scaled(2, (2, 9, 13), 3), (2, 9, 13)),
    (ResNet18.scaled(4, (3, 16, 16), 10), (3, 16, 16)),
    (ResNet50.scaled(2, (2, 8, 12), 3), (2, 8, 12)),
    (ViT.scaled(6, (2, 8, 12), 3), (2, 8, 12)),
    (ViT.scaled(12, (3, 16, 16), 10, depth=2, heads=3, mlp_ratio=4), (3, 16, 16)),
    (ViT.scaled(5, (1, 6, 4), 10, depth=1, patch=2), (1, 6, 4)),
    (GPT.scaled(8, (7,), 11), (7,)),
    (GPT.scaled(12, (16,), 30, depth=2, heads=3, tied=False), (16,)),
]


def members(some):
    """A test of some networks."""
    some = list(some)
    names = [repr(network) for network, _ in some]
    return pytest.mark.parametrize(("network", "shape"), some, ids=names)


member = members(MEMBERS)


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Tests run side by side: two threads each would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "found",
    [ARCHITECTURES, RECIPES, TASKS, METRICS, {a.name: a for a, _ in MEMBERS}],
    ids=["architectures", "recipes", "tasks", "metrics", "members"],
)
def test_there_is_something_to_test(found):
    assert len(found) >= 1
    assert all(found[name].name == name for name in found)


def test_every_architecture_has_members():
    assert {network.name for network, _ in MEMBERS} == set(ARCHITECTURES)


# ---------------------------------------------------------------------- architectures


def initial(network, scale=2.0, nets=NETS):
    draws = [network.init(stream(seed, "init")) for seed in range(nets)]
    return np.stack(draws) * np.float32(scale)


def moved(network):
    """Weights as after some training: what starts as a constant has moved as well."""
    scale = 2.0 if isinstance(network, PLAIN) else 1.0  # with shortcuts it overflows
    weights, constant = initial(network, scale), network.init_bounds() == 0
    noise = np.random.default_rng(3).random(weights.shape, np.float32)
    weights[:, constant] += 0.5 * noise[:, constant]
    return weights


def batch(network, shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    if isinstance(network, GPT):
        return torch.randint(network.classes, (NETS, BATCH, *shape), generator=draw)
    return torch.randn(NETS, BATCH, *shape, generator=draw)


def parameters(network, tensors):
    """What is trained, as leaves of a graph."""
    names = [param.name for param in network.layout if param.role == "parameter"]
    return [tensors[name].requires_grad_() for name in names]


def modes(network):
    """Values of ``training`` that differ for this network."""
    return (False, True) if any(p.role == "buffer" for p in network.layout) else (False,)


def tensors_of(network, weights, cast=lambda x: x):
    views = network.layout.unflatten(weights)
    return {name: cast(torch.from_numpy(view.copy())) for name, view in views.items()}


def module_of(network, vector, training=False):
    """One network in torch, in double precision: the oracle."""
    module = network.module().train(training)
    module.load_state_dict(tensors_of(network, vector))
    return module.double()


def wide(x):
    """In double precision; tokens stay tokens."""
    return x.double() if x.is_floating_point() else x


def precisions(network):
    """Mode, precision of the stack, and how near it must come to the oracle.

    A deep network that normalises by small batches magnifies every rounding, so that
    mode is compared in double precision, and closer.
    """
    # Normalisation takes differences of gradients that nearly cancel.
    single = 1e-5 if isinstance(network, PLAIN) else 1e-4
    yield False, lambda x: x, single
    if True in modes(network):
        yield True, wide, 1e-9


def close(ours, oracle, tolerance=1e-5):
    assert ours.shape == oracle.shape
    return bool((ours - oracle).abs().max() <= tolerance * oracle.abs().max())


@member
def test_the_layout_is_that_of_the_modules_state(network, shape):
    state = network.module().state_dict()
    listed = [(param.name, param.shape) for param in network.layout]
    assert listed == [(name, tuple(value.shape)) for name, value in state.items()]
    assert {param.dtype for param in network.layout} == {"float32"}


@member
def test_flatten_and_unflatten_are_inverse(network, shape):
    weights, layout = initial(network), network.layout
    assert (layout.flatten(layout.unflatten(weights)) == weights).all()
    state = {name: value.numpy() for name, value in network.module().state_dict().items()}
    back = layout.unflatten(layout.flatten(state))
    assert all((back[name] == value).all() for name, value in state.items())


@member
def test_the_stack_computes_what_each_module_computes(network, shape):
    weights, x = moved(network), batch(network, shape)
    for training, cast, tolerance in precisions(network):
        tensors = tensors_of(network, weights, cast)
        logits = network.forward(tensors, cast(x), training=training)
        for i in range(NETS):
            module = module_of(network, weights[i], training)
            assert close(logits[i], module(wide(x[i])), tolerance)
            for name, value in module.state_dict().items():
                assert close(tensors[name][i], value, tolerance)


@member
def test_gradients_of_the_stack_are_those_of_each_module(network, shape):
    weights, x = moved(network), batch(network, shape)
    for training, cast, tolerance in precisions(network):
        tensors = tensors_of(network, weights, cast)
        leaves = parameters(network, tensors)
        logits = network.forward(tensors, cast(x), training=training)
        ours = torch.autograd.grad(logits.square().flatten(1).mean(1).sum(), leaves)
        for i in range(NETS):
            module = module_of(network, weights[i], training)
            loss = module(wide(x[i])).square().mean()
            theirs = torch.autograd.grad(loss, list(module.parameters()))
            for mine, right in zip(ours, theirs, strict=True):
                assert close(mine[i], right, 2 * tolerance)


def curvature(loss, leaves, along):
    """The Hessian of a loss times a direction."""
    slopes = torch.autograd.grad(loss, leaves, create_graph=True)
    slope = sum((g * v).sum() for g, v in zip(slopes, along, strict=True))
    return torch.autograd.grad(slope, leaves, allow_unused=True, materialize_grads=True)


@member
def test_second_derivatives_of_the_stack_are_those_of_each_module(network, shape):
    # Pools behind convolutions work in single precision only.
    cast, tolerance = (wide, 1e-8)
    if isinstance(network, CNNSmall):
        cast, tolerance = (lambda x: x), 1e-4
    weights, x = moved(network), cast(batch(network, shape))
    draw = torch.Generator().manual_seed(1)
    for training in modes(network):
        tensors = tensors_of(network, weights, cast)
        leaves = parameters(network, tensors)
        along = [torch.randn(v.shape, generator=draw, dtype=v.dtype) for v in leaves]
        logits = network.forward(tensors, x, training=training)
        ours = curvature(logits.square().flatten(1).mean(1).sum(), leaves, along)
        for i in range(NETS):
            module = module_of(network, weights[i], training)
            with sdpa_kernel(SDPBackend.MATH):  # the other kernels have one derivative
                loss = module(wide(x[i])).square().mean()
                own = [v[i].double() for v in along]
                theirs = curvature(loss, list(module.parameters()), own)
            largest = max(float(right.abs().max()) for right in theirs)
            for mine, right in zip(ours, theirs, strict=True):
                assert (mine[i] - right).abs().max() <= tolerance * largest


@member
def test_a_batch_may_be_shared(network, shape):
    tensors, x = tensors_of(network, moved(network)), batch(network, shape)[:1]
    own = x.repeat(NETS, *[1] * (x.dim() - 1))
    shared = x.expand(NETS, *x.shape[1:])
    assert close(network.forward(tensors, shared), network.forward(tensors, own))


@member
def test_a_dead_net_changes_no_bit_of_its_neighbours(network, shape):
    x = batch(network, shape)
    for training in modes(network):
        weights, results = moved(network), []
        for broken in (False, True):
            weights[1] = np.nan if broken else weights[1]
            tensors = tensors_of(network, weights)
            leaves = parameters(network, tensors)
            logits = network.forward(tensors, x, training=training)
            grads = torch.autograd.grad(logits.sum(), leaves)
            results.append([logits, *grads, *tensors.values()])
        for clean, beside in zip(*results, strict=True):
            assert torch.equal(clean[[0, 2]], beside[[0, 2]])
        assert results[1][0][1].isnan().all()


@member
def test_taps_are_features_that_nothing_changes_later(network, shape):
    class Copies(dict):
        def __setitem__(self, name, value):
            super().__setitem__(name, (value, value.clone()))

    tensors, x, seen = tensors_of(network, moved(network)), batch(network, shape), Copies()
    logits = network.forward(tensors, x, taps=seen)
    assert torch.equal(logits, network.forward(tensors, x))
    assert bool(seen) == (network != MLP((6, 4)))
    for kept, copy in seen.values():
        assert kept.shape[:2] == (NETS, BATCH)
        assert torch.equal(kept, copy)
        assert kept.std() > 0


def other_order(draw, size):
    order = draw.permutation(size)
    return order[::-1] if (order == np.arange(size)).all() else order


def permuted(network, weights, seed):
    """Units of every symbol in another order, the same in all tensors."""
    draw = np.random.default_rng(seed)
    orders = {s: other_order(draw, n) for s, n in network.layout.symbols.items()}
    tensors = network.layout.unflatten(weights)
    for param in network.layout:
        for axis, symbol in enumerate(param.axes):
            if symbol is not None:
                name, block = split_symbol(symbol)
                rows = (orders[name][:, None] * block + np.arange(block)).ravel()
                tensors[param.name] = tensors[param.name].take(rows, axis + 1)
    return network.layout.flatten(tensors)


@member
def test_permuting_units_leaves_the_logits(network, shape):
    weights, x = moved(network), batch(network, shape)
    other = permuted(network, weights, seed=2)
    logits, same = (network.forward(tensors_of(network, w), x) for w in (weights, other))
    assert close(same, logits)
    movable = max(network.layout.symbols.values(), default=1) > 1
    assert (other != weights).any() == movable


@member
def test_every_unit_before_the_logits_permutes(network, shape):
    fixed = [p.name for p in network.layout if p.axes == (None,)]
    biased = not isinstance(network, GPT)
    assert fixed == [p.name for p in network.layout.params[-1:] if biased]


@member
def test_initial_weights_have_their_centre_and_deviation(network, shape):
    centre, deviation = network.init_centre(), network.init_bounds() / np.sqrt(3)
    drawn = initial(network, scale=1.0, nets=20)
    assert drawn.dtype == np.float32
    for columns in network.layout.slices.values():
        off = (drawn - centre)[:, columns].astype(float)
        ours, sigma = np.sqrt(np.square(off).mean()), deviation[columns][0]
        assert (deviation[columns] == sigma).all()
        if sigma == 0:
            assert not off.any()
        else:
            few = off.size**-0.5
            assert abs(off.mean()) <= 4.5 * sigma * few
            assert abs(ours / sigma - 1) <= 4.5 * few
    again = network.init(stream(0, "init"))
    assert (again == drawn[0]).all()


@members(m for m in MEMBERS if isinstance(m[0], PLAIN))
def test_initial_weights_are_uniform_within_torchs_bounds(network, shape):
    layout, bounds = network.layout, network.init_bounds()
    modules = [network.module().state_dict() for _ in range(20)]
    shares = initial(network, scale=1.0, nets=20) / bounds
    for name, columns in layout.slices.items():
        fan_in = fans(modules[0][name.replace("bias", "weight")])[0]
        np.testing.assert_allclose(bounds[columns], fan_in**-0.5, rtol=1e-6)
        torchs = torch.stack([state[name] for state in modules]).abs().max() * fan_in**0.5
        assert torchs <= 1 + 1e-6
        ours = np.sort(shares[:, columns].ravel())
        assert ours[0] >= -1 - 1e-6
        assert ours[-1] <= 1 + 1e-6
        # Kolmogorov-Smirnov at 1 in 10,000, with fixed seeds.
        line = np.linspace(-1, 1, len(ours))
        assert abs(ours - line).max() / 2 <= 2.3 / np.sqrt(len(ours))


@member
def test_an_architecture_survives_json(network, shape):
    config = json.loads(json.dumps(network.config()))
    assert config["name"] == network.name
    assert build_architecture(config) == network
    assert build_architecture(config).layout.id == network.layout.id


@member
def test_the_memory_estimate_is_near_what_a_sample_keeps_alive(network, shape):
    sizes = [int(np.prod(shape))]
    module = network.module()
    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda m, i, out: sizes.append(out[0].numel()))
    logits = module(batch(network, shape)[0])
    if isinstance(network, GPT) and network.tied:  # the output layer is no module
        sizes.append(logits[0].numel())
    assert 0.5 * sum(sizes) <= network.activations <= 3 * sum(sizes)


# ------------------------------------------------------------------------------ tasks


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """Noise in the shape of every task that needs files: nothing leaves the machine."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, 999_983, np.uint8)  # a prime: no two images are alike
    for task in TASKS.values():
        if task.objective == "language":
            letters = draw.integers(97, 123, 31 * 64 * task.shape[0], np.uint8)
            (folder / f"{task.name}.txt").write_bytes(letters.tobytes())
        elif task.embedded is None and task.loader is None:
            count = task.validation + 320
            x = np.resize(np.roll(noise, len(task.name)), (count, *task.shape))
            y = np.arange(count) % task.classes
            np.savez(
                folder / f"{task.name}.npz",
                x_train=x[:-20], y_train=y[:-20], x_test=x[-20:], y_test=y[-20:],
            )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def fingerprints(data_folder):
    return {n: load_task(task, data_folder).fingerprint for n, task in TASKS.items()}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_loads_with_its_shape_and_splits(name, data_folder, fingerprints):
    task = TASKS[name]
    data = load_task(task, data_folder)
    assert data.samples("validation") == task.validation or task.objective == "language"
    for split in SPLITS:
        assert data.x[split].shape == (data.samples(split), *task.shape)
        assert data.y[split].shape[1:] == (
            task.shape if task.objective == "language" else ()
        )
        assert data.y[split].dtype == np.int64
        assert set(data.y[split].ravel()) <= set(range(task.classes))
        assert data.samples(split) >= 20
    if task.objective == "classification":
        assert data.mean.shape == data.std.shape == (task.shape[0], 1, 1)
    assert data.fingerprint == fingerprints[name]


def test_tasks_have_fingerprints_of_their_own(fingerprints):
    assert len(set(fingerprints.values())) == len(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_documented_and_says_where_its_data_are(name):
    assert sys.modules[f"zoo.tasks.{name}"].__doc__.strip()
    assert TASKS[name].title
    sources = (TASKS[name].embedded, TASKS[name].hub, TASKS[name].loader)
    assert any(sources) or name == "cifar10_jpeg"


# ---------------------------------------------------------------------------- recipes


@pytest.fixture(scope="module")
def loaded(data_folder):
    """Data of a recipe's task, with a short validation split."""
    tasks = {}

    def load(recipe):
        if recipe.task not in tasks:
            few = replace(TASKS[recipe.task], validation=20)
            tasks[recipe.task] = load_task(few, data_folder)
        return tasks[recipe.task]

    return load


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_documented_where_its_name_says(name):
    recipe = RECIPES[name]
    assert len(sys.modules[f"zoo.recipes.{name}"].__doc__.strip().splitlines()) > 1
    assert 10 < len(recipe.summary) < 100
    assert recipe.paper
    assert re.search(r"not measured|\d", recipe.cost)
    assert not re.search(r"\b[A-Z]{4,}COST|\bCOST\b", recipe.cost)


def parents(recipe):
    """One checkpoint to start from, for recipes that need some."""
    return [("0123abcd", 10)] if recipe.init_from else []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_expands_into_distinct_stable_runs(name, loaded):
    recipe, data = RECIPES[name], loaded(RECIPES[name])
    runs = recipe.runs(data, parents(recipe))
    ids = [run.run_id(data.fingerprint) for run in runs]
    assert len(set(ids)) == len(runs) == recipe.networks
    assert {run.zoo for run in runs} == {name}
    assert all(run.checkpoints[-1] == run.steps > 0 for run in runs)
    few = slice(None, None, 1 + len(runs) // 200)
    later = recipe.runs(data, parents(recipe))[few]
    for run, again, run_id in zip(runs[few], later, ids[few], strict=True):
        back = Run.from_config(json.loads(json.dumps(run.config())))
        assert run_id == again.run_id(data.fingerprint) == back.run_id(data.fingerprint)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_states_the_bytes_of_its_weights(name, loaded):
    recipe = RECIPES[name]
    runs = recipe.runs(loaded(recipe), parents(recipe))
    sizes = {layout.d for layout in recipe.layouts()}
    known = {}

    def weights(run):
        key = json.dumps(dict(run.architecture))
        if key not in known:
            known[key] = build_architecture(dict(run.architecture)).layout.d
        return known[key]

    assert {weights(run) for run in runs[:200]} <= sizes
    every = sum(4 * len(run.checkpoints) * weights(run) for run in spread_runs(runs, 200))
    assert recipe.bytes == pytest.approx(every * len(runs) / min(200, len(runs)), rel=0.05)


def corner(name):
    """Three steps of the cheapest corner: full sizes go up to 375 M weights.

    On all samples there are: the data of these tests is smaller than some subsets. What
    starts from other networks starts anew.
    """
    recipe = RECIPES[name]
    settings = {k: v for k, v in recipe.settings.items() if k != "train_samples"}
    cheapest = {
        "load": replace(recipe.load, values=recipe.load.values[:1]),
        "temperature": replace(recipe.temperature, values=recipe.temperature.values[:2]),
    }
    return replace(
        recipe, epochs=None, steps=3, checkpoints=(0, 1), settings=settings, init_from="",
        draws=tuple(draw for draw in recipe.draws if draw.name != "epochs"), **cheapest,
    )  # fmt: skip


def by_size(name):
    """Full-size recipes are slow even in their cheapest corner."""
    return pytest.param(name, marks=[pytest.mark.slow] * (RECIPES[name].bytes > 1e9))


@pytest.mark.parametrize("name", [by_size(name) for name in RECIPES])
def test_a_recipe_trains(name, loaded, tmp_path):
    data = loaded(RECIPES[name])
    some = {"train": slice(2000), "validation": slice(200), "test": slice(200)}
    x, y = ({s: part[s][own] for s, own in some.items()} for part in (data.x, data.y))
    data = replace(data, x=x, y=y)
    runs = spread_runs(corner(name).runs(data), 2)
    with Writer(tmp_path) as writer:
        shards = Shards(writer, 1 << 30, lambda runs: None)
        for stack in plan(runs, data, 1 << 30):
            train_into(shards, stack, data, CPU, {}, lambda steps: None)
        shards.flush()
    rows = catalog.open(tmp_path).sql(
        "SELECT run_id, step, finite, train_loss, coalesce(test_accuracy, 0) FROM models "
        "ORDER BY ALL"
    )
    rows = rows.fetchall()
    expected = [(r.run_id(data.fingerprint), s, True) for r in runs for s in (0, 3)]
    assert [row[:3] for row in rows] == sorted(expected)
    assert all(np.isfinite(row[3]) and 0 <= row[4] <= 1 for row in rows)
    assert not verify(tmp_path).problems


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_in_a_worker(name, data_folder, forked_workers, tmp_path):
    recipe = corner(name)
    count = min(2, recipe.networks)  # a root is alone
    summary = train(recipe, tmp_path, data=data_folder, limit=2, workers=1)
    found = (summary.planned, summary.trained, summary.checkpoints)
    assert found == (count, count, 2 * count)
    assert not verify(tmp_path).problems


# ---------------------------------------------------------------------------- metrics

FAST = {"mode_connectivity": {"steps": 12, "points": 3}, "hessian": {"probes": 4}}
FAST |= {"transfer": {"steps": 3}, "barrier": {"points": 3}}


@pytest.fixture(scope="module")
def cells():
    """Two cells of three digits MLPs each; the last network of the first cell is dead."""
    data = load_task(TASKS["digits"])
    network = MLP((64, 5, 10), "tanh")
    runs = tuple(
        Run(
            "laws", "digits", network.config(), 9, (9,), seed=seed, cell=cell, lr=0.05,
            train_samples=200, subset_seed=0, batch_size=20,
        )
        for cell in ("a", "b")
        for seed in range(3)
    )  # fmt: skip
    weights = train_stack(Stack(runs), data, CPU).checkpoints[-1].weights
    weights[2] = np.nan
    names = tuple(run.cell for run in runs)
    return Networks(network, data, runs, (9,) * 6, names, weights, CPU)


@pytest.fixture(scope="module")
def measured(cells):
    """Every metric of the six networks, and of the second cell alone."""
    found = {}
    for name, metric in METRICS.items():
        quick = replace(metric, **FAST.get(name, {}))
        alone = quick.measure(cells.take([3, 4, 5]), seed=1)
        found[name] = quick.measure(cells, seed=1), alone
    return found


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_its_columns(name, measured, cells):
    metric = METRICS[name]
    found, _ = measured[name]
    assert set(found) == {column.name for column in metric.columns}
    assert all(values.shape == (6,) for values in found.values())
    table = measured_table(metric, found, cells)
    assert table.schema.names == [column.name for column in metric.columns]
    assert all(column.unit and column.meaning for column in metric.columns)
    own = {column.name for column in (*schema.RUNS, *schema.CHECKPOINTS)}
    assert own.isdisjoint(table.schema.names)
    assert sys.modules[f"zoo.metrics.{name}"].__doc__.strip()
    assert 10 < len(metric.summary) < 100
    assert metric.passes(6, 6, 200) > 0


# Runs of these cells have one checkpoint each: what looks along runs has no value.
@pytest.mark.parametrize("name", [n for n in METRICS if not METRICS[n].along])
def test_a_metric_measures_living_networks_whatever_is_beside_them(name, measured, cells):
    together, alone = (measured_table(METRICS[name], m, cells) for m in measured[name])
    for column in METRICS[name].columns:
        values, expected = (t[column.name].to_pylist() for t in (together, alone))
        if column.type == pa.string():
            assert values[3:] == expected
        else:
            assert values[3:] == pytest.approx(expected, rel=1e-3)
    first = together[METRICS[name].columns[0].name].to_pylist()
    assert first[2] is None
    assert None not in first[3:]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_same_for_the_same_seed(name, measured, cells):
    quick = replace(METRICS[name], **FAST.get(name, {}))
    again = measured_table(METRICS[name], quick.measure(cells, seed=1), cells)
    assert again.equals(measured_table(METRICS[name], measured[name][0], cells))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_survives_its_provenance(name):
    said = json.loads(json.dumps(METRICS[name].provenance()))
    assert chosen_metrics([said]) == {name: METRICS[name]}
