"""Networks that are generated in part: where their other tensors are from."""

from __future__ import annotations

import torch

from catalog import CatalogError, Population
from catalog.dtypes import Array
from generators.codes.codes import Codes
from generators.codes.standardised import Standardised

BATCH = 256
"""Samples whose distances to all training networks are held at once."""


def rest_of(
    codes: Codes | Standardised,
    samples: Array,
    training: Population,
    base: Population | None,
    best_of: int = 1,
) -> Array:
    """Canonical networks (n * best_of, d) that give samples the tensors that are not made.

    Parameters
    ----------
    samples : ndarray of shape (n * best_of, k)
        Codes of the candidates, those of a sample side by side.
    training : Population
        Each sample gets the rest of the network whose code is nearest, unless there is
        a base.
    base : Population, optional
        One canonical network for all, or n.
    best_of : int
        Candidates of each sample.

    Raises
    ------
    CatalogError
        If there are as many as neither 1 nor n.
    """
    if base is not None:
        n = len(samples) // best_of
        if len(base) not in (1, n):
            raise CatalogError(
                f"base must be 1 network, or one for each of {n} samples. Got {len(base)}."
            )
        return base.weights.repeat(len(samples) // len(base), 0)
    known = torch.from_numpy(codes.encode(training.weights))
    parts = torch.from_numpy(samples).split(BATCH)
    nearest = torch.cat([torch.cdist(part, known).argmin(1) for part in parts])
    found: Array = training.weights[nearest.numpy()]
    return found
