"""Modules in memory as foreign networks."""

import json
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from catalog import Catalog, CatalogError
from zoo.modules.import_modules import import_modules, networks_of


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("positions", torch.arange(5))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("hidden", torch.ones(1), persistent=False)


def test_roles_come_from_the_module():
    (network,) = networks_of({"tied": Tied()})
    roles = {name: tensor.role for name, tensor in network.tensors.items()}
    assert roles == {
        "scale": "parameter",
        "positions": "constant",
        "flag": "constant",
        "embed.weight": "parameter",
        "norm.weight": "parameter",
        "norm.bias": "parameter",
        "norm.running_mean": "buffer",
        "norm.running_var": "buffer",
        "norm.num_batches_tracked": "counter",
        "head.weight": "parameter",
    }
    assert network.run["tied_weights"] == "head.weight = embed.weight"
    assert network.run["architecture_name"] == "Tied"


def test_the_state_comes_back_bit_for_bit():
    module = Tied()
    (network,) = networks_of({"tied": module})
    assert list(network.tensors) == list(module.state_dict())
    for name, value in module.state_dict().items():
        tensor = network.tensors[name]
        raw = value.view(torch.uint16) if value.dtype == torch.bfloat16 else value
        assert tensor.values.tobytes() == raw.numpy().tobytes()


def test_modules_without_tied_weights_say_nothing():
    (network,) = networks_of({"a": nn.Linear(2, 2)})
    assert "tied_weights" not in network.run


def test_an_iterable_may_yield_one_module_as_it_changes():
    module = nn.Linear(1, 1, bias=False)

    def training():
        for step in range(3):
            nn.init.constant_(module.weight, step)
            yield ("run", step), module

    networks = list(networks_of(training(), {("run", 2): {"lr": 0.1, "test_loss": 2.0}}))
    assert [n.tensors["weight"].values.item() for n in networks] == [0, 1, 2]
    assert [(n.run_name, n.step) for n in networks] == [("run", 0), ("run", 1), ("run", 2)]
    assert networks[2].run["lr"] == 0.1
    assert networks[2].checkpoint == {"test_loss": 2.0}


def test_modules_alone_are_numbered():
    assert [n.name for n in networks_of([nn.Linear(1, 1), nn.Linear(2, 1)])] == ["0", "1"]


def test_the_configurations_of_transformers_and_timm_are_kept():
    module = nn.Linear(1, 1)
    module.config = SimpleNamespace(to_dict=lambda: {"hidden_size": 8, "dtype": torch.half})
    module.pretrained_cfg = {"url": "x"}
    (network,) = networks_of({"m": module})
    assert json.loads(network.run["model_config"])["hidden_size"] == 8
    assert json.loads(network.run["model_pretrained_cfg"]) == {"url": "x"}


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"scale": 1}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"m": Extra(1, 1)}, "module 'm': '_extra_state' is a dict"),
        ({"m": nn.Linear(1, 1, device="meta")}, "'weight' is meta"),
        ({"m": OrderedDict(w=torch.ones(1))}, "'m' is a OrderedDict"),
        ([("m", nn.Linear(1, 1)), ("m", nn.Linear(1, 1))], "Two modules have the key 'm'"),
    ],
)
def test_what_cannot_be_stored_is_refused(modules, message):
    with pytest.raises(CatalogError, match=message):
        list(networks_of(modules))


def test_columns_without_a_module_are_refused():
    with pytest.raises(CatalogError, match="1 keys without a module"):
        list(networks_of({"a": nn.Linear(1, 1)}, {"b": {"lr": 1.0}}))


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def test_symbols_come_from_the_layers_and_not_from_names():
    grouped = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8, affine=False),
                            nn.ReLU(), nn.Conv2d(8, 2, 3))  # fmt: skip
    plain = nn.Sequential(OrderedDict(a=nn.Linear(3, 3), b=nn.ReLU(), c=nn.Linear(3, 3)))
    modules = {"chain": Chain(), "grouped": grouped, "plain": plain}
    axes = {n.name: {k: t.axes for k, t in n.tensors.items()} for n in networks_of(modules)}
    for name in ("chain", "grouped"):
        assert not any(s for own in axes[name].values() for s in own)
    assert axes["plain"]["a.weight"] == ("hidden1", None)
    assert axes["plain"]["c.weight"] == (None, "hidden1")


def test_names_count_where_the_layers_are_said_to_be_a_chain():
    (network,) = networks_of([Chain()], axes="chain")
    assert [tensor.axes for tensor in network.tensors.values()] == [None] * 4


def test_load_and_temperature_make_cells(tmp_path):
    modules = {str(i): nn.Linear(2, 2) for i in range(2)}
    columns = {str(i): {"width": 2, "lr": 0.1 * i} for i in range(2)}
    import_modules(
        modules, tmp_path / "zoo", zoo="z", columns=columns, load="width", temperature="lr"
    )
    rows = Catalog(tmp_path / "zoo").sql("SELECT cell FROM runs ORDER BY 1").fetchall()
    assert rows == [("width=2 lr=0.0",), ("width=2 lr=0.1",)]
