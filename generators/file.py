"""Fitted generators as files of the container `catalog.fitted.file`.

Nothing in the file is code: what is read is built from numbers, text and the classes named
here. The networks a generator was fitted to are in it, so that copying can be judged
wherever the file goes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from catalog import (
    Canonicaliser,
    CatalogError,
    Layout,
    Population,
    __version__,
)
from catalog.dtypes import Array
from catalog.fitted.file import Kind
from catalog.fitted.records import Records, Special
from catalog.formats.blank_nulls import blank_nulls
from catalog.formats.format import Tensor
from catalog.plugins.settings import checked, settings_of_file
from generators.codes.chosen import Chosen
from generators.codes.codes import Codes
from generators.codes.components import Components
from generators.codes.predictor import Predictor
from generators.codes.standardised import Standardised
from generators.flow.conditions import Categorical, Conditions, Numeric
from generators.flow.flow import Flow
from generators.flow.gate import TrainingHistory
from generators.flow.schedule import Schedule
from generators.flow.solver import Solver
from generators.generator import Generator

INSTEAD = "name another file, on the command line with --to FILE"
"""What to do if a generator cannot be written; ends a sentence."""
# Format 1 had a digest of its own; programs that read it tell that 2 is newer.
_GENERATOR = Kind("generator", "generator", 2, "Write one with its save().", INSTEAD)
G = TypeVar("G", bound=Generator)


def save_generator(
    generator: Generator, path: str | Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted generator: its settings, and attributes that end with ``_``.

    Parameters
    ----------
    about : mapping, optional
        JSON values to keep beside it, see `generator_about`.

    Raises
    ------
    CatalogError
        If it is not fitted, holds something that is no data, or cannot be written.
    """
    if not hasattr(generator, "training_"):
        raise CatalogError(
            f"This {type(generator).__name__} is not fitted: call fit(population) first."
        )
    tensors: dict[str, Tensor] = {}
    fitted = {
        name: value
        for name, value in vars(generator).items()
        if name.endswith("_") and not name.startswith("_")
    }
    body = {
        "phasezoo": __version__,
        "generator": type(generator).name,
        "settings": _RECORDS.encode(settings(generator), "settings", tensors),
        "fitted": _RECORDS.encode(fitted, "fitted", tensors),
        "about": dict(about or {}),
    }
    _GENERATOR.write(path, body, tensors)


def load_generator(path: str | Path, kind: type[G]) -> G:
    """The generator of a class that `save_generator` wrote.

    Raises
    ------
    CatalogError
        If the file holds another generator or something else, or was written by a newer
        version.
    ShardCorrupt
        If bytes have changed since it was written.
    """
    body, tensors = _GENERATOR.read(path)
    if (name := _name(body, path)) != kind.name:
        raise CatalogError(
            f"{path} holds the generator {name!r}, not {kind.name!r}. Load it with the "
            "class of that name."
        )
    with _GENERATOR.as_written(path):
        values = _RECORDS.decode(body["settings"], tensors, path)
        with settings_of_file(path):
            found = kind(**checked(kind, values, f"the generator {kind.name!r}"))
        fitted = _RECORDS.decode(body["fitted"], tensors, path)
        _RECORDS.give_fitted(found, fitted, path)
    return found


def generator_name(path: str | Path) -> str:
    """Name of the generator that a file holds; raises as `load_generator`."""
    return _name(_GENERATOR.body(path), path)


def generator_about(path: str | Path) -> dict[str, Any]:
    """What is kept beside the generator in a file; empty if nothing is.

    Only the head of the file is read, so changed bytes are found by whoever loads it.
    """
    with _GENERATOR.as_written(path):
        return dict(_GENERATOR.body(path, checked=False).get("about", {}))


def settings(generator: Generator) -> dict[str, Any]:
    """What a generator was constructed with."""
    names = list(inspect.signature(type(generator).__init__).parameters)[1:]
    return {name: getattr(generator, name) for name in names}


def _name(body: Mapping[str, Any], path: str | Path) -> str:
    with _GENERATOR.as_written(path):
        name: str = body["generator"]
        name.encode()  # of text alone, and that can be printed
        return name


def _population(
    value: Population, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {
        "layout": value.layout.to_json(),
        "weights": inside(value.weights, f"{at}.weights"),
        "table": inside(_bytes(value.table), f"{at}.table"),
        "extra": inside(dict(value.extra), f"{at}.extra"),
    }


def _populated(value: dict[str, Any], inside: Callable[[Any], Any]) -> Population:
    return Population(
        inside(value["weights"]),
        Layout.from_json(value["layout"]),
        _table(inside(value["table"])),
        inside(value["extra"]),
    )


def _symmetries(
    value: Canonicaliser, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {"canonicaliser": inside(dict(vars(value)), at)}


def _canonicaliser(value: dict[str, Any], inside: Callable[[Any], Any]) -> Canonicaliser:
    own = inside(value["canonicaliser"])
    fitted = {name: own.pop(name) for name in list(own) if name.endswith("_")}
    found = Canonicaliser(own.pop("strategy"), **own)
    _RECORDS.give_fitted(found, fitted, "The file of a generator")
    return found


def _bytes(table: pa.Table) -> Array:
    columns = [blank_nulls(column) for column in table.columns]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=table.schema))
    return np.frombuffer(sink.getvalue(), np.uint8)


def _table(values: Array) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(values.tobytes())).read_all()


_RECORDS = Records(
    "generator",
    {
        "Categorical": Categorical, "Chosen": Chosen, "Codes": Codes,
        "Components": Components, "Conditions": Conditions, "Curve": TrainingHistory,
        "Flow": Flow, "Numeric": Numeric, "Predictor": Predictor, "Schedule": Schedule,
        "Solver": Solver, "Standardised": Standardised,
    },
    (
        Special(Population, "weights", _population, _populated),
        Special(Canonicaliser, "canonicaliser", _symmetries, _canonicaliser),
    ),
)  # fmt: skip
