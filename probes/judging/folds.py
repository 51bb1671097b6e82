"""Training and test sets: the fixed splits, folds, and held-out zoos or trees.

Related rows are never divided between the sides: checkpoints of one run, runs and their
descendants, copies of one network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.console.counting import counted
from catalog.dtypes import Array
from catalog.storage.splits import split
from probes.exact.dealing import dealt, sides_of
from probes.judging.kinship import Parents, branch, families, joined

BY = {
    "run": "the fixed split of runs; children are on the side of their parent",
    "sibling": "a split within trees: children of one parent are on both sides",
    "cell": "the fixed split of cells: no seed of a test cell is in the training set",
    "zoo": "each zoo held out in turn",
    "tree": "each tree, all descendants of one run, held out in turn",
}
"""Ways to split, with their descriptions."""

COLUMNS = ("run_id", "step", "zoo", "cell", "content", "split_by_run", "split_by_cell")
"""Columns of `models` that `Folds.of` reads."""


_MOST = 50
"""Maximum number of zoos or trees that are held out one by one."""


@dataclass(frozen=True)
class Fold:
    """One training set with its test set.

    Attributes
    ----------
    name : str
        "test", "fold 1", or the name of the held-out zoo or tree.
    train, test : ndarray of int
        Row numbers; the two sets share no group.
    """

    name: str
    train: Array
    test: Array


@dataclass(frozen=True)
class Folds:
    """Split of rows into folds.

    Attributes
    ----------
    by : str
        One of `BY`.
    folds : tuple of Fold
        Folds; no row is tested twice.
    groups : ndarray of shape (n,)
        Group of each row for choices within a training set, which hold out whole groups.
    clusters : ndarray of shape (n,)
        Group of each row that intervals resample.
    strata : bool
        True if folds are scored separately and averaged: held-out zoos and trees.
    left_out : ndarray of int
        Rows in no fold: rows with parents in several splits, and copies of test rows.
    """

    by: str
    folds: tuple[Fold, ...]
    groups: Array
    clusters: Array
    strata: bool
    left_out: Array

    def inside(self, fold: Fold) -> Array:
        """Return groups of the training rows of a fold, for choices within it.

        If the fold has a single zoo or tree, the groups are the clusters within it.
        """
        groups = self.groups[fold.train]
        if self.strata and len(np.unique(groups)) < 2:
            return self.clusters[fold.train]
        return groups

    @classmethod
    def of(
        cls,
        table: pa.Table,
        parents: Parents,
        by: str = "run",
        *,
        deal: int | None = None,
        seed: int = 0,
    ) -> Folds:
        """Split the rows of a table.

        With the fixed splits, "validation" belongs to the training set: choices are made on
        held-out groups of the training set, so that only "test" is scored.

        Parameters
        ----------
        table : pyarrow.Table
            Table with `COLUMNS`.
        parents : mapping
            Result of `probes.judging.kinship.parents_in`.
        by : str
            One of `BY`.
        deal : int, optional
            Number of folds to which groups are assigned instead of the fixed split; each
            fold is tested once. Only for "run", "sibling" and "cell".
        seed : int
            Seed of the assignment to folds.

        Raises
        ------
        CatalogError
            If a side would be empty; the message says what to do instead.
        """
        if by not in BY:
            raise CatalogError(f"--by must be one of {', '.join(BY)}. Got {by!r}.")
        rows = _Rows({name: table[name].to_pylist() for name in COLUMNS}, parents)
        if by in ("zoo", "tree"):
            if deal is not None:
                raise CatalogError(
                    f"--folds needs --by run, sibling or cell. Got --by {by}."
                )
            return cls._held_out(by, rows)
        if deal is not None:
            return cls._dealt(by, rows.units(by), deal, seed)
        return cls._fixed(by, rows)

    @classmethod
    def _fixed(cls, by: str, rows: _Rows) -> Folds:
        fixed = rows.fixed(by)
        train = np.flatnonzero(np.isin(fixed, ("train", "validation")))
        test = np.flatnonzero(fixed == "test")
        copies = rows.keys["content"]
        tested = {copies[i] for i in test} - {None}
        train = train[[copies[i] not in tested for i in train]] if tested else train
        if not len(train) or not len(test):
            counts = {str(k): int((fixed == k).sum()) for k in sorted(set(fixed), key=str)}
            raise CatalogError(
                f"The fixed split by {by} has no "
                f"{'test' if len(train) else 'training'} networks: {counts}. Select more "
                "runs, use --folds 5, or for children of few parents use --by sibling."
            )
        kept = np.sort(np.concatenate([train, test]))
        left_out = np.setdiff1d(np.arange(len(fixed)), kept)
        units = rows.units(by, kept)
        if shared := np.intersect1d(units[train], units[test]).tolist():
            run = rows.keys["run_id"][int(np.flatnonzero(units == shared[0])[0])]
            raise CatalogError(
                f"{counted(len(shared), 'group')} of related runs, such as that of "
                f"{run!r}, {'is' if len(shared) == 1 else 'are'} on both sides of "
                f"the fixed split by {by}. Use --folds 5."
            )
        return cls(by, (Fold("test", train, test),), units, units, False, left_out)

    @classmethod
    def _dealt(cls, by: str, units: Array, deal: int, seed: int) -> Folds:
        count = units.max() + 1
        if not 2 <= deal <= count:
            raise CatalogError(
                f"--folds must be 2 to {count}, the number of groups by {by}. Got {deal}."
            )
        sides = sides_of(dealt(units, deal, seed))
        folds = tuple(Fold(f"fold {k}", *side) for k, side in enumerate(sides, 1))
        return cls(by, folds, units, units, False, np.zeros(0, np.int64))

    @classmethod
    def _held_out(cls, by: str, rows: _Rows) -> Folds:
        units = rows.units(by)
        names = rows.keys["zoo" if by == "zoo" else "run_id"]
        count = int(units.max()) + 1
        if count < 2:
            raise CatalogError(
                f"--by {by} holds out each {by} in turn and needs two or more {by}s that "
                f"share no run. The selection has one: {names[0]}. Widen --where, or use "
                "--by run."
            )
        runs = set(rows.keys["run_id"])
        if by == "tree" and runs.isdisjoint(rows.parents):
            raise CatalogError(
                f"No selected run has recorded parents, so each of the {len(runs)} runs "
                "would be its own tree; use --by run."
            )
        if count > _MOST:
            raise CatalogError(
                f"--by {by} would fit {count} times, once without each {by}; the limit is "
                f"{_MOST}. Use --by run, which keeps whole trees on one side."
            )
        folds = []
        for unit in range(count):
            unit_rows = np.flatnonzero(units == unit)
            name = " + ".join(
                sorted({names[i] for i in unit_rows})[: 3 if by == "zoo" else 1]
            )
            folds.append(Fold(name, np.flatnonzero(units != unit), unit_rows))
        clusters = rows.units("cell" if by == "zoo" else "sibling")
        return cls(by, tuple(folds), units, clusters, True, np.zeros(0, np.int64))


@dataclass(frozen=True)
class _Rows:
    """Keys of rows, and parents of runs."""

    keys: Mapping[str, list[Any]]
    parents: Parents

    def fixed(self, by: str) -> Array:
        """Return the fixed split of each row."""
        if by == "sibling":
            return np.array([split(branch(r, self.parents)) for r in self.keys["run_id"]])
        return np.array(self.keys[f"split_by_{by}"], object)

    def units(self, by: str, kept: Array | None = None) -> Array:
        """Group (n,) rows that stay together; a row that is not kept is its own group."""
        n = len(self.keys["run_id"])
        kept = np.arange(n) if kept is None else kept
        runs, zoos, cells, copies = (
            [self.keys[name][i] for i in kept]
            for name in ("run_id", "zoo", "cell", "content")
        )
        if by == "sibling":
            groups = joined([branch(run, self.parents) for run in runs], copies)
        else:
            keys: list[Sequence[object]] = [families(runs, self.parents).tolist(), copies]
            if by == "zoo":
                keys.append(zoos)
            if by == "cell":  # a run with parents is in the group of its parents
                keys.append(
                    [
                        None if run in self.parents or cell is None else (zoo, cell)
                        for run, zoo, cell in zip(runs, zoos, cells, strict=True)
                    ]
                )
            groups = joined(*keys)
        units = np.empty(n, np.int64)
        units[kept] = groups
        others = np.setdiff1d(np.arange(n), kept)
        units[others] = groups.max() + 1 + np.arange(len(others))
        return units
