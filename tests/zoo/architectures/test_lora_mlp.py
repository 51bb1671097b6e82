"""Adapters start at their root, leave it as it is, and are trained on their class."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import catalog
from catalog import LayoutMismatch, Writer
from catalog.storage.splits import split
from zoo.architectures import MLP, LoRAMLP
from zoo.engine.stack import Stack, plan
from zoo.engine.train_stack import initial_weights
from zoo.modules.build import build
from zoo.recipe import Axis, Recipe
from zoo.training.parents import read_parents
from zoo.training.worker import Shards, train_into

CPU = torch.device("cpu")
ROOT = Recipe(
    name="root", summary="one digits MLP", paper="none", cost="a second", task="digits",
    architecture="mlp", load=Axis("width", (12,)), temperature=Axis("lr", (0.05,)),
    seeds=range(1), steps=60, settings={"batch_size": 20},
)  # fmt: skip
ADAPTERS = replace(
    ROOT, name="adapters", architecture="lora_mlp", init_from="zoo = 'root'",
    temperature=Axis("one_vs_rest", (3, 8)), seeds=range(2), checkpoints=(0.0, 1.0),
    settings={"batch_size": 20, "lr": 0.02}, options={"rank": 3},
)  # fmt: skip


def train(recipe, data, root, parents=()):
    with Writer(root) as writer:
        shards = Shards(writer, 1 << 30, lambda runs: None)
        for stack in plan(recipe.runs(data, parents), data, 1 << 30):
            starts = read_parents(str(root), stack)
            train_into(shards, stack, data, CPU, starts, lambda steps: None)
        shards.flush()


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("lora")
    train(ROOT, digits, root)
    (start,) = catalog.open(root).sql("SELECT run_id, step FROM models").fetchall()
    train(ADAPTERS, digits, root, [start])
    return root, start


def test_the_root_stays_and_the_adapters_move(trained):
    store = catalog.open(trained[0])
    parent = store.load("zoo = 'root'").state_dict(0)
    first, last = (
        store.load(f"zoo = 'adapters' AND step {sign} 0 ORDER BY run_id") for sign in "=>"
    )
    for k in (0, 1):
        for kind in ("weight", "bias"):
            ours = last.layout.unflatten(last.weights)[f"layer{k}.base_layer.{kind}"]
            assert (ours == parent[f"layer{k}.{kind}"]).all()
        up = [
            p.layout.unflatten(p.weights)[f"layer{k}.lora_B.weight"] for p in (first, last)
        ]
        assert not up[0].any()
        assert np.abs(up[1]).max(axis=(1, 2)).all()
    head = first.layout.unflatten(first.weights)["layer2.weight"]
    assert not head.any()
    down = first.layout.unflatten(first.weights)["layer0.lora_A.weight"]
    assert len(np.unique(down, axis=0)) == 4


def test_adapters_learn_and_are_complete_in_their_shard(trained, digits):
    store = catalog.open(trained[0])
    networks = store.load("zoo = 'adapters' AND step > 0")
    assert min(networks.table["test_accuracy"].to_pylist()) > 0.75
    module = build(networks, 0)
    one = json.loads(networks.table["config"][0].as_py())["one_vs_rest"]
    with torch.no_grad():
        says = module(torch.from_numpy(digits.x["test"])).argmax(1).numpy()
    own = digits.y["test"] == one
    assert (says[own] == 1).mean() > 0.7 > (says[~own] == 1).mean() + 0.3


def test_the_class_is_a_column_with_a_fixed_split(trained):
    rows = catalog.open(trained[0]).sql(
        "SELECT DISTINCT class_name, split_by_class FROM models WHERE zoo = 'adapters'"
    )
    assert set(rows.fetchall()) == {("3", split("3")), ("8", split("8"))}


def test_a_root_without_the_frozen_layers_is_refused(trained, digits):
    root, start = trained
    wider = replace(ADAPTERS, load=Axis("width", (13,)))
    with pytest.raises(
        LayoutMismatch, match=r"expected 'layer0.weight' \(13, 64\), but they"
    ):
        read_parents(str(root), Stack(tuple(wider.runs(digits, [start]))))


def test_only_what_is_inherited_comes_from_the_parent(digits):
    network = LoRAMLP((64, 12, 12, 2), 3)
    (run, *_) = ADAPTERS.runs(digits, [("f00", 1)])
    fresh = initial_weights(Stack((replace(run, init_from=None),)), {})
    own = np.full(network.layout.d, np.nan, np.float32)
    for name in network.inherits:
        own[network.layout.slices[name]] = 7
    (start,) = initial_weights(Stack((run,)), {("f00", 1): own})
    assert (start[own == 7] == 7).all()
    assert (start[own != 7] == fresh[0][own != 7]).all()
    whole = MLP((4, 3, 2))
    assert list(whole.inherits) == [p.name for p in whole.layout]


def test_sizes_and_rank_are_checked():
    with pytest.raises(ValueError, match=r"at least three sizes and a rank"):
        LoRAMLP((4, 2))
    with pytest.raises(ValueError, match=r"Got \(4, 3, 2\) and 0"):
        LoRAMLP((4, 3, 2), 0)
