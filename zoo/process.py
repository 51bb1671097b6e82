"""Settings of a training process."""

from __future__ import annotations

import ctypes
import sys

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def tune_process(threads: int) -> None:
    """Set threads, flush denormals, and keep freed memory.

    Activations of a stack are a few megabytes each. The C library gives such blocks
    back to the system when they are freed and faults them in anew at every step; told
    to keep them, it does not.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
