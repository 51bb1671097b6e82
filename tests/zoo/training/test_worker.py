"""What a worker does with stacks: plans them, starts them, commits them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import catalog
from catalog import CatalogError, LayoutMismatch, Writer
from zoo.engine.stack import Stack
from zoo.run import Run
from zoo.training.parents import SPLIT_COLUMNS, read_parents
from zoo.training.request import TrainRequest
from zoo.training.worker import Shards, plan_stacks, train_into

CPU = torch.device("cpu")


def planned(root, recipe, data, **options):
    request = TrainRequest(recipe, root, device="cpu", **options)
    stacks = plan_stacks(request, data, memory=1 << 30, workers=1)["stacks"]
    stacks = json.loads(json.dumps(stacks))
    return [Stack(tuple(map(Run.from_config, runs))) for runs in stacks]


def train_here(root, recipe, data, **options):
    with Writer(root) as writer:
        shards = Shards(writer, 1 << 30, lambda runs: None)
        for stack in planned(root, recipe, data, **options):
            parents = read_parents(str(root), stack)
            train_into(shards, stack, data, CPU, parents, lambda steps: None)
        shards.flush()
    return catalog.open(root)


@pytest.fixture
def copy(tiny_zoo, tmp_path):
    """The trained catalogue, to write into."""
    return shutil.copytree(tiny_zoo.root, tmp_path / "copy")


@pytest.fixture
def child_recipe(tiny_recipe):
    return replace(
        tiny_recipe,
        name="child",
        init_from="zoo = 'tiny' AND step = steps AND status = 'finished' AND width = 3",
        load=replace(tiny_recipe.load, values=(3,)),
        temperature=replace(tiny_recipe.temperature, values=(0.001,)),
        seeds=(7,),
    )


def test_a_plan_leaves_out_what_is_there(tiny_zoo, digits, tmp_path):
    recipe = tiny_zoo.recipe
    everything = planned(tmp_path / "new", recipe, digits)
    assert sum(map(len, everything)) == 8
    assert planned(tiny_zoo.root, recipe, digits) == []
    more = planned(tiny_zoo.root, replace(recipe, seeds=range(3)), digits)
    assert {run.seed for stack in more for run in stack.runs} == {2}
    assert (
        sum(len(stack) for stack in planned(tmp_path / "new", recipe, digits, limit=3)) == 3
    )


def test_a_child_starts_from_its_parents_weights_and_names_them(copy, child_recipe, digits):
    parents = catalog.open(copy).load(child_recipe.init_from)
    assert len(parents) == 2
    zoo = train_here(copy, child_recipe, digits)
    children = zoo.load("zoo = 'child' AND step = 0")
    assert len(children) == 2
    found = {}
    for i, (parent,) in enumerate(children["parents"]):
        assert (parent["step"], parent["role"]) == (30, "init")
        found[parent["run_id"]] = children.weights[i]
    expected = dict(zip(parents["run_id"], parents.weights, strict=True))
    assert found.keys() == expected.keys()
    assert all((found[key] == expected[key]).all() for key in expected)
    final = zoo.load("zoo = 'child' AND step = 30")
    assert (final.weights != children.weights).any(1).all()
    assert zoo.sql("SELECT count(*) FROM runs WHERE len(parents) > 0").fetchall() == [(2,)]
    assert planned(copy, child_recipe, digits) == []


def test_a_child_inherits_the_splits_of_its_parent(copy, child_recipe, digits):
    zoo = train_here(copy, child_recipe, digits)
    splits = ", ".join(SPLIT_COLUMNS)
    of = {
        row[0]: row[1:] for row in zoo.sql(f"SELECT run_id, {splits} FROM runs").fetchall()
    }
    pairs = zoo.sql("SELECT run_id, parents[1].run_id FROM runs WHERE zoo = 'child'")
    for child, parent in pairs.fetchall():
        assert of[child] == of[parent]


def test_a_child_is_no_parent_of_its_own_zoo(copy, child_recipe, digits):
    every = replace(child_recipe, init_from="step = steps AND finite AND width = 3")
    train_here(copy, every, digits)
    assert planned(copy, every, digits) == []


def test_a_child_without_parents_is_refused(child_recipe, digits, tmp_path):
    with pytest.raises(
        CatalogError, match=r"'child' starts from .* the catalogue has none"
    ):
        planned(tmp_path, child_recipe, digits)


def test_a_child_of_another_width_is_refused(copy, child_recipe, digits):
    wider = replace(child_recipe, load=replace(child_recipe.load, values=(5,)))
    with pytest.raises(
        LayoutMismatch, match="'child' start from networks with other tensors than mlp"
    ):
        train_here(copy, wider, digits)


def test_a_shard_holds_one_architecture_step_by_step(tmp_path, tiny_recipe, digits):
    committed = []
    with Writer(tmp_path) as writer:
        shards = Shards(writer, 1 << 30, committed.append)
        for stack in planned(tmp_path, tiny_recipe, digits, nets=2):
            train_into(shards, stack, digits, CPU, {}, lambda steps: None)
            assert catalog.open(tmp_path).sql("FROM runs").fetchall() == []
        shards.flush()
        shards.flush()
    assert committed == [4, 4]
    rows = catalog.open(tmp_path).sql(
        "SELECT shard, list(width ORDER BY row), list(step ORDER BY row) FROM models "
        "GROUP BY shard ORDER BY 2"
    )
    widths, steps = zip(*(row[1:] for row in rows.fetchall()), strict=True)
    assert widths == ([3] * 12, [4] * 12)
    assert steps == ([0] * 4 + [15] * 4 + [30] * 4,) * 2


@pytest.mark.parametrize("limit", ["bytes", "seconds"])
def test_shards_do_not_wait_for_ever(tmp_path, tiny_recipe, digits, monkeypatch, limit):
    if limit == "seconds":
        monkeypatch.setattr("zoo.training.worker.FLUSH_SECONDS", 0.0)
    committed = []
    with Writer(tmp_path) as writer:
        shards = Shards(writer, 8 if limit == "bytes" else 1 << 30, committed.append)
        stacks = planned(tmp_path, tiny_recipe, digits, nets=2)
        for number, stack in enumerate(stacks):
            train_into(shards, stack, digits, CPU, {}, lambda steps: None)
            assert committed == [2] * (number + 1)


def test_the_stored_weights_are_those_of_the_stack(tmp_path, tiny_recipe, digits, fit):
    zoo = train_here(tmp_path, tiny_recipe, digits)
    runs = [r for r in tiny_recipe.runs(digits) if r.width == 3 and r.lr < 1]
    trained = fit(digits, *runs)
    for checkpoint in trained.checkpoints:
        for i, run in enumerate(runs):
            where = (
                f"run_id = '{run.run_id(digits.fingerprint)}' AND step = {checkpoint.step}"
            )
            found = zoo.load(where)
            np.testing.assert_allclose(
                found.weights[0], checkpoint.weights[i], rtol=1e-4, atol=1e-5
            )
            for split, score in checkpoint.scores.items():
                assert found[f"{split}_loss"][0] == pytest.approx(score.loss[i], rel=1e-4)
