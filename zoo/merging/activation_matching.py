"""Activation matching: units that vary alike on training inputs belong together.

A linear assignment per layer on the correlations of hidden features [1]_, [2]_; layers do
not depend on each other. Unlike weight matching it needs data, and no two layers have to
agree.

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
    """Orders of the units of k networks in which they vary like those of a reference.

    Parameters
    ----------
    networks : Networks
        What the weights come from: architecture and data.
    weights, reference : ndarray of shape (k, d)
    groups : sequence of k rows
        Networks whose training inputs are used.
    samples : int, default=1024
        At most.

    Returns
    -------
    dict of str to ndarray of shape (k, size)
        By symbol, for `catalog.permute`.

    Raises
    ------
    LayoutMismatch
        If a symbol has no features of its own, as inside residual blocks.
    """
    layout = networks.architecture.layout
    seen = _features(networks, weights[:1], [groups[0]], samples, seed) if layout else {}
    if missing := set(layout.symbols) - set(seen):
        raise LayoutMismatch(
            f"{networks.architecture.name} shows no features of the units of "
            f"{', '.join(sorted(missing)[:3])}. Match by weights: catalog.alignment.match"
        )
    found = {s: np.empty((len(weights), n), np.int64) for s, n in layout.symbols.items()}
    for k in range(len(weights)):
        two = np.stack([reference[k], weights[k]])
        both = _features(networks, two, [groups[k]] * 2, samples, seed)
        for symbol, values in both.items():
            one, other = (_standardised(v) for v in values)
            likeness = (one.T @ other).cpu().numpy()
            _, found[symbol][k] = linear_sum_assignment(likeness, maximize=True)
    return found


def _features(
    networks: Networks, weights: Array, groups: Sequence[Group], samples: int, seed: int
) -> dict[str, Tensor]:
    """Features (k, values, units) by symbol."""
    found: dict[str, list[Tensor]] = {}
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
                    found.setdefault(symbol, []).append(units.transpose(2, 3).flatten(1, 2))
    return {symbol: torch.cat(parts, 1) for symbol, parts in found.items()}


def _symbol(layout: Layout, tap: str) -> str | None:
    """Symbol of the units that a layer writes."""
    for part in ("weight", "bias"):
        if (name := f"{tap}.{part}") in layout:
            return layout[name].axes[0]
    return None


def _standardised(values: Tensor) -> Tensor:
    """Columns of mean 0 and norm 1; those that do not vary are 0."""
    values = values.double()
    values = values - values.mean(0)
    norm = values.norm(dim=0)
    return torch.where(norm > 0, values / norm, 0.0)
