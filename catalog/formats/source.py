"""Files of a source, and the csv with one row per network beside the files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from catalog.errors import CatalogError
from catalog.formats.columns import divided
from catalog.formats.csv_table import CsvTable, read_csv
from catalog.formats.format import Network, Scalar, Tensor
from catalog.storage.inside_folder import check_beside

_TABLES = ("networks.csv", "metadata.csv", "metrics.csv")
_KEYS = (
    *("id", "name", "path", "file", "filename"),
    *("model", "model_id", "network", "checkpoint"),
)
WEIGHTS = (".pt", ".pth", ".th", ".ckpt", ".bin", ".safetensors", ".npz", ".npy")
"""Suffixes of weight files, which the cells of tables may include or omit."""


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """List the files below a folder that have one of the suffixes, in order of path.

    A source that is a file is listed itself if it has one of the suffixes. The case of
    suffixes does not matter; hidden files and folders are left out.
    """
    if source.is_file():
        return [source] if source.suffix.lower() in suffixes else []
    matches: list[str] = []
    for folder, folders, names in os.walk(source):  # ten times as fast as `Path.rglob`
        folders[:] = [name for name in folders if name[0] != "."]
        for name in names:
            if name[0] != "." and os.path.splitext(name)[1].lower() in suffixes:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    matches.append(path)
    paths = [Path(path) for path in matches]
    return sorted(paths, key=lambda path: path.relative_to(source).as_posix())


def single_file(source: Path, suffix: str) -> Path | None:
    """Return the only file with a suffix; None if there are none or several."""
    files = files_of(source, suffix)
    return files[0] if len(files) == 1 else None


def network_name(source: Path, path: Path) -> str:
    """Return a file's path within the source without suffix; the stem for a single file."""
    inside = Path(path.name) if source == path else path.relative_to(source)
    return inside.with_suffix("").as_posix()


def table_beside(file: Path, metadata: Path | None) -> CsvTable | None:
    """Read the csv that was named, or the csv beside a file or inside a folder.

    Returns
    -------
    CsvTable or None
        The table; None if no csv was named or found.

    Raises
    ------
    CatalogError
        If several tables are found.
    """
    if metadata is not None:
        return read_csv(metadata)
    folder = file if file.is_dir() else file.parent
    names = dict.fromkeys([f"{file.stem}.csv", *_TABLES])
    tables = [folder / name for name in names if (folder / name).is_file()]
    if len(tables) > 1:
        listed = ", ".join(path.name for path in tables)
        raise CatalogError(
            f"{file} has several tables beside it: {listed}. Name one: --metadata FILE"
        )
    if not tables:
        return None
    check_beside(folder, tables[0])
    return read_csv(tables[0])


def unread_tables(source: Path, metadata: Path | None) -> list[Path]:
    """List the tables at the top level of a folder that `table_beside` does not read."""
    if not source.is_dir():
        return []
    single = single_file(source, ".npz")
    read_names = {f"{source.stem}.csv", *_TABLES, f"{(single or source).stem}.csv"}
    tables = [path for path in sorted(source.glob("[!.]*.csv")) if path.is_file()]
    metadata_path = metadata.resolve() if metadata else None
    return [p for p in tables if p.name not in read_names and p.resolve() != metadata_path]


