"""The public contract of formats, for every one of the catalogue, and what they read."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import catalog
from catalog import CatalogError, NotFound, import_source
from catalog.console.program import main
from catalog.formats import FORMATS, find_format
from catalog.formats.export import export
from catalog.formats.npz import Archive
from catalog.formats.trajectory import run_and_step_of
from catalog.testing import FormatContract, Planted

HERE = sorted(n for n, f in FORMATS.items() if type(f).__module__.startswith("catalog."))
MLP = {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
TF = [
    ("sequential/conv2d/bias:0", (16,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 16)),
    ("sequential/conv2d_1/bias:0", (16,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 16, 16)),
    ("sequential/conv2d_2/bias:0", (16,)),
    ("sequential/conv2d_2/kernel:0", (3, 3, 16, 16)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (16, 10)),
]


def draw(seed: int, shapes: Mapping[str, tuple[int, ...]] = MLP) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with io.StringIO() as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def plant_stacked(folder: Path) -> tuple[Path, Planted]:
    nets = [draw(i) for i in range(5)]
    scale = np.random.default_rng(0).normal(size=(5, 2))  # float64, no float32 equal
    arrays = {name: np.stack([net[name] for net in nets]) for name in MLP}
    np.savez_compressed(folder / "nets.npz", **arrays, scale=scale)
    rows = [{"index": i, "lr": f"1e-{i}"} for i in range(5)]
    write_csv(folder / "networks.csv", rows[::-1])
    return folder, {(str(i), 0): {**nets[i], "scale": scale[i]} for i in range(5)}


def plant_keyed(folder: Path) -> tuple[Path, Planted]:
    nets = {f"net-{i}": draw(i) for i in range(4)}
    nets["net-0"]["0.bias"] = np.arange(4, dtype=np.int64)
    arrays = {f"{n}|{t}": v for n, net in nets.items() for t, v in net.items()}
    np.savez(folder / "nets.npz", **arrays)
    write_csv(folder / "networks.csv", [{"id": name, "lr": 0.1} for name in nets])
    return folder / "nets.npz", {(name, 0): net for name, net in nets.items()}


def plant_state_dicts(folder: Path) -> tuple[Path, Planted]:
    nets = {f"deep/{c}": draw(i) for i, c in enumerate("ab")}
    (folder / "deep").mkdir()
    nets["deep/a"]["0.weight"] = np.asfortranarray(nets["deep/a"]["0.weight"])
    nets["deep/b"]["2.bias"] = nets["deep/b"]["2.bias"].astype(">f4")
    for name, net in nets.items():
        np.savez(folder / f"{name}.npz", **net)
    write_csv(folder / "metadata.csv", [{"path": f"{n}.npz", "lr": 1} for n in nets])
    return folder, {(name, 0): net for name, net in nets.items()}


def plant_safetensors(folder: Path) -> tuple[Path, Planted]:
    nets = {f"deep/{c}": draw(i) for i, c in enumerate("abc")}
    (folder / "deep").mkdir()
    for i, (name, net) in enumerate(nets.items()):
        net["half"] = np.float16([i, -0.0])
        net["steps"] = np.array(2**62 + 1)
        header = {"lr": str(0.1 * i), "format": "pt"}
        save_file(net, folder / f"{name}.safetensors", metadata=header)
    return folder, {(name, 0): net for name, net in nets.items()}


def plant_lora(folder: Path) -> tuple[Path, Planted]:
    """As Model-J publishes it: a folder per split, a folder per model."""
    nets = {}
    for i, split in enumerate(("train", "val", "test")):
        name = f"{split}/model_idx_{i:04d}"
        draws = np.random.default_rng(i)
        nets[name] = {
            "unet.to_q.lora.down.weight": draws.normal(size=(2, 6)).astype(np.float32),
            "unet.to_q.lora.up.weight": draws.normal(size=(5, 2)).astype(np.float32),
        }
        (folder / name).mkdir(parents=True)
        path = folder / name / "pytorch_lora_weights.safetensors"
        save_file(nets[name], path, metadata={"learning_rate": "3e-05", "format": "pt"})
    return folder, {(name, 0): net for name, net in nets.items()}


def plant_exported(folder: Path) -> tuple[Path, Planted]:
    """Published once, imported elsewhere, and exported from there."""
    made = folder.parent / f"{folder.name}-made"
    made.mkdir()
    source, planted = plant_stacked(made)
    import_source(made / "zoo", source)
    export(catalog.open(made / "zoo").select("true"), folder / "out.npz")
    return folder / "out.npz", planted


def plant_metrics(folder: Path) -> tuple[Path, Planted]:
    rows = [
        {"id": c, "step": s, "lr": 0.1, "test_accuracy": s / 10, "sharpness": s * 2.0}
        for c in "ab"
        for s in (0, 5)
    ]
    path = write_csv(folder / "runs.csv.gz", rows)
    return path, {(c, s): {} for c in "ab" for s in (0, 5)}


def plant_matrix(folder: Path) -> tuple[Path, Planted]:
    """As google-research/dnn_predict_accuracy publishes it."""
    shapes, planted, layout, rows, at = dict(TF), {}, [], [], 0
    for i, (name, shape) in enumerate(TF):
        size = int(np.prod(shape))
        layout.append(
            {"": i, "varname": name, "start_idx": at, "end_idx": at + size, "size": size}
            | {"shape": str(shape)}
        )
        at += size
    for run in range(3):
        for epoch in (0, 1, 86):
            planted[f"/x/{run}", epoch] = draw(100 * run + epoch, shapes)
            config = {"activation": "relu", "dataset": "mnist", "l2reg": 1e-3 * run}
            config |= {"learning_rate": 0.01, "epochs": 86, "random_seed": 42}
            metrics = {"test_accuracy": 0.5, "test_loss": 2.0, "train_accuracy": 0.6}
            rows.append(
                {"": len(rows), **{f"config.{k}": v for k, v in config.items()}}
                | {"modeldir": f"/x/{run}/permanent_ckpt-{epoch}", "step": epoch}
                | {**metrics, "train_loss": 1.0}
            )
    flat = [np.concatenate([v.ravel() for v in net.values()]) for net in planted.values()]
    assert len(flat[0]) == 4970
    np.save(folder / "weights.npy", np.stack(flat))
    write_csv(folder / "layout.csv", layout)
    write_csv(folder / "metrics.csv.gz", rows)
    return folder, planted


def plant_json(folder: Path) -> tuple[Path, Planted]:
    nets = {c: draw(i) for i, c in enumerate("ab")}
    networks = [
        {"id": c, "lr": 0.1, "weights": np.concatenate([v.ravel() for v in n.values()])}
        for c, n in nets.items()
    ]
    layout = [{"name": name, "shape": shape} for name, shape in MLP.items()]
    value = {"layout": layout, "networks": networks}
    (folder / "nets.json").write_text(json.dumps(value, default=np.ndarray.tolist))
    return folder / "nets.json", {(c, 0): net for c, net in nets.items()}


PLANTS = {
    "json_vectors": plant_json,
    "metrics_csv": plant_metrics,
    "npy_matrix": plant_matrix,
    "npz_keyed": plant_keyed,
    "npz_stacked": plant_stacked,
    "npz_state_dict": plant_state_dicts,
    "safetensors": plant_safetensors,
    "lora": plant_lora,
    "exported": plant_exported,
}


def test_every_format_of_the_catalogue_is_tested() -> None:
    assert sorted(PLANTS) == HERE


for name in PLANTS:
    globals()[f"Test_{name}"] = type(
        f"Test_{name}",
        (FormatContract,),
        {"name": name, "plant": lambda self, folder: PLANTS[self.name](folder)},
    )


def test_rows_of_a_stack_follow_its_index(tmp_path: Path) -> None:
    source, _ = plant_stacked(tmp_path)
    import_source(tmp_path / "zoo", source)
    rows = catalog.open(tmp_path / "zoo").sql("SELECT source_name, index, lr FROM models")
    expected = [(str(i), i, float(f"1e-{i}")) for i in range(5)]
    assert sorted(rows.fetchall()) == expected
    layout = catalog.open(tmp_path / "zoo").select("true").layout
    roles = {param.name: param.role for param in layout}
    assert roles == dict.fromkeys(MLP, "parameter") | {"scale": "constant"}


def test_a_stream_of_rows_equals_the_array(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(7, 2, 3))
    np.savez_compressed(tmp_path / "a.npz", c=values, f=np.asfortranarray(values))
    with Archive(tmp_path / "a.npz") as archive:
        for name in ("c", "f"):
            assert (np.stack(list(archive.rows(name))) == values).all()
            assert (archive.tensor(name).values == values).all()


def test_columns_of_the_small_cnn_zoo(tmp_path: Path) -> None:
    source, _ = plant_matrix(tmp_path)
    import_source(tmp_path / "zoo", source, license="CC-BY-4.0")
    store = catalog.open(tmp_path / "zoo")
    rows = store.sql(
        "SELECT lr, seed, steps, step_unit, task_name, activation, l2reg, license, "
        "count(*), max(epoch), min(test_accuracy) FROM models GROUP BY ALL ORDER BY l2reg"
    ).fetchall()
    assert [row[:6] for row in rows] == [(0.01, 42, 86, "epochs", "mnist", "relu")] * 3
    assert [row[6] for row in rows] == pytest.approx([0, 1e-3, 2e-3])
    assert [row[7:] for row in rows] == [("CC-BY-4.0", 3, 86.0, 0.5)] * 3
    layout = store.select("true").layout
    assert layout.d == 4970
    assert layout["sequential/conv2d_1/kernel:0"].axes == (
        *(None, None, "channels1"),
        "channels2",
    )
    assert layout["sequential/dense/kernel:0"].axes == ("channels3", None)
    assert layout["sequential/dense/bias:0"].axes == (None,)


def test_columns_that_vary_within_a_run_are_the_checkpoints(tmp_path: Path) -> None:
    source, _ = plant_metrics(tmp_path)
    import_source(tmp_path / "zoo", source)
    store = catalog.open(tmp_path / "zoo")
    found = {v: store.sql(f"FROM {v}").columns for v in ("runs", "checkpoints")}
    assert "sharpness" in found["checkpoints"]
    assert "sharpness" not in found["runs"]
    assert "lr" in found["runs"]


def bf16_file(path: Path) -> np.ndarray:
    """As torch writes bfloat16; numpy has no name for it."""
    values = np.arange(6, dtype=np.uint16) + 0x3F80
    header = {"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values.tobytes())
    return values.reshape(2, 3)


def test_bfloat16_keeps_its_bytes(tmp_path: Path) -> None:
    values = bf16_file(tmp_path / "a.safetensors")
    import_source(tmp_path / "zoo", tmp_path / "a.safetensors")
    store = catalog.open(tmp_path / "zoo")
    assert store.select("true").layout["w"].dtype == "bfloat16"
    assert (store.select("true")[0]["w"] == values).all()
    assert store.load().weights[0, 0] == 1.0


def test_numbers_of_json_are_float64_where_float32_has_no_equal(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"w": [0.1, 1]}\n{"w": [0.5, 2]}\n')
    import_source(tmp_path / "zoo", path)
    store = catalog.open(tmp_path / "zoo")
    stored = store.read_tensor("weights", "true ORDER BY source_name")
    assert stored.dtype == np.float64
    assert stored.tolist() == [[0.1, 1.0], [0.5, 2.0]]


def test_a_stack_without_a_table_may_be_one_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones((2, 3)), b=np.ones(2))
    with pytest.raises(CatalogError, match=r"(?s)several.*npz_stacked.*npz_state_dict"):
        find_format("auto", tmp_path / "a.npz")


def test_what_no_format_recognises_lists_them_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(CatalogError, match="looks like none") as caught:
        find_format("auto", tmp_path / "a.txt")
    assert all(name in str(caught.value) for name in HERE)


def test_unknown_formats_and_sources_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Closest: npz_stacked"):
        find_format("npz_stack", tmp_path)
    with pytest.raises(NotFound, match="Known: ") as caught:
        find_format("qqq", tmp_path)
    assert all(name in str(caught.value) for name in FORMATS)
    with pytest.raises(NotFound, match="There is no"):
        find_format("auto", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("run1/epoch_10", ("run1", 10, 10.0, "epochs")),
        ("resnet_epoch_5", ("resnet", 5, 5.0, "epochs")),
        ("a/resnet-Step=007", ("a/resnet", 7)),
        ("iter5", ("zoo", 5)),
        ("a/checkpoint-500/model", ("a", 500)),
        ("epoch_5/model", ("zoo", 5, 5.0, "epochs")),
        ("a/epoch=5-step=1000", ("a", 1000, 5.0)),
        ("a/epoch_5/step_30", ("a", 30, 5.0)),
        ("a/footstep5", ()),
        ("a/epoch_0.5", ()),
        ("a/model_5", ()),
        ("a/epoch" + "9" * 19, ()),
    ],
)
def test_a_name_that_counts_is_a_step_of_a_run(name: str, place: tuple[Any, ...]) -> None:
    assert tuple(run_and_step_of(Path("/x/zoo"), name).values()) == place


def test_safetensors_of_a_trajectory_are_one_run(tmp_path: Path) -> None:
    for run in "ab":
        for step in (0, 500):
            folder = tmp_path / "zoo" / run / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            save_file(draw(step), folder / "model.safetensors")
    networks = list(FORMATS["safetensors"].read(tmp_path / "zoo", None))
    assert [(n.run_name, n.step) for n in networks] == [
        *(("a", 0), ("a", 500)),
        *(("b", 0), ("b", 500)),
    ]


def test_a_header_wins_over_the_name(tmp_path: Path) -> None:
    header = {"step": "7", "run_name": "r"}
    save_file(draw(0), tmp_path / "epoch_5.safetensors", metadata=header)
    (network,) = FORMATS["safetensors"].read(tmp_path, None)
    assert (network.run_name, network.step, network.run) == ("r", 7, {})
    assert network.checkpoint == {"epoch": 5.0}


def test_two_files_of_one_step_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("epoch_5", "epoch-05"):
        save_file(draw(0), tmp_path / f"{name}.safetensors")
    with pytest.raises(CatalogError, match=r"epoch-05 and epoch_5 are both step 5"):
        import_source(tmp_path / "zoo", tmp_path, zoo="z", format="safetensors")


def test_run_and_step_by_a_pattern(tmp_path: Path) -> None:
    for name in ("a/e1", "a/e2", "b/e1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / f"{name}.npz", **draw(0))
    pattern = "(?P<run>.*)/e(?P<step>[0-9]+)"
    summary = import_source(tmp_path / "zoo", tmp_path, zoo="z", run=pattern)
    assert (summary.networks, summary.runs) == (3, 2)
    rows = catalog.open(tmp_path / "zoo").sql("SELECT source_name, step FROM models")
    assert sorted(rows.fetchall()) == [("a", 1), ("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<run>.*)", "has no group 'step'"),
        ("(?P<run>", "is not a regular expression"),
        ("(?P<run>.*)_(?P<step>.*)", "does not match the name 'a/e1'"),
        ("(?P<run>.*)/(?P<step>.*)", "finds the step 'e1' in 'a/e1'"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(
    pattern: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a/e1.npz", **draw(0))
    with pytest.raises(CatalogError, match=message):
        import_source(tmp_path / "zoo", tmp_path, run=pattern)


def plant_sharded(folder: Path, **weight_map: str) -> dict[str, np.ndarray]:
    """As transformers saves a network of two parts."""
    folder.mkdir(parents=True, exist_ok=True)
    net = draw(0)
    parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {name: parts[i < 2] for i, name in enumerate(net)}  # not in order of parts
    for part in parts:
        own = {name: net[name] for name in net if where[name] == part}
        save_file(own, folder / part, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": where | weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return net


def test_parts_that_an_index_names_are_one_network(tmp_path: Path) -> None:
    net = plant_sharded(tmp_path / "zoo" / "a")
    save_file(draw(1), tmp_path / "zoo" / "b.safetensors")
    assert find_format("auto", tmp_path / "zoo").name == "safetensors"
    summary = import_source(tmp_path / "out", tmp_path / "zoo")
    assert (summary.networks, summary.runs) == (2, 2)
    state = catalog.open(tmp_path / "out").select("source_name = 'a/model'")[0]
    assert list(state) == list(net)
    assert all((state[name] == value).all() for name, value in net.items())


FIRST, SECOND = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))


@pytest.mark.parametrize(
    ("weight_map", "gone", "message"),
    [
        ({}, FIRST, f"names '{FIRST}', which is not beside"),
        ({}, "model.safetensors.index.json", f"{FIRST} is called like a part"),
        ({"more": SECOND}, "", f"{SECOND} has no tensor 'more'"),
        ({"0.bias": FIRST}, "", "has no tensor '0.bias'|holds the tensor '0.bias'"),
        ({"0.bias": "../x.safetensors"}, "", "expected the name of a file beside"),
        ({"0.bias": "x.safetensors"}, "", "names 'x.safetensors', which is not beside"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(
    weight_map: dict[str, str], gone: str, message: str, tmp_path: Path
) -> None:
    plant_sharded(tmp_path, **weight_map)
    if gone:
        (tmp_path / gone).unlink()
    with pytest.raises(CatalogError, match=message):
        list(FORMATS["safetensors"].read(tmp_path, None))


def test_a_part_that_is_a_link_out_of_the_source_is_refused(tmp_path: Path) -> None:
    plant_sharded(tmp_path / "zoo")
    (tmp_path / "zoo" / FIRST).rename(tmp_path / "x.safetensors")
    (tmp_path / "zoo" / FIRST).symlink_to(tmp_path / "x.safetensors")
    with pytest.raises(CatalogError, match="is a link that leads out"):
        list(FORMATS["safetensors"].read(tmp_path / "zoo", None))


def test_a_network_in_parts_and_whole_is_refused(tmp_path: Path) -> None:
    plant_sharded(tmp_path)
    save_file(draw(0), tmp_path / "model.safetensors")
    with pytest.raises(CatalogError, match="are both the network 'model'"):
        import_source(tmp_path / "zoo", tmp_path, format="safetensors", zoo="z")


@pytest.mark.parametrize("name", ["npz_stacked", "npz_state_dict", "npz_keyed"])
def test_columns_of_a_table_that_vary_within_a_run_are_the_checkpoints(
    name: str, tmp_path: Path
) -> None:
    source, planted = PLANTS[name](tmp_path)
    path = tmp_path / ("metadata.csv" if name == "npz_state_dict" else "networks.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    more = {"run_name": "r", "depth": 3}
    write_csv(path, [r | more | {"step": i, "sharp": i} for i, r in enumerate(rows)])
    networks = list(FORMATS[name].read(source, None))
    assert {n.checkpoint["sharp"] for n in networks} == set(range(len(planted)))
    assert {(n.run_name, n.run["depth"]) for n in networks} == {("r", 3)}


def test_a_table_that_was_not_read_is_named(tmp_path: Path, capsys: Any) -> None:
    source, _ = plant_safetensors(tmp_path)
    for name in ("results.csv", ".hidden.csv", "deep/x.csv"):
        (source / name).write_text("path,depth\n")
    rows = [{"path": f"deep/{c}", "depth": 1} for c in "abc"]
    write_csv(source / "networks.csv", rows)
    command = ["import", str(source), "--zoo", "z", "--catalog", str(tmp_path / "zoo")]
    with pytest.raises(SystemExit, match="0"):
        main(command)
    named = f"{source}/results.csv was not read. If it describes the networks: "
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "not read" in line] == [
        f"{named}--metadata {source}/results.csv"
    ]
    write_csv(source / "results.csv", rows)
    summary = import_source(tmp_path / "y", source, metadata=source / "results.csv")
    assert summary.unread == []


def test_tables_of_other_formats_are_not_called_unread(tmp_path: Path) -> None:
    source, _ = plant_matrix(tmp_path)
    (source / "results.csv").write_text("a,b\n1,2\n")
    assert import_source(tmp_path / "zoo", source).unread == []


def test_the_last_state_beside_checkpoints_shares_their_split(tmp_path: Path) -> None:
    for run in range(20):
        for step, inside in enumerate(("checkpoint-5", "checkpoint-10", ".")):
            folder = tmp_path / "zoo" / f"run{run}" / inside
            folder.mkdir(parents=True, exist_ok=True)
            weights = {"w": np.full(2, 3 * run + step, np.float32)}
            save_file(weights, folder / "model.safetensors")
    import_source(tmp_path / "out", tmp_path / "zoo")
    rows = catalog.open(tmp_path / "out").sql(
        "SELECT count(DISTINCT split_by_run), count(DISTINCT run_id), count(*) FROM models "
        "GROUP BY split_part(source_name, '/', 1)"
    )
    assert set(rows.fetchall()) == {(1, 2, 3)}
