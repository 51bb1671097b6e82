"""Reader of the Small CNN Zoo [1]_: a matrix, ``metrics.csv(.gz)`` and ``layout.csv``.

One row of the matrix is one checkpoint of a network of 4,970 parameters: three
convolutions of 3 x 3, stride 2, 16 channels, a mean over positions, ten outputs. The bytes
stay as published: kernels are in TensorFlow's order (height, width, in, out), dense
kernels in the order (in, out), and `Param.axes` names the axes that permute. The published
``step`` counts epochs.

References
----------
.. [1] Unterthiner et al., 2020, arXiv:2002.11448; google-research/dnn_predict_accuracy.
   Differences here: ``config.`` is dropped from column names, and columns with a
   documented meaning get the documented names.
"""

from __future__ import annotations

import json
import math
import re
import struct
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.formats.csv_table import read_csv
from catalog.formats.format import Network, Scalar, Tensor
from catalog.formats.source import files_of
from catalog.storage.inside_folder import check_beside

_OURS = {
    "learning_rate": "lr",
    "random_seed": "seed",
    "epochs": "steps",  # a step of the source is an epoch
    "dataset": "task_name",
    "dnn_architecture": "architecture_name",
}
_METRICS = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")


_HEADER_ERRORS = (
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
)
"""Errors that numpy raises for damaged headers."""


@dataclass(frozen=True)
class _Slice:
    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]