def rows_by_name(table: CsvTable, names: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Find the column that names the networks, and the row of each network.

    The text of the cells is compared verbatim, except that the suffix of a weight file may
    be missing from cells or names.

    Parameters
    ----------
    table : CsvTable
        The table.
    names : sequence of str
        Names of the networks.

    Returns
    -------
    column : str
        Name of the column.
    rows : dict of str to int
        Row number by network.

    Raises
    ------
    CatalogError
        If networks and rows do not match one to one.
    """
    by_cell = _by_cell(names)
    best: tuple[int, str] | None = None
    for column in table.columns:
        if column.lower() in _KEYS:
            hits = len(
                {_named(str(cell), by_cell) for cell in table.cells(column)} - {None}
            )
            if best is None or hits > best[0]:
                best = (hits, column)
    if best is None:
        raise CatalogError(
            f"{table.path} has no column that names the networks; expected one of "
            f"{', '.join(_KEYS)}. Its columns are {', '.join(table.columns)}."
        )
    keyed = table.keyed(best[1], verbatim=True)
    rows = {_named(cell, by_cell): i for cell, i in keyed.items()}
    without = [name for name in names if name not in rows]
    unknown = [cell for cell in keyed if _named(cell, by_cell) is None]
    if without or unknown or len(rows) < len(table):
        parts = []
        if without:
            parts.append(f"{len(without)} networks have no row, e.g. {without[0]!r}")
        if unknown:
            parts.append(f"{len(unknown)} rows have no network, e.g. {unknown[0]!r}")
        if not parts:
            parts.append("two rows name one network")
        raise CatalogError(
            f"{table.path}, column {best[1]!r}, does not match the networks: "
            f"{' and '.join(parts)}. Give the table of this source: --metadata FILE"
        )
    return best[1], {name: rows[name] for name in names}


def rows_beside(
    source: Path,
    metadata: Path | None,
    names: Sequence[str],
    runs: Mapping[str, str] | None = None,
) -> tuple[dict[str, dict[str, Scalar]], frozenset[str]]:
    """Return the row of each network in the csv that was named or found beside the source.

    The column that names the networks is left out if ``source_name``, the name of the run,
    will hold the same values.

    Parameters
    ----------
    source : Path
        File or folder of the networks.
    metadata : Path, optional
        The csv. Default: the csv beside the source, see `table_beside`.
    names : sequence of str
        Names of the networks.
    runs : mapping of str to str, optional
        Names of runs by names of networks, if they differ.

    Returns
    -------
    rows : dict of str to dict
        Columns by network; empty columns without a csv.
    later : frozenset of str
        Columns of checkpoints: columns that vary within a run, and names of checkpoints.

    Raises
    ------
    CatalogError
        If networks and rows do not match one to one.
    """
    table = table_beside(source, metadata)
    if table is None:
        return {name: {} for name in names}, frozenset()
    key, order = rows_by_name(table, names)
    rows = {name: table.row(order[name]) for name in names}
    grouped = any(name != run for name, run in (runs or {}).items())
    if not grouped and "run_name" not in table.columns:
        for row in rows.values():
            del row[key]
        return rows, frozenset()
    cells = table.cells(key)
    for name, row in rows.items():
        if isinstance(row[key], float):  # a float would lose digits of the name
            row[key] = cells[order[name]]
    return rows, varying(rows, runs) | {key}


def varying(
    rows: Mapping[str, Mapping[str, Scalar]], runs: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Return the columns with several values within some run, which belong to checkpoints.

    Parameters
    ----------
    rows : mapping of str to mapping
        Columns of each network; ``run_name`` names its run.
    runs : mapping of str to str, optional
        Names of runs by names of networks, for rows without ``run_name``.
    """
    first: dict[tuple[str, str], str] = {}
    columns = set()
    for name, row in rows.items():
        run = str(row.get("run_name") or (runs or {}).get(name, name))
        for column, value in row.items():
            cell = repr(value)  # repr, because NaN differs from itself
            if first.setdefault((run, column), cell) != cell:
                columns.add(column)
    return frozenset(columns)


def network(
    name: str,
    tensors: Mapping[str, Tensor] | None,
    row: Mapping[str, Scalar],
    of_checkpoint: Collection[str] = (),
) -> Network:
    """Make a network from its tensors and the columns of its row.

    A column ``step`` is the step of the network. Networks with the same ``run_name`` are
    checkpoints of one run.

    Parameters
    ----------
    name : str
        Name of the network.
    tensors : mapping of str to Tensor, optional
        Tensors of the network; None if only metrics were published.
    row : mapping of str to scalar
        Values by column.
    of_checkpoint : collection of str
        Columns that belong to the checkpoint unless they are documented columns of `runs`.

    Raises
    ------
    CatalogError
        If the step is not a whole number.
    """
    columns = {key: value for key, value in row.items() if key}
    step, run_name = columns.pop("step", None), columns.pop("run_name", None)
    if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
        raise CatalogError(f"{name}: the step must be a whole number. Got {step!r}.")
    later_columns = {key: columns.pop(key) for key in list(columns) if key in of_checkpoint}
    run, checkpoint = divided(columns)
    documented_run, point = divided(later_columns, free="checkpoint")
    run_name = name if run_name is None else str(run_name)
    return Network(
        name, tensors, run | documented_run, checkpoint | point, run_name, step or 0
    )


def bare(name: str) -> str:
    """Strip the suffix of a weight file from a name.

    Examples
    --------
    >>> bare("lr0.1"), bare("lr0.1.pt")
    ('lr0.1', 'lr0.1')
    """
    path = PurePosixPath(name)
    has_suffix = path.suffix.lower() in WEIGHTS and path.stem
    return name[: -len(path.suffix)] if has_suffix else name


def _by_cell(names: Sequence[str]) -> dict[str, str]:
    """Map possible cells to names: each name, and its bare form if this is unambiguous."""
    counts = Counter(bare(name) for name in names)
    unique = {bare(name): name for name in names if counts[bare(name)] == 1}
    return unique | {name: name for name in names}


def _named(cell: str, by_cell: Mapping[str, str]) -> str | None:
    return by_cell.get(cell) or by_cell.get(bare(cell))
