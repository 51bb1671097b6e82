"""Process settings for running stacks: threads, denormals and memory."""

from __future__ import annotations

import ctypes
import sys

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def tune_process(threads: int) -> None:
    """Set the number of threads, flush denormals to zero, and keep freed memory."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory.

    Activations of a stack are a few megabytes each. By default the C library returns blocks
    of this size to the system when they are freed, and every step causes page faults for
    new blocks. With these settings it keeps the blocks. Only Linux is affected.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