class NpyMatrix:
    """Reader of a matrix; rows with one ``modeldir`` (or configuration) are one run."""

    name = "npy_matrix"
    summary = "one .npy (n, d) with metrics.csv(.gz) and layout.csv (Small CNN Zoo)"

    def recognises(self, source: Path) -> bool:
        """Return True if there is a matrix with ``layout.csv`` beside it."""
        path = _matrix(source)
        return path is not None and (path.parent / "layout.csv").is_file()

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield rows in order; the matrix stays on disk until a row is used."""
        path = _matrix(source)
        if path is None:
            raise CatalogError(f"{source} must be, or hold, exactly one .npy file.")
        matrix = _open(path)
        slices = _layout(path.parent / "layout.csv", matrix.shape[1])
        table = read_csv(metadata or _metrics(path.parent))
        if len(table) != len(matrix):
            raise CatalogError(
                f"{table.path} has {len(table)} rows, {path} has {len(matrix)}; row i of "
                "the table must describe row i of the matrix."
            )
        if "step" not in table.columns:
            raise CatalogError(f"{table.path} has no column 'step'.")
        for i, row in enumerate(table):
            where = f"{path.name} row {i}"
            tensors = {
                s.name: Tensor(
                    np.array(matrix[i, s.start : s.stop]).reshape(s.shape),
                    matrix.dtype.name,
                    axes=s.axes,
                )
                for s in slices
            }
            yield _network(where, tensors, row)


def _network(where: str, tensors: dict[str, Tensor], row: dict[str, Scalar]) -> Network:
    step = row.pop("step")
    if not isinstance(step, int) or isinstance(step, bool):
        raise CatalogError(f"{where}: step is {step!r}; expected a whole number.")
    point: dict[str, Scalar] = {name: row.pop(name, None) for name in _METRICS}
    point["epoch"] = float(step)
    run: dict[str, Scalar] = {}
    for key, value in row.items():
        column = key.removeprefix("config.")
        if key:
            run[_OURS.get(column, column)] = value
    run["step_unit"] = "epochs"
    directory = row.get("modeldir")
    # The directory may belong to the checkpoint: its last part then ends in the epoch.
    name = re.sub(rf"/[^/]*ckpt-{step}/?$", "", str(directory)) if directory else ""
    if directory:
        run["modeldir"] = name
    config = {key: value for key, value in run.items() if key != "modeldir"}
    name = name or json.dumps(config, sort_keys=True)
    return Network(where, tensors, run, point, name, step)


def _matrix(source: Path) -> Path | None:
    if source.is_file():
        return source if source.suffix == ".npy" else None
    files = [path for path in files_of(source, ".npy") if path.parent == source]
    return files[0] if len(files) == 1 else None


def _open(path: Path) -> Array:
    try:
        matrix = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, *_HEADER_ERRORS) as error:
        raise CatalogError(
            f"{path} cannot be read ({error}). It is damaged, or holds Python objects "
            "(a pickle), which are not read."
        ) from error
    if matrix.ndim != 2 or matrix.dtype not in (np.float32, np.float64, np.float16):
        raise CatalogError(
            f"{path} must be a float matrix (networks, parameters). Got {matrix.dtype} "
            f"{matrix.shape}."
        )
    return np.asarray(matrix) if matrix.dtype.isnative else matrix.astype(matrix.dtype.name)


def _metrics(folder: Path) -> Path:
    paths = [folder / name for name in ("metrics.csv", "metrics.csv.gz")]
    paths = [path for path in paths if path.is_file()]
    if len(paths) != 1:
        raise CatalogError(
            f"{folder} must hold either metrics.csv or metrics.csv.gz, with one row per "
            "network. To name another file: --metadata FILE"
        )
    check_beside(folder, paths[0])
    return paths[0]


def _layout(path: Path, d: int) -> list[_Slice]:
    if not path.is_file():
        raise CatalogError(
            f"{path} is missing; it assigns the columns of the matrix to tensors."
        )
    check_beside(path.parent, path)
    table = read_csv(path)
    needed = ["varname", "start_idx", "end_idx", "shape"]
    if missing := [name for name in needed if name not in table.columns]:
        raise CatalogError(f"{path} has no column {missing[0]!r}; expected {needed}.")
    rows = []
    for row in table:
        shape = tuple(int(size) for size in re.findall(r"\d+", str(row["shape"])))
        rows.append((str(row["varname"]), row["start_idx"], row["end_idx"], shape))
    axes = _axes([(name, shape) for name, _, _, shape in rows])
    slices, offset = [], 0
    for (name, start, stop, shape), param_axes in zip(rows, axes, strict=True):
        size = math.prod(shape)
        if start != offset or stop != offset + size:
            raise CatalogError(
                f"{path}: {name!r} {shape} has columns {start} to {stop}; expected "
                f"{offset} to {offset + size}."
            )
        offset += size
        slices.append(_Slice(name, offset - size, offset, shape, param_axes))
    if offset != d:
        raise CatalogError(f"{path} describes {offset} columns, but the matrix has {d}.")
    return slices


def _axes(params: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str | None, ...]]:
    """Return the axes of a chain of convolutions and a dense layer, in TensorFlow order."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in params:
        layer, _, leaf = name.rpartition("/")
        layers.setdefault(layer, {})[leaf] = shape
    kernels = [layer.get("kernel:0", ()) for layer in layers.values()]
    only_kernels_and_biases = all(
        layer.keys() <= {"kernel:0", "bias:0"} for layer in layers.values()
    )
    widths_match = all(a[-1:] == b[-2:-1] for a, b in pairwise(kernels))
    ranks = [len(kernel_axes) for kernel_axes in kernels]
    conv_names = [f"sequential/conv2d_{k}" if k else "sequential/conv2d" for k in range(99)]
    expected_names = list(layers) == [*conv_names[: len(ranks) - 1], "sequential/dense"]
    if not (
        only_kernels_and_biases
        and widths_match
        and expected_names
        and ranks == [4] * (len(ranks) - 1) + [2]
    ):
        return [(None,) * len(shape) for _, shape in params]
    all_axes = []
    for name, shape in params:
        k = list(layers).index(name.rpartition("/")[0])
        out_symbol = f"channels{k + 1}" if k + 1 < len(layers) else None
        in_symbol = f"channels{k}" if k else None
        kernel_axes = (*[None] * (len(shape) - 2), in_symbol, out_symbol)
        all_axes.append(kernel_axes if name.endswith("kernel:0") else (out_symbol,))
    return all_axes


FORMAT = NpyMatrix()
