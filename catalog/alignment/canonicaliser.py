"""Canonical representatives of networks that differ only in order and scale of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np

from catalog.alignment.cycle import universe
from catalog.alignment.matching import SWEEPS, match
from catalog.alignment.permutation import permute
from catalog.alignment.scales import balance, rescale, scalable
from catalog.alignment.self_test import Outputs, check_symmetries
from catalog.dtypes import Array
from catalog.errors import CatalogError, LayoutMismatch
from catalog.fitted.file import Kind
from catalog.formats.format import Tensor
from catalog.layout import Layout
from catalog.population import Population

Strategy = Literal["reference", "mean", "cycle"]
_FILE = Kind(
    "canonicaliser", "canonicaliser", 1, "Write one with its save().", format_key="version"
)
_RISE = 1e-5
"""Relative rise of the norm of the mean below which the rounds of "mean" end."""


@dataclass(frozen=True)
class Symmetries:
    """Scales and permutations that take networks to their representatives.

    The scales are applied before the permutations.

    Attributes
    ----------
    permutations : dict of str to ndarray of shape (n, size)
        Permutation of the units of each symbol, for `permute`.
    scales : dict of str to ndarray of shape (n, size)
        Factors of the incoming weights and biases of each symbol; empty without balancing.
    """

    permutations: dict[str, Array]
    scales: dict[str, Array]

    def apply(self, population: Population) -> Population:
        """Return the population with the symmetries applied row by row.

        The population may hold other checkpoints of the matched runs than the ones that
        were matched. If there are scales, tensors of 16 bits become float32.
        """
        weights, layout = population.weights, population.layout
        if self.scales:
            weights = rescale(weights, layout, self.scales)
            layout = layout.widened()
        return permute(
            replace(population, weights=weights, layout=layout), self.permutations
        )


class Canonicaliser:
    """Alignment of networks with a reference that is learned from a population.

    A fitted canonicaliser is frozen: the representative of a network depends on that
    network alone, and not on the order of its units (except for units with equal incoming
    and outgoing weights).

    Parameters
    ----------
    strategy : {"mean", "reference", "cycle"}, default="mean"
        "reference" aligns all networks with one network. "mean" aligns all networks with
        one network first and then, in rounds, with the mean of the aligned networks, as
        MergeMany of [1]_ (which leaves each network out of its own mean and takes the
        networks in turn: no better, and n times the work). "cycle" maximises the inner
        products of all pairs at once and aligns with the mean of the result, see
        `universe`; this brings the networks closest, at several times the cost.
    balance : bool or sequence of str, default=False
        Symbols whose rectified units are balanced in scale before matching. True stands
        for all symbols that `scalable` names and needs ``check``, because the layout does
        not know the activations.
    reference : int, optional
        Row of the first network that the others are aligned with. Default: a random row,
        drawn with the seed.
    rounds : int, default=8
        Maximum number of rounds of "mean".
    sweeps, restarts : int, default=100, 0
        Maximum number of sweeps and number of restarts, see `match`.
    seed : int, default=0
        Seed of the reference row and of the restarts.

    Attributes
    ----------
    layout_ : Layout
        Layout of the fitted population.
    reference_ : ndarray of shape (d,)
        Weights that networks are aligned with.
    scaled_ : tuple of str
        Symbols whose scales are balanced.

    References
    ----------
    .. [1] Ainsworth et al., 2022, arXiv:2209.04836.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from catalog import Param
    >>> into = Param("in", (2, 1), ("h", None))
    >>> layout = Layout((into, Param("out", (1, 2), (None, "h"))))
    >>> table = pa.table({"run_id": ["a", "b"], "step": [0, 0]})
    >>> two = Population(np.float32([[1, 2, 3, 4], [2, 1, 4, 3]]), layout, table)
    >>> Canonicaliser(reference=0).fit(two).transform(two).weights.tolist()
    [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]
    """

    def __init__(
        self,
        strategy: Strategy = "mean",
        *,
        balance: bool | Sequence[str] = False,
        reference: int | None = None,
        rounds: int = 8,
        sweeps: int = SWEEPS,
        restarts: int = 0,
        seed: int = 0,
    ) -> None:
        self.strategy = strategy
        self.balance = balance
        self.reference = reference
        self.rounds = rounds
        self.sweeps = sweeps
        self.restarts = restarts
        self.seed = seed

    def fit(
        self, population: Population, *, check: Outputs | Literal[False] | None = None
    ) -> Self:
        """Learn the reference.

        Parameters
        ----------
        population : Population
            At least one network; values must be finite.
        check : callable or False, optional
            Function from networks (m, d) to outputs (m, ...), such as `zoo.outputs` gives.
            Every symmetry is then tested before it is used, see `check_symmetries`. With
            None, the symbols of a layout are trusted, except for imported networks, whose
            symbols were inferred. With False, these symbols are trusted too.

        Raises
        ------
        SymmetryBroken
            If reordering or rescaling the units of a symbol changes the outputs.
        LayoutMismatch
            If there is nothing to align, weights are not finite, or networks were
            imported and ``check`` is None.
        """
        if self.strategy not in get_args(Strategy):
            raise ValueError(
                f"strategy must be one of {get_args(Strategy)}. Got {self.strategy!r}."
            )
        layout, n = population.layout, len(population)
        if not n:
            raise LayoutMismatch(
                "Cannot fit a Canonicaliser to a population that holds no networks."
            )
        row = self.reference
        if row is None:
            row = int(np.random.default_rng(self.seed).integers(n))
        elif not 0 <= row < n:
            raise ValueError(f"reference must be a row, from 0 to {n - 1}. Got {row}.")
        self.scaled_ = self._scaled(layout, check or None)
        _check_finite(population)
        if check is None:
            _check_trusted(population)
        elif check is not False:
            check_symmetries(population.weights, layout, check, scaled=self.scaled_)
        self.layout_ = layout
        weights = population.weights
        if self.scaled_:
            weights, _ = balance(weights, layout, self.scaled_)
        self.reference_ = self._learned(weights, weights[row])
        return self

    def symmetries(self, population: Population) -> Symmetries:
        """Compute the scales and permutations that take networks to their representatives.

        Raises
        ------
        LayoutMismatch
            If the layout differs from the layout of the fitted population, or weights are
            not finite.
        """
        self._check_layout(population.layout)
        _check_finite(population)
        weights, scales = population.weights, dict[str, Array]()
        if self.scaled_:
            weights, scales = balance(weights, self.layout_, self.scaled_)
        return Symmetries(self._matched(weights, self.reference_), scales)

    def transform(self, population: Population) -> Population:
        """Return the representatives of the networks, with the same table.

        Raises
        ------
        LayoutMismatch
            If the layout differs from the layout of the fitted population, or weights are
            not finite.
        """
        return self.symmetries(population).apply(population)

    def fit_transform(
        self, population: Population, *, check: Outputs | Literal[False] | None = None
    ) -> Population:
        """Fit to the networks of a population and transform them."""
        return self.fit(population, check=check).transform(population)

    def save(self, path: str | Path) -> None:
        """Save the canonicaliser in the container format of `catalog.fitted.file`."""
        balanced = self.balance if isinstance(self.balance, bool) else list(self.balance)
        settings = {
            "strategy": self.strategy,
            "balance": balanced,
            "reference": None if self.reference is None else int(self.reference),
            "rounds": int(self.rounds),
            "sweeps": int(self.sweeps),
            "restarts": int(self.restarts),
            "seed": int(self.seed),
            "scaled": list(self.scaled_),
            "layout": self.layout_.to_json(),
        }
        _FILE.write(path, settings, {"reference": Tensor(self.reference_, "float32")})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a canonicaliser that `save` wrote.

        Raises
        ------
        ShardCorrupt
            If bytes of the file have changed since it was written.
        CatalogError
            If the file holds no canonicaliser, or was written by a newer version.
        """
        settings, tensors = _FILE.read(path)
        with _FILE.as_written(path):
            del settings["version"]
            layout, scaled = (
                Layout.from_json(settings.pop("layout")),
                settings.pop("scaled"),
            )
            canonicaliser = cls(settings.pop("strategy"), **settings)
            canonicaliser.layout_, canonicaliser.scaled_ = layout, tuple(scaled)
            canonicaliser.reference_ = tensors["reference"].copy()
        if canonicaliser.reference_.shape != (layout.d,):
            raise CatalogError(
                f"{path}: the reference has shape {canonicaliser.reference_.shape}, but "
                f"the layout has d = {layout.d} values."
            )
        return canonicaliser

    def _scaled(self, layout: Layout, check: Outputs | None) -> tuple[str, ...]:
        if isinstance(self.balance, str):
            raise ValueError(
                "balance must be a bool or a sequence of symbols, such as "
                f"({self.balance!r},). Got {self.balance!r}."
            )
        if not isinstance(self.balance, bool):
            return tuple(self.balance)
        if not self.balance:
            return ()
        if check is None:
            raise ValueError(
                "balance=True rescales units, which keeps the function of a network only "
                "if the units are rectified, and a layout does not record activations. "
                "Pass check=, a function from weights to outputs; or vouch for the units: "
                f"balance={scalable(layout)}."
            )
        return scalable(layout)

    def _learned(self, weights: Array, first: Array) -> Array:
        if self.strategy == "reference":
            return first.copy()
        layout = self.layout_
        order = self._matched(weights, first)
        if self.strategy == "cycle":
            order = universe(weights, layout, order)
            return _mean(permute(weights, order, layout))
        mean = _mean(permute(weights, order, layout))
        norm = _norm(mean, layout)
        for _ in range(self.rounds):
            # Matching anew instead of starting from the previous permutations: otherwise
            # each network would pull the mean that it is part of.
            order = self._matched(weights, mean)
            new_mean = _mean(permute(weights, order, layout))
            new_norm = _norm(new_mean, layout)
            if new_norm <= norm * (1 + _RISE):
                break
            mean, norm = new_mean, new_norm
        return mean

    def _matched(self, weights: Array, reference: Array) -> dict[str, Array]:
        return match(
            weights,
            reference,
            self.layout_,
            sweeps=self.sweeps,
            restarts=self.restarts,
            seed=self.seed,
        ).permutations

    def _check_layout(self, layout: Layout) -> None:
        if not hasattr(self, "layout_"):
            raise ValueError(
                "This Canonicaliser is not fitted; call fit(population) first."
            )
        if layout.widened() != self.layout_.widened():
            raise LayoutMismatch(
                f"This Canonicaliser was fitted to layout {self.layout_.id} (d = "
                f"{self.layout_.d}), but got layout {layout.id} (d = {layout.d}): "
                f"{self.layout_.difference(layout)}. Fit another Canonicaliser to these "
                "networks."
            )


