"""Fitted generators as files of the container `catalog.fitted.file`.

A file holds no code: it is read into numbers, text and the classes listed here. It includes
the networks that the generator was fitted to, so that copying can be judged wherever the
file goes.
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
"""Advice where a generator cannot be written, as the end of a sentence."""
# Format 1 had its own digest; programs that read format 1 report that 2 is newer.
_GENERATOR = Kind("generator", "generator", 2, "Write one with its save().", INSTEAD)
G = TypeVar("G", bound=Generator)


def save_generator(
    generator: Generator, path: str | Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted generator: its settings and the attributes that end with ``_``.

    Parameters
    ----------
    generator : Generator
        Fitted generator.
    path : str or Path
        File to write.
    about : mapping, optional
        JSON values that are stored with the generator, see `generator_about`.

    Raises
    ------
    CatalogError
        If the generator is not fitted or holds values that are not data, or if the file
        cannot be written.
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
    """Return the generator of class ``kind`` that `save_generator` wrote.

    Raises
    ------
    CatalogError
        If the file holds another generator or something else, or was written by a newer
        version.
    ShardCorrupt
        If bytes have changed since the file was written.
    """
    body, tensors = _GENERATOR.read(path)
    if (name := _generator_name(body, path)) != kind.name:
        raise CatalogError(
            f"{path} holds the generator {name!r}, not {kind.name!r}. Load it with the "
            "class of that name."
        )
    with _GENERATOR.as_written(path):
        values = _RECORDS.decode(body["settings"], tensors, path)
        with settings_of_file(path):
            generator = kind(**checked(kind, values, f"the generator {kind.name!r}"))
        fitted = _RECORDS.decode(body["fitted"], tensors, path)
        _RECORDS.give_fitted(generator, fitted, path)
    return generator


def generator_name(path: str | Path) -> str:
    """Return the name of the generator in a file; errors as in `load_generator`."""
    return _generator_name(_GENERATOR.body(path), path)


def generator_about(path: str | Path) -> dict[str, Any]:
    """Return the JSON values that are stored with the generator in a file.

    Empty if there are none. Only the header of the file is read, so changed bytes are only
    detected when the generator is loaded.
    """
    with _GENERATOR.as_written(path):
        return dict(_GENERATOR.body(path, checked=False).get("about", {}))


def settings(generator: Generator) -> dict[str, Any]:
    """Return the constructor arguments of a generator by name."""
    names = list(inspect.signature(type(generator).__init__).parameters)[1:]
    return {name: getattr(generator, name) for name in names}


def _generator_name(body: Mapping[str, Any], path: str | Path) -> str:
    with _GENERATOR.as_written(path):
        name: str = body["generator"]
        name.encode()  # raises unless it is text that can be printed
        return name


def _population_json(
    value: Population, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {
        "layout": value.layout.to_json(),
        "weights": inside(value.weights, f"{at}.weights"),
        "table": inside(_table_bytes(value.table), f"{at}.table"),
        "extra": inside(dict(value.extra), f"{at}.extra"),
    }


def _population_of(value: dict[str, Any], inside: Callable[[Any], Any]) -> Population:
    return Population(
        inside(value["weights"]),
        Layout.from_json(value["layout"]),
        _table_of(inside(value["table"])),
        inside(value["extra"]),
    )


def _canonicaliser_json(
    value: Canonicaliser, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {"canonicaliser": inside(dict(vars(value)), at)}


def _canonicaliser_of(value: dict[str, Any], inside: Callable[[Any], Any]) -> Canonicaliser:
    attributes = inside(value["canonicaliser"])
    fitted = {name: attributes.pop(name) for name in list(attributes) if name.endswith("_")}
    canonicaliser = Canonicaliser(attributes.pop("strategy"), **attributes)
    _RECORDS.give_fitted(canonicaliser, fitted, "The file of a generator")
    return canonicaliser


def _table_bytes(table: pa.Table) -> Array:
    columns = [blank_nulls(column) for column in table.columns]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=table.schema))
    return np.frombuffer(sink.getvalue(), np.uint8)


def _table_of(values: Array) -> pa.Table:
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
        Special(Population, "weights", _population_json, _population_of),
        Special(Canonicaliser, "canonicaliser", _canonicaliser_json, _canonicaliser_of),
    ),
)  # fmt: skip
