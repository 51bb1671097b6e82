"""Grouping of networks that are measured together."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.networks import Networks
from zoo.samples import view


def groups(
    networks: Networks, split: str, samples: int, size: int, each: int, per_sample: int
) -> list[tuple[int, Array]]:
    """Group networks with equally many samples, as many as the memory allows.

    Parameters
    ----------
    networks : Networks
        Networks to group.
    split : str
        Split of the samples.
    samples : int
        Largest number of samples. Networks of a run with fewer samples form separate
        groups, so that they do not limit the others.
    size : int
        Largest size of a group in bytes; a group has at least one network.
    each, per_sample : int
        Bytes of a network, and of each of its samples.

    Returns
    -------
    list of (int, ndarray)
        Number of samples, and rows of the networks, of each group.
    """
    available: dict[object, int] = {}
    counts = np.empty(len(networks), np.int64)
    for i, run in enumerate(networks.runs):
        key = run.classes, run.one_vs_rest, run.train_samples
        if key not in available:
            available[key] = len(view(run, networks.data, split).index)
        counts[i] = min(samples, available[key])
    result = []
    for count in np.unique(counts).tolist():
        rows = np.flatnonzero(counts == count)
        largest = max(1, size // (each + count * per_sample))
        result += [
            (count, group) for group in np.array_split(rows, -(-len(rows) // largest))
        ]
    return result
