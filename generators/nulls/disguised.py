"""Networks that look new and are not: what a judge of weights as they are believes."""

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
"""Deviation of the logarithm of the scales of units."""


@dataclass(eq=False)
class Disguised(Null):
    """Training networks with units in another order and scale, and their logits scaled.

    Classes stay what they were. Units are rescaled where alignment balances them: there
    that is known to change nothing.

    Parameters
    ----------
    factor : float, default=2.0
        Of the logits: the last weight and bias are multiplied by it. Of layouts that do
        not end in such a layer, units are shuffled alone.
    """

    name: ClassVar[str] = "disguised"
    summary: ClassVar[str] = "training networks, units shuffled and rescaled, logits scaled"
    fewest: ClassVar[int] = 1
    _other: ClassVar[Null | None] = None

    factor: float = 2.0

    def of(self, null: Null) -> Self:
        """What another null makes, disguised, in the place of training networks."""
        found = copy(self)
        vars(found)["_other"] = null
        return found

    def save(self, path: str | Path) -> None:
        """Write the networks; not of what is disguised in their place, see `of`."""
        if self._other is not None:
            raise CatalogError(
                f"A disguise of {self._other.name!r} is not saved. Save that, and take "
                "Disguised().fit_to(...).of(it) again."
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
        made, parents = self._made_by._make(n, rng, condition)
        order = random_permutations(layout, n, seed=int(rng.integers(2**31)))
        weights = permute(made, order, layout)
        scaled = () if self.canonicaliser_ is None else self.canonicaliser_.scaled_
        scales = {
            name: np.exp(SPREAD * rng.standard_normal((n, layout.symbols[name])))
            for name in scaled
        }
        if scales:
            weights = rescale(weights, layout, scales)
        for param in layout.params[-2:]:
            if param.role == "parameter" and param.axes[:1] == (None,):
                weights[:, layout.slices[param.name]] *= np.float32(self.factor)
        return weights, parents
