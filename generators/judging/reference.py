"""Training and held-out networks that the samples of a generator are compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from catalog import Canonicaliser, Population
from catalog.dtypes import Array
from generators.calibration.head import Head
from generators.codes.canonical import in_canonical_units, last_rows
from generators.exam import Exam
from generators.generator import Generator
from generators.judging.comparable import check_samples, check_sides, places
from generators.judging.ensemble import ensemble_gain
from generators.judging.errors import largest_overlap
from generators.judging.judged import Judged
from generators.judging.matched import MATCHED, Matcher
from generators.judging.memorisation import copying_score
from generators.judging.set_statistics import SpaceSets
from generators.judging.space import Space, nearest_rows
from generators.judging.two_sample import TwoSample
from generators.judging.yardstick import (
    FUNCTION,
    REFIT,
    Side,
    Yardstick,
    calibration_named,
)

RAW, TRANSPORTED = "raw", "transported"


@dataclass(frozen=True)
class _Subjects:
    """Networks to judge.

    Attributes
    ----------
    networks : Population
        Networks as they were passed.
    points : mapping of str to ndarray
        Weights to compare, by side.
    side : str
        Side that the networks belong to.
    foreign : frozenset of str
        Sides that they do not belong to.
    """

    networks: Population
    points: Mapping[str, Array]
    side: str
    foreign: frozenset[str]


class Reference:
    """Training and held-out networks of one generator.

    Samples are compared with training networks before alignment (raw), as the generator has
    them (transported), and in function, which the order of units cannot change, directly
    and with the last layer refitted. On a side whose units have another order than in the
    samples, training networks are far from each other, but no farther from the samples:
    distances there are in units of the side where these units are smallest. If training
    networks were aligned, samples are also matched, see `Matcher`: in place of the other
    distances this would make copies look new, beside them it can only find more copies. The
    smallest novelty counts.

    Parameters
    ----------
    exam : Exam
    population : Population
        Training networks before alignment.
    heldout : Population
        Networks of other runs, which the generator has not seen: they define which accuracy
        is sufficient, and what the best generator would score.
    training : Population, optional
        Training networks in the units of the samples; default ``population``. Networks of
        the population that are not among them (a generator may hold some out for early
        stopping) are compared with too; nulls are made of ``training`` only.
    canonicaliser : Canonicaliser, optional
        Canonicaliser that aligned ``training``.

    Raises
    ------
    LayoutMismatch
        If layouts differ or values are not finite.
    CatalogError
        If there are fewer than two training or 20 held-out runs, runs are in both, or
        training networks are not in the population.
    """

    def __init__(
        self,
        exam: Exam,
        population: Population,
        heldout: Population,
        *,
        training: Population | None = None,
        canonicaliser: Canonicaliser | None = None,
    ) -> None:
        check_sides(population, heldout)
        # Earlier checkpoints of held-out runs would lower the bar.
        heldout = heldout.select(last_rows(heldout)[0])
        fitted = population
        if training is not None:
            fitted = population.select(places(training, population))
        self.exam, self.population, self.heldout = exam, fitted, heldout
        self.training = fitted if training is None else training
        self.canonicaliser = canonicaliser
        sides = [Side(RAW, population.weights, heldout.weights)]
        if canonicaliser is not None:
            train, transported_heldout = (
                in_canonical_units(canonicaliser, p) for p in (population, heldout)
            )
            sides.append(Side(TRANSPORTED, train.weights, transported_heldout.weights))
        self._sides = {side.name: side for side in sides}
        self._runs = np.unique(population["run_id"].astype(str), return_inverse=True)[1]
        self._made: dict[str | None, Yardstick] = {}
        self._held: dict[tuple[str | None, int], Judged] = {}
        none = np.empty((0, 0), np.float32)
        self._refitted = (none, none)

    @classmethod
    def of(
        cls, generator: Generator, population: Population, heldout: Population, exam: Exam
    ) -> Self:
        """Return the reference of a fitted generator."""
        return cls(
            exam,
            population,
            heldout,
            training=generator.training_,
            canonicaliser=generator.canonicaliser_,
        )

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.exam.classes

    def yardstick(self, calibration: str | None = None) -> Yardstick:
        """Return the yardstick under a calibration; it is computed only once.

        Raises
        ------
        NotFound
            If there is no such calibration.
        CatalogError
            If it cannot be applied to these networks.
        """
        if calibration not in self._made:
            applied = (
                None if calibration is None else calibration_named(calibration, self.exam)
            )
            self._made[calibration] = Yardstick.of(
                self.exam, list(self._sides.values()), self._runs, applied
            )
        return self._made[calibration]

    def judge(
        self,
        samples: Population,
        *,
        label: str = "samples",
        calibration: str | None = None,
        raw: bool = False,
        before: Judged | None = None,
        seed: int = 0,
    ) -> Judged:
        """Judge networks.

        Parameters
        ----------
        samples : Population
            Networks in the units of the training networks, or in any.
        label : str, default="samples"
        calibration : str, optional
            Name of a calibration in `generators.calibration`. Novelty is then the smallest
            in every space: before calibration, over the parameters that the calibration
            leaves, and to training networks that were calibrated in the same way. So a copy
            with a new head is a copy.
        raw : bool, default=False
            Whether samples were made from networks before alignment, if there are aligned
            networks too. It decides the side: the goals of REPAIR are statistics of units
            in their order.
        before : Judged, optional
            The same samples judged without calibration, to save time.
        seed : int, default=0
            Seed of the networks that the two-sample tests draw.

        Raises
        ------
        LayoutMismatch
            If there are no samples, or samples have another layout or values that are not
            finite.
        NotFound
            If there is no such calibration.
        """
        check_samples(samples, self.population)
        side = RAW if raw else list(self._sides)[-1]
        points = dict.fromkeys(self._sides, samples.weights)
        subjects = _Subjects(samples, points, side, frozenset(set(self._sides) - {side}))
        return self._judged(subjects, label, calibration, before, seed)

    def between(self, calibration: str | None = None) -> dict[str, dict[str, float]]:
        """Return the distances between training networks by space."""
        yardstick = self.yardstick(calibration)
        spaces = [*yardstick.spaces.values(), *yardstick.rest.values(), yardstick.function]
        spaces += [yardstick.refit] if yardstick.refit is not None else []
        if calibration is None and self._matcher is not None:
            spaces += [
                s for s in (self._matcher.whole, self._matcher.body) if s is not None
            ]
        return {space.name: space.summary() for space in spaces}

    def judge_heldout(self, calibration: str | None = None, *, seed: int = 0) -> Judged:
        """Judge the held-out networks: what the best generator would score.

        They are transported as training networks are; the result for each depends on it
        alone.
        """
        if (calibration, seed) not in self._held:
            points = {name: side.heldout for name, side in self._sides.items()}
            subjects = _Subjects(self.heldout, points, list(self._sides)[-1], frozenset())
            before = None
            if calibration is not None:
                before = self.judge_heldout(None, seed=seed)
            label = "held-out networks"
            judged = self._judged(subjects, label, calibration, before, seed)
            self._held[calibration, seed] = judged
        return self._held[calibration, seed]

    def _judged(
        self,
        subjects: _Subjects,
        label: str,
        calibration: str | None,
        before: Judged | None,
        seed: int,
    ) -> Judged:
        yardstick = self.yardstick(calibration)
        points, side, foreign = subjects.points, subjects.side, subjects.foreign
        novelties, functions = dict[str, Array](), dict[str, Array]()
        calibrated = points
        before = None if calibration is None else before
        is_heldout = points[side] is self._sides[side].heldout  # tested by halves
        if calibration is not None:
            if before is None:
                before = self._judged(subjects, label, None, None, seed)
            novelties |= {f"{name}, before": v for name, v in before.spaces.items()}
            functions |= {f"{name}, before": v for name, v in before.functions.items()}
            calibrated = self._calibrated(points, side, calibration, yardstick)
        novelties |= _rest_novelties(yardstick, points, foreign)
        near = {
            name: space.near(
                calibrated[name], _novelty_unit(yardstick.spaces, name in foreign)
            )
            for name, space in yardstick.spaces.items()
        }
        answers = self.exam.answers(calibrated[side])
        functional = yardstick.function.near(answers.function)
        functions[FUNCTION] = functional.novelty
        suspects = [functional.row, functional.second_row]
        if yardstick.refit is not None:
            answers_refit = self.exam.answers(self._refit(calibrated[side]))
            refit_near = yardstick.refit.near(answers_refit.function)
            functions[REFIT] = refit_near.novelty
            suspects += [refit_near.row, refit_near.second_row]
        if calibration is None and self._matcher is not None:
            near |= self._matcher.near(subjects.networks, suspects)
        row, ratio = nearest_rows(list(near.values()))
        if before is not None:  # calibrated networks are not matched
            smallest = np.min([space_near.novelty for space_near in near.values()], axis=0)
            closer = np.min(list(before.spaces.values()), axis=0) < smallest
            row = np.where(closer, before.row, row)
            ratio = np.where(closer, before.ratio, ratio)
        novelties |= {name: space_near.novelty for name, space_near in near.items()}
        sets = {
            FUNCTION: SpaceSets(
                answers.function,
                yardstick.heldout_answers.function,
                yardstick.function.train,
            )
        }
        tests, dispersion = dict[str, TwoSample](), dict[str, float]()
        if before is None:
            train = yardstick.spaces[side].train
            sets = {
                side: SpaceSets(calibrated[side], yardstick.heldout[side], train),
                **sets,
            }
        else:  # a few weights of a new layer may be huge
            tests |= {side: before.tests[side]}
            dispersion |= {side: before.dispersion[side]}
        for name, vectors in sets.items():
            tests[name] = vectors.test(is_heldout, seed)
            dispersion[name] = vectors.dispersion()
        return Judged(
            label=label,
            calibration=calibration,
            accuracy=answers.accuracy,
            loss=answers.loss,
            bar=yardstick.bar,
            spaces=novelties,
            functions=functions,
            novelty=np.min([*novelties.values(), *functions.values()], axis=0),
            ratio=ratio,
            row=row,
            agreement=(answers.labels == yardstick.answers.labels[row]).mean(1),
            agreement_functional=(
                answers.labels == yardstick.answers.labels[functional.row]
            ).mean(1),
            overlap=largest_overlap(answers.wrong, yardstick.answers.wrong),
            scores=self._scores(yardstick, {**novelties, **functions}, foreign, is_heldout),
            tests=tests,
            dispersion=dispersion,
            coverage=len(np.unique(row)),
            gain=ensemble_gain(answers.labels, self.exam.labels("test"), seed=seed),
        )  # fmt: skip

    def _scores(
        self,
        yardstick: Yardstick,
        novelties: Mapping[str, Array],
        foreign: Collection[str],
        is_heldout: bool,
    ) -> dict[str, float]:
        """Return Z_U by space, against held-out networks."""
        heldout_novelties = dict(yardstick.novelty)
        if MATCHED in novelties:
            judged = novelties if is_heldout else self.judge_heldout().spaces
            heldout_novelties[MATCHED] = judged[MATCHED]
        return {
            name: copying_score(novelties[name], heldout_novelty)
            for name, heldout_novelty in heldout_novelties.items()
            if name not in foreign
        }

    @cached_property
    def _matcher(self) -> Matcher | None:
        if self.canonicaliser is None:
            return None
        yardstick = self.yardstick(None)
        functions = [yardstick.function] + (
            [yardstick.refit] if yardstick.refit is not None else []
        )
        space = yardstick.spaces[TRANSPORTED]
        return Matcher.of(
            self.canonicaliser, space, yardstick.columns, self._runs, functions
        )

    def _calibrated(
        self, points: Mapping[str, Array], side: str, calibration: str, yardstick: Yardstick
    ) -> dict[str, Array]:
        """Return calibrated networks by side; samples are the same on both sides."""
        apply = calibration_named(calibration, self.exam).apply
        if calibration == Head.name:
            calibrated = self._refit(points[side])
        else:
            calibrated = apply(self.exam, points[side], yardstick.learnt[side])
        return {
            name: calibrated
            if weights is points[side]
            else apply(self.exam, weights, yardstick.learnt[name])
            for name, weights in points.items()
        }

    def _refit(self, weights: Array) -> Array:
        """Return networks with the last layer refitted; caches the last result."""
        if self._refitted[0] is not weights:
            self._refitted = (weights, Head().apply(self.exam, weights, {}))
        return self._refitted[1]


def _rest_novelties(
    yardstick: Yardstick, points: Mapping[str, Array], foreign: Collection[str]
) -> dict[str, Array]:
    """Return the novelty (n,) over the parameters that were left, by side."""
    return {
        f"{name}, rest": space.near(
            np.ascontiguousarray(points[name][:, yardstick.columns]),
            _novelty_unit(yardstick.rest, name in foreign),
        ).novelty
        for name, space in yardstick.rest.items()
    }


def _novelty_unit(spaces: Mapping[str, Space], foreign: bool) -> float | None:
    """Return the distance of novelty 1: the space's own, or the least, see `Reference`."""
    return min(space.scale for space in spaces.values()) if foreign else None
