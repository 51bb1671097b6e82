"""Data sets: where they come from, how they are split and normalised.

A task is found by name among the exports of `zoo.tasks`. Its arrays come with scikit-learn,
from files (``--data DIR``) or from the Hub through `datasets`. Validation is cut from the
training data by a fixed seed; the test split is the official one where there is one.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog import CatalogError, NotFound
from catalog.dtypes import Array
from zoo.randomness import stream

FLOAT_LIMIT = 400 << 20
"""Bytes of float32 up to which normalised inputs are kept; above, bytes are."""


@dataclass(frozen=True)
class Raw:
    """Images and labels as a source gives them.

    Attributes
    ----------
    x, x_test : ndarray of shape (N, *shape)
        Channels first, in units of ``scale``.
    y, y_test : ndarray of shape (N,)
        Labels.
    scale : float
        Value of one unit of ``x``: 1/255 for bytes.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    scale: float


@dataclass(frozen=True)
class Hub:
    """A data set on the Hub.

    Attributes
    ----------
    repository : str
        Name for `datasets.load_dataset`.
    image, label : str
        Its columns.
    config : str or None
        Its configuration.
    test : str
        Name of its test split.
    """

    repository: str
    image: str = "image"
    label: str = "label"
    config: str | None = None
    test: str = "test"


@dataclass(frozen=True)
class Task:
    """A classification data set; the exports of `zoo.tasks` are its instances.

    Attributes
    ----------
    name : str
        Name in recipes, in the catalogue and of the files below ``--data``.
    title : str
        What to call it in print.
    shape : tuple of int
        Shape of an input, channels first.
    classes : int
        Number of labels.
    validation : int
        Samples cut from the training data.
    embedded : callable, optional
        Returns the raw arrays without any files.
    hub : Hub, optional
        Where to download it.
    objective : str, default="classification"
        Name in `zoo.objectives`.
    loader : callable, optional
        Makes `Data` of what is no set of labelled images, from the task and ``--data``.
    class_names : tuple of str, optional
        What each label shows, in words; kept with every run of the task.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: int
    validation: int
    embedded: Callable[[], Raw] | None = None
    hub: Hub | None = None
    objective: str = "classification"
    loader: Callable[[Task, Path | None], Data] | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """A task's arrays, split and normalised.

    Attributes
    ----------
    x, y : mapping of str to ndarray
        By split: ``train``, ``validation``, ``test``. ``x`` is float32, or bytes that
        `mean` and `std` normalise, or int64 tokens; ``y`` is int64, (N,) or, with tokens,
        (N, tokens).
    mean, std : ndarray of shape (channels, 1, 1)
        Normalised input = (x * scale - mean) / std, from the training split.
    scale : float
        Value of one unit of the raw input.
    fingerprint : str
        Hash of raw arrays, split and normalisation.
    """

    task: Task
    x: Mapping[str, Array]
    y: Mapping[str, Array]
    mean: Array
    std: Array
    scale: float
    fingerprint: str = field(compare=False)

    def samples(self, split: str) -> int:
        """Number of samples of a split."""
        return len(self.y[split])


def load_task(task: Task, directory: str | Path | None = None) -> Data:
    """Read, check, split and normalise a task.

    Parameters
    ----------
    directory : str or Path, optional
        Folder of files, see `read_files`; first choice where given. Otherwise the
        embedded data, otherwise the Hub.

    Raises
    ------
    NotFound
        If there is no such data, with ways to get it.
    CatalogError
        If arrays have other shapes, labels or counts than the task says.
    """
    if directory is not None:
        directory = Path(directory)
    if task.loader is not None:
        return task.loader(task, directory)
    return prepare(task, read_raw(task, directory))


def read_raw(task: Task, directory: Path | None = None) -> Raw:
    """Arrays of a set of labelled images as its source gives them.

    Raises
    ------
    NotFound
        If there is no such data, with ways to get it.
    """
    if directory is not None and (found := find_file(task, directory)) is not None:
        return read_files(task, found)
    if task.embedded is not None:
        return task.embedded()
    if directory is None and task.hub is not None:
        return read_hub(task, task.hub)
    where = f" in {directory}" if directory else ""
    raise NotFound(
        f"No {task.title} data{where}: expected {task.name}/{task.name}.npz with "
        "x_train, y_train, x_test, y_test, or a folder of Parquet files. Give "
        "another folder with --data DIR"
        + (", or omit it to download." if task.hub else ".")
    )


def find_file(task: Task, directory: Path) -> Path | None:
    """The task's file or folder of Parquet files below a directory."""
    if not directory.is_dir():
        raise NotFound(f"--data {directory} is not a folder.")
    for inside in (directory / task.name, directory):
        for suffix in (".npz", ".parquet"):
            path = inside / f"{task.name}{suffix}"
            if path.is_file():
                return path
    folder = directory / task.name
    return folder if any(folder.glob("**/*.parquet")) else None


