"""What is learnt from and what is judged on: the fixed splits, folds, and held-out zoos.

Rows that belong together never stand on both sides: checkpoints of one run, runs and what
was made from them, copies of one network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError
from catalog.dtypes import Array
from catalog.storage.splits import split
from probes.judging.kinship import Parents, branch, families, joined

BY = {
    "run": "the fixed split of runs; children are in their parent's",
    "sibling": "inside of trees: children of one parent stand on both sides",
    "cell": "the fixed split of cells: no seed of a tested cell is learnt from",
    "zoo": "each zoo held out in turn",
    "tree": "each tree, all that descends from one run, held out in turn",
}
"""Ways to split, and what they mean."""

COLUMNS = ("run_id", "step", "zoo", "cell", "content", "split_by_run", "split_by_cell")
"""What `Folds.of` reads of `models`."""


_MOST = 50
"""Zoos or trees that are held out one by one."""


@dataclass(frozen=True)
class Fold:
    """One time of learning and judging.

    Attributes
    ----------
    name : str
        "test", "fold 1", or the zoo or tree that is held out.
    train, test : ndarray of int
        Rows, which share no group.
    """

    name: str
    train: Array
    test: Array


@dataclass(frozen=True)
class Folds:
    """How rows are split.

    Attributes
    ----------
    by : str
        One of `BY`.
    folds : tuple of Fold
        No row is tested twice.
    groups : ndarray of shape (n,)
        For choices inside of training: rows of one group are on one side.
    clusters : ndarray of shape (n,)
        What intervals resample.
    strata : bool
        Whether folds are judged apart and their scores averaged: held-out zoos and trees.
    left_out : ndarray of int
        Rows in no fold: made from parents in several splits, or a copy of a tested one.
    """

    by: str
    folds: tuple[Fold, ...]
    groups: Array
    clusters: Array
    strata: bool
    left_out: Array

    def inside(self, fold: Fold) -> Array:
        """Groups of the training rows of a fold, for what is chosen there.

        Where it has one zoo or tree, choices are made on what is told apart inside.
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

        Of the fixed splits "validation" is learnt from too: what has to be chosen is
        chosen on held-out groups of the training side, so that "test" alone is judged on.

        Parameters
        ----------
        table : pyarrow.Table
            With `COLUMNS`.
        parents : mapping
            As `probes.judging.kinship.parents_in` gives them.
        by : str
            One of `BY`.
        deal : int, optional
            Instead of the fixed split, deal the groups to this many folds, each tested
            once. Only by run, sibling and cell.
        seed : int
            Of the dealing.

        Raises
        ------
        CatalogError
            If a side would be empty, with what to do instead.
        """
        if by not in BY:
            raise CatalogError(f"--by must be one of {', '.join(BY)}. Got {by!r}.")
        rows = _Rows({name: table[name].to_pylist() for name in COLUMNS}, parents)
        if by in ("zoo", "tree"):
            if deal is not None:
                raise CatalogError(
                    f"--folds goes with --by run, sibling or cell, not {by}."
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
                f"The fixed split by {by} leaves nothing to "
                f"{'judge on' if len(train) else 'learn from'}: {counts}. Select more "
                "runs, deal them out with --folds 5, or for children of few parents use "
                "--by sibling."
            )
        kept = np.sort(np.concatenate([train, test]))
        left_out = np.setdiff1d(np.arange(len(fixed)), kept)
        units = rows.units(by, kept)
        if both := np.intersect1d(units[train], units[test]).tolist():
            run = rows.keys["run_id"][int(np.flatnonzero(units == both[0])[0])]
            raise CatalogError(
                f"{len(both)} groups of related runs, such as that of {run!r}, stand on "
                f"both sides of the fixed split by {by}. Deal them out: --folds 5"
            )
        return cls(by, (Fold("test", train, test),), units, units, False, left_out)

    @classmethod
    def _dealt(cls, by: str, units: Array, deal: int, seed: int) -> Folds:
        count = units.max() + 1
        if not 2 <= deal <= count:
            raise CatalogError(
                f"--folds must be 2 to {count}, the number of groups by {by}. Got {deal}."
            )
        place = np.random.default_rng(seed).permutation(count) % deal
        side = place[units]
        folds = tuple(
            Fold(f"fold {k + 1}", np.flatnonzero(side != k), np.flatnonzero(side == k))
            for k in range(deal)
        )
        return cls(by, folds, units, units, False, np.zeros(0, np.int64))

    @classmethod
    def _held_out(cls, by: str, rows: _Rows) -> Folds:
        units = rows.units(by)
        names = rows.keys["zoo" if by == "zoo" else "run_id"]
        count = int(units.max()) + 1
        if count < 2:
            raise CatalogError(
                f"--by {by} holds out each {by} in turn and needs two or more that share "
                f"no run. The selection has one: {names[0]}. Widen --where, or use --by "
                "run."
            )
        runs = set(rows.keys["run_id"])
        if by == "tree" and runs.isdisjoint(rows.parents):
            raise CatalogError(
                f"No run here has recorded parents, so each of {len(runs)} would be a tree "
                "of its own; use --by run."
            )
        if count > _MOST:
            raise CatalogError(
                f"--by {by} would learn {count} times, once without each {by}. Use --by "
                "run: whole trees are in one of its splits."
            )
        folds = []
        for unit in range(count):
            mine = np.flatnonzero(units == unit)
            name = " + ".join(sorted({names[i] for i in mine})[: 3 if by == "zoo" else 1])
            folds.append(Fold(name, np.flatnonzero(units != unit), mine))
        clusters = rows.units("cell" if by == "zoo" else "sibling")
        return cls(by, tuple(folds), units, clusters, True, np.zeros(0, np.int64))


@dataclass(frozen=True)
class _Rows:
    """Keys of rows, and who descends from whom."""

    keys: Mapping[str, list[Any]]
    parents: Parents

    def fixed(self, by: str) -> Array:
        """The fixed split of each row."""
        if by == "sibling":
            return np.array([split(branch(r, self.parents)) for r in self.keys["run_id"]])
        return np.array(self.keys[f"split_by_{by}"], object)

    def units(self, by: str, kept: Array | None = None) -> Array:
        """Group (n,) of rows that stay together; rows that are not kept are alone."""
        n = len(self.keys["run_id"])
        kept = np.arange(n) if kept is None else kept
        runs, zoos, cells, copies = (
            [self.keys[name][i] for i in kept]
            for name in ("run_id", "zoo", "cell", "content")
        )
        if by == "sibling":
            found = joined([branch(run, self.parents) for run in runs], copies)
        else:
            kin: list[Sequence[object]] = [families(runs, self.parents).tolist(), copies]
            if by == "zoo":
                kin.append(zoos)
            if by == "cell":  # what was made from others is where they are
                kin.append(
                    [
                        None if run in self.parents or cell is None else (zoo, cell)
                        for run, zoo, cell in zip(runs, zoos, cells, strict=True)
                    ]
                )
            found = joined(*kin)
        units = np.empty(n, np.int64)
        units[kept] = found
        others = np.setdiff1d(np.arange(n), kept)
        units[others] = found.max() + 1 + np.arange(len(others))
        return units
