"""Null that disguises copies, which only look new to a judge that compares raw weights."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from catalog import CatalogError
from catalog.alignment import permute, random_permutations, rescale
from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, refuse
from generators.nulls.train import Train

SPREAD = 0.5
"""Standard deviation of the logarithm of the scales of units."""


@dataclass(eq=False)
class Disguised(Null):
    """Training networks with permuted and rescaled units, and with scaled logits.

    The predicted classes do not change. Units are rescaled only where alignment balances
    them, because rescaling is known to change nothing there.

    Parameters
    ----------
    factor : float, default=2.0
        Factor of the logits: the last weight and bias are multiplied by it. In layouts that
        do not end in such a layer, units are only permuted.
    """

    name: ClassVar[str] = "disguised"
    summary: ClassVar[str] = "training networks, units shuffled and rescaled, logits scaled"
    fewest: ClassVar[int] = 1
    _other: ClassVar[Null | None] = None

    factor: float = 2.0

    def of(self, null: Null) -> Self:
        """Return a null that disguises samples of another null, not training networks."""
        disguise = copy(self)
        vars(disguise)["_other"] = null
        return disguise

    def save(self, path: str | Path) -> None:
        """Write the networks; not possible for a disguise of another null, see `of`."""
        if self._other is not None:
            raise CatalogError(
                f"A disguise of {self._other.name!r} cannot be saved. Save that null, and "
                "call Disguised().fit_to(...).of(null) again."
            )
        super().save(path)

    @property
    def _made_by(self) -> Null:
        if self._other is not None:
            return self._other
        return Train(self.aligned).fit_to(self.training_, self.canonicaliser_)

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        refuse(self, condition)
        layout = self.training_.layout
        plain, parents = self._made_by._make(n, rng, condition)
        permutations = random_permutations(layout, n, seed=int(rng.integers(2**31)))
        weights = permute(plain, permutations, layout)
        symbols = () if self.canonicaliser_ is None else self.canonicaliser_.scaled_
        scales = {
            name: np.exp(SPREAD * rng.standard_normal((n, layout.symbols[name])))
            for name in symbols
        }
        if scales:
            weights = rescale(weights, layout, scales)
        for param in layout.params[-2:]:
            if param.role == "parameter" and param.axes[:1] == (None,):
                weights[:, layout.slices[param.name]] *= np.float32(self.factor)
        return weights, parents
