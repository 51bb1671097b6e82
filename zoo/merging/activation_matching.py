"""Activation matching: units are matched by their correlation on training inputs.

Each layer is one linear assignment on the correlations of hidden features [1]_, [2]_, and
layers do not depend on each other. Unlike weight matching, activation matching needs data,
but no iteration over layers.

References
----------
.. [1] Li et al. 2016, arXiv:1511.07543.
.. [2] Ainsworth et al. 2022, arXiv:2209.04836.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from catalog import Layout, LayoutMismatch
from catalog.dtypes import Array
from zoo.architecture import Taps
from zoo.merging.made_weights import Group, stacks_with_inputs
from zoo.networks import Networks


def match_activations(
    networks: Networks,
    weights: Array,
    reference: Array,
    groups: Sequence[Group],
    *,
    samples: int = 1024,
    seed: int = 0,
) -> dict[str, Array]:
    """Return orders of the units of k networks that match them to a reference.

    Parameters
    ----------
    networks : Networks
        Networks that the weights come from, with architecture and data.
    weights, reference : ndarray of shape (k, d)
        Weights to match, and the reference of each.
    groups : sequence of k rows
        Rows of ``networks`` whose training inputs are used.
    samples : int, default=1024
        Largest number of training inputs.
    seed : int, default=0
        Seed of the random sample of inputs.

    Returns
    -------
    dict of str to ndarray of shape (k, size)
        Orders by symbol, for `catalog.permute`.

    Raises
    ------
    LayoutMismatch
        If the forward pass gives no features of the units of a symbol, as inside residual
        blocks.
    """
    layout = networks.architecture.layout
    features = (
        _features(networks, weights[:1], [groups[0]], samples, seed) if layout else {}
    )
    if missing := set(layout.symbols) - set(features):
        raise LayoutMismatch(
            f"{networks.architecture.name} gives no features of the units of "
            f"{', '.join(sorted(missing)[:3])}. Match by weights instead: "
            "catalog.alignment.match"
        )
    orders = {s: np.empty((len(weights), n), np.int64) for s, n in layout.symbols.items()}
    for k in range(len(weights)):
        pair = np.stack([reference[k], weights[k]])
        pair_features = _features(networks, pair, [groups[k]] * 2, samples, seed)
        for symbol, values in pair_features.items():
            reference_features, unit_features = (_standardised(v) for v in values)
            correlation = (reference_features.T @ unit_features).cpu().numpy()
            _, orders[symbol][k] = linear_sum_assignment(correlation, maximize=True)
    return orders


def _features(
    networks: Networks, weights: Array, groups: Sequence[Group], samples: int, seed: int
) -> dict[str, Tensor]:
    """Return features (k, values, units) by symbol."""
    parts_by_symbol: dict[str, list[Tensor]] = {}
    layout = networks.architecture.layout
    ((_, stack, inputs),) = stacks_with_inputs(networks, weights, groups, samples, seed)
    with torch.no_grad():
        for x in inputs.batches():
            taps: Taps = {}
            networks.architecture.forward(stack.tensors, x, taps=taps)
            for tap, values in taps.items():
                symbol = _symbol(layout, tap)
                if symbol is not None and values.dim() != 4:
                    units = values.flatten(3) if values.dim() > 3 else values[..., None]
                    parts_by_symbol.setdefault(symbol, []).append(
                        units.transpose(2, 3).flatten(1, 2)
                    )
    return {symbol: torch.cat(parts, 1) for symbol, parts in parts_by_symbol.items()}


def _symbol(layout: Layout, tap: str) -> str | None:
    """Return the symbol of the output units of a layer."""
    for part in ("weight", "bias"):
        if (name := f"{tap}.{part}") in layout:
            return layout[name].axes[0]
    return None


def _standardised(values: Tensor) -> Tensor:
    """Standardise columns to mean 0 and norm 1; constant columns become 0."""
    values = values.double()
    values = values - values.mean(0)
    norm = values.norm(dim=0)
    return torch.where(norm > 0, values / norm, 0.0)
