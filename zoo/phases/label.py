"""Phases of all cells of a table, with what is needed to doubt them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from zoo.phases.calibration import PhaseCalibration, find_cutoffs
from zoo.phases.cells import METRICS, Cells, cell_means
from zoo.phases.rule import PHASES, UNMEASURED, nearest_boundary, positions, scores
from zoo.phases.rule import labels as labels_of
from zoo.phases.sensitivity import sensitivity
from zoo.phases.stability import stability


@dataclass(frozen=True)
class Labels:
    """One entry per (cell, step), in the order of ``cells``.

    Attributes
    ----------
    cells : Cells
        The means that were judged.
    calibration : Calibration or None
        Cutoffs, anchors, what the zoo lacks; None where no cell can be labelled.
    phase : ndarray of str, shape (c,)
        A phase of `PHASES`, or ``unmeasured``.
    reason : ndarray of str, shape (c,)
        Why unmeasured, else empty.
    scores : ndarray of shape (5, c)
        Soft scores, in the order of `PHASES`; they sum to 1, or are NaN.
    confidence : ndarray of shape (c,)
        Score of the cell's own phase.
    distance : ndarray of shape (c,)
        To the nearest boundary, signed, in units of the uncertainty of its metric.
    boundary : ndarray of str, shape (c,)
        The metric whose cutoff is nearest.
    stability : ndarray of shape (c,)
        Share of draws from the metrics' standard errors with the same label; NaN where
        such an error is not known.
    sensitivity : list of dict
        How many cells move when a cutoff does.
    """

    cells: Cells
    calibration: PhaseCalibration | None
    phase: Array
    reason: Array
    scores: Array
    confidence: Array
    distance: Array
    boundary: Array
    stability: Array
    sensitivity: list[dict[str, Any]]

    def counts(self) -> dict[str, int]:
        """Cells (and steps) of each phase, the unmeasured last."""
        return {name: int((self.phase == name).sum()) for name in (*PHASES, UNMEASURED)}


def label_cells(
    table: pa.Table,
    *,
    seed: int = 0,
    draws: int = 200,
    calibration: PhaseCalibration | None = None,
    **anchors: float | None,
) -> Labels:
    """Label every (cell, step) of a table of networks.

    Parameters
    ----------
    table : pyarrow.Table
        Of `zoo.phases.cell_means`: one row per network and step.
    seed : int, default=0
        Of the draws.
    draws : int, default=200
        Draws of the metrics of each cell.
    calibration : Calibration, optional
        Cutoffs; default those that `zoo.phases.find_cutoffs` finds in the table.
    **anchors : float or None
        ``chance_loss``, ``interpolation_loss``, ``cka_reference``, ``train_loss``,
        ``mode_connectivity``, ``logit_cka`` for `zoo.phases.find_cutoffs`.

    Raises
    ------
    CatalogError
        If the table lacks a metric that is needed, or what calibration needs.
    """
    cells = cell_means(table)
    if calibration is None:
        there = set(METRICS) <= set(table.column_names)
        if there and not (cells.reason == "").any():
            return _unlabelled(cells)
        calibration = find_cutoffs(cells, **anchors)
    cutoffs = calibration.cutoffs
    distance = positions(cells.mean, cells.error, cutoffs)
    found = labels_of(distance, cells.reason)
    reason = cells.reason.copy()
    reason[(found == UNMEASURED) & (reason == "")] = "no finite logit_cka"
    soft = np.where(found == UNMEASURED, np.nan, scores(distance))
    own = np.array([PHASES.index(name) if name in PHASES else 0 for name in found])
    signed, boundary = nearest_boundary(distance, found)
    return Labels(
        cells, calibration, found, reason, soft,
        np.take_along_axis(soft, own[None], 0)[0], signed, boundary,
        stability(cells, cutoffs, found, seed=seed, draws=draws),
        sensitivity(cells, cutoffs, found),
    )  # fmt: skip


def _unlabelled(cells: Cells) -> Labels:
    """Of cells that all have a reason why they cannot have any phase."""
    none, words = np.full(len(cells), np.nan), np.full(len(cells), "", object)
    unknown = np.full(len(cells), UNMEASURED, object)
    return Labels(
        cells, None, unknown, cells.reason, np.full((len(PHASES), len(cells)), np.nan),
        none, none, words, none, [],
    )  # fmt: skip
