"""Flow matching on canonical codes, after DeepWeightFlow [1]_."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch

from catalog import Canonicaliser, CatalogError, Population
from catalog.alignment import Outputs
from catalog.alignment.canonicaliser import Strategy
from catalog.dtypes import Array
from generators.codes.canonical import (
    fitted_canonicaliser,
    in_canonical_units,
    last_rows,
)
from generators.codes.codes import Codes
from generators.codes.other_tensors import rest_of
from generators.codes.predictor import Predictor
from generators.codes.standardised import Standardised
from generators.codes.training_set import check_training, one_population, split_by_run
from generators.file import load_generator, save_generator
from generators.flow.conditions import Conditions, Numeric
from generators.flow.fitting import fitted_flow
from generators.flow.flow import Flow
from generators.flow.restart import ASKED_GUIDANCE, ASKED_TIMES, Restart
from generators.flow.rows import FlowRows
from generators.flow.schedule import Schedule
from generators.flow.solver import Residual, Solver
from generators.flow.targeted_sampling import pulls_toward
from generators.generator import Condition, Generator
from generators.methods.choices import (
    check_choices,
    check_request,
    chosen_network,
    usual_schedule,
)
from generators.samples import sample_runs

HELD_OUT = 0.1
"""Share of runs that decide when to stop, where no validation networks are given."""
Score = Callable[[Population], Array]
"""Of networks, higher is better: such as their accuracy on validation data."""


class DeepWeightFlow(Generator):
    """Makes networks by a flow from noise to codes of canonical networks.

    Units are put in canonical order and scale, weights become codes (themselves, each in
    its own unit, or principal components), and a velocity learns the straight paths from
    noise to them: what it adds to that of the Gaussian with the same mean and covariance.
    It stops when the loss on held-out networks no longer falls, and keeps the average of
    its weights with the least, or the Gaussian itself if none has less: by that loss it is
    never worse than the Gaussian, and ``flow_.curve.kept`` = 0 says that this is kept.

    Parameters
    ----------
    conditions : sequence of str
        Columns of the table, numbers or text, that samples may be asked for.
    predictors : sequence of str
        Columns of numbers that samples may be drawn towards, see `sample`. A ridge
        regression on codes each.
    tensors : str or sequence of str, default="*"
        Globs of the tensors that are made. The others are taken from the nearest training
        network by the codes of those that are, or from ``base`` of `sample`.
    components : int, optional
        Principal components. Default: all of the rank, with which no training network
        loses anything.
    whiten : bool, default=True
    shrinkage : float, optional
        Of variances to their mean. Default: estimated, see `Components`.
    velocity : str, optional
        A name of `generators.flow.velocity.NETWORKS`. Default: "learnt_steps" on weights,
        where the networks are chains of affine maps whose architecture is recorded, and
        all tensors are made from all components without predictors; else "film_mlp" on
        components.
    sizes : mapping, optional
        Arguments of that network, such as ``{"width": 256, "depth": 2}``.
    source : float, optional
        Deviation of the noise, without the Gaussian start. Default: unit noise, and the
        Gaussian start.
    schedule : Schedule, optional
        How it is learned.
    solver : Solver, optional
        Default: the fewest steps of RK4 with a relative error below ``tolerance``.
    tolerance : float, default=1e-3
        Of end points before restarts, by doubling the steps; what is reached is
        ``flow_.solver.error``.
    strategy : str, default="mean"
        Of `Canonicaliser`; None takes units in the order that they have, as is right where
        a layout has no symbols or all networks began alike.
    reference : int, optional
        Run to begin with, in the order of first rows.
    balance : bool or sequence of str, optional
        Balance the scales of rectified units: of these symbols, or all or none. Default:
        those that prove to be rectified, where outputs can be computed, see `fit`.
    seed : int, default=0
        Of everything that is drawn while fitting.

    Attributes
    ----------
    training_ : Population
        Canonical; without the runs held out for the gate.
    canonicaliser_ : Canonicaliser or None
    codes_ : Codes or Standardised
    conditions_ : Conditions
    predictors_ : dict of str to Predictor
        ``skill`` tells what they are worth.
    flow_ : Flow
        With ``curve``, the losses, and ``solver``, with its error.

    Notes
    -----
    Memory beyond the given networks: the canonical ones (n d values), the basis (k d) and
    codes (n k) in float32, a matrix of min(n, d)^2 float64 twice, and blocks of 32 MiB.
    Learnt steps beside it: the spread of the noise (k d) and 8,192 rows of it.

    Differs from [1]_, whose settings are `paper`: matching to the mean and balanced scales;
    codes, see ``velocity``; fresh noise, on components coupled by optimal transport in each
    batch; the Gaussian start; conditions at each layer with guidance; averaged weights and
    the gate. As published, with a hundred networks and no gate, samples are copies of
    training networks.

    References
    ----------
    .. [1] Gupta et al., 2026, arXiv:2601.05052.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from catalog import Layout, Param
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"run_id": [f"r{i}" for i in range(50)], "step": [9] * 50})
    >>> weights = rng.standard_normal((50, 4)).astype(np.float32)
    >>> some = Population(weights, Layout((Param("w", (4,)),)), table)
    >>> made = DeepWeightFlow(strategy=None, schedule=Schedule(iterations=20)).fit(some)
    >>> made.sample(3).weights.shape
    (3, 4)
    """

    name: ClassVar[str] = "deepweightflow"
    summary: ClassVar[str] = (
        "flow matching on canonical codes, stopped by held-out networks"
    )
    fewest: ClassVar[int] = 10

    training_: Population
    canonicaliser_: Canonicaliser | None
    codes_: Codes | Standardised
    conditions_: Conditions
    predictors_: dict[str, Predictor]
    flow_: Flow

    def __init__(
        self,
        *,
        conditions: Sequence[str] = (),
        predictors: Sequence[str] = (),
        tensors: str | Sequence[str] = "*",
        components: int | None = None,
        whiten: bool = True,
        shrinkage: float | None = None,
        velocity: str | None = None,
        sizes: Mapping[str, Any] | None = None,
        source: float | None = None,
        schedule: Schedule | None = None,
        solver: Solver | None = None,
        tolerance: float = 1e-3,
        strategy: Strategy | None = "mean",
        reference: int | None = None,
        balance: bool | Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.conditions = conditions
        self.predictors = predictors
        self.tensors = tensors
        self.components = components
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.velocity = velocity
        self.sizes = sizes
        self.source = source
        self.schedule = schedule
        self.solver = solver
        self.tolerance = tolerance
        self.strategy = strategy
        self.reference = reference
        self.balance = balance
        self.seed = seed

    @classmethod
    def paper(
        cls,
        *,
        components: int | None = 99,
        width: int = 512,
        source: float = 0.01,
        batch_size: int = 8,
        iterations: int = 30_000,
        seed: int = 0,
    ) -> Self:
        """The published settings, those for perceptrons by default; to measure against.

        Matching starts from the input side, not from the given order, and ends at a sweep
        without gain: else as published.
        """
        schedule = Schedule(
            iterations=iterations,
            batch_size=batch_size,
            decay=0.0,
            coupling="independent",
            source="fixed",
            sigma=1e-3,
            keep="lowest_batch",
            every=500,
        )
        return cls(
            components=components,
            whiten=False,
            shrinkage=0.0,
            velocity="published_mlp",
            sizes={"width": width, "embedding": 64, "dropout": 0.1},
            source=source,
            schedule=schedule,
            solver=Solver("rk4", 99),
            strategy="reference",
            reference=0,
            balance=False,
            seed=seed,
        )

    def check(self) -> None:
        """Refuse settings that cannot be, see `check_choices`."""
        check_choices(self)

    def fit(
        self,
        population: Population | Sequence[Population],
        validation: Population | None = None,
        *,
        check: Outputs | Literal[False] | None = None,
        label: str | None = None,
    ) -> Self:
        """Learn from networks of one layout; several checkpoints of a run may be given.

        Parameters
        ----------
        population : Population or sequence of Population
        validation : Population, optional
            Decides when to stop, and nothing else. Default: a tenth of the runs, drawn by
            the seed and not learned from, if the schedule keeps by validation.
        check : callable or False, optional
            Outputs of weights, by which every symmetry is tried. Default: `zoo.outputs`,
            where architecture and task are recorded; False takes the layout on trust.
        label : str, optional
            Start of the progress line; None: no progress.

        Raises
        ------
        LayoutMismatch
            If values are not finite, layouts differ, or a symmetry is none.
        CatalogError
            If there are fewer than 10 runs, runs are in both sets, or a column of a
            condition has missing values or one value only.
        NotFound
            If there is no such column, tensor, velocity, size of it, or strategy.
        BadSetting
            If a setting has another type or is out of range, before networks are looked at.
        """
        self.check()
        population = one_population(population)
        network, sizes = chosen_network(self, population)
        schedule = self.schedule or usual_schedule(network, sizes)
        check_training(population, validation, self.fewest)
        conditions = Conditions.fit(population.table, self.conditions)
        targets = Conditions.fit(population.table, self.predictors)
        for name, column in targets.columns.items():
            if not isinstance(column, Numeric):
                raise CatalogError(f"Column {name!r} holds no numbers to predict.")
        if validation is None and schedule.keep == "validation":
            population, validation = split_by_run(population, HELD_OUT, self.seed)
        self.conditions_ = conditions
        self.canonicaliser_ = None
        if self.strategy is not None:
            self.canonicaliser_ = fitted_canonicaliser(
                population,
                check,
                strategy=self.strategy,
                balance=self.balance,
                reference=self.reference,
                seed=self.seed,
            )
        self.training_ = in_canonical_units(self.canonicaliser_, population)
        weights = self.training_.weights
        layout, runs = self.training_.layout, last_rows(self.training_)[1]
        units = None
        if network == "learnt_steps":
            own = Standardised.fit(weights, layout, shrinkage=self.shrinkage, runs=runs)
            self.codes_, units = own, (own.mean, own.scale, own.spread)
        else:
            self.codes_ = Codes.fit(
                weights,
                layout,
                tensors=self.tensors,
                k=self.components,
                whiten=self.whiten,
                shrinkage=self.shrinkage,
                runs=runs,
            )
        codes = self.codes_.encode(weights)
        held = None
        if validation is not None:
            aligned = in_canonical_units(self.canonicaliser_, validation)
            held = self._rows(self.codes_.encode(aligned.weights), validation)
        self.flow_ = fitted_flow(
            self._rows(codes, population),
            self.codes_.deviation,
            held,
            schedule,
            network=network,
            sizes=sizes,
            units=units,
            source=self.source,
            solver=self.solver,
            tolerance=self.tolerance,
            seed=self.seed,
            label=label,
        )
        self.predictors_ = {
            name: Predictor.fit(codes, population[name]) for name in self.predictors
        }
        return self

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        condition: Condition | None = None,
        guidance: float | None = None,
        toward: Mapping[str, float] | None = None,
        strength: float = 1.0,
        temperature: float = 1.0,
        restarts: int | None = None,
        best_of: int = 1,
        score: Score | None = None,
        base: Population | None = None,
        extrapolate: bool = False,
    ) -> Population:
        """New networks: the same bytes for the same seed.

        On one machine, with as many threads and the same n: sums in another order round
        otherwise.

        Parameters
        ----------
        n : int
        condition : mapping, optional
            By name of a column of ``conditions``; some or all. Those left out are as is to
            be expected of networks with those asked for.
        guidance : float, optional
            1 asks for the condition, above 1 for more of it, 0 for none. Default: 1, or 1.5
            where restarts take some of it away.
        toward : mapping, optional
            Values of columns of ``predictors`` that samples are drawn towards.
        strength : float, default=1.0
            Of that draw; 1 is exact where codes are Gaussian.
        temperature : float, default=1.0
            Factor of the noise: below 1, samples come nearer to the mean. They are less
            novel there, and better or worse as the mean network is.
        restarts : int, optional
            Times that samples are made noisy and finished again, see `Restart`. Default:
            64 with learnt steps, which it makes better at the same novelty, or 16 with a
            condition, of which each takes something away; else 0.
        best_of : int, default=1
            So many are made for each that is kept.
        score : callable, optional
            Needed to choose: scores (m,) of a population, higher is better. Take data that
            samples are not judged by later.
        base : Population, optional
            One network or n, whose other tensors samples get, where only some are made;
            all candidates of a sample get those of its network.
        extrapolate : bool, default=False
            Allow values outside of the training networks; column ``extrapolated`` tells.

        Raises
        ------
        CatalogError
            If a value is outside of what was seen or not finite, or best_of has no score.
        NotFound
            If a condition or predictor is unknown.
        """
        self._check_fitted()
        restart = self.flow_.restart
        if restart is not None and condition:
            restart = replace(restart, times=ASKED_TIMES)
        if guidance is None:
            guidance = ASKED_GUIDANCE if restart is not None and condition else 1.0
        check_request(temperature=temperature, guidance=guidance, strength=strength)
        if n < 1 or best_of < 1:
            raise ValueError(f"n and best_of must be 1 or more. Got {n} and {best_of}.")
        if best_of > 1 and score is None:
            raise CatalogError(
                f"best_of = {best_of} needs score=, a function from a Population to one "
                "number each, such as accuracy on validation data."
            )
        residual, outside = self._asked(condition, guidance, toward, strength, extrapolate)
        if restarts is not None:
            restart = replace(restart or Restart(), times=restarts)
        codes = self.flow_.sample(
            n * best_of,
            residual,
            seed=seed,
            temperature=temperature,
            restart=restart,
        )
        rest = None
        if not self.codes_.chosen.whole:
            aligned = (
                None if base is None else in_canonical_units(self.canonicaliser_, base)
            )
            rest = rest_of(self.codes_, codes, self.training_, aligned, best_of)
        elif base is not None:
            raise CatalogError("All tensors are made, so base= has no use. Leave it out.")
        weights = self.codes_.decode(codes, rest)
        about = {
            "condition": dict(condition or {}),
            "guidance": guidance,
            "toward": dict(toward or {}),
            "strength": strength,
            "temperature": temperature,
            "restarts": restart.times if restart else 0,
            "best_of": best_of,
        }
        found = sample_runs(
            weights,
            self.training_,
            generator=self.name,
            settings=about,
            seed=seed,
            columns={"extrapolated": [bool(outside)] * len(weights)},
        )
        if score is None or best_of == 1:
            return found
        scores = np.asarray(score(found), np.float64).reshape(n, best_of)
        return found.select(np.arange(n) * best_of + scores.argmax(1))

    @property
    def notes(self) -> list[str]:
        """What a user should know of the fit."""
        self._check_fitted()
        solver, lines = self.flow_.solver, []
        if not self.flow_.velocity.on:
            lines.append(
                "No velocity was better on held-out networks than the Gaussian of the "
                "training networks: samples are of that, as those of pca_gaussian."
            )
        again = self.flow_.restart
        lines.append(
            f"Solved by {solver.steps} steps of {solver.method}, relative error "
            f"{solver.error:.2g}"
            + (
                "; samples are then restarted, which is no more exact: it makes better "
                "networks."
                if again
                else "."
            )
        )
        return lines

    def solver_error(
        self, condition: Condition | None = None, guidance: float = 1.0
    ) -> float:
        """Estimated relative error of the codes of samples with a condition.

        Before restarts: these are single steps of Euler, taken because they give better
        networks, and what comes out of them is no solution of the flow to any tolerance.
        """
        self._check_fitted()
        residual, _ = self._asked(condition, guidance, None, 1.0, False)
        return self.flow_.solver_for(residual).error

    def log_density(
        self,
        population: Population,
        *,
        condition: Condition | None = None,
        probes: int | None = None,
        seed: int = 0,
    ) -> Array:
        """Log density (n,) in nats of networks, as if they were samples.

        Of the flow without restarts, and of canonical weights. Learnt steps know all
        weights, and have a density where there were more training networks than weights.
        Else it is along the principal components: what a network has outside of them
        (`Codes.lost`) does not count. New networks have part of their deviation there, so
        they lie nearer to the mean within, and score higher than those that were learned
        from: compare networks that were all new.

        Parameters
        ----------
        probes : int, optional
            Estimate the divergence by so many random directions (Hutchinson). Default:
            exactly, with k gradients per step.
        seed : int
            Of the directions.

        Raises
        ------
        CatalogError
            If the training networks, and so the noise of learnt steps, do not fill all
            dimensions: outside of where they lie there is no density.
        """
        self._check_fitted()
        weights = in_canonical_units(self.canonicaliser_, population).weights
        residual, _ = self._asked(condition, 1.0, None, 1.0, False)
        found = self.flow_.log_density(
            self.codes_.encode(weights), residual, probes=probes, seed=seed
        )
        return found + self.codes_.log_volume(weights)

    def save(self, path: str | Path) -> None:
        """Write the fitted generator, its training networks among it."""
        save_generator(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The generator that `save` wrote."""
        return load_generator(path, cls)

    def _rows(self, codes: Array, population: Population) -> FlowRows:
        features = None
        if self.conditions_.columns:
            features = torch.from_numpy(self.conditions_.encode(population.table))
        spans = tuple(self.conditions_.spans.values())
        return FlowRows(torch.from_numpy(codes), features, spans)

    def _asked(
        self,
        condition: Condition | None,
        guidance: float,
        toward: Mapping[str, float] | None,
        strength: float,
        extrapolate: bool,
    ) -> tuple[Residual, list[str]]:
        """What is integrated, and the columns that are out of range."""
        features, outside = None, list[str]()
        if condition:
            features, outside = self.conditions_.asked(condition, extrapolate=extrapolate)
        pulls = pulls_toward(
            self.predictors_, toward or {}, strength, extrapolate=extrapolate
        )
        outside += [name for name, _, inside in pulls if not inside]
        residual = self.flow_.residual(
            features, guidance=guidance, pulls=[pull for _, pull, _ in pulls]
        )
        return residual, outside

    def _check_fitted(self) -> None:
        if not hasattr(self, "flow_"):
            raise CatalogError(
                "This DeepWeightFlow is not fitted: call fit(population) first."
            )
