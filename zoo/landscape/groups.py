"""Which networks are measured side by side."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.networks import Networks
from zoo.samples import view


def groups(
    networks: Networks, split: str, samples: int, size: int, each: int, per_sample: int
) -> list[tuple[int, Array]]:
    """Networks with equally many samples, as many at once as the memory allows.

    Parameters
    ----------
    split : str
        Where the samples are from.
    samples : int
        Most samples; networks of a run that sees fewer form groups of their own, so
        that they decide nothing for the others.
    size : int
        Bytes that a group may take; one network is always allowed.
    each, per_sample : int
        Bytes of a network, and of each of its samples.

    Returns
    -------
    list of (int, ndarray)
        Samples and rows of each group.
    """
    seen: dict[object, int] = {}
    counts = np.empty(len(networks), np.int64)
    for i, run in enumerate(networks.runs):
        key = run.classes, run.one_vs_rest, run.train_samples
        if key not in seen:
            seen[key] = len(view(run, networks.data, split).index)
        counts[i] = min(samples, seen[key])
    found = []
    for count in np.unique(counts).tolist():
        rows = np.flatnonzero(counts == count)
        most = max(1, size // (each + count * per_sample))
        found += [(count, part) for part in np.array_split(rows, -(-len(rows) // most))]
    return found
