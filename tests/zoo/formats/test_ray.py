"""Ray Tune folders as the phase zoo and ModelZooDataset lay them out."""

import json
import math

import pytest
import torch

from catalog import CatalogError
from zoo.formats.ray import ray
from zoo.formats.state_dict import state_dict

PHASE = {
    "model::type": "Resnet18_width",
    "model::width": 8,
    "model::use_bias": False,
    "optim::optimizer": "sgd",
    "optim::lr": 0.1,
    "optim::wd": 0.0005,
    "optim::momentum": 0.9,
    "optim::scheduler": "OneCycleLR",
    "training::batchsize": 64,
    "training::epochs_train": 2,
    "training::loss": "crossentropy",
    "seed": 1,
    "cuda": True,
    "resources": {"cpu": 12, "gpu": 1},
    "dataset::dump": None,
    "augment": ["crop", "flip"],
}
RUN = {
    "architecture_name": "Resnet18_width",
    "width": 8,
    "model_use_bias": False,
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 0.0005,
    "momentum": 0.9,
    "schedule": "one_cycle",
    "batch_size": 64,
    "steps": 2,
    "step_unit": "epochs",
    "training_loss": "crossentropy",
    "seed": 1,
    "cuda": True,
    "resources_cpu": 12,
    "resources_gpu": 1,
    "dataset_dump": None,
    "augment": '["crop", "flip"]',
    "trial_id": "1f0a2_00000",
}


def line(epoch, **metrics):
    return {
        "train_loss": 2.0 - epoch,
        "train_acc": 0.25,
        "test_loss": 1.5,
        "test_acc": 0.5 + epoch / 10,
        "done": False,
        "training_iteration": epoch,
        "trial_id": "1f0a2_00000",
        "date": "2024-05-21_13-14-00",
        "timestamp": 1716297240,
        "time_this_iter_s": 2.5,
        "time_total_s": 2.5 * epoch,
        "pid": 4711,
        "hostname": "node7",
        "node_ip": "10.0.0.7",
        "config": PHASE,
        "time_since_restore": 1.0,
        "iterations_since_restore": 1,
        **metrics,
    }


def trial(folder, lines=None, checkpoints=(0, 2), params=PHASE, pad=6):
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    (folder / "params.pkl").write_bytes(b"never opened")
    lines = [line(epoch) for epoch in range(3)] if lines is None else lines
    text = "".join(json.dumps(value) + "\n" for value in lines)
    (folder / "result.json").write_text(text)
    (folder / "progress.csv").write_text("a,b\n")
    for epoch in checkpoints:
        path = folder / f"checkpoint_{epoch:0{pad}d}"
        path.mkdir()
        torch.save(
            {"module_list.0.weight": torch.full((2, 3), epoch)}, path / "checkpoints"
        )
        (path / "optimizer").write_bytes(b"never opened")
        (path / ".is_checkpoint").touch()
    return folder


@pytest.fixture
def zoo(tmp_path):
    root = tmp_path / "zoo"
    trial(root / "NN_tune_trainable_1f0a2_00000_0_seed=1")
    return root


def test_a_trial_of_the_phase_zoo(zoo):
    first, last = ray.read(zoo)
    name = "NN_tune_trainable_1f0a2_00000_0_seed=1"
    assert first.name == f"{name}/checkpoint_000000"
    assert {first.run_name, last.run_name} == {name}
    assert [first.step, last.step] == [0, 2]
    assert first.run == last.run == RUN
    for network in (first, last):
        (tensor,) = network.tensors.values()
        assert (tensor.values == network.step).all()
    assert last.checkpoint == {
        "running_train_loss": 0.0,
        "running_train_accuracy": 0.25,
        "test_loss": 1.5,
        "test_accuracy": 0.7,
        "time_this_iter_s": 2.5,
        "time_total_s": 5.0,
        "epoch": 2.0,
    }


def test_running_averages_never_pass_for_evaluated_ones(zoo):
    for network in ray.read(zoo):
        assert not {"train_loss", "train_accuracy"} & {*network.checkpoint, *network.run}


def test_modelzoodataset_marks_what_it_did_not_measure(tmp_path):
    """Its first line has -999 for the training split, and the scheduler is none."""
    params = {"model::type": "CNN", "optim::scheduler": None, "optim::optimizer": "adam"}
    lines = [line(0, train_loss=-999, train_acc=-999, val_acc=0.4, val_loss=2.0), line(1)]
    root = trial(tmp_path / "trial", lines, (0, 1), params, pad=0)
    first, second = ray.read(root)
    assert first.run["schedule"] == "constant"
    assert first.run["optimizer"] == "adam"
    assert first.checkpoint["running_train_loss"] is None
    assert first.checkpoint["running_train_accuracy"] is None
    assert first.checkpoint["validation_accuracy"] == 0.4
    assert first.checkpoint["validation_loss"] == 2.0
    assert second.checkpoint["running_train_loss"] == 1.0
    assert second.run_name == "trial"


