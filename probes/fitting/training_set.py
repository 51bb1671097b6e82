"""Training set of a probe, recorded so that it can be recognised in other catalogues."""

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
    """Relation of the rows of a table to the training set of a probe.

    Attributes
    ----------
    same : ndarray of shape (n,), bool
        True if the run, or equal weights, are in the training set.
    kin : ndarray of shape (n,), bool
        True if the row is not in the training set, but in a group with training networks.
    groups : ndarray of shape (n,)
        Group of each row, by the grouping of the fit; 0 is the training set with all
        related rows.
    """

    same: Array
    kin: Array
    groups: Array


@dataclass(frozen=True)
class TrainingSet:
    """Training set of a fit.

    Attributes
    ----------
    by : str
        Grouping of the fit, one of `probes.judging.folds.BY`.
    runs : tuple of str
        Training runs, by run_id.
    weights : tuple of str
        Fingerprints of the weights of all rows, see `fingerprints`.
    cells : tuple of (str, str)
        Zoo and cell of the runs without parents.
    zoos : tuple of str
        Zoos of the training runs.
    """

    by: str
    runs: tuple[str, ...]
    weights: tuple[str, ...]
    cells: tuple[Cell, ...]
    zoos: tuple[str, ...]

    @classmethod
    def of(cls, catalog: Catalog, table: pa.Table, by: str) -> Self:
        """Record the training rows that `catalog.checkpoints.rows` returned."""
        cells = {cell for cell in _cells(table, parents_in(catalog)) if cell is not None}
        return cls(
            by,
            _distinct(table["run_id"].to_pylist()),
            _distinct(fingerprints(catalog, table)),
            tuple(sorted(cells)),
            _distinct(table["zoo"].to_pylist()),
        )

    @classmethod
    def read(cls, about: Mapping[str, Any], path: Path) -> Self:
        """Read the training set from the ``about`` of a file.

        Raises
        ------
        CatalogError
            If the file was written by an older version, without the training set.
        """
        if "learnt_from" not in about:
            raise CatalogError(
                f"{path} does not record its training set, as it was written by an older "
                "phasezoo, so new networks cannot be recognised. Fit the probe again with "
                f"the same options: phasezoo probe {word(about['result']['probe'])} "
                f"--target {word(about['target'])} --again; or use "
                "probes.load(...).predict(weights)."
            )
        stored = about["learnt_from"]
        return cls(
            stored["by"],
            tuple(about["train"]),
            tuple(stored["weights"]),
            tuple((zoo, cell) for zoo, cell in stored["cells"]),
            tuple(stored["zoos"]),
        )

    def kept(self) -> dict[str, Any]:
        """Return the JSON values that a file stores and `read` takes."""
        learnt_from: dict[str, Any] = {"by": self.by, "weights": self.weights}
        learnt_from |= {"cells": self.cells, "zoos": self.zoos}
        return {"train": list(self.runs), "learnt_from": learnt_from}

    def standing(self, catalog: Catalog, table: pa.Table) -> Standing:
        """Classify rows as training networks, related networks and others.

        Networks are related if `Folds` keeps them on one side: networks that share an
        ancestor, and copies; in a fit by cell also all seeds of a cell, and in a fit by zoo
        all networks of a zoo. In a fit by sibling, children of one parent are not related.
        """
        parents = parents_in(catalog)
        runs, weights = table["run_id"].to_pylist(), fingerprints(catalog, table)
        all_runs = [*self.runs, *runs]
        related: Sequence[object] = (
            [branch(run, parents) for run in all_runs]
            if self.by == "sibling"
            else families(all_runs, parents).tolist()
        )
        keys = [_Key(related[: len(self.runs)], related[len(self.runs) :])]
        keys.append(_Key(self.weights, weights))
        keys.append(_Key((), table["content"].to_pylist()))
        if self.by == "cell":
            keys.append(_Key(self.cells, _cells(table, parents)))
        if self.by == "zoo":
            keys.append(_Key(self.zoos, table["zoo"].to_pylist()))
        first = sum(len(key.learnt) for key in keys)
        groups = joined(*_columns(keys))
        row_groups = groups[first:]
        numbered = np.where(np.isin(row_groups, groups[:first]), 0, row_groups + 1)
        same = np.isin(runs, self.runs) | np.isin(weights, self.weights)
        return Standing(same, (numbered == 0) & ~same, numbered)


@dataclass(frozen=True)
class _Key:
    """Keys of one kind, of the training set and of the rows of a table."""

    learnt: Sequence[object]
    asked: Sequence[object]


def _columns(keys: Sequence[_Key]) -> list[list[object]]:
    """Return columns for `joined`: one key per training entry, all keys of each row."""
    columns: list[list[object]] = []
    for key in keys:
        training_keys = [
            part for k in keys for part in (k.learnt if k is key else _none(k))
        ]
        columns.append([*training_keys, *key.asked])
    return columns


def _none(key: _Key) -> list[None]:
    return [None] * len(key.learnt)


def fingerprints(catalog: Catalog, table: pa.Table) -> list[str]:
    """Return fingerprints (n,) of the weights of the rows; equal tensors have equal ones.

    A fingerprint hashes the names and the stored hashes of all tensors, so no weights are
    read. Unlike ``content``, networks that were trained here have a fingerprint too.

    Raises
    ------
    ShardCorrupt
        If the hashes of a row of a shard are missing.
    """
    shards = sorted(set(table["shard"].to_pylist()))
    hashes = arrow_table(
        catalog.sql(
            "SELECT shard, row, sha256(string_agg(tensor || ' ' || hex(blake3), ' ' "
            "ORDER BY tensor))[:32] AS name FROM tensor_stats "
            f"WHERE shard IN ({', '.join(map(literal, shards))}) GROUP BY shard, row"
        )
    )
    columns = (hashes[name].to_pylist() for name in ("shard", "row", "name"))
    name_of = {(shard, row): name for shard, row, name in zip(*columns, strict=True)}
    keys = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
    names = [name_of.get(key) for key in keys]
    missing = [i for i, name in enumerate(names) if name is None]
    if missing:
        shard, row = (table[name][missing[0]].as_py() for name in ("shard", "row"))
        raise ShardCorrupt(
            f"tensor_stats/ has no hashes of row {row} of shard {shard!r}. Run 'phasezoo "
            "verify', then fetch or train the shard again."
        )
    return [name for name in names if name is not None]


def _cells(table: pa.Table, parents: Parents) -> list[Cell | None]:
    """Return zoo and cell of rows; None for a run with parents, which set its group."""
    names = (table[name].to_pylist() for name in ("run_id", "zoo", "cell"))
    return [
        None if run in parents or cell is None else (zoo, cell)
        for run, zoo, cell in zip(*names, strict=True)
    ]


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