def _check_finite(population: Population) -> None:
    finite = np.isfinite(population.weights).all(1)
    if not finite.all():
        bad_rows = np.flatnonzero(~finite)
        raise LayoutMismatch(
            f"{len(bad_rows)} of {len(population)} networks hold values that are not "
            f"finite, first run {population['run_id'][bad_rows[0]]!r}. Leave them out: "
            "population.select(np.isfinite(population.weights).all(1))."
        )


def _check_trusted(population: Population) -> None:
    if "source" not in population.table.column_names:
        return
    count = population.table["source"].to_pylist().count("imported")
    if count:
        raise LayoutMismatch(
            f"{count} of {len(population)} networks were imported, and the axis symbols of "
            "imported networks were inferred from names and shapes. To test the symbols, "
            "pass a function from weights to outputs, such as "
            "check=zoo.outputs(population); to trust them untested, pass check=False."
        )


def _mean(weights: Array) -> Array:
    mean: Array = weights.mean(0, dtype=np.float64).astype(np.float32)
    return mean


def _norm(mean: Array, layout: Layout) -> float:
    """Squared norm of the parameters with symbols.

    For a mean of networks, this equals the mean inner product of all pairs.
    """
    return sum(
        float((mean[columns].astype(np.float64) ** 2).sum())
        for name, columns in layout.slices.items()
        if layout[name].role == "parameter" and any(layout[name].axes)
    )
