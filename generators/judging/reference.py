"""What samples are compared with: made once, for a generator and all nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from catalog import Canonicaliser, CatalogError, LayoutMismatch, Population
from catalog.dtypes import Array
from generators.codes.canonical import in_canonical_units, last_checkpoints
from generators.generator import Generator
from generators.judging.copying import copying_score
from generators.judging.ensemble import ensemble_gain
from generators.judging.errors import largest_overlap
from generators.judging.exam import Exam
from generators.judging.judged import Judged
from generators.judging.space import Near, Space
from generators.judging.two_sample import two_sample
from generators.judging.yardstick import FUNCTION, Side, Yardstick, calibration_named

FEWEST = 20
"""Held-out networks, at least: the bar is the 5th percentile of their accuracy."""
RAW, TRANSPORTED = "raw", "transported"


class Reference:
    """Training and held-out networks of one generator.

    Nothing is ever matched to a sample: that makes copies look new. Samples are compared
    with training networks as they were (raw), as the generator has them (transported), and
    in function, which units in whatever order cannot change. Where units have another order
    than in the samples, training networks are far from each other, but no farther from the
    samples: there distances count in units of the side where they are least.

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
        _check(population, heldout)
        # Earlier checkpoints of held-out runs would lower the bar.
        heldout = heldout.select(last_checkpoints(heldout)[0])
        known = population
        if training is not None:
            known = population.select(_places(training, population))
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
            In the units of the training networks; they are not matched.
        calibration : str, optional
            Name of one in `generators.calibration`. Novelty is then the smallest of three
            in each space: before it, over the parameters that it leaves, and to training
            networks that were calibrated alike; in function before it and after. So a copy
            with a new head is a copy.
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
        _check_samples(samples, self.population)
        side = RAW if raw else list(self._sides)[-1]
        points = dict.fromkeys(self._sides, samples.weights)
        foreign = set(self._sides) - {side}
        return self._judged(points, side, foreign, label, calibration, before, seed)

    def between(self, calibration: str | None = None) -> dict[str, dict[str, float]]:
        """Distances between training networks by space."""
        own = self.yardstick(calibration)
        spaces = (*own.spaces.values(), *own.rest.values(), own.function)
        return {space.name: space.summary() for space in spaces}

    def judge_heldout(self, calibration: str | None = None, *, seed: int = 0) -> Judged:
        """Judge the held-out networks themselves: what the best generator would score.

        They were transported as training networks were, which depends on each alone.
        """
        points = {name: side.heldout for name, side in self._sides.items()}
        last = list(self._sides)[-1]
        return self._judged(
            points, last, set(), "held-out networks", calibration, None, seed
        )

    def _judged(
        self,
        points: Mapping[str, Array],
        side: str,
        foreign: set[str],
        label: str,
        calibration: str | None,
        before: Judged | None,
        seed: int,
    ) -> Judged:
        own = self.yardstick(calibration)
        novelties = dict[str, Array]()
        ends = points
        itself = points[side] is self._sides[side].heldout  # are judged by their halves
        if calibration is not None:
            plain = self.yardstick(None)
            for name, space in plain.spaces.items():
                known = None if before is None else before.spaces.get(name)
                if known is None:
                    unit = _unit(plain.spaces, name in foreign)
                    known = space.near(points[name], unit).novelty
                novelties[f"{name}, before"] = known
            ends = self._calibrated(points, side, calibration, own)
            if not np.array_equal(plain.columns, own.columns):
                novelties |= _rest(plain, points, foreign, ", rest before")
        novelties |= _rest(own, points, foreign, ", rest")
        near = {
            name: space.near(ends[name], _unit(own.spaces, name in foreign))
            for name, space in own.spaces.items()
        }
        novelties |= {name: found.novelty for name, found in near.items()}
        answers = self.exam.answers(ends[side])
        functional = own.function.near(answers.function)
        in_function = functional.novelty
        if calibration is not None:
            earlier = (
                self._functional(points[side]) if before is None else before.functional
            )
            in_function = np.minimum(in_function, earlier)
        row, ratio = _closest(list(near.values()))
        scores = {
            name: copying_score(found.novelty, own.novelty[name])
            for name, found in near.items()
            if name not in foreign
        }
        scores[FUNCTION] = copying_score(functional.novelty, own.novelty[FUNCTION])
        vectors = {
            side: (ends[side], own.heldout[side], own.spaces[side].train),
            FUNCTION: (
                answers.function, own.heldout_answers.function, own.function.train
            ),
        }  # fmt: skip
        return Judged(
            label=label,
            calibration=calibration,
            accuracy=answers.accuracy,
            loss=answers.loss,
            bar=own.bar,
            spaces=novelties,
            functional=in_function,
            novelty=np.min([*novelties.values(), in_function], axis=0),
            ratio=ratio,
            row=row,
            agreement=(answers.labels == own.answers.labels[row]).mean(1),
            agreement_functional=(
                answers.labels == own.answers.labels[functional.row]
            ).mean(1),
            overlap=largest_overlap(answers.wrong, own.answers.wrong),
            scores=scores,
            tests={
                name: two_sample(
                    *((made[::2], made[1::2]) if itself else (made, held)), seed=seed
                )
                for name, (made, held, _) in vectors.items()
            },
            dispersion={
                name: _rms(made) / _rms(train)
                for name, (made, _, train) in vectors.items()
            },
            coverage=len(np.unique(row)),
            gain=ensemble_gain(answers.labels, self.exam.truth("test"), seed=seed),
        )  # fmt: skip

    def _functional(self, weights: Array) -> Array:
        """Novelty (n,) in function of networks as they are."""
        found = self.exam.answers(weights).function
        return self.yardstick(None).function.near(found).novelty

    def _calibrated(
        self, points: Mapping[str, Array], side: str, calibration: str, own: Yardstick
    ) -> dict[str, Array]:
        """The networks after a calibration, by side; samples are the same on both."""
        apply = calibration_named(calibration, self.exam).apply
        first = apply(self.exam, points[side], own.learnt[side])
        return {
            name: first
            if given is points[side]
            else apply(self.exam, given, own.learnt[name])
            for name, given in points.items()
        }


