"""Foreign populations through the import core, and out again, bit for bit."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import catalog
import zoo
from catalog.formats.export import export
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import write_file

pytest.importorskip("catalog.importing")


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state(seed):
    draw = torch.Generator().manual_seed(seed)
    values = OrderedDict()
    values["w"] = torch.randn(3, 2, generator=draw)
    values["half"] = torch.randn(4, generator=draw).bfloat16()
    values["short"] = torch.randn(4, generator=draw).half()
    values["double"] = torch.randn(2, generator=draw, dtype=torch.float64)
    values["bn.running_mean"] = torch.randn(3, generator=draw)
    values["bn.num_batches_tracked"] = torch.tensor(seed)
    values["mask"] = torch.tensor([True, False])
    values["code"] = torch.tensor([-3, 7], dtype=torch.int8)
    values["empty"] = torch.zeros(0, 2)
    return values


def test_state_dicts_leave_as_they_came(tmp_path):
    for i in range(4):
        folder = tmp_path / "published" / f"run{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        beside = {"state_dict": state(i), "epoch": i, "test_accuracy": i / 4}
        torch.save(beside, folder / f"{i}.pt")
    summary = catalog.import_source(tmp_path / "zoo", tmp_path / "published")
    assert (summary.networks, summary.layouts) == (4, 1)
    selection = catalog.open(tmp_path / "zoo").select("true ORDER BY epoch")
    assert selection.table["test_accuracy"].to_pylist() == [0, 0.25, 0.5, 0.75]
    files = export(selection, tmp_path / "out", "pt")
    for i, path in enumerate(files):
        back = torch.load(path, weights_only=True)
        assert list(back) == list(state(i))
        for name, value in state(i).items():
            assert back[name].dtype == value.dtype
            assert bits(back[name]) == bits(value) if value.numel() else True
    assert catalog.import_source(tmp_path / "zoo", tmp_path / "published").imported == 0


def test_a_ray_zoo_is_queried(tmp_path):
    for seed in range(3):
        trial = tmp_path / "phase" / f"trial_{seed}"
        trial.mkdir(parents=True)
        params = {"model::width": 2**seed, "optim::lr": 0.1, "training::epochs_train": 1}
        (trial / "params.json").write_text(json.dumps({**params, "seed": seed}))
        lines = [
            {"training_iteration": e, "test_acc": 0.5 * e, "train_loss": float("nan")}
            for e in range(2)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (trial / "result.json").write_text(text)
        for epoch in range(2):
            folder = trial / f"checkpoint_{epoch:06d}"
            folder.mkdir()
            torch.save({"w": torch.full((2,), seed + epoch / 2)}, folder / "checkpoints")
    catalog.import_source(tmp_path / "zoo", tmp_path / "phase", zoo="r18")
    store = catalog.open(tmp_path / "zoo")
    query = "SELECT width, test_accuracy, epoch FROM models WHERE step = steps ORDER BY 1"
    assert store.sql(query).fetchall() == [(1, 0.5, 1), (2, 0.5, 1), (4, 0.5, 1)]
    weights = store.load("step = steps ORDER BY seed").weights
    assert weights[:, 0].tolist() == [0.5, 1.5, 2.5]
    counted = store.sql("SELECT count(running_train_loss) FROM models")
    assert counted.fetchall() == [(6,)]


def test_lora_adapters_are_told_from_other_safetensors(tmp_path):
    for i in range(2):
        folder = tmp_path / "SD_200" / "train" / f"model_idx_{i:04d}"
        folder.mkdir(parents=True)
        tensors = {
            "a.lora.down.weight": Tensor(np.full((2, 3), i, np.float32), "float32"),
            "a.lora.up.weight": Tensor(np.full((4, 2), i, np.float32), "float32"),
        }
        with (folder / "pytorch_lora_weights.safetensors").open("wb") as file:
            write_file(file, tensors, {"learning_rate": "3e-05", "seed": str(i)})
    summary = catalog.import_source(tmp_path / "zoo", tmp_path / "SD_200")
    assert summary.format == "lora"
    found = catalog.open(tmp_path / "zoo").load("published_split = 'train' ORDER BY seed")
    assert found["lr"].tolist() == [3e-05, 3e-05]
    assert found.weights[:, 0].tolist() == [0, 1]


def test_modules_are_imported_and_rebuilt_by_hand(tmp_path):
    def module(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    modules = {("run", step): module(step) for step in range(3)}
    columns = {("run", step): {"lr": 0.1, "test_loss": step / 2} for step in range(3)}
    zoo.import_modules(modules, tmp_path, zoo="mine", columns=columns, license="MIT")
    store = catalog.open(tmp_path)
    population = store.load("zoo = 'mine' ORDER BY step")
    assert population["test_loss"].tolist() == [0, 0.5, 1]
    for step, original in enumerate(modules.values()):
        copy = module(99)
        found = population.state_dict(step).items()
        copy.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in found})
        for name, value in original.state_dict().items():
            assert torch.equal(copy.state_dict()[name], value)
    roles = dict(store.sql("SELECT tensor, role FROM tensors").fetchall())
    assert roles["1.num_batches_tracked"] == "counter"
    assert roles["1.running_var"] == "buffer"


def test_modules_take_what_errors_advise(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    nn.init.constant_(module[0].bias, float("nan"))
    columns = {"a": {"eta": 0.5, "acc": 75}}
    options = {
        "rename": {"eta": "lr", "acc": "test_accuracy"},
        "percent": ["test_accuracy"],
    }
    modules = {"a": module}
    with pytest.raises(catalog.CatalogError, match="--allow-nonfinite"):
        zoo.import_modules(modules, tmp_path, zoo="z", columns=columns, **options)
    counts = []
    options |= {"allow_nonfinite": True, "progress": counts.append}
    zoo.import_modules(modules, tmp_path, zoo="z", columns=columns, **options)
    rows = catalog.open(tmp_path).sql("SELECT lr, test_accuracy, finite FROM models")
    assert (rows.fetchall(), counts) == ([(0.5, 0.75, False)], [1])
    others = [nn.Linear(1, 1), nn.Linear(2, 1)]
    with pytest.raises(catalog.CatalogError, match="--one-layout"):
        zoo.import_modules(others, tmp_path, zoo="o", one_layout=True)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("axes", "counts"), [("certain", (0, 1)), ("chain", (1, 1)), ("none", (0, 0))]
)
def test_symbols_of_modules_follow_the_rule(tmp_path, axes, counts):
    sequence = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    found = []
    for i, module in enumerate((Chain(), sequence)):
        summary = zoo.import_modules([module], tmp_path, zoo=f"z{i}", axes=axes)
        assert summary.notes == []
        found.append(summary.symbols)
    assert tuple(found) == counts
