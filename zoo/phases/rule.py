"""Which phase follows from train loss, mode connectivity and CKA, given the cutoffs.

The table of phases is that of Yang et al. 2021 [1]_ and of the phase zoo [2]_, which give
no thresholds and draw the regions by eye. Sharpness is not used to decide: for a
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
"""Under-fitted and under-sized, under-fitted, under-sized, over-fitted, generalising."""

UNMEASURED = "unmeasured"

STEEP = np.pi / np.sqrt(3)
"""A logistic curve of this slope has the spread of a standard normal distribution."""


@dataclass(frozen=True)
class Cutoff:
    """Where one metric parts two phases.

    Attributes
    ----------
    metric : str
        ``train_loss`` (nats), ``mode_connectivity`` (fraction of train error) or
        ``logit_cka``.
    value : float
        The cutoff, in units of the metric.
    scale : float
        How far from the cutoff a cell is clear of it, beside its own standard error: for
        the train loss in natural logarithms, else in units of the metric.
    anchors : dict of str to float
        The levels of the metric that the cutoff lies between, or comes from.
    origin : str
        Where it comes from, in words.
    errors : float
        A value counts as below the cutoff only if it is also below 0 by so many of the
        cell's own standard errors.
    """

    metric: str
    value: float
    scale: float
    anchors: dict[str, float]
    origin: str
    errors: float = 0.0


@dataclass(frozen=True)
class Cutoffs:
    """One cutoff per metric."""

    train_loss: Cutoff
    mode_connectivity: Cutoff
    logit_cka: Cutoff

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def positions(
    mean: Mapping[str, Array], error: Mapping[str, Array], cutoffs: Cutoffs
) -> Array:
    """Signed distance of every cell from every cutoff, in units of its uncertainty.

    Parameters
    ----------
    mean, error : mapping of str to ndarray of shape (c,)
        Of `Cells`, for each of `METRICS`.

    Returns
    -------
    ndarray of shape (3, c)
        In the order of `METRICS`; positive is low train loss, no barrier, high CKA. The
        unit is ``sqrt(scale**2 + standard error**2)``. NaN where not measured.
    """
    found = []
    for name in METRICS:
        cutoff: Cutoff = getattr(cutoffs, name)
        value, spread = mean[name], error[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            if name == "train_loss":
                # A loss of 0 is as well fitted as a number can say.
                value = np.maximum(value, np.finfo(np.float64).tiny)
                off, spread = np.log(cutoff.value) - np.log(value), spread / value
            else:
                lowest = -cutoff.errors * spread if cutoff.errors else np.nan
                off = value - np.fmin(cutoff.value, lowest)
            found.append(off / np.hypot(cutoff.scale, np.nan_to_num(spread)))
    return np.array(found)


def labels(distance: Array, reason: Array) -> Array:
    """Phase of every cell; where CKA is needed and missing, ``unmeasured``.

    Parameters
    ----------
    distance : ndarray of shape (3, c)
        Of `positions`. A cell that lies on a cutoff counts as low in loss, without
        barrier, high in CKA.
    reason : ndarray of str, shape (c,)
        Not empty where a cell cannot have any phase.
    """
    loss, connectivity, cka = distance
    found = np.select(
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
    found[reason != ""] = UNMEASURED
    return found


def scores(distance: Array) -> Array:
    """Soft scores of the five phases; every column sums to 1.

    Each cutoff is crossed with the probability of a logistic curve; the phases are the
    corners. The label is the side of every cutoff, so its score need not be the greatest
    in the corner where three cutoffs meet. Where CKA is not measured, both sides of its
    cutoff get a half.

    Returns
    -------
    ndarray of shape (5, c)
        In the order of `PHASES`; NaN where loss or connectivity is not measured.
    """
    low, joined, alike = 1 / (1 + np.exp(-STEEP * np.clip(distance, -100, 100)))
    alike = np.where(np.isnan(alike), 0.5, alike)
    return np.array(
        [
            (1 - low) * (1 - joined),
            (1 - low) * joined,
            low * (1 - joined),
            low * joined * (1 - alike),
            low * joined * alike,
        ]
    )


def nearest_boundary(distance: Array, found: Array) -> tuple[Array, Array]:
    """Signed distance to the nearest boundary of the cell's phase, and whose it is.

    The CKA cutoff is a boundary of phase IV only. Near a cutoff the distance is near 0;
    its sign is that of `positions`.

    Returns
    -------
    tuple of ndarray of shape (c,)
        Distance in units of the uncertainty, NaN where unmeasured, and the metric.
    """
    relevant = distance.copy()
    relevant[2, ~np.isin(found, PHASES[3:])] = np.nan
    size = np.where(np.isnan(relevant), np.inf, np.abs(relevant))
    which = size.argmin(0)
    signed = np.take_along_axis(relevant, which[None], 0)[0]
    metric = np.array(METRICS, dtype=object)[which]
    unknown = found == UNMEASURED
    return np.where(unknown, np.nan, signed), np.where(unknown, "", metric)
