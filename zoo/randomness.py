"""Every random draw of a run: one counter-based stream per seed and purpose.

Draws are made by numpy on the CPU, so a run is the same alone, in any stack and on any
device. A run's streams do not depend on its neighbours or on each other.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Random generator of one seed for one purpose, e.g. ``"init"``."""
    entropy = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return np.random.Generator(np.random.Philox(entropy))
