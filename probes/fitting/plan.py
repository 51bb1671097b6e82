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
from catalog.console.counting import counted
from catalog.console.pasting import word
from catalog.console.plain_values import plain
from catalog.dtypes import Array
from catalog.names import slug
from catalog.quoting import literal
from probes.fitting.predictions import measure_id_of
from probes.fitting.request import FitRequest, by_statistics
from probes.fitting.selection import TargetSelection
from probes.judging.folds import Folds
from probes.judging.kinship import parents_in
from probes.layers import chosen_layers
from probes.probe import Probe

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
    request : FitRequest
        What was requested.
    """

    probe: Probe
    question: TargetSelection
    folds: tuple[Folds, ...]
    request: FitRequest

    @classmethod
    def of(cls, catalog: Catalog, request: FitRequest) -> Plan:
        """Make and check a plan.

        Raises
        ------
        CatalogError
            If the request does not suit the catalogue.
        """
        question = TargetSelection.of(
            catalog,
            request.targets,
            where=request.where,
            steps=request.steps,
            task=request.task,
        )
        named_layers = [] if request.chooses_layer else list(request.layer)
        probe = request.unfitted().set_params(
            task=question.values.task, layer=named_layers or None
        )
        parents = parents_in(catalog)
        count = request.seeds if request.deal else 1
        folds = [
            Folds.of(question.table, parents, request.by, deal=request.deal, seed=seed)
            for seed in range(count)
        ]
        all_folds = tuple(folds if request.deal else folds * request.seeds)
        plan = cls(probe, question, all_folds, request)
        plan._check_layers(catalog)
        plan._check_groups()
        plan._check_classes()
        return plan

    @property
    def by_statistics(self) -> bool:
        """True if the probe reads statistics, and so networks of any layouts."""
        return by_statistics(self.probe)

    @property
    def fixed(self) -> bool:
        """True if there is one training set, that of the fixed split."""
        return not self.request.deal and not self.folds[0].strata

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the result, as JSON values."""
        excluded = ("layout", "described", "relative", "random_state")
        params = self.probe.get_params(deep=False)
        return {
            "probe": self.probe.name,
            "params": plain({k: value for k, value in params.items() if k not in excluded}),
            "choose_layer": self.request.chooses_layer,
            "targets": self.question.expressions,
            **self.request.recorded(),
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
        lines = [
            f"{self.probe.name}: {self.question.name} of {counted(n, 'network')}, {sizes}"
        ]
        left_out = {**self.question.left_out}
        if len(folds.left_out):
            left_out["parents in several splits, or a copy in the test set"] = len(
                folds.left_out
            )
        lines += [
            f"Left out: {count:,} with {reason}." for reason, count in left_out.items()
        ]
        if 1 < (groups := self.tested_groups) < _FEW:
            lines.append(
                f"The test set has only {groups} groups of runs: the interval is rough."
            )
        if unknown := len(self.unknown):
            n_test = sum(len(split.test) for split in folds.folds)
            lines.append(
                f"{unknown:,} of {counted(n_test, 'test network')} "
                f"{'has' if unknown == 1 else 'have'} a class that no training "
                "network has: no prediction for these can be right."
            )
        if self.request.relative is not None and self.unseen_zoos:
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
        rows_of = layouts(self.question.table)
        layout_of = {(layout := catalog.layout(arch)).id: layout for arch in rows_of}
        for layout in layout_of.values():
            chosen_layers(layout, self.probe.layer, layout.d)
        if len(layout_of) > 1 and not self.by_statistics:
            largest = max(rows_of, key=lambda arch: len(rows_of[arch]))
            chooses = self.request.chooses_layer
            purpose = "--layer auto" if chooses else f"{self.probe.name!r}"
            raise LayoutMismatch(
                f"The selection has {len(layout_of)} layouts, and {purpose} needs "
                "exactly one. Narrow the selection, e.g. "
                f"--where {word(f'arch_id = {literal(largest)}')} "
                f"({counted(len(rows_of[largest]), 'network')}), or use the "
                "probe 'statistics', which reads any layouts."
            )

    def _check_groups(self) -> None:
        for folds in self.folds[:1]:
            for fold in folds.folds:
                n_groups = len(np.unique(folds.groups[fold.train]))
                if n_groups < 2 and not folds.strata:
                    raise CatalogError(
                        f"The training set has {counted(n_groups, 'group')} of runs by "
                        f"{folds.by}; 2 or more are needed, better 20. Widen --where."
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
            f"{by}, the test set has {counted(n_test_classes, 'class', 'classes')} and the "
            f"training set has none of these: every prediction would be wrong. {advice}."
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
