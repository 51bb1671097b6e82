"""Context manager for files whose content is not what phasezoo wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from catalog.errors import CatalogError, ShardCorrupt

_CAUSED_BY_CONTENT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,  # includes RecursionError and errors of torch
    TypeError,
    ValueError,
    pa.ArrowException,
)
"""Errors that values of an unexpected type or shape cause."""


@contextlib.contextmanager
def as_written(path: str | Path, what: str, advice: str) -> Iterator[None]:
    """Turn errors that unexpected content causes into an error that names the file.

    Parameters
    ----------
    path : str or Path
        The file.
    what : str
        Noun of the expected content with its article, such as "a probe".
    advice : str
        Sentence that tells the user what to do.

    Raises
    ------
    ShardCorrupt
        In place of an error that is not a `CatalogError`.
    """
    try:
        yield
    except CatalogError:
        raise
    except _CAUSED_BY_CONTENT as error:
        raise ShardCorrupt(
            f"{path} is damaged, or not {what} that phasezoo wrote: "
            f"{type(error).__name__}, {str(error)[:500]}. {advice}"
        ) from error
