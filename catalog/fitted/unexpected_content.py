"""Files that we write and that come back with other content: one error that names them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from catalog.errors import CatalogError, ShardCorrupt

_ODD = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,  # of recursion and of torch, too
    TypeError,
    ValueError,
    pa.ArrowException,
)
"""How values of another type or shape make themselves felt."""


@contextlib.contextmanager
def as_written(path: str | Path, what: str, advice: str) -> Iterator[None]:
    """Turn whatever odd content of a file leads to into an error that names the file.

    Parameters
    ----------
    path : str or Path
    what : str
        What the file should be: "a probe".
    advice : str
        A sentence on what to do.

    Raises
    ------
    ShardCorrupt
        In place of any other error that is not a `CatalogError`.
    """
    try:
        yield
    except CatalogError:
        raise
    except _ODD as error:
        raise ShardCorrupt(
            f"{path} is damaged, or not {what} that phasezoo wrote: "
            f"{type(error).__name__}, {str(error)[:500]}. {advice}"
        ) from error
