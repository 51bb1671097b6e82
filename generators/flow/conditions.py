"""Encoding of metadata columns as features of a condition."""

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
from generators.condition_values import EXTRAPOLATE, check_text, check_within


@dataclass(frozen=True)
class Numeric:
    """Column of numbers, encoded as whether a value is given and the standardised value.

    Attributes
    ----------
    mean, deviation, low, high : float
        Mean, standard deviation, minimum and maximum over the training networks, in the
        unit of the column.
    """

    mean: float
    deviation: float
    low: float
    high: float

    @property
    def size(self) -> int:
        """Number of features."""
        return 2

    def features(self, values: Sequence[float] | Array) -> Array:
        """Return the features (n, 2) of values."""
        z = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return np.stack([np.ones_like(z), z], 1)


@dataclass(frozen=True)
class Categorical:
    """Column of names, encoded as one feature for each name.

    Attributes
    ----------
    names : tuple of str
        Names that occur in training.
    """

    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of features."""
        return len(self.names)

    def features(self, values: Sequence[str] | Array) -> Array:
        """Return the features (n, names) of values."""
        return np.array([[v == name for name in self.names] for v in values], np.float64)


@dataclass(frozen=True)
class Conditions:
    """Columns that samples can be conditioned on.

    Attributes
    ----------
    columns : dict of str to Numeric or Categorical
        Encodings by column, in the order of their features.
    """

    columns: Mapping[str, Numeric | Categorical]

    @classmethod
    def fit(cls, table: pa.Table, names: Sequence[str]) -> Conditions:
        """Learn the range of each column.

        Parameters
        ----------
        table : pyarrow.Table
            Columns of the training networks.
        names : sequence of str
            Columns that can be conditions.

        Raises
        ------
        NotFound
            If there is no such column.
        CatalogError
            If values are missing, not finite, all the same, or neither numbers nor text.
        """
        return cls({name: _fitted_column(table, name) for name in names})

    @property
    def size(self) -> int:
        """Number of features of all columns."""
        return sum(column.size for column in self.columns.values())

    @property
    def spans(self) -> dict[str, slice]:
        """Slice of the features of each column."""
        spans, start = {}, 0
        for name, column in self.columns.items():
            spans[name] = slice(start, start + column.size)
            start += column.size
        return spans

    def encode(self, table: pa.Table) -> Array:
        """Return the features (n, f) float32 of all columns of networks."""
        parts = [
            column.features(_column_values(table, name))
            for name, column in self.columns.items()
        ]
        wide = np.concatenate(parts, 1) if parts else np.zeros((len(table), 0))
        return wide.astype(np.float32)

    def asked(
        self, condition: Mapping[str, float | str], *, extrapolate: bool = False
    ) -> tuple[Array, list[str]]:
        """Return the features (f,) of a condition, and the columns that are out of range.

        Parameters
        ----------
        condition : mapping
            Values of some or all columns.
        extrapolate : bool, default=False
            Allow numbers outside the range of the training networks.

        Raises
        ------
        NotFound
            If a column was not conditioned on, or a name does not occur in training.
        CatalogError
            If a value for a column of numbers is not a finite number, or is outside the
            range of the training networks and ``extrapolate`` is False.
        """
        features, outside = np.zeros(self.size, np.float32), []
        for name, value in condition.items():
            if name not in self.columns:
                raise NotFound(
                    f"This generator has no condition {name!r}. "
                    f"{closest(name, self.columns)} Fit one with conditions=[{name!r}]."
                )
            column = self.columns[name]
            if isinstance(column, Numeric):
                value = _finite_number(name, value)
                if not extrapolate:
                    check_within(name, value, column.low, column.high, EXTRAPOLATE)
                if not column.low <= value <= column.high:
                    outside.append(name)
            else:
                value = _known_name(name, value, column.names)
            features[self.spans[name]] = column.features([value])[0]  # type: ignore[list-item]
        return features, outside


def _fitted_column(table: pa.Table, name: str) -> Numeric | Categorical:
    values = _column_values(table, name)
    if values.dtype.kind == "U":
        names = tuple(sorted(set(values.tolist())))
        if len(names) == 1:
            raise _constant_error(name, names[0])
        return Categorical(names)
    low, high = float(values.min()), float(values.max())
    if low == high:  # the deviation of equal numbers may be rounded above 0
        raise _constant_error(name, f"{low:g}")
    return Numeric(float(values.mean()), float(values.std()), low, high)


def _column_values(table: pa.Table, name: str) -> Array:
    """Return a column as float64 or text; booleans become text."""
    if name not in table.column_names:
        raise NotFound(f"No column {name!r}. {closest(name, table.column_names)}")
    column = table[name]
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    if column.null_count:
        raise CatalogError(
            f"{column.null_count} of {len(table)} networks have no {name}. Load only "
            f"networks that have it: ... AND {name} IS NOT NULL."
        )
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_boolean(kind):
        return np.array([str(v) for v in column.to_pylist()], np.str_)
    if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_null(kind)):
        raise CatalogError(
            f"Column {name!r} is {column.type}, but conditions must be numbers or text. "
            "Choose another column."
        )
    values: Array = column.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise CatalogError(
            f"{count} of {len(table)} networks have a {name} that is not finite. Load only "
            f"the others: ... AND isfinite({name})."
        )
    return values


def _finite_number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise CatalogError(f"{name} must be a number. Got {value!r}.") from None
    if not math.isfinite(number):
        raise CatalogError(f"{name} must be a finite number. Got {value!r}.")
    return number


def _known_name(name: str, value: float | str, known: Sequence[str]) -> str:
    """Return the known name that a value stands for; a number may stand for its text."""
    text = str(value)
    matches = []
    if text not in known and not isinstance(value, str):
        matches = [candidate for candidate in known if _reads_as(candidate, value)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise CatalogError(
            f"{name} = {value!r} may be {' or '.join(map(repr, matches))}. Give one of "
            f"them as text: condition={{{name!r}: {matches[0]!r}}}."
        )
    check_text(name, value, known)
    return text


def _reads_as(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False


def _constant_error(name: str, value: str) -> CatalogError:
    return CatalogError(
        f"All training networks have {name} = {value}, so nothing can be learned from it. "
        f"Leave {name} out, or load networks that differ in it."
    )
