"""What the catalogue has already: networks of the same zoo, and types of columns."""

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
        Their columns as stored.
    columns : mapping of str to (str, str, str)
        Table, spelling and SQL type of every column of the catalogue, by its name in
        lower case.
    """

    rows: Mapping[tuple[str, int], int] = field(default_factory=dict)
    table: pa.Table = field(default_factory=lambda: pa.table({}), repr=False)
    columns: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, zoo: str) -> Known:
        """Read the catalogue in a folder; nothing is known if there is none."""
        from catalog.catalog import open_catalog

        if not (root / "manifests").is_dir():
            return cls()
        store = open_catalog(root)
        columns: dict[str, tuple[str, str, str]] = {}
        for view in ("models", "checkpoints", "runs"):  # the last two know better
            for name, kind, *_ in store.sql(f"DESCRIBE {view}").fetchall():
                columns[name.lower()] = (view, name, kind)
        table = store.sql(
            f"FROM models WHERE source = 'imported' AND zoo = {literal(zoo)}"
        ).to_arrow_table()
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        return cls({key: i for i, key in enumerate(keys)}, table, columns)

    def run(self, name: str) -> tuple[str, str] | None:
        """Identity and ``config`` of the run that was imported under a name, if it is one.

        Its first checkpoint is part of its identity, so that a source which brings an
        earlier one later must ask.
        """
        found = self._runs.get(name, set())
        return next(iter(found)) if len(found) == 1 else None

    def has(self, name: str, run_id: str, step: int, columns: Row) -> bool:
        """Whether a network is in the catalogue, with these very columns.

        Raises
        ------
        CatalogError
            If it is there with other weights or columns: a network is kept once.
        """
        row = self.rows.get((run_id, step))
        if row is None:
            return False
        for column, value in columns.items():
            stored = self._cell(column, row)
            if stored != value and not (stored != stored and value != value):  # NaN
                raise CatalogError(
                    f"{name} is in the catalogue already, where {column!r} is {stored!r}; "
                    f"the source says {value!r}. Replace it: phasezoo rm "
                    f"{word(f'run_id = {literal(run_id)}')} --yes, then import again; or "
                    "keep both: --zoo NAME"
                )
        return True

    def types(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Types under which columns fit those that the catalogue has.

        Raises
        ------
        CatalogError
            If a column has another type there, or differs only in case.
        """
        found = dict(types)
        for name, kind in types.items():
            if name.lower() not in self.columns or pa.types.is_list(kind):
                continue
            _, spelled, stored = self.columns[name.lower()]
            theirs = _SQL.get(stored, kind)
            numbers = theirs in _NUMBERS and kind in _NUMBERS
            if spelled != name or (theirs != kind and not numbers):
                raise CatalogError(
                    f"The catalogue has a column {spelled!r} of type {stored}; the source "
                    f"brings {name!r} of type {kind}. Rename it: --rename "
                    f"{word(name)}=OTHER"
                )
            if theirs == pa.float64():
                found[name] = theirs
        return found

    def check_table(self, name: str, table: str) -> None:
        """Raise if a column stands in another table of the catalogue."""
        where = self.columns.get(name.lower(), (table, "", ""))[0]
        if where != table:
            is_a = "a measure" if where == "models" else f"a column of {where}"
            raise CatalogError(
                f"Column {name!r} is {is_a} in the catalogue, and one of {table} in the "
                f"source; models joins them. Rename it: --rename {word(name)}=OTHER"
            )

    def _cell(self, column: str, row: int) -> Any:
        if column not in self._values:
            known = column in self.table.column_names
            self._values[column] = self.table[column].to_pylist() if known else None
        values = self._values[column]
        return None if values is None else values[row]

    @cached_property
    def _runs(self) -> dict[str, set[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = {}
        if self.rows:
            names = ("source_name", "run_id", "config")
            columns = [self.table[name].to_pylist() for name in names]
            for name, run_id, config in zip(*columns, strict=True):
                found.setdefault(name, set()).add((run_id, config))
        return found

    @cached_property
    def _values(self) -> dict[str, list[Any] | None]:
        return {}