def read_files(task: Task, path: Path) -> Raw:
    """Raw arrays from an ``.npz``, a Parquet file of JPEGs, or a Hub-style folder.

    ``.npz``: ``x_train, y_train, x_test, y_test`` and optionally ``scale``, the value
    of one unit (bytes need none). Parquet: ``split, label, jpeg``. A folder: what
    `datasets.load_dataset` reads, with the columns of the task on the Hub.
    """
    if path.is_dir():
        hub = task.hub or Hub("")
        return read_hub(task, replace(hub, repository=str(path), config=None))
    if path.suffix == ".parquet":
        return _read_jpegs(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = ("x_train", "y_train", "x_test", "y_test")
            missing = [name for name in names if name not in arrays]
            if missing:
                raise CatalogError(
                    f"{path} lacks {', '.join(missing)}; it has {', '.join(arrays)}."
                )
            x, y, x_test, y_test = (np.asarray(arrays[name]) for name in names)
            default = 1 / 255 if x.dtype == np.uint8 else 1.0
            scale = float(arrays["scale"]) if "scale" in arrays else default
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise CatalogError(f"{path} is not a readable .npz file: {error}") from error
    return Raw(x, y, x_test, y_test, scale)


def read_hub(task: Task, hub: Hub) -> Raw:
    """Raw arrays through `datasets`, from the Hub or from a folder."""
    import datasets

    try:
        splits = {
            name: datasets.load_dataset(hub.repository, hub.config, split=name)
            for name in ("train", hub.test)
        }
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise NotFound(
            f"{task.title} could not be read from {hub.repository!r}: {error}. Offline? "
            f"Give --data DIR with {task.name}/{task.name}.npz."
        ) from error
    arrays = []
    for part in splits.values():
        if missing := {hub.image, hub.label} - set(part.column_names):
            raise CatalogError(
                f"{hub.repository} lacks {', '.join(sorted(missing))}; it has "
                f"{', '.join(part.column_names)}."
            )
        mode = "RGB" if task.shape[0] == 3 else "L"
        images = [np.asarray(image.convert(mode)) for image in part[hub.image]]
        arrays += [np.stack(images), np.asarray(part[hub.label])]
    return Raw(arrays[0], arrays[1], arrays[2], arrays[3], 1 / 255)


_ODD_IMAGES = (
    *(
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ),
    *(MemoryError, SyntaxError, struct.error),
)
"""What readers of images raise about files that are none."""


def _read_jpegs(path: Path) -> Raw:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    try:
        names = ["split", "label", "jpeg"]
        table = pq.read_table(path.absolute(), columns=names, partitioning=None).select(
            names
        )
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(b.as_py()))) for b in table["jpeg"]]
        )
    except (*_ODD_IMAGES, pa.ArrowException, Image.DecompressionBombError) as error:
        raise CatalogError(
            f"{path} must hold the columns split, label and jpeg, with images of one "
            f"shape: {error}"
        ) from error
    labels, splits = table["label"].to_numpy(), np.asarray(table["split"].to_pylist())
    if unknown := set(splits.tolist()) - {"train", "test"}:
        raise CatalogError(f"{path} has splits {unknown}; expected train and test.")
    train = splits == "train"
    return Raw(images[train], labels[train], images[~train], labels[~train], 1 / 255)


def prepare(task: Task, raw: Raw) -> Data:
    """Check raw arrays, cut the validation split, normalise by the training split."""
    x, x_test = (_channels_first(task, array) for array in (raw.x, raw.x_test))
    for labels, images in ((raw.y, x), (raw.y_test, x_test)):
        wrong = np.setdiff1d(labels, np.arange(task.classes))
        if labels.shape != (len(images),) or not len(labels) or len(wrong):
            raise CatalogError(
                f"{task.title}: {len(images)} images and labels of shape {labels.shape}, "
                f"{len(wrong)} unknown {wrong[:3].tolist()}; expected one label from 0 to "
                f"{task.classes - 1} for each image."
            )
    y, y_test = raw.y.astype(np.int64), raw.y_test.astype(np.int64)
    if len(x) <= task.validation:
        raise CatalogError(
            f"{task.title}: {len(x)} training samples; {task.validation} of them are "
            "for validation, so more are needed."
        )
    order = stream(0, "validation split").permutation(len(x))
    cut, kept = order[: task.validation], np.sort(order[task.validation :])
    parts = {"train": x[kept], "validation": x[np.sort(cut)], "test": x_test}
    labels_of = {"train": y[kept], "validation": y[np.sort(cut)], "test": y_test}
    digest = hashlib.sha256(f"{task.name} {raw.scale!r} split 1".encode())
    for name in parts:
        digest.update(np.ascontiguousarray(parts[name]).data)
        digest.update(labels_of[name].data)
    axes = (0, *range(2, x.ndim))
    train = parts["train"]
    mean = (train.mean(axes, dtype=np.float64, keepdims=True) * raw.scale)[0]
    std = np.maximum(train.std(axes, dtype=np.float64, keepdims=True) * raw.scale, 1e-6)[0]
    mean, std = mean.astype(np.float32), std.astype(np.float32)
    if train.dtype != np.uint8 or train.size * 4 <= FLOAT_LIMIT:
        parts = {
            name: (part.astype(np.float32) * np.float32(raw.scale) - mean) / std
            for name, part in parts.items()
        }
    return Data(task, parts, labels_of, mean, std, raw.scale, digest.hexdigest()[:32])


def _channels_first(task: Task, images: Array) -> Array:
    if images.shape[1:] == task.shape:
        return images
    if images.shape[1:] == (*task.shape[1:], task.shape[0]):
        return np.ascontiguousarray(np.moveaxis(images, -1, 1))
    if task.shape[0] == 1 and images.shape[1:] == task.shape[1:]:
        return images[:, None]
    raise CatalogError(
        f"{task.title}: images have shape {images.shape[1:]}, expected {task.shape} "
        "(channels first), or channels last."
    )


def describe_task(data: Data) -> dict[str, Any]:
    """What is needed to feed a stored network: JSON values."""
    return {
        "scale": data.scale,
        "mean": data.mean.reshape(-1).tolist(),
        "std": data.std.reshape(-1).tolist(),
    }
