"""What generators give back: new networks as a population that knows where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from catalog import LayoutMismatch, Population, __version__
from catalog.alignment.average import INHERITED, inherited
from catalog.dtypes import Array
from catalog.names import canonical_json, content_id
from catalog.schema import RUNS

GENERATED = "_generated"
"""Ends the name of the zoo of generated networks: they are no seeds of the cells."""


def sample_runs(
    weights: Array,
    training: Population,
    *,
    generator: str,
    settings: Mapping[str, Any],
    seed: int,
    columns: Mapping[str, Sequence[Any] | Array] | None = None,
) -> Population:
    """Samples as runs with what all training networks agree on.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
    training : Population
    generator : str
        Its name.
    settings : mapping
        JSON values that decide the samples, the condition among them.
    columns : mapping, optional
        Further columns, n values each.

    Returns
    -------
    Population
        ``run_id`` is a hash of generator, settings, training networks, seed, row and the
        weights; ``step`` the largest in training.

    Raises
    ------
    LayoutMismatch
        If constants of the training networks differ, so that samples have none.
    """
    n, layout = len(weights), training.layout.widened()
    about = {
        "operation": generator,
        "settings": dict(settings),
        "training": fingerprint(training),
        "seed": seed,
    }
    known = {column.name: column.type for column in RUNS}
    has = training.table.column_names
    values: dict[str, Any] = {
        "run_id": [
            content_id({**about, "row": i, "weights": blake3(row.tobytes()).hexdigest()})
            for i, row in enumerate(np.ascontiguousarray(weights, np.float32))
        ],
        "step": pa.array(np.full(n, training["step"].max()), pa.int64()),
        "source": ["generated"] * n,
        "operation": [generator] * n,
        "status": ["finished"] * n,
        "code_version": [__version__] * n,
        "config": [canonical_json({**about, "row": i}) for i in range(n)],
        "finite": np.isfinite(weights).all(1),
    }
    if "zoo" in has:
        zoo = inherited("zoo", training.table["zoo"].to_pylist())
        values["zoo"] = [f"{zoo or 'mixed'}{GENERATED}"] * n
    for name in INHERITED:
        if name in has:
            value = inherited(name, training.table[name].to_pylist())
            values[name] = pa.array([value] * n, known[name])
    table = pa.table({**values, **(columns or {})})
    extra = {p.name: _shared(training, p.name, p.role, n) for p in layout.extra}
    return Population(np.asarray(weights, np.float32), layout, table, extra)


def fingerprint(population: Population) -> str:
    """Hash of networks: names, steps, and all weights."""
    found = blake3(population.layout.id.encode())
    for run, step in zip(population["run_id"], population["step"], strict=True):
        found.update(f"{run}@{step} ".encode())
    found.update(np.ascontiguousarray(population.weights).tobytes())
    return found.hexdigest()[:32]


def _shared(training: Population, name: str, role: str, n: int) -> Array:
    """The largest counter, or the constant that all training networks have."""
    values = training.extra[name]
    if role == "constant" and (values != values[:1]).any():
        raise LayoutMismatch(
            f"Constant {name!r} differs among the training networks, so no sample has one. "
            "Fit to those that agree."
        )
    one = values.max(0) if role == "counter" else values[0]
    return np.repeat(np.asarray(one)[None], n, 0).astype(values.dtype)
