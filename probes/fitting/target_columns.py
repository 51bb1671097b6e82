"""Target columns of `models`, and their values as numbers or classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from catalog import CatalogError, NotFound
from catalog.catalog import Catalog
from catalog.console.counting import counted
from catalog.dtypes import Array
from catalog.errors import closest
from catalog.quoting import identifier
from probes.targets import TASKS


@dataclass(frozen=True)
class TargetColumns:
    """Columns and expressions that `--target` names.

    Attributes
    ----------
    name : str
        Common name of the targets: the column, or the beginning of the pattern.
    expressions : dict of str to str
        SQL over `models`, by name of the target.
    """

    name: str
    expressions: dict[str, str]

    @classmethod
    def of(cls, catalog: Catalog, targets: Sequence[str]) -> TargetColumns:
        """Find the columns that the targets name.

        Parameters
        ----------
        targets : sequence of str
            Names of columns of `models`, patterns such as ``saw_*``, or expressions
            ``NAME=SQL`` over columns such as ``gap=train_accuracy - test_accuracy``. A list
            of classes becomes a label of 0 and 1 for each class.

        Raises
        ------
        NotFound
            If there is no such column; the message lists the closest names.
        """
        columns = catalog.sql("FROM models").columns
        expressions: dict[str, str] = {}
        names = []
        for target in targets:
            expression = re.fullmatch(r"([A-Za-z_]\w*)\s*=(?!=)\s*(.+)", target, re.DOTALL)
            if expression:
                expressions[expression[1]] = expression[2]
                names.append(expression[1])
                continue
            is_pattern = any(mark in target for mark in "*?[")
            matches = [c for c in columns if is_pattern and fnmatchcase(c, target)]
            if not matches and target not in columns:
                raise NotFound(
                    f"No column {target!r} of models. {closest(target, columns)}"
                )
            expressions.update({c: identifier(c) for c in matches or [target]})
            stem = re.split(r"[*?\[]", target)[0].strip("_") or "targets"
            names.append(stem if is_pattern else target)
        if not expressions:
            raise CatalogError(
                "No target was given. Name one with --target COLUMN, such as test_accuracy."
            )
        return cls(names[0] if len(names) == 1 else f"{names[0]}_and_more", expressions)


@dataclass(frozen=True)
class TargetValues:
    """Target values of the rows in which all targets are known.

    Attributes
    ----------
    y : ndarray of shape (n,) or (n, k)
    labels : tuple of str
        Name of each column.
    task : str
    known : ndarray of bool
        True for rows of the table that have a value of every target.
    """

    y: Array
    labels: tuple[str, ...]
    task: str
    known: Array

    @classmethod
    def of(
        cls,
        table: pa.Table,
        names: Sequence[str],
        task: str = "auto",
        *,
        constant: bool = False,
    ) -> TargetValues:
        """Read columns of a table as targets; numbers that are not finite are unknown.

        Parameters
        ----------
        task : {"auto", "regression", "classification"}
            With "auto", text, booleans, numbers that are all 0 or 1, and lists are
            classes; other numbers are values.
        constant : bool
            Accept the same value in all rows, to score predictions without fitting.

        Raises
        ------
        CatalogError
            If no row has a value, if types cannot be combined, or if there is only one
            class.
        """
        if task not in ("auto", *TASKS):
            raise CatalogError(f"--task must be auto or one of {TASKS}. Got {task!r}.")
        if len(names) == 1 and pa.types.is_list(table[names[0]].type):
            return cls._of_lists(table, names[0], task, constant)
        columns = [_column(table, name) for name in names]
        known = np.logical_and.reduce([_known(column) for column in columns])
        if not known.any():
            empty = [n for n, c in zip(names, columns, strict=True) if not _known(c).any()]
            raise CatalogError(
                f"None of {counted(len(known), 'network')} has a value of "
                f"{', '.join(empty or names)}. Measure it first ('phasezoo measure ZOO'), "
                "or widen --where or --steps."
            )
        known_columns = [column[known] for column in columns]
        if task == "auto":
            values = all(c.dtype.kind in "iuf" for c in known_columns)
            flags = values and all(np.isin(c, (0, 1)).all() for c in known_columns)
            task = "regression" if values and not flags else "classification"
        text = [
            n
            for n, c in zip(names, known_columns, strict=True)
            if c.dtype.kind not in "iufb"
        ]
        if text and (task == "regression" or len(names) > 1):
            raise CatalogError(
                f"{', '.join(text)} holds text, which is not a "
                f"{'number' if task == 'regression' else 'label of 0 and 1'}. Predict one "
                "text column alone with --task classification."
            )
        if task == "classification" and len(names) == 1:
            classes: Array = known_columns[0].astype(_kind(known_columns[0]))
            return cls._checked(classes, tuple(names), task, known, constant)
        kind = np.float64 if task == "regression" else np.int64
        y: Array = np.stack(known_columns, axis=1).astype(kind)
        y = y[:, 0] if len(names) == 1 else y
        return cls._checked(y, tuple(names), task, known, constant)

    @classmethod
    def _of_lists(
        cls, table: pa.Table, name: str, task: str, constant: bool
    ) -> TargetValues:
        if task == "regression":
            raise CatalogError(f"{name} is a list of classes, not a number: omit --task.")
        lists = table[name].to_pylist()
        known = np.array([value is not None for value in lists])
        classes = sorted({item for value in lists for item in value or ()}, key=str)
        if not classes:
            raise CatalogError(
                f"None of {counted(len(lists), 'network')} has a class in {name}."
            )
        y = np.array(
            [[c in value for c in classes] for value in lists if value is not None]
        )
        labels = tuple(f"{name}_{c}" for c in classes)
        y = y.astype(np.int64)
        return cls._checked(y, labels, "classification", known, constant)

    @classmethod
    def _checked(
        cls, y: Array, labels: tuple[str, ...], task: str, known: Array, constant: bool
    ) -> TargetValues:
        if not constant and len(np.unique(y, axis=0)) < 2:
            noun = "class" if task == "classification" else "value"
            only = np.unique(y, axis=0)[0].tolist()
            subject = (
                f"All {len(y)} networks have" if len(y) > 1 else "The only network has"
            )
            raise CatalogError(
                f"{subject} the same {noun} of {', '.join(labels)}: {only!r}. A probe "
                "needs two or more; widen --where."
            )
        if task == "classification" and y.ndim == 2:
            invalid = np.setdiff1d(y, (0, 1))
            if len(invalid):
                raise CatalogError(
                    f"Several targets of a classification must be labels of 0 and 1. Got "
                    f"{invalid[:3].tolist()}; for other values use --task regression."
                )
        return cls(y, labels, task, known)


def _column(table: pa.Table, name: str) -> Array:
    column = table[name]
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: Array = column.to_numpy(zero_copy_only=False)
    if values.dtype == object and not pa.types.is_string(column.type):
        kinds = "number, boolean, text or list of classes"
        if not pa.types.is_boolean(column.type):
            raise CatalogError(
                f"{name} has type {column.type}; a target must be a {kinds}."
            )
    return values


def _known(column: Array) -> Array:
    if column.dtype.kind == "f":
        return np.isfinite(column)
    if column.dtype == object:
        return np.array([value is not None for value in column])
    return np.ones(len(column), bool)


def _kind(column: Array) -> type:
    """Return the type of classes: text, booleans or integers."""
    if column.dtype == object:
        return bool if isinstance(column[0], bool) else str
    if column.dtype.kind == "f" and (column == np.round(column)).all():
        return np.int64
    return column.dtype.type