def _rest(
    own: Yardstick, points: Mapping[str, Array], foreign: set[str], ending: str
) -> dict[str, Array]:
    """Novelty (n,) over the parameters that were left, by side."""
    return {
        f"{name}{ending}": space.near(
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


def _places(training: Population, population: Population) -> Array:
    """Rows of the population that the training networks were."""
    keys = zip(population["run_id"], population["step"], strict=True)
    place = {(str(run), int(step)): i for i, (run, step) in enumerate(keys)}
    wanted = zip(training["run_id"], training["step"], strict=True)
    rows = [place.get((str(run), int(step)), -1) for run, step in wanted]
    if missing := rows.count(-1):
        raise CatalogError(
            f"{missing} of the {len(rows)} networks that the generator was fitted to are "
            "not in the population that it is judged by. Pass the one that fit() got."
        )
    return np.array(rows, np.int64)


def _check(population: Population, heldout: Population) -> None:
    runs, others = set(population["run_id"]), set(heldout["run_id"])
    if len(runs) < 2:
        raise CatalogError(
            f"Novelty is measured in distances between training runs: two are needed, "
            f"better hundreds. Got {len(runs)}."
        )
    if len(others) < FEWEST:
        raise CatalogError(
            f"There are {len(others)} held-out runs to judge by; {FEWEST} are needed, "
            "better hundreds: their 5th percentile is the accuracy that counts as "
            "performant. Load those that the generator has not seen, such as "
            "\"split_by_run = 'test'\"."
        )
    if both := runs & others:
        raise CatalogError(
            f"{len(both)} runs are in training and held out, such as {min(both)!r}. Split "
            "by run: \"split_by_run = 'train'\" and \"split_by_run = 'test'\"."
        )
    for what, networks in (("training", population), ("held-out", heldout)):
        _check_alike(networks, population, what)


def _check_samples(samples: Population, population: Population) -> None:
    if not len(samples):
        raise LayoutMismatch("There are no samples to judge. Make some: sample(n=100).")
    _check_alike(samples, population, "sampled")


def _check_alike(networks: Population, population: Population, what: str) -> None:
    if networks.layout.widened() != population.layout.widened():
        raise LayoutMismatch(
            f"The {what} networks have layout {networks.layout.id} (d = "
            f"{networks.layout.d}), training networks {population.layout.id} (d = "
            f"{population.layout.d}): {population.layout.difference(networks.layout)}. "
            "Judge each layout by networks of its own."
        )
    finite = np.isfinite(networks.weights).all(1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise LayoutMismatch(
            f"{len(bad)} of {len(networks)} {what} networks hold values that are not "
            f"finite, first run {networks['run_id'][bad[0]]!r}. Leave them out, "
            "and say how many: population.select(np.isfinite(population.weights).all(1))."
        )
