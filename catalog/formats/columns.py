"""Metadata columns of imported networks: renaming, documented units, and types."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.console.pasting import word
from catalog.errors import CatalogError, closest
from catalog.formats.format import Network, Scalar
from catalog.schema import CHECKPOINTS, RUNS, Column

_RUNS = {column.name: column for column in RUNS}
_CHECKPOINTS = {column.name: column for column in CHECKPOINTS}
_DOCUMENTED = {name.lower(): name for name in (*_RUNS, *_CHECKPOINTS)}
SET_HERE = frozenset(
    {"run_id", "zoo", "source", "source_name", "parents", "arch_id", "architecture"}
    | {"parameters", "config", "split_by_run", "split_by_cell", "split_by_zoo"}
    | {"step", "content", "finite", "shard", "row"}
)
"""Columns that an import computes; a source cannot give them."""

_RECORDED = SET_HERE | {"task", "data_fingerprint", "code_version", "engine", "created"}
_PREFIXES = ("train_", "validation_", "val_", "test_")
_KINDS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_EXACT = 2**53

Row = dict[str, Scalar]


def divided(row: Mapping[str, Scalar], *, free: str = "run") -> tuple[Row, Row]:
    """Divide columns into those of a run and those of its checkpoint.

    Results on a split belong to the checkpoint, as do the documented columns of
    `checkpoints`.

    Parameters
    ----------
    row : mapping of str to scalar
        Values by column.
    free : {"run", "checkpoint"}, default="run"
        Destination of undocumented columns.

    Examples
    --------
    >>> divided({"lr": 0.1, "test_error": 0.5})
    ({'lr': 0.1}, {'test_error': 0.5})
    """
    run: Row = {}
    checkpoint: Row = {}
    for name, value in row.items():
        measured = name in _CHECKPOINTS or name.startswith(_PREFIXES)
        of_run = name in _RUNS or (free == "run" and not measured)
        (run if of_run else checkpoint)[name] = value
    return run, checkpoint


def published(row: Mapping[str, Scalar]) -> Row:
    """Prefix ``published_`` to names that the catalogue records itself or spells otherwise.

    Examples
    --------
    >>> published({"lr": 0.1, "config": "a.yaml", "Seed": 3})
    {'lr': 0.1, 'published_config': 'a.yaml', 'published_Seed': 3}
    """
    columns: Row = {}
    for name, value in row.items():
        documented = _DOCUMENTED.get(name.lower())
        renamed = documented in _RECORDED or (documented is not None and documented != name)
        columns[f"published_{name}" if renamed else name] = value
    return columns


class Columns:
    """Converter of the columns of imported networks to the columns that are stored.

    Parameters
    ----------
    rename : mapping of str to str
        New names by old names.
    percent : collection of str
        New names of the columns whose values are divided by 100.
    """

    def __init__(self, rename: Mapping[str, str], percent: Collection[str]) -> None:
        self._rename, self._percent = rename, frozenset(percent)
        self._seen: set[str] = set()
        self._kinds: dict[str, tuple[str, type, Scalar, str]] = {}

    def of(self, network: Network) -> tuple[Row, Row]:
        """Return the columns of the run and of the checkpoint of one network.

        Raises
        ------
        CatalogError
            If a name is taken or reserved, or the type or unit of a value differs from
            its documentation or from the previous networks.
        """
        run: Row = {}
        checkpoint: Row = {}
        original_names: dict[str, str] = {}
        sources = [(run, network.run), (checkpoint, network.checkpoint)]
        for row, columns in sources:
            for old, value in columns.items():
                name = self._rename.get(old, old)
                self._seen |= {old, name}
                where = f"{network.name}, column {old!r}"
                if any("\ud800" <= c <= "\udfff" or c == "\0" for c in name):
                    raise CatalogError(
                        f"{where}: this name is not allowed for a column. Rename it: "
                        f"--rename {word(old)}=OTHER"
                    )
                if original_names.setdefault(name.lower(), old) != old or name in (
                    run | checkpoint
                ):
                    raise CatalogError(
                        f"{where}: two columns are called {name!r}. Rename one: "
                        f"--rename {word(old)}=OTHER"
                    )
                target = _place(name, row, run, checkpoint, where)
                value = self._value(name, value, where)
                target[name] = self._typed(name, value, target is run, network.name)
        return run, checkpoint

    def finish(self) -> dict[str, pa.DataType]:
        """Return the types of the columns that had a value.

        Raises
        ------
        CatalogError
            If no network had a column that was to be renamed or divided.
        """
        for flag, names in (("rename", self._rename), ("percent", self._percent)):
            for name in names:
                if name not in self._seen:
                    raise CatalogError(
                        f"--{flag} {name}: the source has no column {name!r}. "
                        f"{closest(name, self._seen)}"
                    )
        return {name: _KINDS[kind] for name, (_, kind, _, _) in self._kinds.items()}

    def _value(self, name: str, value: Any, where: str) -> Scalar:
        if isinstance(value, np.generic):
            value = value.item()
        if name in self._percent and value is not None:
            if isinstance(value, bool | str):
                raise CatalogError(
                    f"{where} is {value!r}, which is not a percentage. Leave out --percent "
                    f"{word(name)}."
                )
            value = value / 100
        column = _RUNS.get(name) or _CHECKPOINTS.get(name)
        return value if column is None or value is None else _checked(value, column, where)

    def _typed(self, name: str, value: Scalar, in_runs: bool, where: str) -> Scalar:
        if value is None:
            return None
        kind = type(value)
        if kind not in _KINDS:
            raise CatalogError(
                f"{where}, column {name!r} holds {repr(value)[:120]}, a {kind.__name__}; "
                "expected text, a whole number, a number or a boolean."
            )
        if kind is str and not str(value).isascii():
            try:
                str(value).encode()
            except UnicodeEncodeError as error:
                raise CatalogError(
                    f"{where}, column {name!r} holds text that is not valid Unicode: "
                    f"{error}."
                ) from error
        if kind is int and not -(2**63) <= int(value) < 2**63:
            raise CatalogError(
                f"{where}, column {name!r}: {value} is not a 64-bit integer."
            )
        table = "runs" if in_runs else "checkpoints"
        first_use = self._kinds.setdefault(name, (table, kind, value, where))
        if first_use[0] != table:
            raise CatalogError(
                f"Column {name!r} belongs to {first_use[0]} for {first_use[3]}, but to "
                f"{table} for {where}. Rename one of them: --rename {word(name)}=OTHER"
            )
        if first_use[1] is not kind:
            if {first_use[1], kind} != {int, float}:
                raise CatalogError(
                    f"Column {name!r} holds {first_use[2]!r} for {first_use[3]} and "
                    f"{value!r} for {where}; all values of a column must have one type."
                )
            self._kinds[name] = (table, float, value, where)
        return value


def column_array(values: list[Scalar], kind: pa.DataType, name: str) -> pa.Array:
    """Return values as an array of one type; whole numbers become float64 if it is exact.

    Raises
    ------
    CatalogError
        If float64 cannot represent a whole number exactly.
    """
    if kind == pa.float64():
        for value in values:
            if isinstance(value, int) and abs(value) > _EXACT:
                raise CatalogError(
                    f"Column {name!r} holds numbers with a fraction and {value}, which "
                    "float64 cannot represent. Rename the column in some of the files."
                )
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def _place(name: str, row: Row, run: Row, checkpoint: Row, where: str) -> Row:
    documented = _DOCUMENTED.get(name.lower())
    if documented in SET_HERE:
        raise CatalogError(
            f"{where}: the import sets {documented!r} itself. Keep the published values "
            f"under another name: --rename {word(f'{name}=source_{name}')}"
        )
    if documented is not None and documented != name:
        raise CatalogError(
            f"{where} differs from the documented {documented!r} only in case. If it "
            f"is the same column: --rename {word(f'{name}={documented}')}; otherwise: "
            f"--rename {word(name)}=OTHER"
        )
    if name in _RUNS:
        return run
    return checkpoint if name in _CHECKPOINTS else row


def _number(value: int | float, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise CatalogError(
            f"{where} is too large for float64: {str(value)[:40]}..."
        ) from error


def _checked(value: Scalar, column: Column, where: str) -> Scalar:
    """Convert a value to its documented type and check its documented unit."""
    rename = (
        f"If the column means something else: --rename {column.name}=source_{column.name}"
    )
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if column.type == pa.int64() and isinstance(value, float) and value.is_integer():
        value = int(value)
    elif column.type == pa.float64() and numeric:
        value = _number(value, where)  # type: ignore[arg-type]
    if _KINDS.get(type(value)) != column.type:
        raise CatalogError(
            f"{where} is {repr(value)[:120]}; {column.name!r} is documented as "
            f"{column.type} ({column.unit}: {column.meaning}). {rename}"
        )
    if not isinstance(value, int | float) or math.isnan(value):
        return value
    if column.unit == "fraction" and not 0 <= value <= 1:
        advice = f"If it is in percent: --percent {column.name}" if value > 1 else rename
        raise CatalogError(
            f"{where} is {value:g}; {column.name!r} is a fraction from 0 to 1. {advice}"
        )
    if column.unit in ("nats", "samples", "steps", "epochs", "units") and value < 0:
        raise CatalogError(
            f"{where} is {value:g}; {column.name!r} ({column.unit}) is never negative. "
            f"{rename}"
        )
    return value
