"""Yardstick of samples: training and held-out networks under the same calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catalog import CatalogError
from catalog.dtypes import Array
from generators.calibration import CALIBRATIONS
from generators.calibration.calibration import Calibration, Learnt
from generators.calibration.head import Head, no_head
from generators.calibration.last_layer import LastLayer
from generators.exam import Answers, Exam
from generators.judging.space import Space

BAR = 0.05
"""Level of the quantile of held-out accuracies that samples must reach."""
FUNCTION, REFIT = "function", "function, last layer refit"


@dataclass(frozen=True)
class Side:
    """Networks in one order of units: original, or that of a generator's samples.

    Attributes
    ----------
    name : {"raw", "transported"}
        Order of the units: "raw" is the original, "transported" that of samples.
    train, heldout : ndarray of shape (n, d) and (m, d)
        Weights of the training networks and of the held-out networks.
    """

    name: str
    train: Array
    heldout: Array


@dataclass(frozen=True)
class Yardstick:
    """All that samples are compared with under one calibration.

    Attributes
    ----------
    spaces : dict of str to Space
        Calibrated weights, by side.
    rest : dict of str to Space
        Spaces of the parameters that the calibration does not change, by side; without
        calibration, of the parameters before the last layer. Buffers are excluded: they are
        few and large, and a copy may have different ones. Empty if these are no
        parameters, or all.
    columns : ndarray of bool, shape (d,)
        Columns of these parameters.
    learnt : dict of str to Learnt
        Values that the calibration took from the training networks of each side.
    function : Space
        Functions of the networks.
    refit : Space, optional
        Functions after the last layer was refitted in closed form, which reveal copies with
        a different last layer. None with a calibration, or without such a layer.
    answers, heldout_answers : Answers
        Predictions of training and held-out networks.
    heldout : dict of str to ndarray
        Weights of held-out networks, by side.
    novelty : dict of str to ndarray of shape (m,)
        Novelty of held-out networks, by side and in function.
    bar : float
        Accuracy that samples must reach.
    """

    spaces: Mapping[str, Space]
    rest: Mapping[str, Space]
    columns: Array
    learnt: Mapping[str, Learnt]
    function: Space
    refit: Space | None
    answers: Answers
    heldout_answers: Answers
    heldout: Mapping[str, Array]
    novelty: Mapping[str, Array]
    bar: float

    @classmethod
    def of(
        cls,
        exam: Exam,
        sides: Sequence[Side],
        runs: Array,
        calibration: Calibration | None,
    ) -> Yardstick:
        """Calibrate the networks, and compute their distances and predictions.

        Parameters
        ----------
        exam : Exam
            Task and architecture with which networks are evaluated.
        sides : sequence of Side
            Sides of the comparison. The last one is that of the samples; predictions are
            computed from its networks.
        runs : ndarray of shape (n,), int64
            Run of each training network.
        calibration : Calibration or None
            Calibration that is applied to all networks; None: no calibration.
        """
        trains = {side.name: side.train for side in sides}
        heldout = {side.name: side.heldout for side in sides}
        learnt: dict[str, Learnt] = {}
        rest: dict[str, Space] = {}
        columns = _unchanged_columns(exam, calibration)
        for side in sides:
            name = side.name
            if columns.any() and not columns.all():
                unchanged_weights = np.ascontiguousarray(side.train[:, columns])
                rest[name] = Space.of(f"{name}, rest", unchanged_weights, runs)
            if calibration is not None:
                learnt[name] = calibration.learn(exam, side.train)
                trains[name] = calibration.apply(exam, side.train, learnt[name])
                heldout[name] = calibration.apply(exam, side.heldout, learnt[name])
        sample_side = sides[-1].name
        spaces = {name: Space.of(name, weights, runs) for name, weights in trains.items()}
        answers, heldout_answers = (
            exam.answers(trains[sample_side]),
            exam.answers(heldout[sample_side]),
        )
        function = Space.of(FUNCTION, answers.function, runs)
        refit = None
        if calibration is None and not no_head(exam):
            refit = Space.of(REFIT, refitted(exam, trains[sample_side]), runs)
        novelty = {
            name: spaces[name].near(weights).novelty for name, weights in heldout.items()
        }
        novelty[FUNCTION] = function.near(heldout_answers.function).novelty
        if refit is not None:
            novelty[REFIT] = refit.near(refitted(exam, heldout[sample_side])).novelty
        bar = float(np.quantile(heldout_answers.accuracy, BAR))
        return cls(
            spaces, rest, columns, learnt, function, refit, answers, heldout_answers,
            heldout, novelty, bar,
        )  # fmt: skip


def refitted(exam: Exam, weights: Array) -> Array:
    """Return functions of networks (n, d) with the last layer refitted, as in `Answers`."""
    return exam.answers(Head().apply(exam, weights, {})).function


def _unchanged_columns(exam: Exam, calibration: Calibration | None) -> Array:
    """Return the mask (d,) of parameters unchanged by calibration or a new last layer."""
    layout = exam.architecture.layout
    columns = np.zeros(layout.d, bool)
    for name, span in layout.slices.items():
        columns[span] = layout[name].role == "parameter"
    if calibration is not None:
        return columns & ~calibration.touched(exam)
    try:
        return columns & ~LastLayer.of(exam).columns(exam)
    except CatalogError:  # architecture without such a layer
        return columns


def calibration_named(name: str, exam: Exam) -> Calibration:
    """Return a calibration by name, with its default settings.

    Raises
    ------
    NotFound
        If no calibration has this name; the message suggests the closest names.
    CatalogError
        If it cannot be applied to these networks.
    """
    calibration: Calibration = CALIBRATIONS[name]()
    if reason := calibration.refusal(exam):
        raise CatalogError(f"These networks cannot be calibrated by {name!r}: {reason}")
    return calibration
