"""Files of a source, and the csv beside them with one row per network."""

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
"""Suffixes that tables may write or leave out."""


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """A file itself, or the files below a folder with these suffixes, in order of path.

    Case does not matter; hidden files and folders are left out.
    """
    if source.is_file():
        return [source] if source.suffix.lower() in suffixes else []
    found: list[str] = []
    for folder, folders, names in os.walk(source):  # ten times as fast as `Path.rglob`
        folders[:] = [name for name in folders if name[0] != "."]
        for name in names:
            if name[0] != "." and os.path.splitext(name)[1].lower() in suffixes:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    found.append(path)
    paths = [Path(path) for path in found]
    return sorted(paths, key=lambda path: path.relative_to(source).as_posix())


def single_file(source: Path, suffix: str) -> Path | None:
    """The only file with this suffix; None if there are none or several."""
    files = files_of(source, suffix)
    return files[0] if len(files) == 1 else None


def network_name(source: Path, path: Path) -> str:
    """Path inside the source without its suffix; of a lone file, its stem."""
    inside = Path(path.name) if source == path else path.relative_to(source)
    return inside.with_suffix("").as_posix()


def table_beside(file: Path, metadata: Path | None) -> CsvTable | None:
    """The csv that was named, or else the one beside a file or inside a folder.

    Raises
    ------
    CatalogError
        If several could be it.
    """
    if metadata is not None:
        return read_csv(metadata)
    folder = file if file.is_dir() else file.parent
    names = dict.fromkeys([f"{file.stem}.csv", *_TABLES])
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise CatalogError(
            f"{file} has several tables beside it: {listed}. Name one: --metadata FILE"
        )
    if not found:
        return None
    check_beside(folder, found[0])
    return read_csv(found[0])


def unread_tables(source: Path, metadata: Path | None) -> list[Path]:
    """Tables on top of a folder that `table_beside` does not look at."""
    if not source.is_dir():
        return []
    lone = single_file(source, ".npz")
    read = {f"{source.stem}.csv", *_TABLES, f"{(lone or source).stem}.csv"}
    tables = [path for path in sorted(source.glob("[!.]*.csv")) if path.is_file()]
    named = metadata.resolve() if metadata else None
    return [p for p in tables if p.name not in read and p.resolve() != named]


def rows_by_name(table: CsvTable, names: Sequence[str]) -> tuple[str, dict[str, int]]:
    """The column that names the networks, and the row of each.

    Cells are compared as they stand in the file; the suffix of a file of weights may be
    missing from cells or names.

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
            f"{', '.join(_KEYS)}. It has: {', '.join(table.columns)}."
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
    """Row of each network in the csv that was named or stands beside; empty without one.

    The column that names the networks is left out where ``source_name`` will say the
    same, which is the name of the run.

    Returns
    -------
    rows : dict of str to dict
        Columns by network.
    later : frozenset of str
        Columns of checkpoints: those that vary within a run, and names of checkpoints.

    Parameters
    ----------
    runs : mapping of str to str, optional
        Names of runs by those of networks, where they differ.

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
        if isinstance(row[key], float):  # a number would lose digits of the name
            row[key] = cells[order[name]]
    return rows, varying(rows, runs) | {key}


def varying(
    rows: Mapping[str, Mapping[str, Scalar]], runs: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Columns with more than one value within some run: they are the checkpoints'.

    Parameters
    ----------
    rows : mapping of str to mapping
        Columns of each network; ``run_name`` says which run it is of.
    runs : mapping of str to str, optional
        Names of runs by those of networks, where no column says them.
    """
    first: dict[tuple[str, str], str] = {}
    found = set()
    for name, row in rows.items():
        run = str(row.get("run_name") or (runs or {}).get(name, name))
        for column, value in row.items():
            cell = repr(value)  # NaN is no change
            if first.setdefault((run, column), cell) != cell:
                found.add(column)
    return frozenset(found)


def network(
    name: str,
    tensors: Mapping[str, Tensor] | None,
    row: Mapping[str, Scalar],
    of_checkpoint: Collection[str] = (),
) -> Network:
    """A network with the columns of its row.

    A column ``step`` is its step; those with one ``run_name`` are of one run.

    Parameters
    ----------
    of_checkpoint : collection of str
        Columns that are not the run's, unless they are documented there.

    Raises
    ------
    CatalogError
        If the step is not a whole number.
    """
    columns = {key: value for key, value in row.items() if key}
    step, run_name = columns.pop("step", None), columns.pop("run_name", None)
    if step is not None and (not isinstance(step, int) or isinstance(step, bool)):
        raise CatalogError(f"{name}: the step must be a whole number. Got {step!r}.")
    later = {key: columns.pop(key) for key in list(columns) if key in of_checkpoint}
    run, checkpoint = divided(columns)
    more, point = divided(later, free="checkpoint")
    run_name = name if run_name is None else str(run_name)
    return Network(name, tensors, run | more, checkpoint | point, run_name, step or 0)


def bare(name: str) -> str:
    """A name without the suffix of a file of weights.

    Examples
    --------
    >>> bare("lr0.1"), bare("lr0.1.pt")
    ('lr0.1', 'lr0.1')
    """
    path = PurePosixPath(name)
    known = path.suffix.lower() in WEIGHTS and path.stem
    return name[: -len(path.suffix)] if known else name


def _by_cell(names: Sequence[str]) -> dict[str, str]:
    """Names by what a cell may say: themselves, or without a suffix where that is clear."""
    counts = Counter(bare(name) for name in names)
    found = {bare(name): name for name in names if counts[bare(name)] == 1}
    return found | {name: name for name in names}


def _named(cell: str, by_cell: Mapping[str, str]) -> str | None:
    return by_cell.get(cell) or by_cell.get(bare(cell))
