"""Agreement of two labellings of the same cells, raw and corrected for chance."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def agreement(one: Array, two: Array) -> tuple[float, float]:
    """Return the share of equal labels, and Cohen's kappa.

    Parameters
    ----------
    one, two : array_like of str, shape (c,)
        Labels of the same cells.

    Returns
    -------
    tuple of float
        Agreement in [0, 1]; and kappa, at most 1 and 0 at chance, NaN if both labellings
        have the same single label, so that chance alone agrees always.

    Raises
    ------
    ValueError
        If the lists are empty or differ in length.

    Examples
    --------
    >>> agreement(["I", "I", "II", "II"], ["I", "I", "II", "I"])
    (0.75, 0.5)
    """
    first, second = np.asarray(one, dtype=str), np.asarray(two, dtype=str)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            "agreement needs two non-empty lists of equal length. Got shapes "
            f"{first.shape} and {second.shape}."
        )
    share = float((first == second).mean())
    chance = sum(
        float((first == name).mean() * (second == name).mean()) for name in set(first)
    )
    return share, (share - chance) / (1 - chance) if chance < 1 else float("nan")
