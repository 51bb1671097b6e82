"""Scores of every layer of a population by its exact linear expert."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import NotFound, Population, Selection
from catalog.dtypes import Array, widen
from catalog.errors import closest
from catalog.quoting import identifier
from probes.exact.centring import check_centring
from probes.exact.ridge import Spectrum, best, check_alphas, held_out_errors, path
from probes.exact.spectrum import spectrum_of
from probes.layers import (
    Dense,
    Layer,
    alone,
    chosen_layers,
    finite,
    layer_matrix,
    layers_of,
)
from probes.targets import Targets


@dataclass(frozen=True)
class Sweep:
    """Result of `sweep`: one fit per layer.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers.
    shapes : tuple of (int, int)
        Shapes of the layers.
    targets : tuple of str
        Names of the targets.
    alphas : ndarray of shape (layers,)
        Penalty of each layer with the highest mean R2.
    r2 : ndarray of shape (layers, targets)
        R2 on held-out groups, in closed form; the mean of the other groups has 0.
    error : ndarray of shape (layers,)
        Standard error of the mean of `r2` over targets, from the spread between groups.
    scores : ndarray of shape (layers,)
        Score of predictions for held-out groups, see `Targets.score`.
    baseline : float
        Score of predicting the mean of the other groups.
    """

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    targets: tuple[str, ...]
    alphas: Array
    r2: Array
    error: Array
    scores: Array
    baseline: float

    @property
    def best(self) -> str:
        """Layer with the highest mean R2; choose a layer on training networks only."""
        return self.layers[int(np.argmax(self.r2.mean(1)))]

    @property
    def table(self) -> pa.Table:
        """Table of layers, best first; with ``r2_TARGET`` columns for several targets."""
        order = np.argsort(-self.r2.mean(1), kind="stable")
        columns = {
            "layer": [self.layers[i] for i in order],
            "rows": [self.shapes[i][0] for i in order],
            "columns": [self.shapes[i][1] for i in order],
            "alpha": self.alphas[order],
            "r2": self.r2.mean(1)[order],
            "r2_error": self.error[order],
            "score": self.scores[order],
            "baseline": np.full(len(order), self.baseline),
        }
        if len(self.targets) > 1:
            for j, target in enumerate(self.targets):
                columns[f"r2_{target}"] = self.r2[order, j]
        return pa.table(columns)


def sweep(
    networks: Population | Selection,
    y: str | Sequence[str] | Array,
    *,
    task: str = "regression",
    layers: Sequence[str] | None = None,
    vectors: bool = False,
    groups: str | Array | None = None,
    root: Any = "mean",
    scale: str | None = "global",
    alphas: Sequence[float] | None = None,
) -> Sweep:
    """Fit `LinearProbe` to every layer, and score it on held-out groups.

    All targets and penalties are fitted at once. One layer is in memory at a time if
    ``networks`` is a selection of a catalogue, ``catalog.open(path).select(where)``; only
    the tensors of that layer are read.

    Parameters
    ----------
    networks : Population or Selection
        Networks whose layers are compared.
    y : str, sequence of str or ndarray of shape (n,) or (n, k)
        Columns of the table of the networks, or values.
    task : {"regression", "classification"}, default="regression"
        Kind of target.
    layers : sequence of str, optional
        Names of layers, see `Probe`. Default: all matrices.
    vectors : bool, default=False
        Include tensors of one axis or none.
    groups : str or ndarray of shape (n,), optional
        Column such as "run_id", or values: rows of one group are held out together.
        Default: each row is its own group.
    root, scale, alphas
        See `LinearProbe`.

    Raises
    ------
    NotFound
        If there is no such column or layer.
    ValueError
        If values are missing or not finite, or there is only one group or class.

    Notes
    -----
    The score of the best of many layers is too optimistic: choose the layer on training
    networks, and evaluate it on held-out networks.

    Examples
    --------
    >>> from catalog import Layout, Param
    >>> layout = Layout((Param("a", (2, 3)), Param("b", (3, 2))))
    >>> weights = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    >>> keys = {"run_id": [str(i) for i in range(30)], "step": [0] * 30}
    >>> table = pa.table({**keys, "accuracy": weights[:, 7]})
    >>> sweep(Population(weights, layout, table), "accuracy").best
    'b'
    """
    penalties = check_alphas(alphas)
    values = _values(networks, y)
    targets = Targets.of(values, task)
    encoded = targets.encode(values)
    rows = _groups(networks, groups)
    cut = 0.5
    truth = targets.decide(encoded, cut)
    empty = Spectrum(np.empty((len(encoded), 0)), np.empty(0), 0.0)
    null = held_out_errors(empty, encoded, rows, np.inf)
    baseline = targets.score(truth, targets.decide(encoded - null, cut))
    layout = networks.layout
    if layers is None and vectors:
        selected = layers_of(layout, vectors=True)
    else:
        selected = chosen_layers(layout, layers, layout.d)
    fits = []
    for X, layer, origin in _read(networks, selected, root):
        finite(X)
        spectrum, _, _ = spectrum_of(X, (layer,), origin, scale)
        scores = path(spectrum, encoded, rows, penalties)
        alpha = best(penalties, scores.mean(1))
        errors = held_out_errors(spectrum, encoded, rows, alpha)
        r2 = scores[penalties.index(alpha)]
        score = targets.score(truth, targets.decide(encoded - errors, cut))
        fits.append((alpha, r2, _error(errors, null, r2, rows), score))
    return Sweep(
        tuple(layer.name for layer in selected),
        tuple(layer.shape for layer in selected),
        _names(y, targets),
        np.array([alpha for alpha, *_ in fits]),
        np.array([r2 for _, r2, *_ in fits]),
        np.array([error for *_, error, _ in fits]),
        np.array([score for *_, score in fits]),
        baseline,
    )


def _read(
    networks: Population | Selection, layers: Sequence[Layer], root: Any
) -> Iterator[tuple[Array, Layer, Any]]:
    """Yield the weights of each layer, the layer within these weights, and the root."""
    check_centring(root, None, networks.layout.d)
    for layer in layers:
        origin = root
        if root is not None and not isinstance(root, str):
            origin = layer_matrix(np.asarray(root)[None], layer)[0]
        if isinstance(networks, Population):
            yield layer_matrix(networks.weights, layer), alone(layer), origin
            continue
        parts = (layer,) if isinstance(layer, Dense) else (layer.up, layer.down)
        tensors = [_tensor(networks, part.name) for part in parts]
        yield tensors[0] if len(tensors) == 1 else np.hstack(tensors), alone(layer), origin


def _tensor(networks: Selection, name: str) -> Array:
    values = networks.tensor(name)
    values = values.reshape(len(values), -1)
    kind = networks.layout[name].dtype
    return values if kind == "float64" else widen(values, kind)


def _values(networks: Population | Selection, y: str | Sequence[str] | Array) -> Array:
    if isinstance(y, str):
        return _column(networks, y)
    if isinstance(y, list | tuple) and all(isinstance(name, str) for name in y):
        return np.stack([_column(networks, name) for name in y], axis=1)
    values = np.asarray(y)
    if len(values) != len(networks):
        raise ValueError(
            f"y has {len(values)} rows and there are {len(networks)} networks."
        )
    return values


def _column(networks: Population | Selection, name: str) -> Array:
    if name not in networks.table.column_names:
        names = networks.table.column_names
        raise NotFound(f"No column {name!r}. {closest(name, names)}")
    column = networks.table[name]
    values: Array = column.to_numpy(zero_copy_only=False)
    n_missing = column.null_count
    if values.dtype.kind == "f":
        n_missing = int((~np.isfinite(values)).sum())
    if n_missing:
        quoted = identifier(name)
        condition = f"{quoted} IS NOT NULL AND isfinite({quoted})"
        raise ValueError(
            f"{n_missing} of {len(values)} networks have no finite {name!r}. Leave "
            f"these out: catalog.select({condition!r})."
        )
    return values.astype(str) if values.dtype == object else values


def _groups(networks: Population | Selection, groups: str | Array | None) -> Array:
    if groups is None:
        return np.arange(len(networks))
    values = _column(networks, groups) if isinstance(groups, str) else np.asarray(groups)
    if len(values) != len(networks):
        raise ValueError(
            f"groups has {len(values)} rows and there are {len(networks)} networks."
        )
    _, inverse = np.unique(values, return_inverse=True)
    return inverse


def _names(y: str | Sequence[str] | Array, targets: Targets) -> tuple[str, ...]:
    if targets.kind == "multiclass" and targets.classes is not None:
        return tuple(str(name) for name in targets.classes)
    if isinstance(y, str):
        return (y,)
    if isinstance(y, list | tuple) and all(isinstance(name, str) for name in y):
        return tuple(y)
    return tuple(str(i) for i in range(targets.width))


def _error(errors: Array, null: Array, r2: Array, groups: Array) -> float:
    """Standard error of the mean R2 over groups, by linearisation of a ratio of sums."""
    total = np.square(null).sum(0)
    varies = total > 0
    deviations = (np.square(errors) - (1 - r2) * np.square(null))[:, varies] / total[varies]
    group_sums = np.bincount(groups, deviations.sum(1) / len(r2))
    n = len(group_sums)
    return float(np.sqrt(n / (n - 1) * np.square(group_sums).sum()))
