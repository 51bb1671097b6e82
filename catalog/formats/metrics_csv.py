"""Reader of metrics without weights: a csv with one row per checkpoint.

One published table is recognised by its columns and converted: the ResNet-18 grid of Yang
et al. [1]_ (widths x batch sizes x five runs on CIFAR-10), whose accuracies are in
percent. ``per_config.csv`` beside this table holds values per cell, which are copied to
each run of the cell: mode connectivity (training error in percent, negative for a barrier;
stored as a fraction), CKA of the logits, and the distance of weights between runs.

References
----------
.. [1] Yang et al., 2021, arXiv:2107.11228; nsfzyzz/loss_landscape_taxonomy. Differences
   here: accuracies become fractions; every row is a separate run without weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.compute as pc

from catalog.errors import CatalogError
from catalog.formats.columns import divided
from catalog.formats.csv_table import CsvTable, csv_header, read_csv
from catalog.formats.format import Network, Scalar
from catalog.formats.source import files_of
from catalog.storage.inside_folder import check_beside

_KEYS = ("id", "name", "run_name")
_TAXONOMY = frozenset(
    {"arch", "width", "batch_size", "lr_schedule", "run", "train_loss", "test_loss"}
    | {"train_accuracy", "test_accuracy", "hessian_top_eig", "hessian_trace"}
)
_LATER = ("hessian_top_eig", "hessian_trace")
_CELL = ("width", "batch_size", "lr_schedule")
_OF_CELL = ("mode_connectivity", "l2_dist", "cka")


class MetricsCsv:
    """Reader of a single csv with metrics.

    A column ``id``, ``name`` or ``run_name`` names the run, and a column ``step`` holds the
    step. Without a column that names the run, every row is a run, named after its row
    number. Columns that vary within a run belong to the checkpoint.
    """

    name = "metrics_csv"
    summary = "a csv, gzipped or not, with metrics of runs and no weights"

    def recognises(self, source: Path) -> bool:
        """Return True for a csv, or a folder that holds the known table and no weights."""
        if source.is_file():
            return source.name.endswith((".csv", ".csv.gz"))
        return _known_table(source) is not None

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield one network without tensors per row, in the order of the file."""
        if metadata is not None:
            raise CatalogError(
                f"A table of metrics takes no second table; drop --metadata {metadata}."
            )
        path = source if source.is_file() else _known_table(source)
        if path is None:
            raise CatalogError(
                f"{source} is not a csv file; name the csv file in the folder."
            )
        table = read_csv(path)
        if table.columns and set(table.columns) >= _TAXONOMY:
            cells = {} if source.is_file() else _cells(path.with_name("per_config.csv"))
            return (_taxonomy(path, row, cells) for row in table)
        return _rows(table)


def _known_table(folder: Path) -> Path | None:
    """Find the published table in a folder that may hold aggregated tables too."""
    if any(path.suffix in (".npz", ".npy", ".safetensors") for path in folder.iterdir()):
        return None
    tables = [p for p in files_of(folder, ".csv") if set(csv_header(p)) >= _TAXONOMY]
    return tables[0] if len(tables) == 1 else None


def _cells(path: Path) -> dict[tuple[Scalar, ...], dict[str, Scalar]]:
    """Read the values that were published per cell; an empty dict without that table.

    Raises
    ------
    CatalogError
        If a cell occurs twice or a column is missing.
    """
    if not path.is_file():
        return {}
    check_beside(path.parent, path)
    table = read_csv(path)
    if missing := [name for name in (*_CELL, *_OF_CELL) if name not in table.columns]:
        raise CatalogError(f"{path} has no column {missing[0]!r}.")
    cells: dict[tuple[Scalar, ...], dict[str, Scalar]] = {}
    for row in table:
        cell = {name: row[name] for name in _CELL}
        if tuple(cell.values()) in cells:
            raise CatalogError(f"{path} has two rows for {cell}.")
        connectivity = row["mode_connectivity"]
        if connectivity is not None and not isinstance(connectivity, int | float):
            raise CatalogError(
                f"{path}: mode_connectivity must be a number. Got {connectivity!r}."
            )
        cells[tuple(cell.values())] = {
            "mode_connectivity": None if connectivity is None else connectivity / 100,
            "logit_cka": row["cka"],
            "weight_distance": row["l2_dist"],
        }
    return cells


def _taxonomy(
    path: Path,
    row: dict[str, Scalar],
    cells: Mapping[tuple[Scalar, ...], dict[str, Scalar]],
) -> Network:
    width, batch_size = row["width"], row["batch_size"]
    if not isinstance(width, int) or not isinstance(batch_size, int):
        raise CatalogError(
            f"{path}: width and batch_size must be whole numbers. Got {width!r} and "
            f"{batch_size!r}."
        )
    cell = f"width={width} batch_size={batch_size}"
    point: dict[str, Scalar] = {}
    for key in ("train_loss", "train_nll", "test_loss", "test_nll", *_LATER):
        if key in row:
            point[key] = row[key]
    for key in ("train_accuracy", "test_accuracy"):
        point[key] = _fraction(row[key], f"{path}: {key} of {cell} run={row['run']}")
    point |= cells.get(tuple(row[name] for name in _CELL), {})
    run: dict[str, Scalar] = {
        "architecture_name": row["arch"],
        "task_name": "cifar10",
        "load_axis": "width",
        "load": float(width),
        "temperature_axis": "batch_size",
        "temperature": float(batch_size),
        "cell": cell,
        "width": width,
        "batch_size": batch_size,
    }
    for key in row.keys() - point.keys() - run.keys() - {"arch", ""}:
        run[key] = row[key]
    return Network(f"{cell} {row['lr_schedule']} run={row['run']}", None, run, point)


def _fraction(percent: Scalar, where: str) -> float | None:
    if percent is None:
        return None
    if isinstance(percent, str) or not 0 <= percent <= 100:
        raise CatalogError(f"{where} is {percent!r}; expected percent, from 0 to 100.")
    return percent / 100


def _rows(table: CsvTable) -> Iterator[Network]:
    key = next((name for name in _KEYS if name in table.columns), None)
    varying = set() if key is None else _varying(table, key)
    for i, row in enumerate(table):
        columns = {name: value for name, value in row.items() if name}
        step = columns.pop("step", None)
        if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
            raise CatalogError(
                f"{table.path}, row {i + 1}: step must be a whole number. Got {step!r}."
            )
        run_name = f"row {i}" if key is None else str(columns[key])
        if key is not None and columns[key] is None:
            raise CatalogError(f"{table.path}, row {i + 1}: {key!r} is empty.")
        run, point = divided(columns)
        point |= {name: run.pop(name) for name in list(run) if name in varying}
        name = f"{table.path.name}, row {i + 1} ({run_name})"
        yield Network(name, None, run, point, run_name, step or 0)


def _varying(table: CsvTable, key: str) -> set[str]:
    """Return the columns with more than one value within some run."""
    others = [name for name in table.columns if name not in (key, "step", "")]
    # Columns are numbered, because Arrow reads a dot in a name as a nested column.
    numbered = table.table.select([key, *others])
    numbered = numbered.rename_columns([f"c{i}" for i in range(len(others) + 1)])
    counted = pc.CountOptions(mode="all")
    grouped = numbered.group_by("c0").aggregate(
        [(f"c{i + 1}", "count_distinct", counted) for i in range(len(others))]
    )
    return {
        name
        for i, name in enumerate(others)
        if (pc.max(grouped[f"c{i + 1}_count_distinct"]).as_py() or 0) > 1
    }


FORMAT = MetricsCsv()
