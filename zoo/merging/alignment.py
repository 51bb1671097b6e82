"""Networks of a cell with their units in one order, so that they can be averaged.

The matching is that of `catalog.alignment`. What only a model knows is added here: which
units are rectified, so that their scales can be balanced, and whether the symbols of the
layout are right.
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
"""Of matching each network of a cell to the mean of the others."""

TRIED = 32
"""Inputs on which symmetries are checked."""

Align = Callable[[Array, Array, Layout], Array]
"""Of weights (n, d) and a reference (n, d) each: the weights with units reordered."""


def by_weights(weights: Array, reference: Array, layout: Layout) -> Array:
    """Weight matching: `catalog.alignment.match`."""
    if not layout.symbols:
        return weights
    return permute(weights, match(weights, reference, layout).permutations, layout)


def balanced(networks: Networks) -> Array:
    """Weights of which rectified units have balanced scales; they compute the same.

    Networks that are not finite are left as they are.
    """
    layout = networks.architecture.layout
    symbols = _rectified(networks)
    if not symbols:
        return networks.weights
    out, alive = np.array(networks.weights), networks.alive
    out[alive] = balance(networks.weights[alive], layout, symbols)[0]
    return out


def _rectified(networks: Networks) -> tuple[str, ...]:
    """Symbols of units whose scales can be balanced."""
    if getattr(networks.architecture, "activation", None) not in HOMOGENEOUS:
        return ()
    return tuple(scalable(networks.architecture.layout))


def outputs_of(networks: Networks, seed: int = 0) -> Callable[[Array], Array]:
    """What networks of these weights answer on a few training inputs.

    For ``check=`` of `catalog.Canonicaliser`, and for `catalog.alignment.check_symmetries`.
    """
    one = networks.take([0])
    own = replace(one.runs[0], train_samples=None, label_noise=0.0)
    samples = replace(one, runs=(own,)).samples("train", TRIED, seed)
    (batch,) = samples.batches()
    layout = networks.architecture.layout

    @torch.no_grad()
    def outputs(weights: Array) -> Array:
        stack = StackWeights(layout, np.asarray(weights, np.float32), networks.device)
        x = batch.x.expand(len(weights), *batch.x.shape[1:])
        found = networks.architecture.forward(stack.tensors, x)
        return found.reshape(len(weights), -1).cpu().numpy()

    return outputs


def check_alignment(networks: Networks, *, scales: bool = False) -> None:
    """Check on living networks that the symmetries used here keep what they compute.

    Parameters
    ----------
    scales : bool, default=False
        Also those of rectified units.

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
    able = alive[np.isfinite(largest) & (largest > 0)]
    if len(able):  # with the others nothing can be checked, and nothing is lost
        scaled = _rectified(networks) if scales else ()
        check_symmetries(
            networks.weights[able], layout, outputs, scaled=scaled, tolerance=1e-4
        )


def align_groups(
    weights: Array,
    layout: Layout,
    groups: Sequence[Group],
    *,
    rounds: int = ROUNDS,
    align: Align = by_weights,
) -> list[Array]:
    """Weights of each group in one order of units.

    All are matched with the first of their group; then, in rounds, each with the mean of
    the others, one after the other, until nothing moves [1]_. Groups are independent, and
    go side by side.

    Parameters
    ----------
    weights : ndarray of shape (n, d)
        Finite where a group has them.
    groups : sequence of rows
        The first row of each leads.
    rounds : int, default=5
        At most; 0 matches with the first alone.

    Returns
    -------
    list of ndarray of shape (m, d)

    References
    ----------
    .. [1] MergeMany of Ainsworth et al. 2022, arXiv:2209.04836.
    """
    found = [np.array(weights[np.asarray(group, np.int64)]) for group in groups]
    sizes = np.array([len(own) for own in found])
    if not layout.symbols or not len(found):
        return found
    others = [(g, j) for g, size in enumerate(sizes) for j in range(1, size)]
    if others:
        own = np.stack([found[g][j] for g, j in others])
        first = np.stack([found[g][0] for g, _ in others])
        for (g, j), moved in zip(others, align(own, first, layout), strict=True):
            found[g][j] = moved
    busy = sizes > 2  # of two, the second was matched with all the others
    for _ in range(rounds):
        changed = np.zeros(len(found), bool)
        for j in range(max(sizes, default=0)):
            turn = [g for g in np.flatnonzero(busy).tolist() if j < sizes[g]]
            if not turn:
                continue
            own = np.stack([found[g][j] for g in turn])
            rest = np.stack([(found[g].sum(0) - found[g][j]) for g in turn])
            rest /= (sizes[turn] - 1)[:, None]
            moved = align(own, rest, layout)
            for g, before, after in zip(turn, own, moved, strict=True):
                # Only what comes nearer: matching ends in a local optimum.
                mean = (found[g].sum(0) - before) / (sizes[g] - 1)
                if _apart(after, mean) < _apart(before, mean) * (1 - 1e-9):
                    found[g][j] = after
                    changed[g] = True
        busy &= changed
        if not busy.any():
            break
    return found


def _apart(one: Array, other: Array) -> float:
    return float(np.square(one.astype(np.float64) - other).sum())
