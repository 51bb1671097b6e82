"""Random streams: one counter-based generator per seed and purpose.

All random draws of a run are made by numpy on the CPU, so that a run draws the same
numbers alone, in any stack and on any device. A run's streams do not depend on other runs
or on each other.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one seed for one purpose, e.g. ``"init"``."""
    entropy = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return np.random.Generator(np.random.Philox(entropy))
