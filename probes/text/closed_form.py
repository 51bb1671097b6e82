"""Base class of text probes in closed form: options, and classes that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probes.text.aligned import TextAligned


@dataclass(eq=False, repr=False, kw_only=True)
class ClosedForm(TextAligned):
    """Base class of text probes by ridge regression; subclasses add parameters.

    Penalties are chosen on left-out classes, since the probe is meant for new classes;
    names that are tried later have no part in the choice.

    Parameters
    ----------
    encoder, template
        See `TextAligned`.
    layout, layer
        See `Probe`.
    root, scale
        See `probes.exact.centring`. By default only the direction of a network matters.
    alphas : sequence of float, optional
        Penalties of the weights to choose from.
    folds : int, default=5
        Number of folds of classes on which penalties are chosen.
    random_state : int, default=0
        Seed for the assignment of classes to folds.
    """

    root: Any = "mean"
    scale: str | None = "sample"
    alphas: Sequence[float] | None = None
    folds: int = 5
    random_state: int = 0
