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
) -> Array:
    """Canonical networks (n, d) that give samples the tensors that are not made.

    Parameters
    ----------
    samples : ndarray of shape (n, k)
        Their codes.
    training : Population
        Each sample gets the rest of the network whose code is nearest, unless there is
        a base.
    base : Population, optional
        One canonical network for all, or n.

    Raises
    ------
    CatalogError
        If there are as many as neither 1 nor n.
    """
    if base is not None:
        if len(base) not in (1, len(samples)):
            raise CatalogError(
                f"base must be 1 network, or one for each of {len(samples)} samples. Got "
                f"{len(base)}."
            )
        return base.weights.repeat(len(samples) // len(base), 0)
    known = torch.from_numpy(codes.encode(training.weights))
    parts = torch.from_numpy(samples).split(BATCH)
    nearest = torch.cat([torch.cdist(part, known).argmin(1) for part in parts])
    found: Array = training.weights[nearest.numpy()]
    return found
