"""What samples are compared with: made once, for a generator and all nulls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

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
from generators.judging.space import Near, Space
from generators.judging.two_sample import TwoSample, two_sample
from generators.judging.yardstick import (
    FUNCTION,
    REFIT,
    Side,
    Yardstick,
    calibration_named,
)

RAW, TRANSPORTED = "raw", "transported"


@dataclass(frozen=True)
class _Given:
    """Networks to judge: as they came, by side, which side is theirs, and which are not."""

    networks: Population
    points: Mapping[str, Array]
    side: str
    foreign: frozenset[str]


class _Set(NamedTuple):
    """Samples (n, k), held-out and training networks in one space."""

    made: Array
    held: Array
    train: Array


class Reference:
    """Training and held-out networks of one generator.

    Samples are compared with training networks as they were (raw), as the generator has
    them (transported), and in function, which units in whatever order cannot change, as it
    is and with the last layer refit. Where units have another order than in the samples,
    training networks are far from each other, but no farther from the samples: there
    distances count in units of the side where they are least. Where training networks were
    aligned, samples are also matched, see `Matcher`: in the place of these distances that
    would make copies look new, beside them it can only find more. The smallest novelty
    counts.

    Parameters
    ----------
    exam : Exam
    population : Population
        Training networks as they were.
    heldout : Population
        Networks of other runs, which the generator has not seen: they say how accurate
        is accurate enough, and what the best generator would score.
    training : Population, optional
        Training networks in the units of the samples; default as they were. What is not
        among them (a generator may hold some out to know when to stop) is compared with
        too; nulls are made of these alone.
    canonicaliser : Canonicaliser, optional
        What took them there.

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
        known = population
        if training is not None:
            known = population.select(places(training, population))
        self.exam, self.population, self.heldout = exam, known, heldout
        self.training = known if training is None else training
        self.canonicaliser = canonicaliser
        sides = [Side(RAW, population.weights, heldout.weights)]
        if canonicaliser is not None:
            every, held = (
                in_canonical_units(canonicaliser, p) for p in (population, heldout)
            )
            sides.append(Side(TRANSPORTED, every.weights, held.weights))
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
        """What the samples of a fitted generator are compared with."""
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
        """All that is compared with under a calibration; measured once.

        Raises
        ------
        NotFound
            If there is no such calibration.
        CatalogError
            If it cannot be applied to these networks.
        """
        if calibration not in self._made:
            own = None if calibration is None else calibration_named(calibration, self.exam)
            self._made[calibration] = Yardstick.of(
                self.exam, list(self._sides.values()), self._runs, own
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
            In the units of the training networks, or in any.
        calibration : str, optional
            Name of one in `generators.calibration`. Novelty is then the smallest in every
            space: before it, over the parameters that it leaves, and to training networks
            that were calibrated alike. So a copy with a new head is a copy.
        raw : bool, default=False
            Whether samples were made from networks as they were, where there are aligned
            ones too. What REPAIR aims at are statistics of units in their order.
        before : Judged, optional
            The same samples judged without calibration: saves time.
        seed : int, default=0
            Of the networks that the two-sample tests draw.

        Raises
        ------
        LayoutMismatch
            If there are none, or samples have another layout or values that are not finite.
        NotFound
            If there is no such calibration.
        """
        check_samples(samples, self.population)
        side = RAW if raw else list(self._sides)[-1]
        points = dict.fromkeys(self._sides, samples.weights)
        given = _Given(samples, points, side, frozenset(set(self._sides) - {side}))
        return self._judged(given, label, calibration, before, seed)

    def between(self, calibration: str | None = None) -> dict[str, dict[str, float]]:
        """Distances between training networks by space."""
        own = self.yardstick(calibration)
        spaces = [*own.spaces.values(), *own.rest.values(), own.function]
        spaces += [own.refit] if own.refit is not None else []
        if calibration is None and self._matcher is not None:
            spaces += [
                s for s in (self._matcher.whole, self._matcher.body) if s is not None
            ]
        return {space.name: space.summary() for space in spaces}

    def judge_heldout(self, calibration: str | None = None, *, seed: int = 0) -> Judged:
        """Judge the held-out networks themselves: what the best generator would score.

        They were transported as training networks were, which depends on each alone.
        """
        if (calibration, seed) not in self._held:
            points = {name: side.heldout for name, side in self._sides.items()}
            given = _Given(self.heldout, points, list(self._sides)[-1], frozenset())
            before = None
            if calibration is not None:
                before = self.judge_heldout(None, seed=seed)
            label = "held-out networks"
            found = self._judged(given, label, calibration, before, seed)
            self._held[calibration, seed] = found
        return self._held[calibration, seed]

    def _judged(
        self,
        given: _Given,
        label: str,
        calibration: str | None,
        before: Judged | None,
        seed: int,
    ) -> Judged:
        own = self.yardstick(calibration)
        points, side, foreign = given.points, given.side, given.foreign
        novelties, functions = dict[str, Array](), dict[str, Array]()
        ends = points
        before = None if calibration is None else before
        itself = points[side] is self._sides[side].heldout  # are judged by their halves
        if calibration is not None:
            if before is None:
                before = self._judged(given, label, None, None, seed)
            novelties |= {f"{name}, before": v for name, v in before.spaces.items()}
            functions |= {f"{name}, before": v for name, v in before.functions.items()}
            ends = self._calibrated(points, side, calibration, own)
        novelties |= _rest(own, points, foreign)
        near = {
            name: space.near(ends[name], _unit(own.spaces, name in foreign))
            for name, space in own.spaces.items()
        }
        answers = self.exam.answers(ends[side])
        functional = own.function.near(answers.function)
        functions[FUNCTION] = functional.novelty
        suspects = [functional.row, functional.second_row]
        if own.refit is not None:
            refit = self.exam.answers(self._refit(ends[side]))
            other = own.refit.near(refit.function)
            functions[REFIT] = other.novelty
            suspects += [other.row, other.second_row]
        if calibration is None and self._matcher is not None:
            near |= self._matcher.near(given.networks, suspects)
        row, ratio = _closest(list(near.values()))
        if before is not None:  # it was matched; calibrated networks are not
            here = np.min([found.novelty for found in near.values()], axis=0)
            closer = np.min(list(before.spaces.values()), axis=0) < here
            row = np.where(closer, before.row, row)
            ratio = np.where(closer, before.ratio, ratio)
        novelties |= {name: found.novelty for name, found in near.items()}
        sets = {
            FUNCTION: _Set(
                answers.function, own.heldout_answers.function, own.function.train
            )
        }  # fmt: skip
        tests, dispersion = dict[str, TwoSample](), dict[str, float]()
        if before is None:
            train = own.spaces[side].train
            sets = {side: _Set(ends[side], own.heldout[side], train), **sets}
        else:  # as a set weights are judged before: a few of a new layer may be huge
            tests |= {side: before.tests[side]}
            dispersion |= {side: before.dispersion[side]}
        for name, one in sets.items():
            pair = (one.made[::2], one.made[1::2]) if itself else (one.made, one.held)
            tests[name] = two_sample(*pair, seed=seed)
            dispersion[name] = _rms(one.made) / _rms(one.train)
        return Judged(
            label=label,
            calibration=calibration,
            accuracy=answers.accuracy,
            loss=answers.loss,
            bar=own.bar,
            spaces=novelties,
            functions=functions,
            novelty=np.min([*novelties.values(), *functions.values()], axis=0),
            ratio=ratio,
            row=row,
            agreement=(answers.labels == own.answers.labels[row]).mean(1),
            agreement_functional=(
                answers.labels == own.answers.labels[functional.row]
            ).mean(1),
            overlap=largest_overlap(answers.wrong, own.answers.wrong),
            scores=self._scores(own, {**novelties, **functions}, foreign, itself),
            tests=tests,
            dispersion=dispersion,
            coverage=len(np.unique(row)),
            gain=ensemble_gain(answers.labels, self.exam.labels("test"), seed=seed),
        )  # fmt: skip

    def _scores(
        self,
        own: Yardstick,
        novelties: Mapping[str, Array],
        foreign: Collection[str],
        itself: bool,
    ) -> dict[str, float]:
        """Z_U by space, against held-out networks."""
        held = dict(own.novelty)
        if MATCHED in novelties:
            judged = novelties if itself else self.judge_heldout().spaces
            held[MATCHED] = judged[MATCHED]
        return {
            name: copying_score(novelties[name], known)
            for name, known in held.items()
            if name not in foreign
        }

    @cached_property
    def _matcher(self) -> Matcher | None:
        if self.canonicaliser is None:
            return None
        own = self.yardstick(None)
        functions = [own.function] + ([own.refit] if own.refit is not None else [])
        space = own.spaces[TRANSPORTED]
        return Matcher.of(self.canonicaliser, space, own.columns, self._runs, functions)

    def _calibrated(
        self, points: Mapping[str, Array], side: str, calibration: str, own: Yardstick
    ) -> dict[str, Array]:
        """The networks after a calibration, by side; samples are the same on both."""
        apply = calibration_named(calibration, self.exam).apply
        if calibration == Head.name:
            first = self._refit(points[side])
        else:
            first = apply(self.exam, points[side], own.learnt[side])
        return {
            name: first
            if given is points[side]
            else apply(self.exam, given, own.learnt[name])
            for name, given in points.items()
        }

    def _refit(self, weights: Array) -> Array:
        """Networks with the last layer refit; the last ones are kept: they come twice."""
        if self._refitted[0] is not weights:
            self._refitted = (weights, Head().apply(self.exam, weights, {}))
        return self._refitted[1]


def _rest(
    own: Yardstick, points: Mapping[str, Array], foreign: Collection[str]
) -> dict[str, Array]:
    """Novelty (n,) over the parameters that were left, by side."""
    return {
        f"{name}, rest": space.near(
            np.ascontiguousarray(points[name][:, own.columns]),
            _unit(own.rest, name in foreign),
        ).novelty
        for name, space in own.rest.items()
    }


def _unit(spaces: Mapping[str, Space], foreign: bool) -> float | None:
    """Distance of novelty 1: the space's own, or the least, see `Reference`."""
    return min(space.scale for space in spaces.values()) if foreign else None


def _closest(near: Sequence[Near]) -> tuple[Array, Array]:
    """Rows and d1 / d2 (n,) in the space where each network is nearest."""
    novelty = np.stack([own.novelty for own in near])
    at, best = np.arange(novelty.shape[1]), novelty.argmin(0)
    first, second, rows = (
        np.stack([getattr(own, name) for own in near])[best, at]
        for name in ("distance", "second", "row")
    )
    # Two copies of one training network: as near to both, at distance 0.
    ratio = np.divide(first, second, out=np.ones(len(at)), where=second > 0)
    return rows, ratio


def _rms(points: Array) -> float:
    """Root mean square distance from the mean."""
    mean = points.mean(0, dtype=np.float64)
    total = sum(
        float(np.square(part - mean).sum())
        for part in np.array_split(points, -(-len(points) // 512))
    )
    return float(np.sqrt(total / len(points)))
