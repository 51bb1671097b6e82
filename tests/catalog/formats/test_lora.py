"""LoRA adapters as peft, diffusers and Model-J publish them."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog import CatalogError
from catalog.formats import find_format
from catalog.formats.format import Network, Tensor
from catalog.formats.lora import lora
from catalog.formats.safetensors_file import write_file

UNET = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"
PEFT = "base_model.model.model.layers.0.self_attn.q_proj"


def tensor(*shape: int, kind: str = "float32") -> Tensor:
    values = np.random.default_rng(list(shape)).integers(0, 1 << 15, shape)
    storage = np.uint16 if kind == "bfloat16" else kind
    return Tensor(values.astype(storage), kind)


def adapter(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_file(file, tensors, metadata)
    return path


def diffusers(rank: int = 4) -> dict[str, Tensor]:
    name = UNET.replace(".processor.to_q_lora", ".to_q.lora")
    return {f"{name}.down.weight": tensor(rank, 6), f"{name}.up.weight": tensor(5, rank)}


def peft(rank: int = 4, kind: str = "bfloat16") -> dict[str, Tensor]:
    return {
        f"{PEFT}.lora_A.weight": tensor(rank, 6, kind=kind),
        f"{PEFT}.lora_B.weight": tensor(5, rank, kind=kind),
    }


def read(source: Path, metadata: Path | None = None) -> list[Network]:
    return list(lora.read(source, metadata))


@pytest.fixture
def model_j(tmp_path: Path) -> Path:
    """A folder per split and model, training images beside the weights."""
    root = tmp_path / "Model-J__SD_200"
    splits = ("train", "train", "val_holdout", "test")
    for i, split in enumerate(splits):
        folder = root / split / f"model_idx_{i:04d}"
        adapter(
            folder / "pytorch_lora_weights.safetensors",
            diffusers(),
            format="pt",
            learning_rate="3e-05",
            max_train_steps="600",
            seed=str(i),
            imagenet_class_id="n02085620",
            model_id="007",
            random_flip="True",
            rank="4",
            val_accuracy="0.5",
            train_accuracy="0.9",
            base_model="CompVis/stable-diffusion-v1-4",
        )
        (folder / "training_images").mkdir()
        (folder / "training_images" / "0.png").write_bytes(b"no image")
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return root


def test_model_j(model_j: Path) -> None:
    assert lora.recognises(model_j)
    networks = read(model_j)
    assert [n.name for n in networks] == [
        "test/model_idx_0003",
        "train/model_idx_0000",
        "train/model_idx_0001",
        "val_holdout/model_idx_0002",
    ]
    network = networks[2]
    assert network.run == {
        "lr": 3e-05,
        "steps": 600,
        "seed": 1,
        "imagenet_class_id": "n02085620",
        "model_id": "007",
        "random_flip": True,
        "rank": 4,
        "published_train_accuracy": 0.9,
        "base_model": "CompVis/stable-diffusion-v1-4",
        "lora_rank": 4,
        "published_split": "train",
    }
    assert network.checkpoint == {"validation_accuracy": 0.5}
    assert network.tensors is not None
    for name, expected in diffusers().items():
        assert network.tensors[name].values.tobytes() == expected.values.tobytes()
    splits = [n.run["published_split"] for n in networks]
    assert splits == ["test", "train", "train", "val_holdout"]


def test_peft_with_its_configuration(tmp_path: Path) -> None:
    adapter(tmp_path / "adapter_model.safetensors", peft(), format="pt")
    config = {
        "base_model_name_or_path": "google/vit-base-patch16-224",
        "r": 4,
        "lora_alpha": 16,
        "rank_pattern": {},
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
        "revision": None,
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (network,) = read(tmp_path)
    assert network.name == "adapter_model.safetensors"
    assert network.run == {
        "base_model_name_or_path": "google/vit-base-patch16-224",
        "r": 4,
        "lora_alpha": 16,
        "rank_pattern": "{}",
        "target_modules": '["q_proj", "v_proj"]',
        "bias": "none",
        "lora_rank": 4,
    }
    assert network.tensors is not None
    assert {t.dtype for t in network.tensors.values()} == {"bfloat16"}
    assert [t.values.tobytes() for t in network.tensors.values()] == [
        t.values.tobytes() for t in peft().values()
    ]


def test_trainer_state_may_hold_a_bare_infinity(tmp_path: Path) -> None:
    for step in (500, 1000):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        adapter(folder / "adapter_model.safetensors", peft())
        (folder / "trainer_state.json").write_text(
            f'{{"best_metric": Infinity, "epoch": 0.5, "global_step": {step}, '
            '"max_steps": 2000, "log_history": [{"loss": NaN}]}'
        )
    networks = sorted(read(tmp_path), key=lambda n: n.step)
    assert [(n.run_name, n.step) for n in networks] == [("run", 500), ("run", 1000)]
    assert networks[0].checkpoint == {"epoch": 0.5, "best_metric": math.inf}
    assert networks[0].run["steps"] == 2000


def test_a_final_adapter_is_not_step_0_of_its_checkpoints(tmp_path: Path) -> None:
    adapter(tmp_path / "run" / "adapter_model.safetensors", peft())
    adapter(tmp_path / "run" / "checkpoint-5" / "adapter_model.safetensors", peft())
    runs = {n.run_name: n.step for n in read(tmp_path)}
    assert runs == {"run": 0, "run/checkpoint-5": 5}


def test_published_text_is_never_run(tmp_path: Path) -> None:
    """A probing repository evaluates this field of files it downloads."""
    target = tmp_path / "went_off"
    text = f"__import__('os').mkdir({str(target)!r}) or ['cat', 'dog']"
    adapter(tmp_path / "x.safetensors", diffusers(), dataset_chosen_targets=text)
    (network,) = read(tmp_path / "x.safetensors")
    assert network.run["dataset_chosen_targets"] == text
    assert not target.exists()
    eval(text)  # noqa: S307  it was one
    assert target.exists()
    os.rmdir(target)


def test_several_adapters_in_a_folder_are_named_by_file(tmp_path: Path) -> None:
    for name in ("b", "a"):
        adapter(tmp_path / "d" / f"{name}.safetensors", diffusers())
    assert [n.name for n in read(tmp_path)] == ["d/a.safetensors", "d/b.safetensors"]


def test_ranks_may_differ_between_layers(tmp_path: Path) -> None:
    more = {f"x.{k}": v for k, v in diffusers(2).items()}
    adapter(tmp_path / "x.safetensors", {**diffusers(8), **more})
    (network,) = read(tmp_path)
    assert network.run["lora_rank"] is None
    assert network.run["lora_ranks"] == "2, 8"


def test_convolutions_and_other_tensors_stay(tmp_path: Path) -> None:
    tensors = {
        "c.lora_A.weight": tensor(2, 3, 3, 3),
        "c.lora_B.weight": tensor(7, 2, 1, 1),
        "c.lora_magnitude_vector": tensor(7),
    }
    adapter(tmp_path / "x.safetensors", tensors)
    (network,) = read(tmp_path)
    assert network.tensors is not None
    assert set(network.tensors) == set(tensors)
    assert network.run["lora_rank"] == 2


def test_a_column_of_headers_has_one_type(tmp_path: Path) -> None:
    for i, text in enumerate(("7", "007", "None")):
        adapter(tmp_path / f"{i}.safetensors", diffusers(), model_id=text, lr=f"{i}")
    networks = read(tmp_path)
    assert [n.run["model_id"] for n in networks] == ["7", "007", None]
    assert [n.run["lr"] for n in networks] == [0, 1, 2]


def test_a_csv_adds_columns(tmp_path: Path, model_j: Path) -> None:
    names = [n.name for n in read(model_j)]
    rows = "\n".join(f"{name},{i / 4}" for i, name in enumerate(names))
    (tmp_path / "m.csv").write_text(f"path,test_accuracy\n{rows}\n")
    found = [n.checkpoint["test_accuracy"] for n in read(model_j, tmp_path / "m.csv")]
    assert found == [0, 0.25, 0.5, 0.75]


def test_a_csv_over_checkpoints_of_a_run(tmp_path: Path) -> None:
    rows = "path,Seed,sharp\n"
    for step in (5, 10):
        adapter(tmp_path / "run" / f"checkpoint-{step}" / "a.safetensors", peft())
        rows += f"run/checkpoint-{step},3,{step / 4}\n"
    (tmp_path / "networks.csv").write_text(rows)
    networks = sorted(read(tmp_path), key=lambda n: n.step)
    assert [n.run for n in networks] == [{"Seed": 3, "lora_rank": 4}] * 2
    assert [n.checkpoint["sharp"] for n in networks] == [1.25, 2.5]


def test_hidden_files_are_no_adapters(tmp_path: Path) -> None:
    for name in ("._a", ".cache/b"):
        adapter(tmp_path / f"{name}.safetensors", peft())
    assert not lora.recognises(tmp_path)
    adapter(tmp_path / "a.safetensors", peft())
    assert [n.name for n in read(tmp_path)] == ["a.safetensors"]


@pytest.mark.parametrize("full", ["a", "z"])
def test_a_full_model_among_adapters_is_refused_by_name(tmp_path: Path, full: str) -> None:
    adapter(tmp_path / "m.safetensors", peft())
    adapter(tmp_path / f"{full}.safetensors", {"w": tensor(2, 2)})
    assert lora.recognises(tmp_path)
    assert find_format("auto", tmp_path) is lora
    with pytest.raises(CatalogError, match=rf"{full}\.safetensors has no.*--format"):
        read(tmp_path)


def without(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if name not in key}


BROKEN: dict[str, tuple[Any, str]] = {
    "half": (lambda p: adapter(p, without("lora_B", peft())), "has no partner"),
    "none": (lambda p: adapter(p, {"w": tensor(2, 2)}), "has no LoRA pair; it has w"),
    "shapes": (
        lambda p: adapter(p, {**peft(4), f"{PEFT}.lora_B.weight": tensor(5, 3)}),
        "must have the shapes",
    ),
    "rank": (
        lambda p: [
            adapter(p, peft(4)),
            (p.parent / "adapter_config.json").write_text('{"r": 8}'),
        ],
        "says r = 8, but the tensors of .* have rank 4",
    ),
    "json": (
        lambda p: [
            adapter(p, peft(4)),
            (p.parent / "adapter_config.json").write_text('{"r": '),
        ],
        "cannot be read as JSON",
    ),
    "two values": (
        lambda p: [
            adapter(p, peft(4), lora_alpha="8"),
            (p.parent / "adapter_config.json").write_text('{"lora_alpha": 16}'),
        ],
        "must agree on lora_alpha. Got 8 and 16",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_adapter_is_refused_by_name(tmp_path: Path, case: str) -> None:
    make, message = BROKEN[case]
    make(tmp_path / "model17" / "x.safetensors")
    with pytest.raises(CatalogError, match=message) as caught:
        read(tmp_path)
    assert "model17" in str(caught.value)


def test_plain_safetensors_are_not_recognised(tmp_path: Path) -> None:
    adapter(tmp_path / "x.safetensors", {"w": tensor(2, 2)})
    assert not lora.recognises(tmp_path)
    assert not lora.recognises(tmp_path / "nowhere")
    (tmp_path / "x.safetensors").write_bytes(b"version https://git-lfs")
    assert not lora.recognises(tmp_path)