def test_lines_are_matched_by_epoch_and_not_by_position(tmp_path):
    """Zoos without a line for epoch 0; and a trial that was resumed from epoch 1."""
    lines = [line(1), line(2, test_acc=0.1), line(2, test_acc=0.9), line(3)]
    root = trial(tmp_path / "trial", lines, (2, 3))
    networks = {n.step: n for n in ray.read(root)}
    assert sorted(networks) == [2, 3]
    assert networks[2].checkpoint["test_accuracy"] == 0.9
    (tensor,) = networks[2].tensors.values()
    assert (tensor.values == 2).all()


def test_a_trial_without_checkpoints_gives_its_metrics(tmp_path):
    networks = list(ray.read(trial(tmp_path / "trial", checkpoints=())))
    assert [(n.step, n.tensors) for n in networks] == [(0, None), (1, None), (2, None)]
    assert networks[1].checkpoint["test_accuracy"] == 0.6


def test_non_finite_numbers_are_read(tmp_path):
    bad = line(1, train_loss=math.nan, test_loss=math.inf)
    root = trial(tmp_path / "trial", [line(0), bad], (0, 1))
    assert "NaN" in (root / "result.json").read_text()
    columns = list(ray.read(root))[1].checkpoint
    assert math.isnan(columns["running_train_loss"])
    assert columns["test_loss"] == math.inf


def test_regression_has_neither_accuracies_nor_nats(tmp_path):
    params = {**PHASE, "training::task": "regression"}
    root = trial(tmp_path / "trial", [line(0, test_acc=-3.5)], (0,), params)
    (network,) = ray.read(root)
    assert network.checkpoint["test_r2"] == -3.5
    assert network.checkpoint["test_mse"] == 1.5
    assert network.checkpoint["running_train_mse"] == 2.0
    assert not {"test_accuracy", "test_loss"} & network.checkpoint.keys()


def test_nested_settings_are_the_same_columns(tmp_path):
    nested = {"model": {"type": "MLP", "width": 4}, "optim": {"lr": 0.5}, "empty": {}}
    (network,) = ray.read(trial(tmp_path / "trial", [line(0)], (0,), nested))
    assert network.run["architecture_name"] == "MLP"
    assert network.run["width"] == 4
    assert network.run["lr"] == 0.5
    assert network.run["empty"] == "{}"


def test_trials_at_any_depth_in_order(tmp_path):
    for name in ("b", "a", "a/finetuned/c"):
        trial(tmp_path / "zoo" / name, [line(0)], (0,))
    assert ray.recognises(tmp_path)
    names = [n.run_name for n in ray.read(tmp_path / "zoo")]
    assert names == ["a", "a/finetuned/c", "b"]


def test_only_ray_folders_are_recognised(tmp_path, zoo):
    assert ray.recognises(zoo)
    assert not state_dict.recognises(zoo)
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pt")
    assert not ray.recognises(tmp_path / "w.pt")
    (tmp_path / "plain").mkdir()
    assert not ray.recognises(tmp_path / "plain")


def cut(root):
    path = root / "result.json"
    path.write_bytes(path.read_bytes()[:-40])


def forget_line(root):
    path = root / "result.json"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))


BROKEN = {
    "truncated": (cut, r"result\.json, line 3 is truncated"),
    "no line": (forget_line, r"checkpoint_000002 has no line with training_iteration 2"),
    "empty": (lambda r: (r / "result.json").write_text(""), r"result\.json is empty"),
    "no results": (lambda r: (r / "result.json").unlink(), r"result\.json cannot be read"),
    "no epoch": (
        lambda r: (r / "result.json").write_text('{"test_acc": 0.5}\n'),
        r"line 1 is truncated or not a result",
    ),
    "no settings": (lambda r: (r / "params.json").write_text("["), r"params\.json cannot"),
    "list": (lambda r: (r / "params.json").write_text("[]"), "must hold a JSON object"),
    "clash": (
        lambda r: (r / "params.json").write_text('{"a::b": 1, "a": {"b": 2}}'),
        "two settings would be called 'a_b'",
    ),
    "twice": (lambda r: (r / "checkpoint_2").mkdir(), "two folders for epoch 2"),
    "no file": (
        lambda r: (r / "checkpoint_000002" / "checkpoints").unlink(),
        "has no file 'checkpoints'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_refused_by_name(tmp_path, case):
    root = trial(tmp_path / "run17")
    damage, message = BROKEN[case]
    assert len(list(ray.read(root))) == 2
    damage(root)
    with pytest.raises(CatalogError, match=message) as caught:
        list(ray.read(root))
    assert "run17" in str(caught.value)
