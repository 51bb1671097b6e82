"""Alignment of the networks of a cell to one order of units, so that they can be averaged.

The matching is that of `catalog.alignment`. This module adds what needs a model: the units
that are rectified, whose scales can be balanced, and a check of the layout's symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from catalog.alignment import balance, check_symmetries, match, permute, scalable
from catalog.dtypes import Array
from catalog.layout import Layout
from zoo.engine.stack_weights import StackWeights
from zoo.merging.made_weights import Group
from zoo.networks import Networks

HOMOGENEOUS = ("relu", "leaky_relu", "identity")
"""Activations with f(s x) = s f(x) for s > 0."""

ROUNDS = 5
"""Largest number of rounds that match each network of a cell to the mean of the others."""

TRIED = 32
"""Number of inputs on which symmetries are checked."""

Align = Callable[[Array, Array, Layout], Array]
"""Function of weights (n, d) and references (n, d) that returns reordered weights."""


def by_weights(weights: Array, reference: Array, layout: Layout) -> Array:
    """Align weights by weight matching, see `catalog.alignment.match`."""
    if not layout.symbols:
        return weights
    return permute(weights, match(weights, reference, layout).permutations, layout)


def balanced(networks: Networks) -> Array:
    """Return the weights with balanced scales of rectified units.

    The networks compute the same functions as before. Networks with non-finite weights are
    not changed.
    """
    layout = networks.architecture.layout
    symbols = _rectified(networks)
    if not symbols:
        return networks.weights
    out, alive = np.array(networks.weights), networks.alive
    out[alive] = balance(networks.weights[alive], layout, symbols)[0]
    return out


def _rectified(networks: Networks) -> tuple[str, ...]:
    """Return the symbols of units whose scales can be balanced."""
    if getattr(networks.architecture, "activation", None) not in HOMOGENEOUS:
        return ()
    return tuple(scalable(networks.architecture.layout))


def outputs_of(networks: Networks, seed: int = 0) -> Callable[[Array], Array]:
    """Return a function that computes the outputs of weights on a few training inputs.

    The function is meant for ``check=`` of `catalog.Canonicaliser` and for
    `catalog.alignment.check_symmetries`.
    """
    first_network = networks.take([0])
    run = replace(first_network.runs[0], train_samples=None, label_noise=0.0)
    samples = replace(first_network, runs=(run,)).samples("train", TRIED, seed)
    (batch,) = samples.batches()
    layout = networks.architecture.layout

    @torch.no_grad()
    def outputs(weights: Array) -> Array:
        stack = StackWeights(layout, np.asarray(weights, np.float32), networks.device)
        x = batch.x.expand(len(weights), *batch.x.shape[1:])
        values = networks.architecture.forward(stack.tensors, x)
        return values.reshape(len(weights), -1).cpu().numpy()

    return outputs


def check_alignment(networks: Networks, *, scales: bool = False) -> None:
    """Check that the symmetries used in alignment do not change what networks compute.

    The check uses networks with finite weights and finite, nonzero outputs.

    Parameters
    ----------
    networks : Networks
        Networks to check on.
    scales : bool, default=False
        Whether to check the scales of rectified units too.

    Raises
    ------
    SymmetryBroken
        If a symbol of the layout is wrong.
    """
    layout = networks.architecture.layout
    alive = np.flatnonzero(networks.alive)
    if not layout.symbols or not len(alive):
        return
    outputs = outputs_of(networks)
    largest = np.abs(outputs(networks.weights[alive])).max(1)
    usable = alive[np.isfinite(largest) & (largest > 0)]
    if len(usable):  # other networks tell nothing about the symmetries
        scaled = _rectified(networks) if scales else ()
        check_symmetries(
            networks.weights[usable], layout, outputs, scaled=scaled, tolerance=1e-4
        )


def align_groups(
    weights: Array,
    layout: Layout,
    groups: Sequence[Group],
    *,
    rounds: int = ROUNDS,
    align: Align = by_weights,
) -> list[Array]:
    """Align the weights of each group to one order of units.

    All networks are matched to the first network of their group. Then, in rounds, each
    network in turn is matched to the mean of the others, until no order changes [1]_.
    Groups are independent and are computed together.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Weights; must be finite in the rows of the groups.
    layout : Layout
        Layout of one network.
    groups : sequence of rows
        Rows of each group; the first row is the first reference.
    rounds : int, default=5
        Largest number of rounds; 0 matches to the first network only.
    align : callable, default=by_weights
        Function that matches weights to references.

    Returns
    -------
    list of ndarray of shape (m, d)
        Aligned weights of each group.

    References
    ----------
    .. [1] MergeMany of Ainsworth et al. 2022, arXiv:2209.04836.
    """
    aligned = [np.array(weights[np.asarray(group, np.int64)]) for group in groups]
    sizes = np.array([len(current) for current in aligned])
    if not layout.symbols or not len(aligned):
        return aligned
    later = [(g, j) for g, size in enumerate(sizes) for j in range(1, size)]
    if later:
        current = np.stack([aligned[g][j] for g, j in later])
        first = np.stack([aligned[g][0] for g, _ in later])
        for (g, j), matched in zip(later, align(current, first, layout), strict=True):
            aligned[g][j] = matched
    unsettled = (
        sizes > 2
    )  # in a group of two, the second is already matched to the only other
    for _ in range(rounds):
        changed = np.zeros(len(aligned), bool)
        for j in range(max(sizes, default=0)):
            members = [g for g in np.flatnonzero(unsettled).tolist() if j < sizes[g]]
            if not members:
                continue
            current = np.stack([aligned[g][j] for g in members])
            mean_of_others = np.stack(
                [(aligned[g].sum(0) - aligned[g][j]) for g in members]
            )
            mean_of_others /= (sizes[members] - 1)[:, None]
            matched = align(current, mean_of_others, layout)
            for g, before, after in zip(members, current, matched, strict=True):
                # A match is kept only if it is nearer: matching may find a worse optimum.
                mean = (aligned[g].sum(0) - before) / (sizes[g] - 1)
                if _distance(after, mean) < _distance(before, mean) * (1 - 1e-9):
                    aligned[g][j] = after
                    changed[g] = True
        unsettled &= changed
        if not unsettled.any():
            break
    return aligned


def _distance(first: Array, second: Array) -> float:
    """Return the squared Euclidean distance in double precision."""
    return float(np.square(first.astype(np.float64) - second).sum())
