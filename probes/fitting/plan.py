"""Everything about a fit that can be known, and refused, before weights are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from catalog import CatalogError, LayoutMismatch, __version__
from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.console.plain_values import plain
from catalog.dtypes import Array
from catalog.names import slug
from catalog.plugins.settings import Settings
from catalog.quoting import literal
from probes.fitting.predictions import measure_id_of
from probes.fitting.selection import TargetSelection, layouts
from probes.fitting.settings import probe_named
from probes.judging.folds import Folds
from probes.judging.kinship import parents_in
from probes.layers import chosen_layers
from probes.probe import Probe
from probes.statistics.shaping import SHAPES

AUTO = "auto"
"""In place of a layer: choose one on training networks."""
_FEW = 10
"""Tested groups below which an interval is rough."""


@dataclass(frozen=True)
class Plan:
    """A probe, the networks it learns from and is judged on, and what it may do.

    Attributes
    ----------
    probe : Probe
        Unfitted, without a layout.
    question : Question
    folds : tuple of Folds
        One for each seed.
    deal : int or None
        Folds that groups are dealt to; None: the fixed split, or held-out zoos or trees.
    choose_layer : bool
    relative : str or None
        How statistics are compared within zoos, see `StatisticsProbe`.
    where, steps : str
        As the question was asked.
    """

    probe: Probe
    question: TargetSelection
    folds: tuple[Folds, ...]
    deal: int | None
    choose_layer: bool
    relative: str | None
    where: str
    steps: str

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        name: str,
        targets: Sequence[str],
        *,
        where: str = "true",
        steps: str = "last",
        task: str = "auto",
        by: str = "run",
        deal: int | None = None,
        layer: Sequence[str] = (),
        seeds: int = 1,
        settings: Settings = (),
        relative: str | None = None,
    ) -> Plan:
        """Check everything; parameters as of `probes.fitting.fit.fit_probe`.

        Raises
        ------
        CatalogError
            If something is asked that cannot be answered.
        """
        if seeds < 1:
            raise CatalogError(f"--seeds must be at least 1. Got {seeds}.")
        probe = probe_named(name, settings)
        question = TargetSelection.of(catalog, targets, where=where, steps=steps, task=task)
        choose = tuple(layer) == (AUTO,)
        probe.set_params(
            task=question.values.task, layer=list(layer) if layer and not choose else None
        )
        parents = parents_in(catalog)
        count = seeds if deal else 1
        folds = [
            Folds.of(question.table, parents, by, deal=deal, seed=seed)
            for seed in range(count)
        ]
        every = tuple(folds if deal else folds * seeds)
        plan = cls(probe, question, every, deal, choose, relative, where, steps)
        plan._check_layers(catalog)
        plan._check_groups()
        plan._check_classes()
        return plan

    @property
    def by_statistics(self) -> bool:
        """Whether the probe reads statistics, so networks of any layouts."""
        return "described" in self.probe.get_params(deep=False)

    @property
    def fixed(self) -> bool:
        """Whether there is one training side, that of the fixed split."""
        return not self.deal and not self.folds[0].strata

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the result follows from, as JSON values."""
        left = ("layout", "described", "relative", "random_state")
        params = self.probe.get_params(deep=False)
        return {
            "probe": self.probe.name,
            "params": plain({k: value for k, value in params.items() if k not in left}),
            "choose_layer": self.choose_layer,
            "targets": self.question.expressions,
            "where": self.where,
            "steps": self.steps,
            "by": self.folds[0].by,
            "folds": self.deal,
            "seeds": len(self.folds),
            "relative": self.relative,
            "data": self._digest(),
            "code": __version__,
        }

    @property
    def measure_id(self) -> str:
        """Identity of the predictions: equal plans have equal ones."""
        return measure_id_of(self.probe.name, self.provenance)

    @property
    def file(self) -> str:
        """Name of the file that holds the fitted probe."""
        words = slug(f"{self.probe.name} {self.question.name}")
        return f"{words}-{self.measure_id[:8]}.safetensors"

    @property
    def notes(self) -> list[str]:
        """What will be done, and what to mind."""
        fold, n = self.folds[0], len(self.question)
        ends = (
            f"{len(fold.folds[0].train):,} to learn from, {len(fold.folds[0].test):,} to "
            "judge on"
            if self.fixed
            else f"{len(fold.folds)} folds"
        )
        lines = [f"{self.probe.name}: {self.question.name} of {n:,} networks, {ends}"]
        lost = {**self.question.left_out}
        if len(fold.left_out):
            lost["of parents in several splits, or copies"] = len(fold.left_out)
        lines += [f"Left out: {count:,} with {why}." for why, count in lost.items()]
        if 1 < (groups := self.tested_groups) < _FEW:
            lines.append(f"Only {groups} groups are judged: the interval is rough.")
        if unknown := len(self.unknown):
            judged = sum(len(one.test) for one in fold.folds)
            lines.append(
                f"{unknown:,} of {judged:,} judged networks have a class that is not "
                "learnt from: errors, whatever the probe says."
            )
        if self.relative is not None and self.unseen_zoos:
            lines.append(among_themselves(self.unseen_zoos))
        return lines

    @cached_property
    def zoos(self) -> list[str]:
        """Of the networks asked about, sorted: zoo 0, 1, ... of relative statistics."""
        return sorted(set(self.question.table["zoo"].to_pylist()))

    @cached_property
    def unseen_zoos(self) -> list[str]:
        """Zoos of judged networks of which none is learnt from in the same fold."""
        zoos = np.array(self.question.table["zoo"].to_pylist())
        found = [
            set(zoos[fold.test]) - set(zoos[fold.train])
            for folds in self.folds
            for fold in folds.folds
        ]
        return sorted(set[str]().union(*found))

    @cached_property
    def unknown(self) -> Array:
        """Judged rows of the first seed whose class no training network of the fold has."""
        y = self.question.values.y
        if self.question.values.task != "classification" or y.ndim > 1:
            return np.zeros(0, np.int64)
        return np.concatenate(
            [f.test[~np.isin(y[f.test], y[f.train])] for f in self.folds[0].folds]
        )

    @property
    def tested_groups(self) -> int:
        """Independent groups of networks that are judged."""
        folds = self.folds[0]
        return len({int(g) for fold in folds.folds for g in folds.clusters[fold.test]})

    def rows(self, side: str) -> Array:
        """Rows of the side "train" or "test" of the probe that is kept."""
        if not self.fixed:
            return np.arange(len(self.question) if side == "train" else 0)
        found: Array = getattr(self.folds[0].folds[0], side)
        return found

    def _check_layers(self, catalog: Catalog) -> None:
        if self.relative is not None and not self.by_statistics:
            raise CatalogError(
                f"--relative shapes statistics, and {self.probe.name!r} reads weights. "
                "Take the probe 'statistics'."
            )
        if self.relative not in (None, *SHAPES):
            raise CatalogError(
                f"--relative must be one of {', '.join(SHAPES)}. Got {self.relative!r}."
            )
        found = layouts(self.question.table)
        kinds = {(layout := catalog.layout(arch)).id: layout for arch in found}
        for layout in kinds.values():
            chosen_layers(layout, self.probe.layer, layout.d)
        if len(kinds) > 1 and (not self.by_statistics or self.choose_layer):
            largest = max(found, key=lambda arch: len(found[arch]))
            what = (
                "a layer is chosen in"
                if self.choose_layer
                else "this probe reads weights of"
            )
            raise LayoutMismatch(
                f"The selection has {len(kinds)} layouts, and {what} one. Narrow it, e.g. "
                f"--where {word(f'arch_id = {literal(largest)}')} "
                f"({len(found[largest])} networks), or "
                "take the probe 'statistics', which reads any."
            )
        if self.choose_layer and self.by_statistics:
            raise CatalogError(
                "--layer auto is of probes that read weights; 'statistics' reads all "
                "tensors at once, or those that --layer names."
            )

    def _check_groups(self) -> None:
        for folds in self.folds[:1]:
            for fold in folds.folds:
                learnt = len(np.unique(folds.groups[fold.train]))
                if learnt < 2 and not folds.strata:
                    raise CatalogError(
                        f"There is {learnt} group of runs to learn from, by "
                        f"{folds.by}; 2 or more are needed, better 20. Widen --where."
                    )

    def _check_classes(self) -> None:
        """Refuse a target of which no class is on both sides of any fold."""
        tested = np.concatenate([fold.test for fold in self.folds[0].folds])
        if len(self.unknown) < len(tested):
            return
        y, by = self.question.values.y, self.folds[0].by
        runs = self.question.table["run_id"].to_pylist()
        pairs = {(label, run) for label, run in zip(y.tolist(), runs, strict=True)}
        classes = len(np.unique(y))
        if classes < len(pairs):
            paste = "Paste --by run" if by != "run" else "Paste --folds 5, or widen --where"
        elif y.dtype.kind in "iuf":
            paste = "No class has two runs: paste --task regression"
        else:
            paste = (
                "No class has two runs: paste a --target whose classes runs share, such as "
                "--target zoo, or NAME=SQL that joins them"
            )
        judged = len(np.unique(y[tested]))
        raise CatalogError(
            f"{self.question.name} has {classes:,} classes in {len(y):,} networks. By "
            f"{by}, {judged:,} of them are judged and 0 of these are learnt from: every "
            f"answer would be wrong. {paste}."
        )

    def _digest(self) -> str:
        table, y = self.question.table, self.question.values.y
        digest = hashlib.sha256()
        for name in ("run_id", "step"):
            digest.update("\n".join(map(str, table[name].to_pylist())).encode())
        digest.update("\n".join(map(str, np.ravel(y).tolist())).encode())
        return digest.hexdigest()[:16]


def among_themselves(zoos: Sequence[str]) -> str:
    """What to mind of relative statistics of zoos that are not learnt from."""
    named = ", ".join(zoos[:3]) + (", ..." if len(zoos) > 3 else "")
    return (
        f"Statistics of {named} are compared among the predicted networks, as none is "
        "learnt from: without targets, but each prediction depends on the others."
    )
