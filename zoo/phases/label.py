"""Phases of all cells of a table, with scores, distances, stability and sensitivity."""

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
    """Phase labels, one entry per (cell, step), in the order of ``cells``.

    Attributes
    ----------
    cells : Cells
        Means and errors from which the labels follow.
    calibration : PhaseCalibration or None
        Cutoffs, anchors and missing phases; None if no cell can be labelled.
    phase : ndarray of str, shape (c,)
        A phase of `PHASES`, or ``unmeasured``.
    reason : ndarray of str, shape (c,)
        Reason why a cell is unmeasured, else empty.
    scores : ndarray of shape (5, c)
        Soft scores, in the order of `PHASES`; they sum to 1, or are NaN.
    confidence : ndarray of shape (c,)
        Score of the cell's own phase.
    distance : ndarray of shape (c,)
        Signed distance to the nearest boundary, in units of the uncertainty of its metric.
    boundary : ndarray of str, shape (c,)
        Metric whose cutoff is nearest.
    stability : ndarray of shape (c,)
        Share of draws from the metrics' standard errors that give the same label; NaN if
        a standard error is not known.
    sensitivity : list of dict
        Number of cells that change their phase when a cutoff moves.
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
        """Return the number of (cell, step) of each phase, ``unmeasured`` last."""
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
        Table as for `zoo.phases.cell_means`: one row per network and step.
    seed : int, default=0
        Seed of the draws behind the stability.
    draws : int, default=200
        Number of draws of the metrics of each cell.
    calibration : PhaseCalibration, optional
        Cutoffs; by default `zoo.phases.find_cutoffs` finds them in the table.
    **anchors : float or None
        ``chance_loss``, ``interpolation_loss``, ``cka_reference``, ``train_loss``,
        ``mode_connectivity``, ``logit_cka`` for `zoo.phases.find_cutoffs`.

    Returns
    -------
    Labels

    Raises
    ------
    CatalogError
        If the table lacks a metric or an anchor that calibration needs.
    """
    cells = cell_means(table)
    if calibration is None:
        complete = set(METRICS) <= set(table.column_names)
        if complete and not (cells.reason == "").any():
            return _unlabelled(cells)
        calibration = find_cutoffs(cells, **anchors)
    cutoffs = calibration.cutoffs
    distance = positions(cells.mean, cells.error, cutoffs)
    phase = labels_of(distance, cells.reason)
    reason = cells.reason.copy()
    reason[(phase == UNMEASURED) & (reason == "")] = "no finite logit_cka"
    soft = np.where(phase == UNMEASURED, np.nan, scores(distance))
    rows = np.array([PHASES.index(name) if name in PHASES else 0 for name in phase])
    signed, boundary = nearest_boundary(distance, phase)
    return Labels(
        cells, calibration, phase, reason, soft,
        np.take_along_axis(soft, rows[None], 0)[0], signed, boundary,
        stability(cells, cutoffs, phase, seed=seed, draws=draws),
        sensitivity(cells, cutoffs, phase),
    )  # fmt: skip


def _unlabelled(cells: Cells) -> Labels:
    """Return the labels of cells of which none can have any phase."""
    nan, empty = np.full(len(cells), np.nan), np.full(len(cells), "", object)
    unknown = np.full(len(cells), UNMEASURED, object)
    return Labels(
        cells, None, unknown, cells.reason, np.full((len(PHASES), len(cells)), np.nan),
        nan, nan, empty, nan, [],
    )  # fmt: skip
