"""Training and held-out networks under one calibration: what samples stand beside."""

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
"""Quantile of the held-out networks' accuracy that samples must reach."""
FUNCTION, REFIT = "function", "function, last layer refit"


@dataclass(frozen=True)
class Side:
    """Networks in one order of units: as they were, or as a generator's samples have them.

    Attributes
    ----------
    name : {"raw", "transported"}
    train, heldout : ndarray of shape (n, d) and (m, d)
    """

    name: str
    train: Array
    heldout: Array


@dataclass(frozen=True)
class Yardstick:
    """All that is compared with under one calibration.

    Attributes
    ----------
    spaces : dict of str to Space
        Weights by side, calibrated.
    rest : dict of str to Space
        By side, only the parameters that the calibration leaves; without one, those before
        the last layer. Buffers are not among them: they are few and large, and a copy can
        have others. Empty if nothing is left, or nothing left out.
    columns : ndarray of shape (d,)
        Which these are.
    learnt : dict of str to Learnt
        What the calibration took from the training networks of each side.
    function : Space
    refit : Space, optional
        Function with the last layer refit in closed form: that finds copies with another
        one. Of networks as they are, if they have such a layer.
    answers, heldout_answers : Answers
        Of training and held-out networks.
    heldout : dict of str to ndarray
        Weights of held-out networks, by side.
    novelty : dict of str to ndarray of shape (m,)
        Of held-out networks, by side and in function.
    bar : float
        Accuracy.
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
        """Measure the networks.

        Parameters
        ----------
        sides : sequence of Side
            The last is that of the samples: what its networks answer counts.
        runs : ndarray of shape (n,), int64
            Of the training networks.
        """
        trains = {side.name: side.train for side in sides}
        heldout = {side.name: side.heldout for side in sides}
        learnt: dict[str, Learnt] = {}
        rest: dict[str, Space] = {}
        columns = _left(exam, calibration)
        for side in sides:
            name = side.name
            if columns.any() and not columns.all():
                left = np.ascontiguousarray(side.train[:, columns])
                rest[name] = Space.of(f"{name}, rest", left, runs)
            if calibration is not None:
                learnt[name] = calibration.learn(exam, side.train)
                trains[name] = calibration.apply(exam, side.train, learnt[name])
                heldout[name] = calibration.apply(exam, side.heldout, learnt[name])
        last = sides[-1].name
        spaces = {name: Space.of(name, own, runs) for name, own in trains.items()}
        answers, held = exam.answers(trains[last]), exam.answers(heldout[last])
        function = Space.of(FUNCTION, answers.function, runs)
        refit = None
        if calibration is None and not no_head(exam):
            refit = Space.of(REFIT, refitted(exam, trains[last]), runs)
        novelty = {name: spaces[name].near(own).novelty for name, own in heldout.items()}
        novelty[FUNCTION] = function.near(held.function).novelty
        if refit is not None:
            novelty[REFIT] = refit.near(refitted(exam, heldout[last])).novelty
        bar = float(np.quantile(held.accuracy, BAR))
        return cls(
            spaces, rest, columns, learnt, function, refit, answers, held, heldout,
            novelty, bar,
        )  # fmt: skip


def refitted(exam: Exam, weights: Array) -> Array:
    """Function of networks (n, d) whose last layer is refit, as that of `Answers`."""
    return exam.answers(Head().apply(exam, weights, {})).function


def _left(exam: Exam, calibration: Calibration | None) -> Array:
    """Mask (d,) of the parameters that a calibration, or a new last layer, leaves."""
    layout = exam.architecture.layout
    columns = np.zeros(layout.d, bool)
    for name, span in layout.slices.items():
        columns[span] = layout[name].role == "parameter"
    if calibration is not None:
        return columns & ~calibration.touched(exam)
    try:
        return columns & ~LastLayer.of(exam).columns(exam)
    except CatalogError:  # a family without such a layer
        return columns


def calibration_named(name: str, exam: Exam) -> Calibration:
    """A calibration by name, with its defaults.

    Raises
    ------
    NotFound
        If there is none, with the closest names.
    CatalogError
        If it cannot be applied to these networks.
    """
    found: Calibration = CALIBRATIONS[name]()
    if why := found.refusal(exam):
        raise CatalogError(f"These networks cannot be calibrated by {name!r}: {why}")
    return found
