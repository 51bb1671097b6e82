"""Checks that the training networks cover a value of a condition."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from catalog import CatalogError, NotFound
from catalog.dtypes import Array
from catalog.errors import closest

EXTRAPOLATE = ", or pass extrapolate=True, which marks the samples"
"""Advice of `check_within` where a function of Python has this argument."""


def check_text(name: str, value: float | str, texts: Collection[str]) -> None:
    """Check that a training network has a text.

    Raises
    ------
    NotFound
        If ``texts``, those of the training networks, lack it.
    """
    if str(value) not in texts:
        raise NotFound(
            f"No training network has {name} = {value!r}. "
            f"{closest(str(value), sorted(texts))}"
        )


def finite_numbers(name: str, numbers: Array) -> Array:
    """Return the finite numbers among those that training networks have.

    Raises
    ------
    CatalogError
        If there are none.
    """
    finite: Array = numbers[np.isfinite(numbers)]
    if not len(finite):
        raise CatalogError(
            f"No training network has a value of {name!r}. Choose another column."
        )
    return finite


def check_within(
    name: str, value: float, low: float, high: float, advice: str = ""
) -> None:
    """Check that a number is within the range of the training networks.

    Raises
    ------
    CatalogError
        If it is not; ``advice`` is the end of the message.
    """
    if not low <= value <= high:
        raise CatalogError(
            f"{name} = {value:g} is outside the range of the training networks, {low:g} to "
            f"{high:g}. Choose a value within it{advice}."
        )
