"""Columns of metadata as features of a condition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from catalog import CatalogError, NotFound
from catalog.dtypes import Array
from catalog.errors import closest


@dataclass(frozen=True)
class Numeric:
    """A column of numbers: whether it is asked for, and its standardised value.

    Attributes
    ----------
    mean, deviation, low, high : float
        In the unit of the column, over the training networks.
    """

    mean: float
    deviation: float
    low: float
    high: float

    @property
    def size(self) -> int:
        """Features."""
        return 2

    def features(self, values: Sequence[float] | Array) -> Array:
        """Features (n, 2)."""
        z = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return np.stack([np.ones_like(z), z], 1)


@dataclass(frozen=True)
class Categorical:
    """A column of names, one feature for each.

    Attributes
    ----------
    names : tuple of str
    """

    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Features."""
        return len(self.names)

    def features(self, values: Sequence[str] | Array) -> Array:
        """Features (n, names)."""
        return np.array([[v == name for name in self.names] for v in values], np.float64)


@dataclass(frozen=True)
class Conditions:
    """What samples may be asked to be like.

    Attributes
    ----------
    columns : dict of str to Numeric or Categorical
        In the order in which features stand side by side.
    """

    columns: Mapping[str, Numeric | Categorical]

    @classmethod
    def fit(cls, table: pa.Table, names: Sequence[str]) -> Conditions:
        """Learn the range of each column.

        Raises
        ------
        NotFound
            If there is no such column.
        CatalogError
            If values are missing, not finite or all the same, or are no numbers or text.
        """
        return cls({name: _learned(table, name) for name in names})

    @property
    def size(self) -> int:
        """Features of all columns."""
        return sum(column.size for column in self.columns.values())

    @property
    def spans(self) -> dict[str, slice]:
        """Where each column's features are."""
        found, at = {}, 0
        for name, column in self.columns.items():
            found[name] = slice(at, at + column.size)
            at += column.size
        return found

    def encode(self, table: pa.Table) -> Array:
        """Features (n, f) float32 of all columns of networks."""
        parts = [
            column.features(_values(table, name)) for name, column in self.columns.items()
        ]
        wide = np.concatenate(parts, 1) if parts else np.zeros((len(table), 0))
        return wide.astype(np.float32)

    def asked(
        self, condition: Mapping[str, float | str], *, extrapolate: bool = False
    ) -> tuple[Array, list[str]]:
        """Features (f,) of a condition on some columns, and the columns out of range.

        Raises
        ------
        NotFound
            If a column was not conditioned on, or a name was not seen.
        CatalogError
            If a number is none, is not finite, or is outside what was seen, unless
            extrapolation is asked for.
        """
        found, outside = np.zeros(self.size, np.float32), []
        for name, value in condition.items():
            if name not in self.columns:
                raise NotFound(
                    f"This generator has no condition {name!r}. "
                    f"{closest(name, self.columns)} Fit one with conditions=[{name!r}]."
                )
            column = self.columns[name]
            if isinstance(column, Numeric):
                value = _number(name, value)
                if not column.low <= value <= column.high:
                    outside.append(name)
                    if not extrapolate:
                        raise CatalogError(
                            f"{name} = {value:g} is outside of the training networks, "
                            f"{column.low:g} to {column.high:g}. Ask for a value between, "
                            "or pass extrapolate=True, which marks the samples."
                        )
            else:
                value = _name(name, value, column.names)
            found[self.spans[name]] = column.features([value])[0]  # type: ignore[list-item]
        return found, outside


def _learned(table: pa.Table, name: str) -> Numeric | Categorical:
    values = _values(table, name)
    if values.dtype.kind == "U":
        names = tuple(sorted(set(values.tolist())))
        if len(names) == 1:
            raise _constant(name, names[0])
        return Categorical(names)
    low, high = float(values.min()), float(values.max())
    if low == high:  # the deviation of equal numbers need not be zero
        raise _constant(name, f"{low:g}")
    return Numeric(float(values.mean()), float(values.std()), low, high)


def _values(table: pa.Table, name: str) -> Array:
    """A column as float64 or text; truth values are text."""
    if name not in table.column_names:
        raise NotFound(f"No column {name!r}. {closest(name, table.column_names)}")
    column = table[name]
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    if column.null_count:
        raise CatalogError(
            f"{column.null_count} of {len(table)} networks have no {name}. Load those that "
            f"have it: ... AND {name} IS NOT NULL."
        )
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_boolean(kind):
        return np.array([str(v) for v in column.to_pylist()], np.str_)
    if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_null(kind)):
        raise CatalogError(
            f"Column {name!r} is {column.type}: conditions are numbers or text. Choose "
            "another column."
        )
    values: Array = column.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise CatalogError(
            f"{count} of {len(table)} networks have a {name} that is not finite. Load the "
            f"others: ... AND isfinite({name})."
        )
    return values


def _number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise CatalogError(f"{name} is a number. Got {value!r}.") from None
    if not math.isfinite(number):
        raise CatalogError(f"{name} is a finite number. Got {value!r}.")
    return number


def _name(name: str, value: float | str, known: Sequence[str]) -> str:
    """The name that is asked for, a number standing for a name that is written as one."""
    text = str(value)
    if text in known:
        return text
    same = [one for one in known if not isinstance(value, str) and _reads_as(one, value)]
    if len(same) == 1:
        return same[0]
    if same:
        raise CatalogError(
            f"{name} = {value!r} may be {' or '.join(map(repr, same))}. Ask for one "
            f"of them as text: condition={{{name!r}: {same[0]!r}}}."
        )
    raise NotFound(f"No training network has {name} = {value!r}. {closest(text, known)}")


def _reads_as(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


def _constant(name: str, value: str) -> CatalogError:
    return CatalogError(
        f"All training networks have {name} = {value}: nothing can be learned from it. "
        "Leave it out of conditions, or load networks that differ in it."
    )
