"""Files of torch.save, as people publish them, and as attackers would."""

import csv
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import catalog
from catalog import CatalogError
from catalog.dtypes import DTYPES
from zoo.formats.state_dict import state_dict
from zoo.formats.torch_file import CONTAINERS, as_tensor


def every_dtype():
    """Random bits of every dtype, in several shapes; NaN payloads included."""
    draw = np.random.default_rng(0)
    state = OrderedDict()
    for name, kind in DTYPES.items():
        for shape in ((), (3, 2), (0, 4)):
            count = int(np.prod(shape))
            if name == "bool":
                values = torch.from_numpy(np.asarray(draw.random(shape) < 0.5))
            else:
                raw = bytearray(draw.bytes(max(count, 1) * kind.storage.itemsize))
                values = torch.frombuffer(raw, dtype=getattr(torch, name))
                values = values[:count].reshape(shape)
            state[f"{name}.{len(shape)}.{count}"] = values
    return state


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def read_one(path, metadata=None):
    (network,) = state_dict.read(path, metadata)
    return network


def test_every_dtype_survives_bit_for_bit(tmp_path):
    state = every_dtype()
    torch.save(state, tmp_path / "all.pt")
    network = read_one(tmp_path / "all.pt")
    assert list(network.tensors) == list(state)
    for name, tensor in network.tensors.items():
        assert tensor.dtype == name.split(".")[0]
        assert tensor.values.dtype == DTYPES[tensor.dtype].storage
        assert tensor.values.shape == tuple(state[name].shape)
        assert tensor.values.tobytes() == (
            bits(state[name]) if state[name].numel() else b""
        )
    assert len(state) == 3 * len(DTYPES)


@pytest.mark.parametrize("key", CONTAINERS)
def test_scalars_beside_a_state_dict_become_columns(tmp_path, key):
    module = nn.Linear(3, 2)
    checkpoint = {
        key: module.state_dict(),
        "epoch": 12,
        "global_step": 340,
        "test_accuracy": 0.75,
        "best": torch.tensor(0.5),
        "arch": "linear",
        "lr": 0.1,
        "config": "a.yaml",
        "optimizer": torch.optim.Adam(module.parameters()).state_dict(),
        "history": [1, 2],
    }
    torch.save(checkpoint, tmp_path / "c.th")
    network = read_one(tmp_path / "c.th")
    assert list(network.tensors) == ["weight", "bias"]
    assert (network.name, network.run_name, network.step) == ("c.th", "c.th", 340)
    assert network.run == {"lr": 0.1}
    assert network.checkpoint == {
        "epoch": 12,
        "test_accuracy": 0.75,
        "best": 0.5,
        "arch": "linear",
        "published_config": "a.yaml",
        "not_imported": "optimizer, history",
    }


def test_the_prefix_of_data_parallel_goes_if_all_have_it(tmp_path):
    inner = nn.Linear(2, 1)
    torch.save(nn.DataParallel(inner).state_dict(), tmp_path / "parallel.pt")
    mixed = {"module.w": torch.ones(1), "module": torch.ones(1), "modules.x": torch.ones(1)}
    torch.save(mixed, tmp_path / "mixed.pt")
    mixed, parallel = state_dict.read(tmp_path)
    assert list(parallel.tensors) == ["weight", "bias"]
    assert parallel.checkpoint == {"stripped_prefix": "module."}
    assert list(mixed.tensors) == ["module.w", "module", "modules.x"]
    assert mixed.checkpoint == {}


