"""JSON objects that stand as text in a column: configurations, tasks, provenance."""

from __future__ import annotations

import json
from typing import Any

from catalog.errors import ShardCorrupt


def json_object(text: Any, where: str) -> dict[str, Any]:
    """Return the JSON object in a cell.

    Parameters
    ----------
    text
        The cell.
    where : str
        Column and row, for the error: "config of run 'a'".

    Raises
    ------
    ShardCorrupt
        If it is anything else.

    Examples
    --------
    >>> json_object('{"name": "mlp"}', "architecture of run 'a'")
    {'name': 'mlp'}
    """
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _odd(where, text) from error
    if not isinstance(value, dict):
        raise _odd(where, text)
    return value


def _odd(where: str, text: Any) -> ShardCorrupt:
    return ShardCorrupt(
        f"{where} is no JSON object: {str(text)[:120]!r}. Somebody else wrote or changed "
        "it: train, measure or import those runs again."
    )
