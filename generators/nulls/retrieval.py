"""Null that returns the training networks nearest to a condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from catalog.dtypes import Array
from generators.condition_values import check_text, check_within, finite_numbers
from generators.generator import Condition
from generators.nulls.null import Null, drawn_rows


@dataclass(eq=False)
class Retrieval(Null):
    """Returns the training networks that fulfil a condition best.

    This null is the baseline of conditional generators. Distances of numbers are in
    standard deviations of the column; texts have the distance 0 if they are equal and 1
    otherwise. Ties are broken at random. Without a condition, training networks are drawn
    as by `Train`.
    """

    name: ClassVar[str] = "retrieval"
    summary: ClassVar[str] = "training networks nearest to the condition"
    fewest: ClassVar[int] = 1

    def _make(
        self, n: int, rng: np.random.Generator, condition: Condition | None
    ) -> tuple[Array, Array | None]:
        count = len(self.training_)
        order = rng.permutation(count)  # drawn first, so that it breaks ties
        if condition:
            distance = sum(self._distance(name, value) for name, value in condition.items())
            order = order[np.argsort(np.asarray(distance)[order], kind="stable")]
            rows = order[np.arange(n) % count]
        else:
            rows = drawn_rows(count, n, rng)
        return self.training_.weights[rows], rows[:, None]

    def _distance(self, name: str, value: float | str) -> Array:
        """Return the distance of each training network from a value."""
        column = self.training_[name]
        if isinstance(value, str) or column.dtype.kind not in "fiub":
            texts = column.astype(str)
            check_text(name, value, set(texts.tolist()))
            distance: Array = (texts != str(value)).astype(float)
            return distance
        numbers = column.astype(float)
        known = finite_numbers(name, numbers)
        check_within(name, value, known.min(), known.max())
        distance = np.abs(numbers - value) / (known.std() or 1.0)
        return np.where(np.isfinite(distance), distance, np.inf)
