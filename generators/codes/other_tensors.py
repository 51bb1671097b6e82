"""Tensors that are not generated, copied from training networks or a base."""

from __future__ import annotations

import torch

from catalog import CatalogError, Population
from catalog.dtypes import Array
from generators.codes.codes import Codes
from generators.codes.standardised import Standardised

BATCH = 256
"""Number of samples whose distances to all training networks are held at once."""


def check_base(codes: Codes | Standardised, base: Population | None) -> None:
    """Raise an error if there is a base, but no tensor to take from it."""
    if base is not None and codes.chosen.whole:
        raise CatalogError("All tensors are generated, so base= has no use. Leave it out.")


def rest_of(
    codes: Codes | Standardised,
    samples: Array,
    training: Population,
    base: Population | None,
    best_of: int = 1,
) -> Array | None:
    """Return canonical networks (n * best_of, d) with the tensors that are not generated.

    None if all tensors are generated.

    Parameters
    ----------
    codes : Codes or Standardised
        Map from canonical weights to codes.
    samples : ndarray of shape (n * best_of, k)
        Codes of the candidates; those of one sample are consecutive.
    training : Population
        Training networks; without a base, each candidate takes the tensors of the network
        with the nearest code.
    base : Population, optional
        One canonical network for all samples, or n networks.
    best_of : int
        Number of candidates of each sample.

    Raises
    ------
    CatalogError
        If the base has neither 1 nor n networks.
    """
    if codes.chosen.whole:
        return None
    if base is not None:
        n = len(samples) // best_of
        if len(base) not in (1, n):
            raise CatalogError(
                f"base must be 1 network, or one for each of {n} samples. Got {len(base)}."
            )
        return base.weights.repeat(len(samples) // len(base), 0)
    training_codes = torch.from_numpy(codes.encode(training.weights))
    batches = torch.from_numpy(samples).split(BATCH)
    nearest = torch.cat([torch.cdist(part, training_codes).argmin(1) for part in batches])
    nearest_weights: Array = training.weights[nearest.numpy()]
    return nearest_weights
