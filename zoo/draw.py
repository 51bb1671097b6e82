"""Fields that every run of a recipe draws for itself, as in the Model Jungle [1]_.

References
----------
.. [1] Kahana et al. 2024, arXiv:2410.13569: fine-tunes on random halves of the classes,
   with hyper-parameters of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.randomness import stream


@dataclass(frozen=True)
class Draw:
    """Values from which each run draws, all alike likely.

    A run's draws follow from its seed and from the checkpoint that it starts from, each
    field's for itself: another field or value list changes no other draw.

    Attributes
    ----------
    name : str
        A field of `Run` that the recipe does not decide itself, or ``"epochs"``.
    values : tuple
    count : int, optional
        Draw so many different values, in the order of ``values``: a random subset, such as
        half of the classes. Default: one value.

    Examples
    --------
    >>> Draw("classes", tuple(range(6)), count=3).of(seed=1)
    (3, 4, 5)
    """

    name: str
    values: tuple[Any, ...]
    count: int | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"Draw {self.name!r} has no values.")
        if self.count is not None and not 1 <= self.count <= len(self.values):
            raise ValueError(
                f"The count parameter of draw {self.name!r} must be from 1 to "
                f"{len(self.values)}, the number of its values. Got {self.count!r}."
            )

    def of(self, seed: int, start: str = "") -> Any:
        """What the run of a seed draws, whose parent has the run_id ``start``."""
        order = stream(seed, f"draw {self.name} {start}").permutation(len(self.values))
        if self.count is None:
            return self.values[order[0]]
        return tuple(self.values[i] for i in sorted(order[: self.count]))
