"""Contents of the catalogue before an import: networks of the zoo, types of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.console.pasting import word
from catalog.errors import CatalogError
from catalog.formats.columns import Row
from catalog.quoting import literal

_SQL = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}
_SQL |= {"BOOLEAN": pa.bool_()}
_NUMBERS = (pa.int64(), pa.float64())


@dataclass(frozen=True)
class Known:
    """Imported networks of one zoo, by run and step.

    Attributes
    ----------
    rows : mapping of (str, int) to int
        Row of ``table`` by (run_id, step).
    table : pyarrow.Table
        Stored columns of the networks.
    columns : mapping of str to (str, str, str)
        Table, spelling and SQL type of every column of the catalogue, by its name in
        lower case.
    """

    rows: Mapping[tuple[str, int], int] = field(default_factory=dict)
    table: pa.Table = field(default_factory=lambda: pa.table({}), repr=False)
    columns: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, zoo: str) -> Known:
        """Read the catalogue in a folder; the result is empty if there is no catalogue."""
        from catalog.catalog import open_catalog

        if not (root / "manifests").is_dir():
            return cls()
        store = open_catalog(root)
        columns: dict[str, tuple[str, str, str]] = {}
        for view in ("models", "checkpoints", "runs"):  # the last two take precedence
            for name, kind, *_ in store.sql(f"DESCRIBE {view}").fetchall():
                columns[name.lower()] = (view, name, kind)
        table = store.sql(
            f"FROM models WHERE source = 'imported' AND zoo = {literal(zoo)}"
        ).to_arrow_table()
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        return cls({key: i for i, key in enumerate(keys)}, table, columns)

    def run(self, name: str) -> tuple[str, str] | None:
        """Return run_id and ``config`` of the run imported under a name, or None.

        None is also returned for several runs. The identity of a run depends on its first
        checkpoint, so a source that later adds an earlier checkpoint must look it up here.
        """
        identities = self._runs.get(name, set())
        return next(iter(identities)) if len(identities) == 1 else None

    def has(self, name: str, run_id: str, step: int, columns: Row) -> bool:
        """Return True if a network is in the catalogue with exactly these columns.

        Raises
        ------
        CatalogError
            If the network is in the catalogue with other weights or columns.
        """
        row = self.rows.get((run_id, step))
        if row is None:
            return False
        for column, value in columns.items():
            stored = self._cell(column, row)
            if stored != value and not (stored != stored and value != value):  # both NaN
                raise CatalogError(
                    f"{name} is in the catalogue already, where {column!r} is {stored!r}; "
                    f"the source says {value!r}. To replace it: phasezoo rm "
                    f"{word(f'run_id = {literal(run_id)}')} --yes, then import again; or "
                    "keep both: --zoo NAME"
                )
        return True

    def types(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Return types of columns that fit the columns of the catalogue.

        Raises
        ------
        CatalogError
            If a column of the catalogue has another type, or a name that differs only in
            case.
        """
        fitting = dict(types)
        for name, kind in types.items():
            if name.lower() not in self.columns or pa.types.is_list(kind):
                continue
            _, known_name, sql_type = self.columns[name.lower()]
            known_type = _SQL.get(sql_type, kind)
            both_numbers = known_type in _NUMBERS and kind in _NUMBERS
            if known_name != name or (known_type != kind and not both_numbers):
                raise CatalogError(
                    f"The catalogue has a column {known_name!r} of type {sql_type}; the "
                    f"source has {name!r} of type {kind}. Rename the column: --rename "
                    f"{word(name)}=OTHER"
                )
            if known_type == pa.float64():
                fitting[name] = known_type
        return fitting

    def check_table(self, name: str, table: str) -> None:
        """Raise if a column belongs to another table of the catalogue."""
        known_table = self.columns.get(name.lower(), (table, "", ""))[0]
        if known_table != table:
            description = (
                "a measure" if known_table == "models" else f"a column of {known_table}"
            )
            raise CatalogError(
                f"Column {name!r} is {description} in the catalogue, but a column of "
                f"{table} in the source, and models joins both tables. Rename the column: "
                f"--rename {word(name)}=OTHER"
            )

    def _cell(self, column: str, row: int) -> Any:
        if column not in self._values:
            has_column = column in self.table.column_names
            self._values[column] = self.table[column].to_pylist() if has_column else None
        values = self._values[column]
        return None if values is None else values[row]

    @cached_property
    def _runs(self) -> dict[str, set[tuple[str, str]]]:
        runs: dict[str, set[tuple[str, str]]] = {}
        if self.rows:
            names = ("source_name", "run_id", "config")
            columns = [self.table[name].to_pylist() for name in names]
            for name, run_id, config in zip(*columns, strict=True):
                runs.setdefault(name, set()).add((run_id, config))
        return runs

    @cached_property
    def _values(self) -> dict[str, list[Any] | None]:
        return {}
