"""Cutoffs of one zoo, derived from anchors that use neither test accuracy nor labels.

No fixed rule fits all zoos: the chance loss depends on the task, and CKA depends on its
inputs (0.3 to 0.8 with mixup in one published zoo, 0.7 to 1 without in another).

**Train loss.** The anchors are chance and interpolation. Chance is ``log(classes)`` or the
value that `zoo.metrics.scores` measures. A misclassified sample costs at least ``log 2``,
so with a mean loss L at most the share ``L / log 2`` of the train samples is wrong.
Interpolation is the loss at which this bound is `INTERPOLATION`, ``0.01 log 2`` (of a PDE:
1 % of the solution's norm). The cutoff is the geometric mean of the anchors: a cell at the
cutoff is equally far from both, measured in factors. The loss of the zoo's best-fitted
cells is reported but is no anchor: it falls as long as training goes on, and the phases
would move with it. Some losses cannot reach 0, such as those of text, whose entropy is
unknown. Then the mean of the best-fitted twentieth of the cells stands for interpolation if
it is at most `FITTED` of chance; otherwise no cell counts as fitted.

**Mode connectivity.** The anchor is 0, no barrier. The cutoff is minus `MARGIN`, or minus
twice the cell's own standard error if that is lower: a barrier that cannot be distinguished
from 0 does not count. The margin, 2 % of train error, is the convention of Frankle
et al. 2020 [1]_ for stable networks. Other published rules use the same convention, so
agreement with these rules is no evidence for the margin.

**CKA.** The anchors are 1, the same network, and the CKA of seeds that found unrelated
functions: a measured reference if one is given, else the lowest level among the zoo's own
cells with a high loss or a barrier, the mean of the lowest twentieth of these cells. If two
representations consist of a common part and a part of their own, independent and with
equal spectra, their CKA is the square of the common part's share of the variance. At the
cutoff, half of the share that the reference leaves open is common:
``((1 + sqrt(reference)) / 2) ** 2``. (The midpoint of CKA itself is higher, the geometric
mean lower: `sensitivity` counts the cells that depend on this choice.) If no cell has a
high loss or a barrier and no reference is given, the reference is 0, the limit for
independent representations of infinitely many samples, and a note in the result reports it.
The lowest level of a zoo is an upper bound on the CKA of unrelated networks, so the cutoff
is an upper bound too.

References
----------
.. [1] Frankle et al., 2020, arXiv:1912.05671.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from catalog import CatalogError
from catalog.dtypes import Array
from zoo.phases.cells import Cells
from zoo.phases.rule import Cutoff, Cutoffs, positions

INTERPOLATION = 0.01
"""Share of train samples that a network may misclassify and still interpolate."""

MARGIN = 0.02
"""Height, as a fraction of train error, below which a barrier does not count."""

ERRORS = 2.0
"""Number of standard errors from which a barrier is distinguished from none."""

LOWEST = 0.05
"""Share of the cells, the lowest ones, whose mean is a level."""

FITTED = 0.8
"""Share of the chance loss up to which the best level of a zoo counts as fitted."""

SHARE = 0.1
"""Scale of a cutoff between two anchors, as a fraction of the distance between them."""


@dataclass(frozen=True)
class PhaseCalibration:
    """Cutoffs of a zoo, and the phases that it lacks.

    Attributes
    ----------
    cutoffs : Cutoffs
        Cutoffs and their anchors.
    best_train_loss : float
        Mean train loss of the best-fitted twentieth of the cells, nats.
    lacks : tuple of str
        Sentences that name the phases that no cell can have, with the reason.
    notes : tuple of str
        Sentences that state the assumptions, and whether sharpness follows the train loss.
    """

    cutoffs: Cutoffs
    best_train_loss: float
    lacks: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def find_cutoffs(
    cells: Cells,
    *,
    chance_loss: float | None = None,
    interpolation_loss: float | None = None,
    cka_reference: float | None = None,
    train_loss: float | None = None,
    mode_connectivity: float | None = None,
    logit_cka: float | None = None,
) -> PhaseCalibration:
    """Find the cutoffs of a zoo.

    Parameters
    ----------
    cells : Cells
        All measured (cell, step) of the zoo.
    chance_loss : float, optional
        Train loss of a network without skill, nats: ``log(classes)``.
    interpolation_loss : float, optional
        Train loss of a network that interpolates, nats; default 0.01 log 2. NaN if the
        loss cannot reach 0 and its floor is not known.
    cka_reference : float, optional
        CKA of networks that found unrelated functions, on the same inputs, below 1. A
        debiased estimate may lie below 0, which counts as 0.
    train_loss, mode_connectivity, logit_cka : float, optional
        Cutoffs set by hand, in place of the cutoffs from anchors.

    Returns
    -------
    PhaseCalibration
        Cutoffs, and the phases that the zoo lacks.

    Raises
    ------
    CatalogError
        If the chance loss is needed and not given, a value is out of range, or no cell is
        measured.
    """
    interpolation = INTERPOLATION * float(np.log(2))
    if interpolation_loss is None:
        interpolation_loss = interpolation
    floorless = bool(np.isnan(interpolation_loss))
    if not floorless:
        interpolation = interpolation_loss
        _check("interpolation_loss", interpolation, 0, np.inf)
    _check("chance_loss", chance_loss, interpolation, np.inf)
    _check("cka_reference", cka_reference, -1 - 1e-9, 1)
    _check("train_loss", train_loss, 0, np.inf)
    _check("mode_connectivity", mode_connectivity, -1 - 1e-9, 1)
    _check("logit_cka", logit_cka, 0, 1 + 1e-9)
    measured = cells.reason == ""
    if not measured.any():
        reasons = ", ".join(sorted(set(cells.reason)))
        raise CatalogError(f"No cell can be labelled: {reasons}.")
    best = float(_level(cells.mean["train_loss"][measured]))
    anchor: tuple[str, float] = ("interpolation", interpolation)
    assumed: tuple[str, ...] = ()
    if floorless:
        anchor, assumed = _best_anchor(best, interpolation, chance_loss)
    loss = _loss_cutoff(chance_loss, anchor, train_loss)
    connectivity = _connectivity_cutoff(cells, measured, mode_connectivity)
    unused = Cutoff("logit_cka", 0.5, 1.0, {}, "")
    above, connected, _ = positions(
        cells.mean, cells.error, Cutoffs(loss, connectivity, unused)
    )
    unrelated = measured & ((above < 0) | (connected < 0))
    if cka_reference is not None:
        cka_reference = max(cka_reference, 0.0)
    cka, notes = _cka_cutoff(cells, unrelated, cka_reference, logit_cka)
    cutoffs = Cutoffs(loss, connectivity, cka)
    lacks = _lacks(cells, measured, cutoffs)
    notes = (*(assumed if train_loss is None else ()), *notes)
    return PhaseCalibration(
        cutoffs, best, lacks, (*notes, *_sharpness(cells, measured, above))
    )


def _best_anchor(
    best: float, right: float, chance: float | None
) -> tuple[tuple[str, float], tuple[str, ...]]:
    """Return the anchor for a loss with an unknown floor, and a note about it."""
    why = "The train loss of this task cannot reach 0, and its floor is not known: "
    if chance is None or best <= FITTED * chance:
        note = (
            f"{why}the level of the zoo's best-fitted cells, {best:.3g}, stands for "
            "interpolation, so that the phases move as these train on."
        )
        return ("best level of the zoo", max(best, right)), (note,)
    note = (
        f"{why}the best-fitted cells, {best:.3g}, are not well below chance, "
        f"{chance:.3g}, so that no cell counts as fitted."
    )
    return ("interpolation", right), (note,)


def _loss_cutoff(
    chance: float | None, anchor: tuple[str, float], by_hand: float | None
) -> Cutoff:
    """Return the cutoff of the train loss, set by hand or the mean of the anchors."""
    interpolation = anchor[1]
    anchors = dict([anchor])
    scale = np.log(10) / 4
    if chance is not None:
        anchors["chance"] = float(chance)
        scale = SHARE * np.log(chance / interpolation)
    if by_hand is not None:
        return Cutoff("train_loss", by_hand, float(scale), anchors, "by hand")
    if chance is None:
        raise CatalogError(
            "The train loss of chance is not known. Give the number of classes of the task "
            "(--classes 10), or the cutoff itself (--train-loss 0.1)."
        )
    value, origin = float(np.sqrt(chance * interpolation)), "geometric mean of the anchors"
    return Cutoff("train_loss", value, float(scale), anchors, origin)


def _connectivity_cutoff(cells: Cells, measured: Array, by_hand: float | None) -> Cutoff:
    """Return the cutoff of mode connectivity, set by hand or from the margin."""
    errors = cells.error["mode_connectivity"][measured]
    errors = errors[np.isfinite(errors)]
    anchors = {"no barrier": 0.0, "margin": -MARGIN}
    if len(errors):
        anchors["median standard error"] = float(np.median(errors))
    origin = f"the margin, or {ERRORS:g} of a cell's own standard errors if that is more"
    value, factor = (-MARGIN, ERRORS) if by_hand is None else (by_hand, 0.0)
    origin = origin if by_hand is None else "by hand"
    scale = max(abs(value), MARGIN) / 2
    return Cutoff("mode_connectivity", value, scale, anchors, origin, factor)


def _cka_cutoff(
    cells: Cells, apart: Array, reference: float | None, by_hand: float | None
) -> tuple[Cutoff, tuple[str, ...]]:
    """Return the cutoff of CKA and notes about it, set by hand or from the reference."""
    notes: tuple[str, ...] = ()
    ckas = cells.mean["logit_cka"][apart]
    ckas = ckas[np.isfinite(ckas)]
    if reference is not None:
        label = "measured reference"
    elif len(ckas):
        reference, label = max(float(_level(ckas)), 0.0), "lowest level of the zoo"
    else:
        reference, label = 0.0, "unrelated networks, not measured"
        if by_hand is None:
            why = "No cell has a high loss or a barrier"
            if apart.any():
                why = "No cell with a high loss or a barrier has a CKA"
            notes = (
                f"{why}, so the zoo shows no CKA of unrelated networks: IV-A and IV-B are "
                "told apart by the limit 0. Give a reference (--cka-reference X) or the "
                "cutoff (--cka X).",
            )
    anchors = {label: reference, "same network": 1.0}
    value = ((1 + np.sqrt(reference)) / 2) ** 2 if by_hand is None else by_hand
    origin = "half of the open share is common" if by_hand is None else "by hand"
    scale = max(SHARE * (1 - reference), 1e-3)
    return Cutoff("logit_cka", float(value), float(scale), anchors, origin), notes


def _level(values: Array) -> Array:
    """Return the mean of the lowest twentieth of the values, at least of one value."""
    count = max(1, round(LOWEST * len(values)))
    lowest: Array = np.sort(values)[:count].mean()
    return lowest


def _lacks(cells: Cells, measured: Array, cutoffs: Cutoffs) -> tuple[str, ...]:
    """Return sentences that name the phases that no cell can have, with the reason."""
    loss, connectivity, cka = positions(cells.mean, cells.error, cutoffs)
    sentences = []
    means = cells.mean["train_loss"][measured]
    cut = f"the cutoff {cutoffs.train_loss.value:.3g}"
    if (loss[measured] >= 0).all():
        sentences.append(
            f"No cell is under-fitted (no phase I, no phase II): the greatest train loss "
            f"is {means.max():.3g}, {cut}."
        )
    if (loss[measured] < 0).all():
        sentences.append(
            f"No cell is fitted (no phase III, no phase IV): the least train loss is "
            f"{means.min():.3g}, {cut}."
        )
    means = cells.mean["mode_connectivity"][measured]
    cut = f"the cutoff {cutoffs.mode_connectivity.value:.3g}"
    if (connectivity[measured] >= 0).all():
        sentences.append(
            f"No cell has a barrier (no phase I, no phase III): the lowest mode "
            f"connectivity is {means.min():.3g}, {cut}."
        )
    if (connectivity[measured] < 0).all():
        sentences.append(
            f"Every cell has a barrier (no phase II, no phase IV): the highest mode "
            f"connectivity is {means.max():.3g}, {cut}."
        )
    fitted_connected = measured & (loss >= 0) & (connectivity >= 0)
    if (
        (loss[measured] >= 0).any()
        and (connectivity[measured] >= 0).any()
        and not fitted_connected.any()
    ):
        sentences.append("No cell is fitted without a barrier (no phase IV).")
    ckas = cka[fitted_connected & np.isfinite(cka)]
    cut = f"on one side of the CKA cutoff {cutoffs.logit_cka.value:.3g}"
    if len(ckas) and ((ckas >= 0).all() or (ckas < 0).all()):
        absent_phase = "IV-A" if ckas[0] >= 0 else "IV-B"
        sentences.append(f"All cells of phase IV are {cut} (no phase {absent_phase}).")
    return tuple(sentences)


def _sharpness(cells: Cells, measured: Array, above: Array) -> tuple[str, ...]:
    """Return the share of pairs in which the cell of higher loss is the sharper one."""
    has_sharpness = measured & (cells.sharpness > 0)
    high, low = (cells.sharpness[has_sharpness & side] for side in (above < 0, above >= 0))
    if not len(high) or not len(low):
        return ()
    order = np.searchsorted(np.sort(low), high, "left").sum() / (len(high) * len(low))
    text = f"High-loss cells are sharper than low-loss cells in {order:.0%} of pairs"
    if order < 0.5:
        text += ": the Hessian contradicts the train loss"
    return (text + ".",)


def _check(name: str, value: float | None, low: float, high: float) -> None:
    """Raise `CatalogError` if a value lies outside the open interval."""
    if value is not None and not low < value < high:
        bounds = f"above {low:.3g}" if np.isinf(high) else f"in {low:.3g}..{high:.3g}"
        raise CatalogError(f"{name} must be {bounds}. Got {value!r}.")
