"""Conversion of query results to JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """Convert a value to JSON: NaN and infinities to text, bytes to hexadecimal digits.

    A decimal becomes a number if the number has the same digits, which holds for up to 15
    digits, and text otherwise.

    Examples
    --------
    >>> plain(Decimal("1.50")), plain(Decimal("0.12345678901234567890"))
    (1.5, '0.12345678901234567890')
    >>> plain({"a": [1, float("nan")], "b": b"x"})
    {'a': [1, 'nan'], 'b': '78'}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Decimal):
        number = int(value) if value == value.to_integral_value() else float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value
