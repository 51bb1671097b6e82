"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinities as text, bytes as hexadecimals.

    Examples
    --------
    >>> plain({"a": [1, float("nan")], "b": b"x"})
    {'a': [1, 'nan'], 'b': '78'}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value
