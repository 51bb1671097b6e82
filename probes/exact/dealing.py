"""Assignment of groups of rows to folds."""

from __future__ import annotations

import numpy as np

from catalog.dtypes import Array


def check_folds(folds: int) -> None:
    """Raise `ValueError` if there are fewer than 2 folds."""
    if folds < 2:
        raise ValueError(f"There must be 2 folds or more. Got {folds!r}.")


def check_groups(groups: Array) -> None:
    """Raise `ValueError` if all rows are one group."""
    if len(np.unique(groups)) < 2:
        raise ValueError(
            f"All {len(groups)} rows are one group, so no group can be held out. Pass "
            "groups with 2 values or more, such as run ids, or None."
        )


def deal(groups: Array, folds: int, seed: int) -> Array:
    """Return `dealt` rows for a choice of hyperparameters.

    Raises
    ------
    ValueError
        If there are fewer than 3 groups, or fewer than 2 folds.
    """
    check_folds(folds)
    count = len(np.unique(groups))
    if count < 3:
        few = "one group" if count == 1 else "two groups"
        raise ValueError(
            f"The {len(groups)} rows are {few}: choosing on held-out groups needs 3 or "
            "more. Pass groups with more values, such as run ids, or None."
        )
    return dealt(groups, folds, seed)


def dealt(groups: Array, folds: int, seed: int) -> Array:
    """Return the fold (n,) of each row; groups are shuffled and assigned in turn."""
    names, inverse = np.unique(groups, return_inverse=True)
    fold_of_group = np.random.default_rng(seed).permutation(len(names)) % folds
    fold_of_row: Array = fold_of_group[inverse]
    return fold_of_row


def sides_of(fold_of_row: Array) -> list[tuple[Array, Array]]:
    """Return the training rows and the held-out rows of each fold."""
    return [
        (np.flatnonzero(fold_of_row != k), np.flatnonzero(fold_of_row == k))
        for k in range(int(fold_of_row.max()) + 1)
    ]
