"""Copying of large arrays at memory speed, with aligned buffers and on all cores."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from catalog.dtypes import Array

_HUGE_PAGE = 2 << 20
_POOL = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "phasezoo-read")


def _renew_pool() -> None:
    """Replace the pool in a forked process, which would wait for threads it lacks."""
    global _POOL
    _POOL = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "phasezoo-read")


os.register_at_fork(after_in_child=_renew_pool)


def run_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs that copy memory on all cores, and raise the first error."""
    for _ in _POOL.map(lambda job: job(), jobs):
        pass


def empty_aligned(shape: tuple[int, ...], storage: np.dtype[Any]) -> Array:
    """Return an uninitialised array that starts on a huge page, like `numpy.empty`.

    The kernel fills an array that starts on a huge page a sixth faster. Arrays smaller
    than two huge pages (4 MiB) are not aligned.
    """
    size = math.prod(shape) * storage.itemsize
    if size < 2 * _HUGE_PAGE:
        return np.empty(shape, storage)
    memory = np.empty(size + _HUGE_PAGE, np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE
    return memory[start : start + size].view(storage).reshape(shape)
