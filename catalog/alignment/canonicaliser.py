"""One representative of all networks that differ only in the order and scale of units."""

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
"""Relative rise of the mean's norm below which rounds of "mean" end."""


@dataclass(frozen=True)
class Symmetries:
    """What takes networks to their representatives: scales first, then orders.

    Attributes
    ----------
    permutations : dict of str to ndarray of shape (n, size)
    scales : dict of str to ndarray of shape (n, size)
        By which incoming weights and biases are multiplied; empty without balancing.
    """

    permutations: dict[str, Array]
    scales: dict[str, Array]

    def apply(self, population: Population) -> Population:
        """The population with these applied row by row.

        It may hold other checkpoints of the same runs than those that were matched. Where
        there are scales, tensors of 16 bits become float32.
        """
        weights, layout = population.weights, population.layout
        if self.scales:
            weights = rescale(weights, layout, self.scales)
            layout = layout.widened()
        return permute(
            replace(population, weights=weights, layout=layout), self.permutations
        )


class Canonicaliser:
    """Aligns networks with a reference that is learned from a population.

    Fitted, it is frozen: what it makes of a network depends on that network alone, and not
    on the order of its units (units with equal weights in and out aside).

    Parameters
    ----------
    strategy : {"mean", "reference", "cycle"}, default="mean"
        "reference" aligns with one network. "mean" aligns all with one network, then, in
        rounds, all with the mean of the aligned ones, as MergeMany of [1]_ (which leaves
        each network out of its own mean and takes them in turn: no better, and n times
        the work). "cycle" maximises the inner products of all pairs at once and aligns
        with the mean of the result, see `universe`; closest, and several times the cost.
    balance : bool or sequence of str, default=False
        Balance the scales of rectified units first: of these symbols, or, if True, of all
        that `scalable` names. True needs ``check``: the layout does not know activations.
    reference : int, optional
        Row of the population to begin with. Default: drawn by the seed.
    rounds : int, default=8
        Most rounds of "mean".
    sweeps, restarts : int, default=100, 0
        As in `match`.
    seed : int, default=0

    Attributes
    ----------
    layout_ : Layout
    reference_ : ndarray of shape (d,)
        What networks are aligned with.
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
            Outputs (m, ...) of networks (m, d), such as `zoo.outputs` gives: every symmetry
            is tried before it is used, see `check_symmetries`. Without it the symbols of a
            layout are believed, but not those of imported networks, which were inferred;
            False believes these too.

        Raises
        ------
        SymmetryBroken
            If a symbol changes the outputs.
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
            raise LayoutMismatch("Cannot fit to a population of no networks.")
        row = self.reference
        if row is None:
            row = int(np.random.default_rng(self.seed).integers(n))
        elif not 0 <= row < n:
            raise ValueError(f"reference must be a row, 0 to {n - 1}. Got {row}.")
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
        """The scales and orders that take each network to its representative.

        Raises
        ------
        LayoutMismatch
            If the layout is not that of the fitted population, or weights are not finite.
        """
        self._check_layout(population.layout)
        _check_finite(population)
        weights, scales = population.weights, dict[str, Array]()
        if self.scaled_:
            weights, scales = balance(weights, self.layout_, self.scaled_)
        return Symmetries(self._matched(weights, self.reference_), scales)

    def transform(self, population: Population) -> Population:
        """The representatives, with the same table.

        Raises
        ------
        LayoutMismatch
            As `symmetries`.
        """
        return self.symmetries(population).apply(population)

    def fit_transform(
        self, population: Population, *, check: Outputs | Literal[False] | None = None
    ) -> Population:
        """Fit, and transform the same networks."""
        return self.fit(population, check=check).transform(population)

    def save(self, path: str | Path) -> None:
        """Write a file of the container `catalog.fitted.file`."""
        chosen = self.balance if isinstance(self.balance, bool) else list(self.balance)
        about = {
            "strategy": self.strategy,
            "balance": chosen,
            "reference": None if self.reference is None else int(self.reference),
            "rounds": int(self.rounds),
            "sweeps": int(self.sweeps),
            "restarts": int(self.restarts),
            "seed": int(self.seed),
            "scaled": list(self.scaled_),
            "layout": self.layout_.to_json(),
        }
        _FILE.write(path, about, {"reference": Tensor(self.reference_, "float32")})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The canonicaliser that `save` wrote.

        Raises
        ------
        ShardCorrupt
            If bytes have changed since it was written.
        CatalogError
            If the file holds something else, or was written by a newer version.
        """
        about, tensors = _FILE.read(path)
        with _FILE.as_written(path):
            del about["version"]
            layout, scaled = Layout.from_json(about.pop("layout")), about.pop("scaled")
            found = cls(about.pop("strategy"), **about)
            found.layout_, found.scaled_ = layout, tuple(scaled)
            found.reference_ = tensors["reference"].copy()
        if found.reference_.shape != (layout.d,):
            raise CatalogError(
                f"{path}: the reference has shape {found.reference_.shape}, its layout "
                f"d = {layout.d} values."
            )
        return found

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
                "balance=True rescales units, which keeps the function only if they are "
                "rectified, and a layout does not say that. Pass check=, a function from "
                f"weights to outputs; or vouch for it: balance={scalable(layout)}."
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
        value = _norm(mean, layout)
        for _ in range(self.rounds):
            # Not from the orders before: each network would pull the mean it is part of.
            order = self._matched(weights, mean)
            new = _mean(permute(weights, order, layout))
            reached = _norm(new, layout)
            if reached <= value * (1 + _RISE):
                break
            mean, value = new, reached
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
                "This Canonicaliser is not fitted: call fit(population) first."
            )
        if layout.widened() != self.layout_.widened():
            raise LayoutMismatch(
                f"Fitted to layout {self.layout_.id} (d = {self.layout_.d}), and given "
                f"layout {layout.id} (d = {layout.d}): "
                f"{self.layout_.difference(layout)}. Fit another one to these."
            )


def _check_finite(population: Population) -> None:
    finite = np.isfinite(population.weights).all(1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise LayoutMismatch(
            f"{len(bad)} of {len(population)} networks hold values that are not finite, "
            f"first run {population['run_id'][bad[0]]!r}. Leave them out: "
            "population.select(np.isfinite(population.weights).all(1))."
        )


def _check_trusted(population: Population) -> None:
    if "source" not in population.table.column_names:
        return
    count = population.table["source"].to_pylist().count("imported")
    if count:
        raise LayoutMismatch(
            f"{count} of {len(population)} networks were imported: which of their units "
            "may be reordered was inferred from names and shapes. Pass a function from "
            "weights to outputs, such as check=zoo.outputs(population), which tries it; or "
            "check=False to take it on trust."
        )


def _mean(weights: Array) -> Array:
    mean: Array = weights.mean(0, dtype=np.float64).astype(np.float32)
    return mean


def _norm(mean: Array, layout: Layout) -> float:
    """Squared norm of what matching moves: the mean inner product of all pairs."""
    return sum(
        float((mean[columns].astype(np.float64) ** 2).sum())
        for name, columns in layout.slices.items()
        if layout[name].role == "parameter" and any(layout[name].axes)
    )
