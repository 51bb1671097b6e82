"""Plain types of settings, with their tests and conversions; NumPy numbers are accepted."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from catalog.names import is_unicode


def is_whole(value: object) -> bool:
    """Return True for a whole number; a bool is not a whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Return True for a finite number that a float can hold; a bool is not a number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that is too large for a float
        return False


PLAIN: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    type(None): (lambda value: value is None, lambda value: None),
    bool: (lambda value: isinstance(value, bool | np.bool_), bool),
    int: (is_whole, int),
    float: (is_finite, lambda value: int(value) if is_whole(value) else float(value)),
    str: (lambda value: isinstance(value, str) and is_unicode(value), str),
}
"""Test of a value and conversion to plain Python, by type."""
