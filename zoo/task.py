"""Data sets: their sources, splits and normalisation.

A task is found by name among the exports of `zoo.tasks`. Its arrays come with scikit-learn,
from files (``--data DIR``) or from the Hub through `datasets`. The validation split is cut
from the training data with a fixed seed; the test split is the official one if there is an
official one.
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
"""Size in bytes up to which normalised float32 inputs are kept; larger byte inputs stay
bytes."""


@dataclass(frozen=True)
class Raw:
    """Raw images and labels of a source.

    Attributes
    ----------
    x, x_test : ndarray of shape (N, *shape)
        Images, channels first, in units of ``scale``.
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
    """Reference to a data set on the Hub.

    Attributes
    ----------
    repository : str
        Name for `datasets.load_dataset`.
    image, label : str
        Names of the columns with images and labels.
    config : str or None
        Name of the configuration.
    test : str
        Name of the test split.
    """

    repository: str
    image: str = "image"
    label: str = "label"
    config: str | None = None
    test: str = "test"


@dataclass(frozen=True)
class Task:
    """Data set and its objective; the exports of `zoo.tasks` are instances.

    Attributes
    ----------
    name : str
        Name in recipes, in the catalogue and of the files below ``--data``.
    title : str
        Name in messages and reports.
    shape : tuple of int
        Shape of an input, channels first.
    classes : int
        Number of labels.
    validation : int
        Number of validation samples, which are cut from the training data.
    embedded : callable, optional
        Function that returns the raw arrays without any files.
    hub : Hub, optional
        Data set on the Hub from which to download.
    objective : str, default="classification"
        Name in `zoo.objectives`.
    loader : callable, optional
        Function that makes `Data` from the task and ``--data``, for data that are not
        labelled images.
    class_names : tuple of str, optional
        Description of each label in words; stored with every run of the task.
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
    """Arrays of a task, split and normalised.

    Attributes
    ----------
    task : Task
        The task.
    x, y : mapping of str to ndarray
        Inputs and labels by split: ``train``, ``validation``, ``test``. ``x`` is float32,
        or bytes that `mean` and `std` normalise, or int64 tokens; ``y`` is int64, of shape
        (N,) or, with tokens, (N, tokens).
    mean, std : ndarray of shape (channels, 1, 1)
        Statistics of the training split. Normalised input = (x * scale - mean) / std.
    scale : float
        Value of one unit of the raw input.
    fingerprint : str
        Hash of the raw arrays, the split and the normalisation.
    """

    task: Task
    x: Mapping[str, Array]
    y: Mapping[str, Array]
    mean: Array
    std: Array
    scale: float
    fingerprint: str = field(compare=False)

    def samples(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self.y[split])


def load_task(task: Task, directory: str | Path | None = None) -> Data:
    """Read, check, split and normalise a task.

    Parameters
    ----------
    task : Task
        Task to load.
    directory : str or Path, optional
        Folder of files, see `read_files`, which takes precedence. Without files the
        embedded data are used; without embedded data they come from the Hub.

    Raises
    ------
    NotFound
        If there are no such data; the message says how to get them.
    CatalogError
        If the shapes, labels or counts of the arrays do not match the task.
    """
    if directory is not None:
        directory = Path(directory)
    if task.loader is not None:
        return task.loader(task, directory)
    return prepare(task, read_raw(task, directory))


def read_raw(task: Task, directory: Path | None = None) -> Raw:
    """Return the raw arrays of a set of labelled images.

    Raises
    ------
    NotFound
        If there are no such data; the message says how to get them.
    """
    if directory is not None and (path := find_file(task, directory)) is not None:
        return read_files(task, path)
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
    """Return the path of the task's file or folder of Parquet files, or None.

    Raises
    ------
    NotFound
        If the directory is not a folder.
    """
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
    """Read raw arrays from an ``.npz``, a Parquet file of JPEGs, or a Hub-style folder.

    An ``.npz`` file holds ``x_train, y_train, x_test, y_test`` and optionally ``scale``,
    the value of one unit (default 1/255 for bytes, else 1). A Parquet file has the columns
    ``split, label, jpeg``. A folder is read by `datasets.load_dataset` and has the columns
    of the task on the Hub.

    Raises
    ------
    CatalogError
        If a file cannot be read or lacks arrays or columns.
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
    """Read raw arrays with `datasets`, from the Hub or from a folder.

    Raises
    ------
    NotFound
        If the data set cannot be read.
    CatalogError
        If it lacks the columns.
    """
    import datasets

    try:
        splits = {
            name: datasets.load_dataset(hub.repository, hub.config, split=name)
            for name in ("train", hub.test)
        }
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise NotFound(
            f"{task.title} could not be read from {hub.repository!r}: {error}. If this "
            f"machine is offline, give --data DIR with {task.name}/{task.name}.npz."
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


_UNREADABLE = (
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
"""Exceptions that image readers raise for files that are not images."""


def _read_jpegs(path: Path) -> Raw:
    """Read raw arrays from a Parquet file of images."""
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
    except (*_UNREADABLE, pa.ArrowException, Image.DecompressionBombError) as error:
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
    """Check raw arrays, cut off the validation split and normalise by the training split.

    Raises
    ------
    CatalogError
        If the shapes, labels or counts of the arrays do not match the task.
    """
    x, x_test = (_channels_first(task, array) for array in (raw.x, raw.x_test))
    for labels, images in ((raw.y, x), (raw.y_test, x_test)):
        unknown = np.setdiff1d(labels, np.arange(task.classes))
        if labels.shape != (len(images),) or not len(labels) or len(unknown):
            raise CatalogError(
                f"{task.title} has {len(images)} images and labels of shape "
                f"{labels.shape} with {len(unknown)} unknown values, such as "
                f"{unknown[:3].tolist()}; expected one label from 0 to "
                f"{task.classes - 1} for each image."
            )
    y, y_test = raw.y.astype(np.int64), raw.y_test.astype(np.int64)
    if len(x) <= task.validation:
        raise CatalogError(
            f"{task.title} has {len(x)} training samples, but {task.validation} samples "
            "are needed for validation alone. Give more training samples."
        )
    order = stream(0, "validation split").permutation(len(x))
    held_out, train_rows = order[: task.validation], np.sort(order[task.validation :])
    parts = {"train": x[train_rows], "validation": x[np.sort(held_out)], "test": x_test}
    labels_of = {"train": y[train_rows], "validation": y[np.sort(held_out)], "test": y_test}
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
        "(channels first) or the same with channels last."
    )


def describe_task(data: Data) -> dict[str, Any]:
    """Return the normalisation that inputs of a stored network need, as JSON values."""
    return {
        "scale": data.scale,
        "mean": data.mean.reshape(-1).tolist(),
        "std": data.std.reshape(-1).tolist(),
    }
