"""Settings of a process that runs stacks."""

from __future__ import annotations

import ctypes
import sys

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def tune_process(threads: int) -> None:
    """Set threads, flush denormals, and keep freed memory."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory.

    Activations of a stack are a few megabytes each. It gives such blocks back to the
    system when they are freed and faults them in anew at every step; told to keep them, it
    does not.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
