"""JSON objects stored as text in a column: configurations, tasks, provenance."""

from __future__ import annotations

import json
from typing import Any

from catalog.errors import ShardCorrupt


def json_object(text: Any, where: str) -> dict[str, Any]:
    """Return the JSON object in a cell.

    Parameters
    ----------
    text
        Content of the cell.
    where : str
        Column and row that the error names, such as "config of run 'a'".

    Raises
    ------
    ShardCorrupt
        If the cell holds anything else.

    Examples
    --------
    >>> json_object('{"name": "mlp"}', "architecture of run 'a'")
    {'name': 'mlp'}
    """
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_an_object(where, text) from error
    if not isinstance(value, dict):
        raise _not_an_object(where, text)
    return value


def _not_an_object(where: str, text: Any) -> ShardCorrupt:
    return ShardCorrupt(
        f"{where} is not a JSON object: {str(text)[:120]!r}. phasezoo did not write this "
        "text. Train, measure or import those runs again."
    )
