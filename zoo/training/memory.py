"""Parsing and division of the memory that training may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from catalog import CatalogError
from catalog.byte_size import parse_bytes

if TYPE_CHECKING:
    from zoo.task import Data

WORKER = 450 << 20
"""Measured size in bytes of a worker with torch, before it has data."""

LEAST = 64 << 20
"""Minimum number of bytes that a worker needs for a stack."""


def parse_memory(text: str) -> int:
    """Parse a text such as ``8GB`` or ``500M`` and return the number of bytes.

    Raises
    ------
    CatalogError
        If the text is not a size.

    Examples
    --------
    >>> parse_memory("2GB")
    2147483648
    """
    size = parse_bytes(text)
    if size is None:
        raise CatalogError(f"--memory must be a size such as 4GB. Got {text!r}.")
    return size


def default_memory() -> int:
    """Return half of the machine's memory, or of the container's limit if that is lower."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdecimal():
        sizes.append(int(text))
    return min(sizes) // 2


def stack_memory(memory: int, data: Data) -> int:
    """Return the number of bytes of a worker's memory that its stacks may use.

    Parameters
    ----------
    memory : int
        Memory of the worker in bytes.
    data : Data
        Data that the worker holds.

    Raises
    ------
    CatalogError
        If torch and the data leave too little.
    """
    data_bytes = sum(array.nbytes for array in data.x.values())
    available = memory - WORKER - data_bytes
    if available < LEAST:
        least = -(-(WORKER + data_bytes + LEAST) // (1 << 20))
        raise CatalogError(
            f"--memory leaves {memory >> 20} MB per worker; with {data.task.title} a "
            f"worker needs at least {least} MB. Raise --memory or lower --workers."
        )
    return available
