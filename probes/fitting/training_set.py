"""What a probe learnt from, in words that hold in other catalogues too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from catalog import CatalogError, ShardCorrupt
from catalog.catalog import Catalog, arrow_table
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.quoting import literal
from probes.judging.kinship import Parents, branch, families, joined, parents_in

Cell = tuple[str, str]


@dataclass(frozen=True)
class Standing:
    """How the rows of a table stand to what a probe learnt from.

    Attributes
    ----------
    same : ndarray of shape (n,), bool
        The probe learnt from this run, or from these very weights.
    kin : ndarray of shape (n,), bool
        It did not; but from what the fit keeps on one side with them.
    groups : ndarray of shape (n,)
        Of rows that such a fit keeps together; 0 is what was learnt from, and its kin.
    """

    same: Array
    kin: Array
    groups: Array


@dataclass(frozen=True)
class TrainingSet:
    """The training side of a fit.

    Attributes
    ----------
    by : str
        One of `probes.judging.folds.BY`: which networks the fit took for kin.
    runs : tuple of str
        Their run_ids.
    weights : tuple of str
        As `fingerprints` names the weights of every row.
    cells : tuple of (str, str)
        Zoo and cell of what was not made from others.
    zoos : tuple of str
    """

    by: str
    runs: tuple[str, ...]
    weights: tuple[str, ...]
    cells: tuple[Cell, ...]
    zoos: tuple[str, ...]

    @classmethod
    def of(cls, catalog: Catalog, table: pa.Table, by: str) -> Self:
        """Take it from the training rows, as `probes.fitting.selection.rows` gives them."""
        cells = {cell for cell in _cells(table, parents_in(catalog)) if cell is not None}
        return cls(
            by,
            _each(table["run_id"].to_pylist()),
            _each(fingerprints(catalog, table)),
            tuple(sorted(cells)),
            _each(table["zoo"].to_pylist()),
        )

    @classmethod
    def read(cls, about: Mapping[str, Any], path: Path) -> Self:
        """Of a file.

        Raises
        ------
        CatalogError
            If an older version wrote it, which did not keep it.
        """
        if "learnt_from" not in about:
            raise CatalogError(
                f"{path} does not say which weights it learnt from: an older phasezoo "
                "wrote it, and what is new to it cannot be told. Fit it again, with the "
                f"options it had: phasezoo probe {word(about['result']['probe'])} --target "
                f"{word(about['target'])} --again; or use "
                "probes.load(...).predict(weights)."
            )
        kept = about["learnt_from"]
        return cls(
            kept["by"],
            tuple(about["train"]),
            tuple(kept["weights"]),
            tuple((zoo, cell) for zoo, cell in kept["cells"]),
            tuple(kept["zoos"]),
        )

    def kept(self) -> dict[str, Any]:
        """JSON values that `read` takes, under the names that files have."""
        own: dict[str, Any] = {"by": self.by, "weights": self.weights}
        own |= {"cells": self.cells, "zoos": self.zoos}
        return {"train": list(self.runs), "learnt_from": own}

    def standing(self, catalog: Catalog, table: pa.Table) -> Standing:
        """Tell rows that were learnt from, their kin and others apart.

        Kin is what `Folds` keeps on one side: what shares an ancestor, and copies; in a
        fit by cell also all seeds of a cell, by zoo all of a zoo. In a fit by sibling,
        children of one parent are strangers.
        """
        parents = parents_in(catalog)
        runs, weights = table["run_id"].to_pylist(), fingerprints(catalog, table)
        lines = [*self.runs, *runs]
        kin: Sequence[object] = (
            [branch(run, parents) for run in lines]
            if self.by == "sibling"
            else families(lines, parents).tolist()
        )
        keys = [_Key(kin[: len(self.runs)], kin[len(self.runs) :])]
        keys.append(_Key(self.weights, weights))
        keys.append(_Key((), table["content"].to_pylist()))
        if self.by == "cell":
            keys.append(_Key(self.cells, _cells(table, parents)))
        if self.by == "zoo":
            keys.append(_Key(self.zoos, table["zoo"].to_pylist()))
        first = sum(len(key.learnt) for key in keys)
        groups = joined(*_columns(keys))
        own = groups[first:]
        found = np.where(np.isin(own, groups[:first]), 0, own + 1)
        same = np.isin(runs, self.runs) | np.isin(weights, self.weights)
        return Standing(same, (found == 0) & ~same, found)


@dataclass(frozen=True)
class _Key:
    """One kind of key: those that were learnt from, and those of the rows asked about."""

    learnt: Sequence[object]
    asked: Sequence[object]


def _columns(keys: Sequence[_Key]) -> list[list[object]]:
    """For `joined`: what was learnt from has one key each, rows all of theirs."""
    columns: list[list[object]] = []
    for key in keys:
        learnt = [part for k in keys for part in (k.learnt if k is key else _none(k))]
        columns.append([*learnt, *key.asked])
    return columns


def _none(key: _Key) -> list[None]:
    return [None] * len(key.learnt)


def fingerprints(catalog: Catalog, table: pa.Table) -> list[str]:
    """A name (n,) for the weights of each row: equal ones have equal tensors.

    Hashes the names of tensors and their hashes, which a catalogue has of all: no weight
    is read. Unlike ``content``, networks that were trained here have one too.

    Raises
    ------
    ShardCorrupt
        If a shard has no hashes of a row.
    """
    shards = sorted(set(table["shard"].to_pylist()))
    found = arrow_table(
        catalog.sql(
            "SELECT shard, row, sha256(string_agg(tensor || ' ' || hex(blake3), ' ' "
            "ORDER BY tensor))[:32] AS name FROM tensor_stats "
            f"WHERE shard IN ({', '.join(map(literal, shards))}) GROUP BY shard, row"
        )
    )
    columns = (found[name].to_pylist() for name in ("shard", "row", "name"))
    known = {(shard, row): name for shard, row, name in zip(*columns, strict=True)}
    keys = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
    names = [known.get(key) for key in keys]
    lacking = [i for i, name in enumerate(names) if name is None]
    if lacking:
        shard, row = (table[name][lacking[0]].as_py() for name in ("shard", "row"))
        raise ShardCorrupt(
            f"tensor_stats/ has no hashes of row {row} of shard {shard!r}. Run 'phasezoo "
            "verify', then fetch or train the shard again."
        )
    return [name for name in names if name is not None]


def _cells(table: pa.Table, parents: Parents) -> list[Cell | None]:
    """Zoo and cell of rows; what was made from others is where these are."""
    names = (table[name].to_pylist() for name in ("run_id", "zoo", "cell"))
    return [
        None if run in parents or cell is None else (zoo, cell)
        for run, zoo, cell in zip(*names, strict=True)
    ]


def _each(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
