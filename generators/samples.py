"""Samples of a generator as a population of runs with provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
"""Suffix of the zoo of generated networks, which keeps them out of the cells of the zoo."""

Score = Callable[[Population], Array]
"""Score of each network of a population, higher is better, e.g. validation accuracy."""


def sample_runs(
    weights: Array,
    training: Population,
    *,
    generator: str,
    settings: Mapping[str, Any],
    seed: int,
    columns: Mapping[str, Sequence[Any] | Array] | None = None,
) -> Population:
    """Return samples as runs with the metadata on which all training networks agree.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Weights of n samples.
    training : Population
        Training networks of the generator.
    generator : str
        Name of the generator.
    settings : mapping
        JSON values that determine the samples, including the condition.
    seed : int
        Seed of the samples.
    columns : mapping, optional
        Further columns of n values each, by name.

    Returns
    -------
    Population
        ``run_id`` is a hash of generator, settings, training networks, seed, row and
        weights; ``step`` is the largest step of the training networks.

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
    types = {column.name: column.type for column in RUNS}
    column_names = training.table.column_names
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
    if "zoo" in column_names:
        zoo = inherited("zoo", training.table["zoo"].to_pylist())
        values["zoo"] = [f"{zoo or 'mixed'}{GENERATED}"] * n
    for name in INHERITED:
        if name in column_names:
            value = inherited(name, training.table[name].to_pylist())
            values[name] = pa.array([value] * n, types[name])
    table = pa.table({**values, **(columns or {})})
    extra = {p.name: _shared_extra(training, p.name, p.role, n) for p in layout.extra}
    return Population(np.asarray(weights, np.float32), layout, table, extra)


def best_of_each(candidates: Population, of: int, score: Score) -> Population:
    """Return the candidate with the best score of every ``of`` in turn."""
    if of == 1:
        return candidates
    scores = np.asarray(score(candidates), np.float64).reshape(len(candidates) // of, of)
    return candidates.select(np.arange(len(scores)) * of + scores.argmax(1))


def fingerprint(population: Population) -> str:
    """Return a hash of the names, steps and weights of networks."""
    digest = blake3(population.layout.id.encode())
    for run, step in zip(population["run_id"], population["step"], strict=True):
        digest.update(f"{run}@{step} ".encode())
    digest.update(np.ascontiguousarray(population.weights).tobytes())
    return digest.hexdigest()[:32]


def _shared_extra(training: Population, name: str, role: str, n: int) -> Array:
    """Return the largest counter, or the constant that all training networks have."""
    values = training.extra[name]
    if role == "constant" and (values != values[:1]).any():
        raise LayoutMismatch(
            f"The constant {name!r} differs among the training networks, so its value in "
            "samples is undefined. Fit to networks that have the same value."
        )
    value = values.max(0) if role == "counter" else values[0]
    return np.repeat(np.asarray(value)[None], n, 0).astype(values.dtype)
