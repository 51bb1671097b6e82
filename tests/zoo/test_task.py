"""Data from files, from scikit-learn and through `datasets`: checked, split, normalised."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, NotFound
from zoo.task import Hub, Raw, Task, describe_task, load_task, prepare, read_hub
from zoo.tasks import TASKS

TASK = Task("tiny", "Tiny", (1, 4, 5), 3, validation=4)
COLOUR = replace(TASK, shape=(3, 4, 5))
SPLITS = ("train", "validation", "test")
DATA = Path(os.environ.get("PHASEZOO_DATA") or Path(__file__).parents[3] / "shared/data")


def raw(task=TASK, train=12, test=5, dtype=np.uint8, seed=0):
    draw = np.random.default_rng(seed)
    high = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 2
    x = (draw.random((train + test, *task.shape)) * high).astype(dtype)
    y = np.arange(train + test) % task.classes
    return Raw(x[:train], y[:train], x[train:], y[train:], 1 / 255)


def arrays(source, **more):
    names = {"x_train": source.x, "y_train": source.y}
    return {**names, "x_test": source.x_test, "y_test": source.y_test, **more}


def save(path, source=None, **more):
    np.savez(path, **arrays(source or raw(), **more))


def same(one, other):
    assert one.fingerprint == other.fingerprint
    for split in SPLITS:
        np.testing.assert_array_equal(one.x[split], other.x[split])
        np.testing.assert_array_equal(one.y[split], other.y[split])


def png(image):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.squeeze(np.moveaxis(image, 0, -1))).save(file, "PNG")
    return file.getvalue()


# ------------------------------------------------------------------------- splitting


@given(st.integers(6, 40), st.integers(1, 5), st.integers(0, 9))
def test_splits_are_a_partition_of_the_samples(train, validation, seed):
    source = raw(train=train, seed=seed)
    data = prepare(replace(TASK, validation=validation), source)
    assert data.samples("validation") == validation
    assert data.samples("train") == train - validation
    pixels = np.concatenate([data.x["train"], data.x["validation"]])
    back = np.rint((pixels * data.std + data.mean) * 255).astype(np.uint8)
    found = sorted(x.tobytes() for x in back)
    assert found == sorted(x.tobytes() for x in source.x)
    labels = {x.tobytes(): y for x, y in zip(source.x, source.y, strict=True)}
    expected = [labels[x.tobytes()] for x in back]
    assert expected == [*data.y["train"], *data.y["validation"]]
    assert (data.y["test"] == source.y_test).all()


def test_inputs_are_normalised_by_the_training_split_per_channel():
    data = prepare(COLOUR, raw(COLOUR, train=60))
    train = data.x["train"]
    assert train.dtype == np.float32
    np.testing.assert_allclose(train.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(train.std((0, 2, 3)), 1, rtol=1e-5)
    assert abs(data.x["test"].mean((0, 2, 3))).max() > 1e-3
    assert describe_task(data) == {
        "scale": 1 / 255,
        "mean": data.mean.ravel().tolist(),
        "std": data.std.ravel().tolist(),
    }


def test_large_images_stay_bytes(monkeypatch):
    small = prepare(TASK, raw())
    monkeypatch.setattr("zoo.task.FLOAT_LIMIT", 1)
    large = prepare(TASK, raw())
    assert large.x["train"].dtype == np.uint8
    assert large.fingerprint == small.fingerprint
    pixels = (large.x["test"] * np.float32(large.scale) - large.mean) / large.std
    np.testing.assert_allclose(pixels, small.x["test"], rtol=1e-6)


def test_a_constant_image_is_normalised_to_zero():
    source = raw()
    dark = replace(source, x=np.zeros_like(source.x))
    assert (prepare(TASK, dark).x["train"] == 0).all()


@pytest.mark.parametrize("part", ["x", "y", "x_test", "y_test", "scale"])
def test_the_fingerprint_covers_every_value(part):
    source = raw()
    value = getattr(source, part)
    if part == "scale":
        value *= 2
    else:
        value = value.copy()
        value.flat[3] = (value.flat[3] + 1) % 3
    first, again, other = (
        prepare(TASK, r) for r in (source, raw(), replace(source, **{part: value}))
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_the_fingerprint_covers_the_split_and_the_name():
    prints = {
        prepare(task, raw()).fingerprint
        for task in (TASK, replace(TASK, validation=5), replace(TASK, name="other"))
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("task", "view"),
    [(TASK, lambda x: x[:, 0]), (TASK, lambda x: np.moveaxis(x, 1, -1)),
     (COLOUR, lambda x: np.moveaxis(x, 1, -1))],
)  # fmt: skip
def test_channels_last_or_none_are_understood(task, view):
    source = raw(task)
    turned = replace(source, x=view(source.x), x_test=view(source.x_test))
    same(prepare(task, turned), prepare(task, source))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"y": np.arange(12) % 4},
            r"1 unknown values, such as \[3\]; expected one label from 0 to 2",
        ),
        ({"y": np.arange(12) % 3 - 1}, r"1 unknown values, such as \[-1\]"),
        ({"y": np.arange(12) % 3 + 0.5}, r"3 unknown values, such as \[0.5, 1.5, 2.5\]"),
        ({"y": np.zeros(11, int)}, r"12 images and labels of shape \(11,\)"),
        ({"y": np.zeros((12, 1), int)}, r"12 images and labels of shape \(12, 1\)"),
        ({"y_test": np.full(5, 7)}, r"5 images .* 1 unknown values, such as \[7\]"),
        ({"x": np.zeros((12, 4, 4))}, r"shape \(4, 4\), expected \(1, 4, 5\)"),
        ({"x_test": np.zeros((5, 2, 4, 5))}, r"shape \(2, 4, 5\), expected \(1, 4, 5\)"),
        ({"x_test": np.zeros((0, 4, 5)), "y_test": np.zeros(0, int)}, "0 images"),
        ({"x": np.zeros((4, 4, 5)), "y": np.zeros(4, int)}, "4 training samples, but 4"),
    ],
)
def test_arrays_that_do_not_fit_the_task_are_refused(change, message):
    with pytest.raises(CatalogError, match=message):
        prepare(TASK, replace(raw(), **change))


# ----------------------------------------------------------------------------- files


@pytest.mark.parametrize("place", ["tiny/tiny.npz", "tiny.npz"])
def test_an_npz_is_found_below_the_folder(tmp_path, place):
    (tmp_path / "tiny").mkdir()
    save(tmp_path / place)
    for folder in (tmp_path, str(tmp_path)):
        same(load_task(TASK, folder), prepare(TASK, raw()))


@pytest.mark.parametrize(
    ("dtype", "given_scale", "scale"),
    [
        (np.uint8, None, 1 / 255),
        (np.uint8, 1 / 16, 1 / 16),
        (np.uint16, 1 / 65535, 1 / 65535),
        (np.float32, None, 1.0),
        (np.float64, 0.5, 0.5),
    ],
)
def test_the_unit_of_an_npz_is_its_scale(tmp_path, dtype, given_scale, scale):
    source = raw(dtype=dtype)
    more = {} if given_scale is None else {"scale": given_scale}
    save(tmp_path / "tiny.npz", source, **more)
    data = load_task(TASK, tmp_path)
    assert data.scale == scale
    pixels = data.x["test"] * data.std + data.mean
    np.testing.assert_allclose(pixels, source.x_test * scale, rtol=1e-4, atol=1e-5)


def test_an_npz_that_lacks_arrays_says_which_and_what_it_has(tmp_path):
    np.savez(tmp_path / "tiny.npz", x_train=raw().x, labels=raw().y)
    message = "tiny.npz lacks y_train, x_test, y_test; it has x_train, labels"
    with pytest.raises(CatalogError, match=message):
        load_task(TASK, tmp_path)


class Bomb:
    def __reduce__(self):
        return (open, (str(Bomb.target), "w"))


@pytest.mark.parametrize("name", ["x_train", "y_test", "scale"])
def test_a_pickled_array_is_refused_unread(tmp_path, name):
    Bomb.target = tmp_path / "bomb"
    save(tmp_path / "tiny.npz", **{name: np.array([Bomb()])})
    message = "tiny.npz is not a readable .npz file: .*pickle"
    with pytest.raises(CatalogError, match=message):
        load_task(TASK, tmp_path)
    assert not Bomb.target.exists()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


def flip(path):
    raw_bytes = bytearray(path.read_bytes())
    raw_bytes[400] ^= 255
    path.write_bytes(raw_bytes)


def empty(path):
    path.write_bytes(b"")


def words(path):
    path.write_text("no data today")


@pytest.mark.parametrize("damage", [truncate, flip, empty, words])
def test_a_damaged_npz_is_named(tmp_path, damage):
    save(tmp_path / "tiny.npz")
    damage(tmp_path / "tiny.npz")
    with pytest.raises(CatalogError, match=r"tiny.npz is not a readable .npz file"):
        load_task(TASK, tmp_path)


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "tiny.npz", "w") as file:
        for name in arrays(raw()):
            file.writestr(f"{name}.npy", b"no data today")
    with pytest.raises(CatalogError, match=r"Tiny: images have shape \(\)"):
        load_task(TASK, tmp_path)


def jpegs(path, source, split=("train", "test"), **columns):
    table = {
        "split": [split[0]] * len(source.x) + [split[1]] * len(source.x_test),
        "label": [*source.y, *source.y_test],
        "jpeg": [png(image) for image in (*source.x, *source.x_test)],
        **columns,
    }
    pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), path)


@pytest.mark.parametrize("task", [TASK, COLOUR])
def test_a_parquet_file_of_images_is_read(tmp_path, task):
    jpegs(tmp_path / "tiny.parquet", raw(task))
    same(load_task(task, tmp_path), prepare(task, raw(task)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ("train", "valid")}, "has splits {'valid'}; expected train and test"),
        ({"label": None}, "must hold the columns split, label and jpeg"),
        ({"jpeg": [b"no image"] * 17}, "must hold .* cannot identify image"),
    ],
)
def test_a_parquet_file_of_something_else_is_named(tmp_path, change, message):
    jpegs(tmp_path / "tiny.parquet", raw(), **change)
    with pytest.raises(CatalogError, match=f"tiny.parquet {message}"):
        load_task(TASK, tmp_path)


def test_data_that_are_not_there_say_where_to_put_them(tmp_path):
    with pytest.raises(NotFound, match=r"No Tiny data in .*tiny/tiny.npz .*--data DIR\.$"):
        load_task(TASK, tmp_path)
    with pytest.raises(NotFound, match=r"No Tiny data: expected .*--data DIR"):
        load_task(TASK)
    with pytest.raises(NotFound, match=r"--data .*nowhere is not a folder"):
        load_task(TASK, tmp_path / "nowhere")
    on_hub = replace(TASK, hub=Hub("nobody/tiny"))
    with pytest.raises(NotFound, match=r"--data DIR, or omit it to download"):
        load_task(on_hub, tmp_path)


def test_files_come_before_the_embedded_data(tmp_path, digits):
    same(load_task(TASKS["digits"], tmp_path), digits)
    task = replace(TASK, embedded=lambda: raw(seed=1))
    same(load_task(task, tmp_path), prepare(TASK, raw(seed=1)))
    save(tmp_path / "tiny.npz")
    same(load_task(task, tmp_path), prepare(TASK, raw()))


# -------------------------------------------------------------------------- datasets


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Writes a folder as the Hub has it, and keeps `datasets` inside tmp_path."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def write(task, image="image", label="label"):
        source, folder = raw(task), tmp_path / "data" / task.name
        folder.mkdir(parents=True)
        features = datasets.Features(
            {image: datasets.Image(), label: datasets.ClassLabel(names=["a", "b", "c"])}
        )
        for split, x, y in (
            ("train", source.x, source.y),
            ("test", source.x_test, source.y_test),
        ):
            rows = {image: [{"bytes": png(i), "path": None} for i in x], label: list(y)}
            part = datasets.Dataset.from_dict(rows, features=features)
            part.to_parquet(folder / f"{split}-00000-of-00001.parquet")
        return tmp_path / "data"

    return write


@pytest.mark.parametrize("task", [TASK, COLOUR])
def test_a_folder_of_the_hub_is_read_through_datasets(hub_folder, task):
    folder, expected = hub_folder(task), prepare(task, raw(task))
    same(load_task(task, folder), expected)
    same(prepare(task, read_hub(task, Hub(str(folder / "tiny")))), expected)


def test_columns_are_called_as_on_the_hub(hub_folder):
    task = replace(TASK, hub=Hub("nobody/tiny", image="img", label="fine"))
    folder = hub_folder(task, "img", "fine")
    same(load_task(task, folder), prepare(TASK, raw()))
    with pytest.raises(CatalogError, match="tiny lacks image, label; it has img, fine"):
        load_task(TASK, folder)


def test_a_hub_out_of_reach_says_how_to_do_without(hub_folder):
    task = replace(TASK, hub=Hub("nobody/tiny"))
    message = (
        "Tiny could not be read from 'nobody/tiny': .*give --data DIR with tiny/tiny.npz"
    )
    with pytest.raises(NotFound, match=message):
        load_task(task)


# ------------------------------------------------------------------------- real data

SIZES = {
    "mnist": (55_000, 5_000, 10_000),
    "fashion_mnist": (55_000, 5_000, 10_000),
    "usps": (6_291, 1_000, 2_007),
    "cifar10_jpeg": (45_000, 5_000, 10_000),
}


@pytest.mark.parametrize(
    "name",
    [
        "mnist",
        "fashion_mnist",
        "usps",
        pytest.param("cifar10_jpeg", marks=pytest.mark.slow),
    ],
)
def test_real_data_have_their_official_sizes(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"no {DATA / name}; set PHASEZOO_DATA to a folder that has it")
    task = TASKS[name]
    data = load_task(task, DATA)
    assert tuple(data.samples(split) for split in SPLITS) == SIZES[name]
    for split in SPLITS:
        assert data.x[split].shape == (data.samples(split), *task.shape)
        assert set(np.unique(data.y[split])) == set(range(task.classes))
    assert ((data.mean > 0.05) & (data.mean < 0.6) & (data.std > 0.1)).all()
