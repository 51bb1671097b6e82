"""Flow matching on canonical codes of networks, after DeepWeightFlow [1]_."""

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
"""Share of runs that are held out for early stopping if no validation set is given."""
Score = Callable[[Population], Array]
"""Score of each network of a population, higher is better, e.g. validation accuracy."""


class DeepWeightFlow(Generator):
    """Generator that transports noise to codes of canonical networks by a flow.

    Units are put in canonical order and scale, weights are encoded (as themselves, each in
    its own unit, or as principal components), and a velocity network learns the straight
    paths from noise to the codes: it learns the difference to the velocity of the Gaussian
    with the same mean and covariance. Training stops when the loss on held-out networks no
    longer falls, and keeps the moving average of the weights with the lowest loss, or the
    Gaussian itself if no weights have a lower one: by that loss the generator is never
    worse than the Gaussian, and ``flow_.curve.kept`` = 0 means that the Gaussian is kept.

    Parameters
    ----------
    conditions : sequence of str
        Columns of the table, numbers or text, that samples can be conditioned on.
    predictors : sequence of str
        Columns of numbers towards which samples can be guided, see `sample`; each gets a
        ridge regression on codes.
    tensors : str or sequence of str, default="*"
        Globs of the tensors to generate. The other tensors are copied from the nearest
        training network, by the codes of the generated tensors, or from ``base`` of
        `sample`.
    components : int, optional
        Number of principal components. Default: all of the rank, with which no training
        network loses anything.
    whiten : bool, default=True
        Whether codes are divided by the standard deviations of the components.
    shrinkage : float, optional
        Shrinkage of the variances towards their mean. Default: estimated, see `Components`.
    velocity : str, optional
        Name in `generators.flow.velocity.NETWORKS`. Default: "learnt_steps" on weights if
        the networks are chains of affine maps whose architecture is recorded, and all
        tensors are generated from all components without predictors; otherwise "film_mlp"
        on components.
    sizes : mapping, optional
        Arguments of the velocity network, such as ``{"width": 256, "depth": 2}``.
    source : float, optional
        Standard deviation of the noise, without the Gaussian start. Default: unit noise,
        and the Gaussian start.
    schedule : Schedule, optional
        Training schedule of the velocity network. Default: that of the network.
    solver : Solver, optional
        Solver of the flow. Default: the fewest steps of RK4 with a relative error below
        ``tolerance``.
    tolerance : float, default=1e-3
        Relative error of the end points before restarts, estimated by doubling the steps;
        the achieved error is ``flow_.solver.error``.
    strategy : str, default="mean"
        Strategy of `Canonicaliser`; None keeps the order of units, as is right if a layout
        has no symbols or all networks began with the same weights.
    reference : int, optional
        Run that alignment starts with, counted in the order of first rows.
    balance : bool or sequence of str, optional
        Symbols of rectified units whose scales are balanced, or all (True) or none (False).
        Default: the symbols that prove to be rectified if outputs can be computed, see
        `fit`.
    seed : int, default=0
        Seed of all random draws of the fit.

    Attributes
    ----------
    training_ : Population
        Canonical training networks, without the runs held out for early stopping.
    canonicaliser_ : Canonicaliser or None
    codes_ : Codes or Standardised
    conditions_ : Conditions
    predictors_ : dict of str to Predictor
        Predictors by column; ``skill`` says how good each is.
    flow_ : Flow
        Fitted flow, with the losses ``curve`` and the ``solver`` and its error.

    Notes
    -----
    Memory beyond the given networks: the canonical ones (n d values), the basis (k d) and
    codes (n k) in float32, a matrix of min(n, d)^2 float64 twice, and blocks of 32 MiB.
    Learnt steps also need the spread of the noise (k d) and 8,192 rows of noise.

    Differs from [1]_, whose settings are `paper`: matching to the mean and balanced scales;
    codes, see ``velocity``; fresh noise, coupled by optimal transport in each batch if
    codes are components; the Gaussian start; conditions at each layer with guidance;
    averaged weights and early stopping. As published, with a hundred networks and no early
    stopping, samples are copies of training networks.

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
    summary: ClassVar[str] = "flow matching on canonical codes, with early stopping"
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
        """Return a generator with the published settings, to measure against.

        The defaults are those for perceptrons. Differs from the publication: matching
        starts from the input side instead of the given order, and ends at a sweep without
        gain.
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
        """Check the settings, see `check_choices`."""
        check_choices(self)

    def fit(
        self,
        population: Population | Sequence[Population],
        validation: Population | None = None,
        *,
        check: Outputs | Literal[False] | None = None,
        label: str | None = None,
    ) -> Self:
        """Fit the flow to networks of one layout; runs may have several checkpoints.

        Parameters
        ----------
        population : Population or sequence of Population
        validation : Population, optional
            Networks that are used for early stopping only. Default: a tenth of the runs,
            drawn by the seed and excluded from training, if the schedule keeps weights by
            validation.
        check : callable or False, optional
            Function from weights to outputs with which every symmetry is verified. Default:
            `zoo.outputs` if architecture and task are recorded; False trusts the layout.
        label : str, optional
            Start of the progress line; None: no progress.

        Raises
        ------
        LayoutMismatch
            If values are not finite, layouts differ, or a supposed symmetry changes the
            outputs.
        CatalogError
            If there are fewer than 10 runs, runs are in both sets, or a column of a
            condition has missing values or one value only.
        NotFound
            If there is no such column, tensor, velocity, size of a velocity, or strategy.
        BadSetting
            If a setting has another type or is out of range; raised before networks are
            read.
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
                raise CatalogError(
                    f"Column {name!r} holds no numbers, so it cannot be predicted. "
                    "Leave it out of predictors, or name a column of numbers."
                )
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
            standardised = Standardised.fit(
                weights, layout, shrinkage=self.shrinkage, runs=runs
            )
            self.codes_, units = (
                standardised,
                (standardised.mean, standardised.scale, standardised.spread),
            )
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
            held = self._flow_rows(self.codes_.encode(aligned.weights), validation)
        self.flow_ = fitted_flow(
            self._flow_rows(codes, population),
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
        """Sample new networks: the same bytes for the same seed.

        This holds on one machine, with the same number of threads and the same n: sums in
        another order are rounded differently.

        Parameters
        ----------
        n : int
            Number of networks.
        seed : int, default=0
        condition : mapping, optional
            Values by name of a column of ``conditions``, for some or all of them. Columns
            that are left out are as expected of networks with the given values.
        guidance : float, optional
            Strength of the condition: 0 ignores it, 1 follows it, above 1 amplifies it.
            Default: 1, or 1.5 where restarts weaken the condition.
        toward : mapping, optional
            Target values, by name of a column of ``predictors``, towards which samples are
            guided.
        strength : float, default=1.0
            Strength of the guidance towards ``toward``; 1 is exact if codes are Gaussian.
        temperature : float, default=1.0
            Factor of the noise: below 1, samples are nearer to the mean. They are less
            novel there, and as accurate or inaccurate as the mean network is.
        restarts : int, optional
            Number of times that noise is added to the samples and the flow is integrated
            again, see `Restart`. Default: 64 with learnt steps, which improve at the same
            novelty, or 16 with a condition, as each restart weakens it; otherwise 0.
        best_of : int, default=1
            Number of candidates for each sample, of which one is kept.
        score : callable, optional
            Function from a population of m networks to scores (m,), higher is better, by
            which candidates are selected; required if ``best_of`` is above 1. Use data on
            which samples are not judged later.
        base : Population, optional
            One network or n networks from which samples take the tensors that are not
            generated; all candidates of a sample use the same network.
        extrapolate : bool, default=False
            Allow values outside the range of the training networks; column ``extrapolated``
            marks these samples.

        Raises
        ------
        CatalogError
            If a value is out of range or not finite, or best_of is given without a score.
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
                "number per network, such as accuracy on validation data."
            )
        residual, outside = self._residual_for(
            condition, guidance, toward, strength, extrapolate
        )
        if restarts is not None:
            restart = replace(restart or Restart(), times=restarts)
        codes = self.flow_.sample(
            n * best_of,
            residual,
            seed=seed,
            temperature=temperature,
            restart=restart,
        )
        other_tensors = None
        if not self.codes_.chosen.whole:
            aligned = (
                None if base is None else in_canonical_units(self.canonicaliser_, base)
            )
            other_tensors = rest_of(self.codes_, codes, self.training_, aligned, best_of)
        elif base is not None:
            raise CatalogError(
                "All tensors are generated, so base= has no use. Leave it out."
            )
        weights = self.codes_.decode(codes, other_tensors)
        settings = {
            "condition": dict(condition or {}),
            "guidance": guidance,
            "toward": dict(toward or {}),
            "strength": strength,
            "temperature": temperature,
            "restarts": restart.times if restart else 0,
            "best_of": best_of,
        }
        samples = sample_runs(
            weights,
            self.training_,
            generator=self.name,
            settings=settings,
            seed=seed,
            columns={"extrapolated": [bool(outside)] * len(weights)},
        )
        if score is None or best_of == 1:
            return samples
        scores = np.asarray(score(samples), np.float64).reshape(n, best_of)
        return samples.select(np.arange(n) * best_of + scores.argmax(1))

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit for the user."""
        self._check_fitted()
        solver, lines = self.flow_.solver, []
        if not self.flow_.velocity.on:
            lines.append(
                "No velocity network was better on held-out networks than the Gaussian "
                "of the training networks: samples are drawn from that Gaussian, as by "
                "pca_gaussian."
            )
        restart = self.flow_.restart
        lines.append(
            f"Solved by {solver.steps} steps of {solver.method}, relative error "
            f"{solver.error:.2g}"
            + (
                "; the restarts that follow improve the networks, not the accuracy of the "
                "solution."
                if restart
                else "."
            )
        )
        return lines

    def solver_error(
        self, condition: Condition | None = None, guidance: float = 1.0
    ) -> float:
        """Return the estimated relative error of the codes of samples with a condition.

        The estimate is before restarts: restarts are single Euler steps, used because they
        give better networks, and their result does not solve the flow to any tolerance.
        """
        self._check_fitted()
        residual, _ = self._residual_for(condition, guidance, None, 1.0, False)
        return self.flow_.solver_for(residual).error

    def log_density(
        self,
        population: Population,
        *,
        condition: Condition | None = None,
        probes: int | None = None,
        seed: int = 0,
    ) -> Array:
        """Return the log density (n,) in nats of networks, as if they were samples.

        The density is that of the flow without restarts, of canonical weights. Learnt steps
        model all weights, and have a density if there were more training networks than
        weights. Otherwise the density is along the principal components: the part of a
        network outside them (`Codes.lost`) does not count. New networks have part of their
        deviation there, so they are nearer to the mean within the components and score
        higher than training networks: compare only networks that were not used for
        training.

        Parameters
        ----------
        population : Population
        condition : mapping, optional
            Values of columns of ``conditions``.
        probes : int, optional
            Number of random directions with which the divergence is estimated (Hutchinson).
            Default: exact, with k gradients per step.
        seed : int
            Seed of the directions.

        Raises
        ------
        CatalogError
            If the training networks, and so the noise of learnt steps, do not span all
            dimensions: there is no density outside their span.
        """
        self._check_fitted()
        weights = in_canonical_units(self.canonicaliser_, population).weights
        residual, _ = self._residual_for(condition, 1.0, None, 1.0, False)
        density = self.flow_.log_density(
            self.codes_.encode(weights), residual, probes=probes, seed=seed
        )
        return density + self.codes_.log_volume(weights)

    def save(self, path: str | Path) -> None:
        """Write the fitted generator, including its training networks."""
        save_generator(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the generator that `save` wrote."""
        return load_generator(path, cls)

    def _flow_rows(self, codes: Array, population: Population) -> FlowRows:
        features = None
        if self.conditions_.columns:
            features = torch.from_numpy(self.conditions_.encode(population.table))
        spans = tuple(self.conditions_.spans.values())
        return FlowRows(torch.from_numpy(codes), features, spans)

    def _residual_for(
        self,
        condition: Condition | None,
        guidance: float,
        toward: Mapping[str, float] | None,
        strength: float,
        extrapolate: bool,
    ) -> tuple[Residual, list[str]]:
        """Return the residual to integrate, and the columns that are out of range."""
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
