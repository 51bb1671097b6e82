"""The training networks that are nearest to a condition: what a condition must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog import CatalogError
from catalog.dtypes import Array
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows


@dataclass(eq=False)
class Retrieval(Null):
    """Answers a condition with the training networks that fulfil it best.

    Numbers count by their distance in deviations of their column, texts by being equal.
    Ties are drawn. Without a condition it gives training networks as `Train`.
    """

    name: ClassVar[str] = "retrieval"
    summary: ClassVar[str] = "training networks nearest to the condition"
    fewest: ClassVar[int] = 1

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        count = len(self.training_)
        order = rng.permutation(count)  # first, so that it decides ties
        if condition:
            away = sum(self._away(name, value) for name, value in condition.items())
            order = order[np.argsort(np.asarray(away)[order], kind="stable")]
            rows = order[np.arange(n) % count]
        else:
            rows = drawn_rows(count, n, rng)
        return self.training_.weights[rows], rows[:, None]

    def _away(self, name: str, value: float | str) -> Array:
        """How far each training network is from a value."""
        column = self.training_[name]
        if isinstance(value, str) or column.dtype.kind not in "fiub":
            texts = column.astype(str)
            if str(value) not in set(texts.tolist()):
                known = ", ".join(sorted(set(texts.tolist()))[:10])
                raise CatalogError(
                    f"No training network has {name} = {value!r}. They have: {known}."
                )
            away: Array = (texts != str(value)).astype(float)
            return away
        numbers = column.astype(float)
        known_numbers = numbers[np.isfinite(numbers)]
        if not len(known_numbers):
            raise CatalogError(f"No training network has a value of {name!r}.")
        low, high = known_numbers.min(), known_numbers.max()
        if not low <= value <= high:
            raise CatalogError(
                f"{name} = {value} is outside of what training networks have: {low:g} to "
                f"{high:g}."
            )
        away = np.abs(numbers - value) / (known_numbers.std() or 1.0)
        return np.where(np.isfinite(away), away, np.inf)
