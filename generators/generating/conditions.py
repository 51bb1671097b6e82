"""Conditions on the command line: read, and checked before anything is fitted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from catalog import CatalogError, NotFound
from catalog.errors import closest
from generators.flow.conditions import Conditions
from generators.generator import Condition, Generator
from generators.nulls.retrieval import Retrieval


def conditions_of(texts: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Conditions from ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE``: all combinations.

    Values are text, see `typed_conditions`.

    Raises
    ------
    CatalogError
        If a text is none, or a column comes twice.

    Examples
    --------
    >>> conditions_of(["validation_accuracy=0.9,0.95", "optimizer=sgd"])[1]
    {'validation_accuracy': '0.95', 'optimizer': 'sgd'}
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        column, equals, given = text.partition("=")
        if not equals or not column or not given or column in values:
            raise CatalogError(
                f"--condition takes COLUMN=VALUE, once for each column; several values "
                f"with commas. Got {text!r}."
            )
        values[column] = given.split(",")
    return tuple(
        dict(zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


def typed_conditions(
    conditions: Sequence[Mapping[str, str]], table: pa.Table
) -> tuple[Condition, ...]:
    """Values as their columns have them: a name may be written as a number.

    Raises
    ------
    CatalogError
        If a column of numbers is asked for something else.
    """

    def value(name: str, text: str) -> float | str:
        kind = _kind(table[name])
        if kinds.is_boolean(kind):
            return text.capitalize()
        if not (kinds.is_integer(kind) or kinds.is_floating(kind)):
            return text
        try:
            return float(text)
        except ValueError:
            raise CatalogError(f"{name} is a number. Got {text!r}.") from None

    return tuple(
        {name: value(name, text) for name, text in one.items()} for one in conditions
    )


def columns_read(generator: Generator, conditions: Sequence[Condition]) -> list[str]:
    """Columns of `models` that a generator learns from, or is asked by."""
    found = dict.fromkeys(conditions[0])
    for parameter in ("conditions", "predictors"):
        found |= dict.fromkeys(getattr(generator, parameter, ()))
    return list(found)


def check_conditions(
    generator: Generator,
    conditions: Sequence[Condition],
    tables: Mapping[str, pa.Table],
    *,
    extrapolate: bool,
    can_extrapolate: bool,
) -> None:
    """Refuse a condition of which training networks tell nothing.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        By split, columns of `models` of the networks; of "train" and "validation" needed.
    extrapolate, can_extrapolate : bool
        Whether numbers outside of them are allowed, and could be.

    Raises
    ------
    CatalogError
        If the generator takes no conditions, values of a column are missing or all the
        same, or a number is outside of what training networks have.
    NotFound
        If no training network has a text.
    """
    names = getattr(generator, "conditions", None)
    if conditions[0] and names is None and not isinstance(generator, Retrieval):
        raise CatalogError(
            f"The generator {generator.name!r} takes no condition. Got "
            f"{', '.join(conditions[0])}. Those that do: deepweightflow, retrieval."
        )
    for parameter in ("conditions", "predictors"):  # as fitting would find, hours later
        own = Conditions.fit(tables["train"], getattr(generator, parameter, ()))
        if parameter == "conditions" and len(tables["validation"]):
            own.encode(tables["validation"])
    for name in conditions[0]:
        if names is not None and name not in names:
            raise CatalogError(
                f"--set conditions names {', '.join(names) or 'no column'}, and "
                f"--condition {name}. Leave --set conditions out, or name {name} there too."
            )
        for value in dict.fromkeys(one[name] for one in conditions):
            _check_value(name, value, tables["train"], extrapolate, can_extrapolate)


def of_test_data(
    generator: Generator,
    conditions: Sequence[Condition],
    known: Iterable[str],
) -> list[str]:
    """A line for each column that was measured on the samples that judge.

    Parameters
    ----------
    known : iterable of str
        Columns of `models`.
    """
    known, lines = set(known), []
    for name in columns_read(generator, conditions):
        if "test" not in name.split("_"):
            continue
        other = "_".join("validation" if p == "test" else p for p in name.split("_"))
        if name in conditions[0]:
            values = dict.fromkeys(one[name] for one in conditions)
            paste = f"--condition {other}={','.join(_text(v) for v in values)}"
        else:
            which = "predictors" if name in getattr(generator, "predictors", ()) else ""
            paste = f"--set '{which or 'conditions'}=[\"{other}\"]'"
        instead = f"Paste instead: {paste}" if other in known else "Better leave it out."
        lines.append(
            f"{name} was measured on the test samples, which judge: the generator learns "
            f"from their labels. {instead}"
        )
    return lines


def _check_value(
    name: str, value: float | str, table: pa.Table, extrapolate: bool, could: bool
) -> None:
    column = table[name]
    kind = _kind(column)
    if not (kinds.is_integer(kind) or kinds.is_floating(kind)):
        texts = sorted({str(v) for v in column.drop_null().to_pylist()})
        if str(value) not in texts:
            raise NotFound(
                f"No training network has {name} = {str(value)!r}. "
                f"{closest(str(value), texts)}"
            )
        return
    if isinstance(value, str) or not np.isfinite(value):
        raise CatalogError(f"{name} is a number. Got {str(value)!r}.")
    numbers = column.drop_null().to_numpy().astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        raise CatalogError(f"No training network has a value of {name!r}.")
    low, high = numbers.min(), numbers.max()
    if not low <= value <= high and not extrapolate:
        advice = ", or give --extrapolate, which marks the samples" if could else ""
        raise CatalogError(
            f"{name} = {value:g} is outside of the training networks, {low:g} to {high:g}. "
            f"Ask for a value between{advice}."
        )


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _kind(column: pa.ChunkedArray) -> pa.DataType:
    """Type of the values."""
    kind = column.type
    return kind.value_type if kinds.is_dictionary(kind) else kind
