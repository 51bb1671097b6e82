"""Flow matching on canonical codes of networks, after DeepWeightFlow [1]_."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from catalog import Canonicaliser, CatalogError, Population
from catalog.alignment import Outputs
from catalog.alignment.canonicaliser import Strategy
from catalog.dtypes import Array
from generators.codes.canonical import in_canonical_units
from generators.codes.codes import Codes
from generators.codes.other_tensors import check_base, rest_of
from generators.codes.predictor import Predictor
from generators.codes.standardised import Standardised
from generators.codes.training_set import one_population
from generators.file import load_generator, save_generator
from generators.flow.asked_residual import asked_residual
from generators.flow.conditions import Conditions
from generators.flow.flow import Flow
from generators.flow.restart import asked_restart
from generators.flow.schedule import Schedule
from generators.flow.solver import Residual, Solver
from generators.generator import Condition, Generator
from generators.methods.choices import check_choices, check_request
from generators.methods.fitting import fitted
from generators.methods.paper import paper_generator
from generators.samples import Score, best_of_each, sample_runs


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
    Differs from [1]_, see `generators.methods.paper`. Memory: see `fitted`.

    References
    ----------
    .. [1] Gupta et al., 2026, arXiv:2601.05052.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
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

    paper: classmethod[DeepWeightFlow, ..., DeepWeightFlow] = classmethod(paper_generator)

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
        parts = fitted(self, one_population(population), validation, check, label)
        vars(self).update({f"{name}_": part for name, part in vars(parts).items()})
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
        restart, guidance = asked_restart(
            self.flow_.restart, restarts, guidance, conditional=bool(condition)
        )
        check_request(
            n, best_of, score, temperature=temperature, guidance=guidance, strength=strength
        )
        check_base(self.codes_, base)
        residual, outside = self._residual(
            condition, guidance, toward=toward, strength=strength, extrapolate=extrapolate
        )
        codes = self.flow_.sample(
            n * best_of, residual, seed=seed, temperature=temperature, restart=restart
        )
        if base is not None:
            base = in_canonical_units(self.canonicaliser_, base)
        others = rest_of(self.codes_, codes, self.training_, base, best_of)
        weights = self.codes_.decode(codes, others)
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
            weights, self.training_, generator=self.name, settings=settings, seed=seed,
            columns={"extrapolated": [bool(outside)] * len(weights)},
        )  # fmt: skip
        return samples if score is None else best_of_each(samples, best_of, score)

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit for the user."""
        self._check_fitted()
        return self.flow_.notes

    def solver_error(
        self, condition: Condition | None = None, guidance: float = 1.0
    ) -> float:
        """Return the estimated relative error of the codes of samples with a condition.

        The estimate is before restarts: restarts are single Euler steps, used because they
        give better networks, and their result does not solve the flow to any tolerance.
        """
        self._check_fitted()
        residual, _ = self._residual(condition, guidance)
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
        residual, _ = self._residual(condition)
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

    def _residual(
        self, condition: Condition | None, guidance: float = 1.0, **asked: Any
    ) -> tuple[Residual, list[str]]:
        """Return the residual to integrate, see `asked_residual`."""
        parts = self.flow_, self.conditions_, self.predictors_
        return asked_residual(*parts, condition, guidance, **asked)

    def _check_fitted(self) -> None:
        if not hasattr(self, "flow_"):
            raise CatalogError(
                "This DeepWeightFlow is not fitted: call fit(population) first."
            )
