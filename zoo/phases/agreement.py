"""How far two labellings of the same cells agree, and how far beyond chance."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def agreement(one: Array, two: Array) -> tuple[float, float]:
    """Share of equal labels, and Cohen's kappa.

    Parameters
    ----------
    one, two : array_like of str, shape (c,)
        Labels of the same cells.

    Returns
    -------
    tuple of float
        Agreement in [0, 1]; kappa, 1 at most and 0 at chance, NaN where chance alone
        would agree always.

    Examples
    --------
    >>> agreement(["I", "I", "II", "II"], ["I", "I", "II", "I"])
    (0.75, 0.5)
    """
    first, second = np.asarray(one, dtype=str), np.asarray(two, dtype=str)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            f"Two lists of equal length are needed. Got {first.shape} and {second.shape}."
        )
    share = float((first == second).mean())
    chance = sum(
        float((first == name).mean() * (second == name).mean()) for name in set(first)
    )
    return share, (share - chance) / (1 - chance) if chance < 1 else float("nan")
