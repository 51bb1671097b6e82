"""Skill of networks: whether their error is clearly below that of guessing."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.merging.made_weights import SampleErrors
from zoo.networks import Networks

LEAST = 0.1
"""Share of the error of guessing by which a skilled network's error is lower."""


def skilled(networks: Networks, judged: SampleErrors) -> Array:
    """Return a mask (n,) of the networks whose error is clearly below that of guessing.

    Robustness is measured relative to a network's error, so it is meaningless for a
    network that gives the same answer to all inputs: pruning or noise do not change its
    error. The error of guessing is that of a uniform guess, or 1 for the relative error.

    Parameters
    ----------
    networks : Networks
        Networks to check.
    judged : SampleErrors
        Errors of these networks on the validation split.
    """
    if networks.objective.judges == "accuracy":
        task = networks.data.task
        sizes = [len(run.classes) if run.classes else task.classes for run in networks.runs]
        chance = 1 - 1 / np.array(sizes)
    else:
        chance = np.ones(len(networks))
    mask: Array = judged.error <= (1 - LEAST) * chance
    return mask
