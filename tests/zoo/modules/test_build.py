"""A stored network, rebuilt in torch, scores what the catalogue says."""

import json
import shlex

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.nn import functional

import catalog
from catalog import LayoutMismatch, NotFound, Population
from catalog.console.program import main
from zoo.architectures import MLP
from zoo.modules.build import build


def inputs(task, images):
    """Raw images normalised as the JSON column ``task`` says."""
    mean, std = (np.reshape(task[name], (-1, 1, 1)) for name in ("mean", "std"))
    return torch.from_numpy((images * task["scale"] - mean) / std).float()


def test_rebuilt_networks_score_what_is_stored(tiny_zoo, digits):
    population = catalog.open(tiny_zoo.root).load("finite AND width = 4")
    raw = digits.task.embedded()
    labels = torch.from_numpy(raw.y_test)
    assert len(population) == 8
    for i in range(len(population)):
        module = build(population, i)
        assert not module.training
        x = inputs(json.loads(population["task"][i]), raw.x_test)
        logits = module(x).detach()
        loss = functional.cross_entropy(logits, labels).item()
        assert loss == pytest.approx(population["test_loss"][i], rel=1e-5)
        right = (logits.argmax(1) == labels).sum().item()
        assert right == pytest.approx(
            population["test_accuracy"][i] * len(labels), abs=1e-9
        )
    assert len(set(population["test_loss"])) == 8  # no two cells share a start


def test_a_rebuilt_module_holds_the_stored_bits(tiny_zoo):
    population = catalog.open(tiny_zoo.root).load("width = 3")
    for i in range(len(population)):
        state = build(population, i).state_dict()
        stored = population.state_dict(i)
        assert list(state) == list(stored)
        for name, value in stored.items():
            assert state[name].numpy().tobytes() == value.tobytes()


def population_of(architecture, text):
    weights = np.ones((1, architecture.layout.d), np.float32)
    table = {"run_id": ["a"], "step": [0], "architecture": [text]}
    return Population(weights, architecture.layout, pa.table(table))


def test_a_module_is_a_copy(tiny_zoo):
    network = MLP((3, 2))
    population = population_of(network, json.dumps(network.config()))
    module = build(population, 0)
    nn.init.zeros_(module.get_parameter("layer0.weight"))
    assert (population.weights == 1).all()


@pytest.mark.parametrize("text", [None, ""])
def test_a_network_without_architecture_is_left_to_the_caller(text):
    with pytest.raises(NotFound, match="architecture of network 0 is not recorded"):
        build(population_of(MLP((3, 2)), text), 0)


def test_tensors_that_do_not_fit_are_named():
    other = json.dumps(MLP((3, 4)).config())
    with pytest.raises(RuntimeError, match=r"layer0\.weight"):
        build(population_of(MLP((3, 2)), other), 0)


def test_missing_tensors_are_named_with_the_command_that_fetches_them(
    tiny_zoo, tmp_path, monkeypatch
):
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "a part"
    asked = {"where": "width = 4", "tensors": ["*.bias"], "steps": "last"}
    here = catalog.fetch(tiny_zoo.root, root, **asked)
    population = here.load("true ORDER BY run_id")
    with pytest.raises(LayoutMismatch, match=r"lacks \d of the \d tensors.*weight") as seen:
        build(population, 1)
    command = shlex.split(str(seen.value).partition("Fetch them: phasezoo ")[2])
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    run_id, step = (population.table[name][1].as_py() for name in ("run_id", "step"))
    whole = here.refreshed().load(f"run_id = '{run_id}' AND step = {step}")
    build(whole, 0)
    other = population_of(MLP((3, 2)), json.dumps(MLP((3, 4, 2)).config()))
    with pytest.raises(LayoutMismatch, match=r"layer1\.weight.*fetch SOURCE --where"):
        build(other, 0)
