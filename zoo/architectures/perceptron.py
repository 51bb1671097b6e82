"""Base of the multi-layer perceptrons, which are scaled by the width of hidden layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from zoo.architecture import Architecture


@dataclass(frozen=True)
class Perceptron(Architecture):
    """Base class of networks of fully connected layers.

    Parameters
    ----------
    sizes : tuple of int
        Number of units of every layer, inputs first and classes last.
    """

    sizes: tuple[int, ...]

    @classmethod
    def scaled(
        cls,
        width: int,
        shape: tuple[int, ...],
        classes: int,
        depth: int = 2,
        **options: Any,
    ) -> Self:
        """Return the network with ``depth`` hidden layers of ``width`` units each."""
        return cls((math.prod(shape), *[width] * depth, classes), **options)
