"""Plan of a fit, checked before any weights are read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from catalog import CatalogError, LayoutMismatch, __version__
from catalog.catalog import Catalog
from catalog.checkpoints import layouts
from catalog.console.pasting import word
from catalog.console.plain_values import plain
from catalog.dtypes import Array
from catalog.names import slug
from catalog.plugins.settings import Settings
from catalog.quoting import literal
from probes.fitting.predictions import measure_id_of
from probes.fitting.selection import TargetSelection
from probes.fitting.settings import probe_named
from probes.judging.folds import Folds
from probes.judging.kinship import parents_in
from probes.layers import chosen_layers
from probes.probe import Probe
from probes.statistics.shaping import SHAPES

AUTO = "auto"
"""Value of --layer that chooses a layer on training networks."""
_FEW = 10
"""Number of tested groups below which a confidence interval is rough."""


@dataclass(frozen=True)
class Plan:
    """Probe, selected networks and folds of one fit.

    Attributes
    ----------
    probe : Probe
        Unfitted probe, without a layout.
    question : TargetSelection
        Selected networks with their targets.
    folds : tuple of Folds
        Folds for each seed.
    deal : int or None
        Number of folds; None: the fixed split, or held-out zoos or trees.
    choose_layer : bool
        True if the layer is chosen on training networks.
    relative : str or None
        Comparison of statistics within zoos, see `StatisticsProbe`.
    where, steps : str
        Condition and checkpoints of the selection.
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
        """Make and check a plan; for parameters see `probes.fitting.fit.fit_probe`.

        Raises
        ------
        CatalogError
            If the request is invalid.
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
        all_folds = tuple(folds if deal else folds * seeds)
        plan = cls(probe, question, all_folds, deal, choose, relative, where, steps)
        plan._check_layers(catalog)
        plan._check_groups()
        plan._check_classes()
        return plan

    @property
    def by_statistics(self) -> bool:
        """True if the probe reads statistics, and so networks of any layouts."""
        return "described" in self.probe.get_params(deep=False)

    @property
    def fixed(self) -> bool:
        """True if there is one training set, that of the fixed split."""
        return not self.deal and not self.folds[0].strata

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the result, as JSON values."""
        excluded = ("layout", "described", "relative", "random_state")
        params = self.probe.get_params(deep=False)
        return {
            "probe": self.probe.name,
            "params": plain({k: value for k, value in params.items() if k not in excluded}),
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
        """Identifier of the predictions; equal plans have equal identifiers."""
        return measure_id_of(self.probe.name, self.provenance)

    @property
    def file(self) -> str:
        """Name of the file that holds the fitted probe."""
        words = slug(f"{self.probe.name} {self.question.name}")
        return f"{words}-{self.measure_id[:8]}.safetensors"

    @property
    def notes(self) -> list[str]:
        """Lines that describe the fit, and warnings."""
        folds, n = self.folds[0], len(self.question)
        sizes = (
            f"{len(folds.folds[0].train):,} for training, {len(folds.folds[0].test):,} for "
            "testing"
            if self.fixed
            else f"{len(folds.folds)} folds"
        )
        lines = [f"{self.probe.name}: {self.question.name} of {n:,} networks, {sizes}"]
        left_out = {**self.question.left_out}
        if len(folds.left_out):
            left_out["parents in several splits, or a copy in the test set"] = len(
                folds.left_out
            )
        lines += [
            f"Left out: {count:,} with {reason}." for reason, count in left_out.items()
        ]
        if 1 < (groups := self.tested_groups) < _FEW:
            lines.append(f"Only {groups} groups are tested: the interval is rough.")
        if unknown := len(self.unknown):
            n_test = sum(len(split.test) for split in folds.folds)
            lines.append(
                f"{unknown:,} of {n_test:,} test networks have a class that no training "
                "network has: no prediction for these can be right."
            )
        if self.relative is not None and self.unseen_zoos:
            lines.append(among_themselves(self.unseen_zoos))
        return lines

    @cached_property
    def zoos(self) -> list[str]:
        """Sorted zoos of the selected networks; relative statistics store their index."""
        return sorted(set(self.question.table["zoo"].to_pylist()))

    @cached_property
    def unseen_zoos(self) -> list[str]:
        """Zoos of test networks without a training network in the same fold."""
        zoos = np.array(self.question.table["zoo"].to_pylist())
        unseen = [
            set(zoos[fold.test]) - set(zoos[fold.train])
            for folds in self.folds
            for fold in folds.folds
        ]
        return sorted(set[str]().union(*unseen))

    @cached_property
    def unknown(self) -> Array:
        """Test rows of the first seed whose class no training network of the fold has."""
        y = self.question.values.y
        if self.question.values.task != "classification" or y.ndim > 1:
            return np.zeros(0, np.int64)
        return np.concatenate(
            [f.test[~np.isin(y[f.test], y[f.train])] for f in self.folds[0].folds]
        )

    @property
    def tested_groups(self) -> int:
        """Number of independent groups of test networks."""
        folds = self.folds[0]
        return len({int(g) for fold in folds.folds for g in folds.clusters[fold.test]})

    def rows(self, side: str) -> Array:
        """Return the rows of the side "train" or "test" of the probe that is saved."""
        if not self.fixed:
            return np.arange(len(self.question) if side == "train" else 0)
        side_rows: Array = getattr(self.folds[0].folds[0], side)
        return side_rows

    def _check_layers(self, catalog: Catalog) -> None:
        if self.relative is not None and not self.by_statistics:
            raise CatalogError(
                f"--relative compares statistics, and {self.probe.name!r} reads weights. "
                "Use the probe 'statistics'."
            )
        if self.relative not in (None, *SHAPES):
            raise CatalogError(
                f"--relative must be one of {', '.join(SHAPES)}. Got {self.relative!r}."
            )
        rows_of = layouts(self.question.table)
        layout_of = {(layout := catalog.layout(arch)).id: layout for arch in rows_of}
        for layout in layout_of.values():
            chosen_layers(layout, self.probe.layer, layout.d)
        if len(layout_of) > 1 and (not self.by_statistics or self.choose_layer):
            largest = max(rows_of, key=lambda arch: len(rows_of[arch]))
            purpose = "--layer auto" if self.choose_layer else f"{self.probe.name!r}"
            raise LayoutMismatch(
                f"The selection has {len(layout_of)} layouts, and {purpose} needs "
                "exactly one. Narrow the selection, e.g. "
                f"--where {word(f'arch_id = {literal(largest)}')} "
                f"({len(rows_of[largest])} networks), or use the "
                "probe 'statistics', which reads any layouts."
            )
        if self.choose_layer and self.by_statistics:
            raise CatalogError(
                "--layer auto is for probes that read weights; 'statistics' reads all "
                "tensors at once, or those that --layer names."
            )

    def _check_groups(self) -> None:
        for folds in self.folds[:1]:
            for fold in folds.folds:
                n_groups = len(np.unique(folds.groups[fold.train]))
                if n_groups < 2 and not folds.strata:
                    raise CatalogError(
                        f"The training set has {n_groups} group of runs by {folds.by}; 2 "
                        "or more are needed, better 20. Widen --where."
                    )

    def _check_classes(self) -> None:
        """Raise an error if no class of the target is on both sides of any fold."""
        tested = np.concatenate([fold.test for fold in self.folds[0].folds])
        if len(self.unknown) < len(tested):
            return
        y, by = self.question.values.y, self.folds[0].by
        runs = self.question.table["run_id"].to_pylist()
        pairs = {(label, run) for label, run in zip(y.tolist(), runs, strict=True)}
        classes = len(np.unique(y))
        if classes < len(pairs):
            advice = "Use --by run" if by != "run" else "Use --folds 5, or widen --where"
        elif y.dtype.kind in "iuf":
            advice = "No class has two runs: use --task regression"
        else:
            advice = (
                "No class has two runs: use a --target whose classes runs share, such as "
                "--target zoo, or NAME=SQL that merges classes"
            )
        n_test_classes = len(np.unique(y[tested]))
        raise CatalogError(
            f"{self.question.name} has {classes:,} classes in {len(y):,} networks. By "
            f"{by}, the test set has {n_test_classes:,} classes and the training set has "
            f"none of these: every prediction would be wrong. {advice}."
        )

    def _digest(self) -> str:
        table, y = self.question.table, self.question.values.y
        digest = hashlib.sha256()
        for name in ("run_id", "step"):
            digest.update("\n".join(map(str, table[name].to_pylist())).encode())
        digest.update("\n".join(map(str, np.ravel(y).tolist())).encode())
        return digest.hexdigest()[:16]


def among_themselves(zoos: Sequence[str]) -> str:
    """Return the warning on relative statistics of zoos outside the training set."""
    named = ", ".join(zoos[:3]) + (", ..." if len(zoos) > 3 else "")
    return (
        f"Statistics of {named} are compared among the predicted networks, as no training "
        "network is from there: without targets, but predictions depend on one another."
    )
