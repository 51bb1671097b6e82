"""Conditions on the command line: parsing, and checks before anything is fitted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from catalog import CatalogError
from generators.condition_values import check_text, check_within, finite_numbers
from generators.flow.conditions import Conditions
from generators.generator import Condition, Generator
from generators.nulls.retrieval import Retrieval


def conditions_of(texts: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Parse ``COLUMN=VALUE`` or ``COLUMN=VALUE,VALUE`` texts into all combinations.

    Values stay text, see `typed_conditions`.

    Raises
    ------
    CatalogError
        If a text is malformed, or a column is given twice.

    Examples
    --------
    >>> conditions_of(["validation_accuracy=0.9,0.95", "optimizer=sgd"])[1]
    {'validation_accuracy': '0.95', 'optimizer': 'sgd'}
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        column, equals, listed = text.partition("=")
        if not equals or not column or not listed or column in values:
            raise CatalogError(
                f"--condition takes COLUMN=VALUE or COLUMN=VALUE,VALUE, once for each "
                f"column. Got {text!r}."
            )
        values[column] = listed.split(",")
    return tuple(
        dict(zip(values, combination, strict=True))
        for combination in itertools.product(*values.values())
    )


def typed_conditions(
    conditions: Sequence[Mapping[str, str]], table: pa.Table
) -> tuple[Condition, ...]:
    """Convert the values of conditions to the types of their columns.

    Values of text columns stay text, even if they can be read as numbers.

    Raises
    ------
    CatalogError
        If the value for a column of numbers is not a number.
    """

    def value(name: str, text: str) -> float | str:
        kind = _value_type(table[name])
        if kinds.is_boolean(kind):
            return text.capitalize()
        if not (kinds.is_integer(kind) or kinds.is_floating(kind)):
            return text
        try:
            return float(text)
        except ValueError:
            raise CatalogError(f"{name} must be a number. Got {text!r}.") from None

    return tuple(
        {name: value(name, text) for name, text in condition.items()}
        for condition in conditions
    )


def columns_read(generator: Generator, conditions: Sequence[Condition]) -> list[str]:
    """Return the columns of `models` that a generator learns from or is conditioned on."""
    columns = dict.fromkeys(conditions[0])
    for parameter in ("conditions", "predictors"):
        columns |= dict.fromkeys(getattr(generator, parameter, ()))
    return list(columns)


def check_conditions(
    generator: Generator,
    conditions: Sequence[Condition],
    tables: Mapping[str, pa.Table],
    *,
    extrapolate: bool,
    can_extrapolate: bool,
) -> None:
    """Check that the training networks cover the conditions.

    Parameters
    ----------
    generator : Generator
    conditions : sequence of mapping
    tables : dict of str to pyarrow.Table
        Columns of `models` of the networks, by split; "train" and "validation" are
        required.
    extrapolate, can_extrapolate : bool
        Whether numbers outside the range of the training networks are allowed, and whether
        the generator can allow them.

    Raises
    ------
    CatalogError
        If the generator takes no conditions, a column has missing values or one value only,
        or a number is outside the range of the training networks.
    NotFound
        If no training network has a text.
    """
    names = getattr(generator, "conditions", None)
    if conditions[0] and names is None and not isinstance(generator, Retrieval):
        raise CatalogError(
            f"The generator {generator.name!r} takes no condition. Got "
            f"{', '.join(conditions[0])}. Leave out --condition, or choose deepweightflow "
            "or retrieval."
        )
    for parameter in ("conditions", "predictors"):  # else raised by the fit, hours later
        fitted = Conditions.fit(tables["train"], getattr(generator, parameter, ()))
        if parameter == "conditions" and len(tables["validation"]):
            fitted.encode(tables["validation"])
    for name in conditions[0]:
        if names is not None and name not in names:
            raise CatalogError(
                f"--condition names {name}, but --set conditions names "
                f"{', '.join(names) or 'no column'}. Leave out --set conditions, or name "
                f"{name} there too."
            )
        for value in dict.fromkeys(condition[name] for condition in conditions):
            _check_value(name, value, tables["train"], extrapolate, can_extrapolate)


def of_test_data(
    generator: Generator,
    conditions: Sequence[Condition],
    known: Iterable[str],
) -> list[str]:
    """Return a warning for each column that was measured on the judge's test samples.

    Parameters
    ----------
    generator : Generator
    conditions : sequence of mapping
    known : iterable of str
        Columns of `models`.
    """
    known, lines = set(known), []
    for name in columns_read(generator, conditions):
        if "test" not in name.split("_"):
            continue
        validation_name = "_".join(
            "validation" if p == "test" else p for p in name.split("_")
        )
        if name in conditions[0]:
            values = dict.fromkeys(condition[name] for condition in conditions)
            option = f"--condition {validation_name}={','.join(_text(v) for v in values)}"
        else:
            parameter = "predictors" if name in getattr(generator, "predictors", ()) else ""
            option = f"--set '{parameter or 'conditions'}=[\"{validation_name}\"]'"
        instead = (
            f"Paste instead: {option}" if validation_name in known else "Leave it out."
        )
        lines.append(
            f"{name} was measured on the test samples, on which networks are judged: the "
            f"generator would learn from their labels. {instead}"
        )
    return lines


def _check_value(
    name: str, value: float | str, table: pa.Table, extrapolate: bool, can_extrapolate: bool
) -> None:
    column = table[name]
    kind = _value_type(column)
    if not (kinds.is_integer(kind) or kinds.is_floating(kind)):
        check_text(name, value, {str(v) for v in column.drop_null().to_pylist()})
        return
    if isinstance(value, str) or not np.isfinite(value):
        raise CatalogError(f"{name} must be a finite number. Got {str(value)!r}.")
    known = finite_numbers(name, column.drop_null().to_numpy().astype(np.float64))
    advice = ", or give --extrapolate, which marks the samples" if can_extrapolate else ""
    if not extrapolate:
        check_within(name, value, known.min(), known.max(), advice)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _value_type(column: pa.ChunkedArray) -> pa.DataType:
    """Return the type of the values of a column."""
    kind = column.type
    return kind.value_type if kinds.is_dictionary(kind) else kind