def test_a_tree_is_read_in_order_of_its_paths(tmp_path):
    for name in ("b/2.pt", "b/1.pth", "a.TH", "c/d/e.pt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"w": torch.full((1,), len(name))}, path)
    (tmp_path / "notes.txt").write_text("no network")
    assert state_dict.recognises(tmp_path)
    assert [n.name for n in state_dict.read(tmp_path)] == [
        "a.TH",
        "b/1.pth",
        "b/2.pt",
        "c/d/e.pt",
    ]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_csv_adds_columns_and_groups_runs(tmp_path):
    for i in range(3):
        torch.save({"state_dict": {"w": torch.ones(1)}, "x": 1}, tmp_path / f"{i}.pt")
    rows = [
        {
            "path": f"{i}.pt",
            "run_name": "r",
            "step": 10 * i,
            "x": f"0{i}",
            "width": 4,
            "u": u,
        }
        for i, u in enumerate(["1", "", "2.5"])
    ]
    networks = list(state_dict.read(tmp_path, write_csv(tmp_path / "m.csv", rows)))
    assert [(n.run_name, n.step) for n in networks] == [("r", 0), ("r", 10), ("r", 20)]
    assert [n.run for n in networks] == [{"width": 4}] * 3
    assert [n.checkpoint for n in networks] == [
        {"path": "0.pt", "x": "00", "u": 1},
        {"path": "1.pt", "x": "01", "u": None},
        {"path": "2.pt", "x": "02", "u": 2.5},
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.pt"], r"1 networks have no row, e\.g\. '1\.pt'"),
        (["0.pt", "1.pt", "2.pt"], r"1 rows have no network, e\.g\. '2\.pt'"),
        (["0.pt", "0.pt"], r"rows 1 and 2: both have path = '0\.pt'"),
    ],
)
def test_a_csv_must_match_the_files(tmp_path, names, message):
    for i in range(2):
        torch.save({"w": torch.ones(1)}, tmp_path / f"{i}.pt")
    table = write_csv(tmp_path / "m.csv", [{"path": name} for name in names])
    with pytest.raises(CatalogError, match=message):
        next(state_dict.read(tmp_path, table))


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"w": torch.ones(1), "x": b}])
def test_a_pickle_bomb_does_not_go_off(tmp_path, legacy, wrap):
    target = tmp_path / "went_off"
    path = tmp_path / "bomb.pt"
    torch.save(wrap(Bomb(target)), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        CatalogError, match=r"(?s)bomb\.pt is not a file of tensors: (?!.*weights_only)"
    ):
        read_one(path)
    assert not target.exists()
    torch.load(path, weights_only=False)  # it was one
    assert target.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_pickle_does_not_go_off(tmp_path, protocol):
    target = tmp_path / "went_off"
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(target), protocol))
    with pytest.raises(CatalogError, match=r"bomb\.pt is not a file of tensors"):
        read_one(tmp_path / "bomb.pt")
    assert not target.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2), "holds a Tensor"),
        ([torch.ones(2)], "holds a list"),
        ({}, "an empty dict"),
        ({1: torch.ones(2)}, "the key 1"),
        ({"w": "text"}, "'w' is a str"),
        ({"ema": {"w": torch.ones(2)}}, "'ema' is a dict"),
        ({"params": {"lr": 0.1}}, "'params' is a dict"),
        ({"net": {"w": torch.ones(1)}, "weights": {"w": torch.ones(1)}}, "several state"),
        ({"w": torch.ones(2).to_sparse()}, r"'w' is torch\.sparse_coo"),
        ({"w": torch.ones(2).to(torch.float8_e5m2)}, "float8_e5m2"),
        ({"w": torch.ones(2, device="meta")}, "is meta"),
        ({"w": torch.ones(1).expand(10**12)}, "only 4 bytes of storage"),
        ({"model": {"w": torch.ones(1)}, "state_dict": {}}, "several state dicts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_what_is_no_state_dict_is_refused_by_name(tmp_path, value, message):
    torch.save(value, tmp_path / "odd.pt")
    with pytest.raises(CatalogError, match=message) as caught:
        read_one(tmp_path / "odd.pt")
    assert "odd.pt" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_refused():
    value = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    with pytest.raises(CatalogError, match=r"'q' is .*qint8"):
        as_tensor(value, "q", "here")


def test_a_module_is_refused(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "module.pt")
    with pytest.raises(CatalogError, match=r"module\.pt is not a file of tensors"):
        read_one(tmp_path / "module.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files_are_refused_by_name(tmp_path, share, legacy):
    path = tmp_path / "cut.pt"
    torch.save({"w": torch.ones(500)}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CatalogError, match=r"cut\.pt is not a file of tensors"):
        read_one(path)


def test_views_conjugates_and_parameters_keep_their_values(tmp_path):
    square = torch.arange(6.0).reshape(2, 3)
    complex_ = torch.tensor([1 + 2j, 3 - 4j])
    state = {
        "t": square.T,
        "p": nn.Parameter(square.bfloat16()),
        "row": square[1],
        "conj": complex_.conj(),
        "neg": (complex_ + 1).conj().imag,
    }
    torch.save(state, tmp_path / "v.pt")
    tensors = read_one(tmp_path / "v.pt").tensors
    for name in ("t", "row", "conj", "neg"):
        assert tensors[name].values.tolist() == state[name].tolist()
    assert tensors["p"].dtype == "bfloat16"
    assert tensors["p"].values.tobytes() == bits(state["p"].detach())


def test_an_empty_folder_is_not_recognised_and_refused(tmp_path):
    assert not state_dict.recognises(tmp_path)
    with pytest.raises(CatalogError, match="no file that ends in"):
        next(state_dict.read(tmp_path))


def test_a_table_inside_the_folder_is_found(tmp_path):
    for i in range(2):
        torch.save({"w": torch.ones(1)}, tmp_path / f"{i}.pt")
    write_csv(tmp_path / "metadata.csv", [{"file": f"{i}.pt", "lr": i} for i in (1, 0)])
    assert [n.run["lr"] for n in state_dict.read(tmp_path)] == [0, 1]


def test_checkpoints_of_a_trajectory_are_one_run(tmp_path):
    for run in ("run1", "run2"):
        (tmp_path / run).mkdir()
        for epoch in (0, 5, 10):
            torch.save({"w": torch.ones(1)}, tmp_path / run / f"epoch_{epoch}.pt")
    networks = list(state_dict.read(tmp_path))
    assert sorted((n.run_name, n.step) for n in networks) == [
        (run, epoch) for run in ("run1", "run2") for epoch in (0, 5, 10)
    ]
    assert networks[1].checkpoint == {"epoch": networks[1].step}
    assert networks[1].run == {"step_unit": "epochs"}


def test_what_file_or_csv_say_wins_over_the_name(tmp_path):
    torch.save({"model": {"w": torch.ones(1)}, "epoch": 4}, tmp_path / "epoch_5.pt")
    network = read_one(tmp_path)
    assert (network.run_name, network.step) == (tmp_path.name, 5)
    assert network.checkpoint == {"epoch": 4}
    table = write_csv(
        tmp_path / "m.csv", [{"path": "epoch_5.pt", "step": 70, "run_name": "r"}]
    )
    network = read_one(tmp_path, table)
    assert (network.run_name, network.step, network.run) == ("r", 70, {})


@pytest.mark.parametrize(
    ("column", "files", "cells"),
    [
        ("id", ["0.1.pt", "0.10.pt"], ["0.1", "0.10"]),
        ("model_id", ["0.pt", "1.th"], ["0", "1"]),
        ("checkpoint", ["lr0.1.pt", "lr0.2.pt"], ["lr0.1", "lr0.2.pt"]),
        ("Filename", ["a/lr0.1.pt", "a.pt"], ["a/lr0.1.pth", "a.pt"]),
        ("path", ["a.pt", "a.pth"], ["a.pt", "a.pth"]),
    ],
)
def test_a_row_is_found_by_what_stands_in_the_table(tmp_path, column, files, cells):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    rows = [{column: cell, "lr": name} for cell, name in zip(cells, files, strict=True)]
    networks = list(state_dict.read(tmp_path, write_csv(tmp_path / "m.csv", rows)))
    found = [{**network.run, **network.checkpoint} for network in networks]
    assert found == [{"lr": network.name} for network in networks]


def test_a_name_without_suffix_that_fits_two_files_is_refused(tmp_path):
    for name in ("a.pt", "a.pth"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    table = write_csv(tmp_path / "m.csv", [{"path": "a"}, {"path": "a.pth"}])
    with pytest.raises(CatalogError, match=r"'a\.pt' and 1 rows have no .* 'a'"):
        next(state_dict.read(tmp_path, table))


def test_names_of_networks_in_runs_stay_a_column(tmp_path):
    for i in (1, 2):
        torch.save({"w": torch.ones(1)}, tmp_path / f"0.{i}0.pt")
    rows = [{"id": f"0.{i}0", "run_name": "r", "step": i} for i in (1, 2)]
    networks = list(state_dict.read(tmp_path, write_csv(tmp_path / "m.csv", rows)))
    assert [n.checkpoint["id"] for n in networks] == ["0.10", "0.20"]


def test_columns_of_a_csv_are_the_runs_unless_they_vary_within_one(tmp_path):
    rows = []
    for run in "ab":
        (tmp_path / run).mkdir()
        for step in (1, 2):
            path = f"{run}/step_{step}.pt"
            torch.save({"model": {"w": torch.ones(1)}, "Seed": 3}, tmp_path / path)
            sharp = float(step) if run == "a" else float("nan")
            rows.append({"path": path, "Lr": 0.1, "depth": run, "sharp": sharp})
    write_csv(tmp_path / "networks.csv", rows)
    networks = list(state_dict.read(tmp_path))
    assert [n.run for n in networks] == [{"Lr": 0.1, "depth": r} for r in "aabb"]
    assert [n.checkpoint.keys() for n in networks] == [
        {"path", "sharp", "published_Seed"}
    ] * 4
    with pytest.raises(CatalogError, match="--rename Lr=lr"):
        catalog.import_source(tmp_path / "zoo", tmp_path, zoo="z", format="state_dict")
    catalog.import_source(tmp_path / "zoo", tmp_path, zoo="z", rename={"Lr": "lr"})
    query = "SELECT lr, depth, source_name FROM runs ORDER BY ALL"
    rows = catalog.open(tmp_path / "zoo").sql(query).fetchall()
    assert rows == [(0.1, "a", "a"), (0.1, "b", "b")]


def test_hidden_files_are_no_networks(tmp_path):
    for name in ("._a.pt", ".cache/b.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no network")
    assert not state_dict.recognises(tmp_path)
    torch.save({"w": torch.ones(1)}, tmp_path / "a.pt")
    assert read_one(tmp_path).name == "a.pt"


def test_settings_beside_a_state_dict_are_none(tmp_path):
    value = {"model": {"w": torch.ones(1)}, "params": {"lr": 0.1}}
    torch.save(value, tmp_path / "a.ckpt")
    network = read_one(tmp_path)
    assert list(network.tensors) == ["w"]
    assert network.checkpoint == {"not_imported": "params"}


@pytest.mark.parametrize("legacy", [False, True])
def test_what_trainers_save_beside_a_network_is_skipped(tmp_path, legacy):
    zipped = {"_use_new_zipfile_serialization": not legacy}
    for name in ("checkpoint-5/pytorch_model.bin", "a.ckpt", "b.bin", "c.BIN"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save({"w": torch.ones(1)}, tmp_path / name, **zipped)
    beside = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state_0.pth")
    for name in (*beside, "training_args.bin", "images.bin"):
        (tmp_path / "checkpoint-5" / name).write_bytes(b"no state dict")
    names = ["a.ckpt", "b.bin", "c.BIN", "checkpoint-5/pytorch_model.bin"]
    assert [n.name for n in state_dict.read(tmp_path)] == names
    for name in names:
        (tmp_path / name).unlink()
    assert not state_dict.recognises(tmp_path)


def test_a_part_of_a_network_is_refused(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(CatalogError, match=r"00002\.bin is called like a part"):
        read_one(tmp_path)
