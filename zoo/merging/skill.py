"""Which networks know anything: what is relative to their own error needs some skill."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array
from zoo.merging.made_weights import SampleErrors
from zoo.networks import Networks

LEAST = 0.1
"""Share of chance's error that a network must be rid of."""


def skilled(networks: Networks, judged: SampleErrors) -> Array:
    """Mask (n,) of the networks whose error is clearly below that of guessing.

    A network with one answer for all loses nothing by pruning or noise; its robustness
    says nothing. Where the error is relative to the size of the answer, guessing is 1.

    Parameters
    ----------
    judged : Judged
        Of these networks, on the validation split.
    """
    if networks.objective.judges == "accuracy":
        task = networks.data.task
        sizes = [len(run.classes) if run.classes else task.classes for run in networks.runs]
        chance = 1 - 1 / np.array(sizes)
    else:
        chance = np.ones(len(networks))
    mask: Array = judged.error <= (1 - LEAST) * chance
    return mask
