"""Fixed splits of runs, which make the probe scores of different people comparable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SHARES = (("train", 0.70), ("validation", 0.15), ("test", 0.15))

SPLITS = tuple(name for name, _ in SHARES)
"""Names of the splits of runs; splits of data sets have the same names."""

MIXED = "mixed"
"""Split of a network whose parents are in several splits: no query for a split finds it."""


def common_split(keys: Iterable[str]) -> str:
    """Return the split of several keys, which is `MIXED` if they are in several."""
    splits = {split(key) for key in keys}
    return splits.pop() if len(splits) == 1 else MIXED


def split(key: str) -> str:
    """Return the split of a run, a cell or a zoo, derived from a hash of its name.

    The split of a name never changes.

    Examples
    --------
    >>> [split(f"run {i}") for i in range(4)]
    ['train', 'train', 'train', 'test']
    """
    digest = hashlib.sha256(b"phasezoo split 1\0" + key.encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in SHARES:
        draw -= share
        if draw < 0:
            return name
    return SHARES[-1][0]
