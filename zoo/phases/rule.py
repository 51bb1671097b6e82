"""Rule that assigns phases from train loss, mode connectivity and CKA, given the cutoffs.

The table of phases is that of Yang et al. 2021 [1]_ and of the phase zoo [2]_, which give
no thresholds and draw the regions by eye. Sharpness does not decide the phase: for a
cross-entropy it follows the train loss; `zoo.phases.calibration` reports whether it does.

References
----------
.. [1] Yang et al., 2021, arXiv:2107.11228.
.. [2] Model Zoos for Phase Transitions, 2025, arXiv:2504.18072.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from catalog.dtypes import Array
from zoo.phases.cells import METRICS

PHASES = ("I", "II", "III", "IV-A", "IV-B")
"""Phases: under-fitted and under-sized, under-fitted, under-sized, over-fitted,
generalising."""

UNMEASURED = "unmeasured"

STEEP = np.pi / np.sqrt(3)
"""Slope at which a logistic curve has the spread of a standard normal distribution."""


@dataclass(frozen=True)
class Cutoff:
    """Cutoff at which one metric separates two phases.

    Attributes
    ----------
    metric : str
        ``train_loss`` (nats), ``mode_connectivity`` (fraction of train error) or
        ``logit_cka``.
    value : float
        Value of the cutoff, in units of the metric.
    scale : float
        Uncertainty of the cutoff, in addition to the standard error of a cell: in natural
        logarithms for the train loss, otherwise in units of the metric.
    anchors : dict of str to float
        Levels of the metric that the cutoff lies between or comes from.
    origin : str
        Origin of the cutoff, in words.
    errors : float
        Number of standard errors: a value counts as below the cutoff only if it also lies
        below 0 by this many of the cell's own standard errors.
    """

    metric: str
    value: float
    scale: float
    anchors: dict[str, float]
    origin: str
    errors: float = 0.0


@dataclass(frozen=True)
class Cutoffs:
    """Cutoffs of the three metrics."""

    train_loss: Cutoff
    mode_connectivity: Cutoff
    logit_cka: Cutoff

    def to_json(self) -> dict[str, Any]:
        """Return the cutoffs as JSON values."""
        return asdict(self)


def positions(
    mean: Mapping[str, Array], error: Mapping[str, Array], cutoffs: Cutoffs
) -> Array:
    """Return the signed distance of every cell from every cutoff.

    Parameters
    ----------
    mean, error : mapping of str to ndarray of shape (c,)
        Means and standard errors of each of `METRICS`, as in `Cells`.
    cutoffs : Cutoffs
        Cutoffs of the metrics.

    Returns
    -------
    ndarray of shape (3, c)
        Distances in the order of `METRICS`; positive is low train loss, no barrier, high
        CKA. The unit is the uncertainty, ``sqrt(scale**2 + standard error**2)``. NaN where
        a metric is not measured.
    """
    distances = []
    for name in METRICS:
        cutoff: Cutoff = getattr(cutoffs, name)
        value, spread = mean[name], error[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            if name == "train_loss":
                # A loss of 0 has no logarithm; the smallest float stands for it.
                value = np.maximum(value, np.finfo(np.float64).tiny)
                off, spread = np.log(cutoff.value) - np.log(value), spread / value
            else:
                lowest = -cutoff.errors * spread if cutoff.errors else np.nan
                off = value - np.fmin(cutoff.value, lowest)
            distances.append(off / np.hypot(cutoff.scale, np.nan_to_num(spread)))
    return np.array(distances)


def labels(distance: Array, reason: Array) -> Array:
    """Return the phase of every cell; ``unmeasured`` if CKA is needed and missing.

    Parameters
    ----------
    distance : ndarray of shape (3, c)
        Result of `positions`. A cell that lies on a cutoff counts as low in loss, without
        barrier, high in CKA.
    reason : ndarray of str, shape (c,)
        Reason why a cell cannot have any phase; empty if it can.

    Returns
    -------
    ndarray of str, shape (c,)
        A phase of `PHASES`, or ``unmeasured``.
    """
    loss, connectivity, cka = distance
    phase = np.select(
        [
            (loss < 0) & (connectivity < 0),
            (loss < 0) & (connectivity >= 0),
            (loss >= 0) & (connectivity < 0),
            (loss >= 0) & (connectivity >= 0) & (cka < 0),
            (loss >= 0) & (connectivity >= 0) & (cka >= 0),
        ],
        PHASES,
        UNMEASURED,
    ).astype(object)
    phase[reason != ""] = UNMEASURED
    return phase


def scores(distance: Array) -> Array:
    """Return soft scores of the five phases; every column sums to 1.

    A logistic curve of the distance gives the probability of each side of a cutoff, and
    the score of a phase is the product of the probabilities of its sides. The label depends
    on the sides alone, so its score need not be the greatest near the point where three
    cutoffs meet. Where CKA is not measured, both sides of its cutoff have probability 0.5.

    Parameters
    ----------
    distance : ndarray of shape (3, c)
        Result of `positions`.

    Returns
    -------
    ndarray of shape (5, c)
        Scores in the order of `PHASES`; NaN where loss or connectivity is not measured.
    """
    low_loss, connected, high_cka = 1 / (1 + np.exp(-STEEP * np.clip(distance, -100, 100)))
    high_cka = np.where(np.isnan(high_cka), 0.5, high_cka)
    return np.array(
        [
            (1 - low_loss) * (1 - connected),
            (1 - low_loss) * connected,
            low_loss * (1 - connected),
            low_loss * connected * (1 - high_cka),
            low_loss * connected * high_cka,
        ]
    )


def nearest_boundary(distance: Array, found: Array) -> tuple[Array, Array]:
    """Return the signed distance to the nearest boundary of a cell's phase, and its metric.

    The CKA cutoff is a boundary of phase IV only. The sign is that of `positions`.

    Parameters
    ----------
    distance : ndarray of shape (3, c)
        Result of `positions`.
    found : ndarray of str, shape (c,)
        Labels of the cells.

    Returns
    -------
    tuple of ndarray of shape (c,)
        Distance in units of the uncertainty, NaN for unmeasured cells; and the metric whose
        cutoff is nearest, empty for unmeasured cells.
    """
    relevant = distance.copy()
    relevant[2, ~np.isin(found, PHASES[3:])] = np.nan
    size = np.where(np.isnan(relevant), np.inf, np.abs(relevant))
    nearest = size.argmin(0)
    signed = np.take_along_axis(relevant, nearest[None], 0)[0]
    metric = np.array(METRICS, dtype=object)[nearest]
    unknown = found == UNMEASURED
    return np.where(unknown, np.nan, signed), np.where(unknown, "", metric)
