"""Matching the units of a symbol that have units within: attention heads.

A head computes with products of two matrices, queries with keys and values with the
projection, so that any basis within a head gives the same function. Which head is which
is therefore decided by those products at first, whatever the basis; the order within a
head by its own votes. Later every pair of heads is tried with its best order within, which
makes the step exact: no order of heads and units collects more votes.

References
----------
.. [1] Rinaldi et al., 2025, arXiv:2505.22697: heads by their spectra, then units within.
   Differs: inner products of the products of matrices instead of singular values of
   each, one order for queries and keys and another for values and projection, biases
   vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from catalog.alignment.assignment import assign
from catalog.dtypes import Array

Found = dict[str, Array]


def nested(
    home: str,
    heads: int,
    block: int,
    inner: Mapping[str, Array | None],
    own: Array | None,
) -> Found:
    """The best order of heads and of the positions within each.

    Parameters
    ----------
    home : str
        Symbol of the heads.
    inner : mapping of str to ndarray of shape (n, heads * block, heads * block) or None
        Votes of the symbols within them; None if nothing votes.
    own : ndarray of shape (n, heads, heads), optional
        Votes of the heads themselves.
    """
    total, within = own, {}
    for name, votes in inner.items():
        if votes is None:
            continue
        tiles = _tiles(votes, heads, block)
        n = len(tiles)
        orders = assign(tiles.reshape(-1, block, block)).reshape(n, heads, heads, block)
        value = np.take_along_axis(tiles, orders[..., None], axis=4).sum((3, 4))
        total = value if total is None else total + value
        within[name] = orders
    assert total is not None
    order = assign(total)
    return {home: order} | {
        name: _within(order, within.get(name), heads, block) for name in inner
    }


def by_products(
    home: str,
    heads: int,
    block: int,
    inner: Mapping[str, Array | None],
    likeness: Array,
) -> Found:
    """An order of heads by a likeness of what they compute, then the best one within.

    Parameters
    ----------
    likeness : ndarray of shape (n, heads, heads)
    """
    order = assign(likeness)
    found = {home: order}
    for name, votes in inner.items():
        orders = None
        if votes is not None:
            tiles = _tiles(votes, heads, block)
            index = order[:, :, None, None, None]
            matched = np.take_along_axis(tiles, index, axis=2).reshape(-1, block, block)
            orders = assign(matched).reshape(len(order), heads, block)
        found[name] = _within(order, orders, heads, block)
    return found


def product_likeness(
    reference: Sequence[Array], networks: Sequence[Array], heads: int, block: int
) -> Array:
    """Cosines (n, heads, heads) between the heads' products of two matrices.

    The inner product of ``Q^T K`` and ``Q'^T K'`` is the sum of the entries of
    ``(Q Q'^T) * (K K'^T)``, so no product is ever formed.

    Parameters
    ----------
    reference, networks : two ndarrays of shape (n, K, heads * block)
        The two matrices, units last; of a reference that all share, n is 1.
    """
    first, second = (
        _tiles(ours.transpose(0, 2, 1) @ theirs, heads, block)
        for ours, theirs in zip(reference, networks, strict=True)
    )
    dot = (first * second).sum((3, 4), dtype=np.float64)
    ours, theirs = (_norms(sides, heads, block) for sides in (reference, networks))
    cosine: Array = dot / (ours[:, :, None] * theirs[:, None, :])
    return cosine


def _norms(sides: Sequence[Array], heads: int, block: int) -> Array:
    """Norms (n, heads) of products; tiny instead of 0."""
    grams = []
    for side in sides:
        rows = side.reshape(len(side), -1, heads, block).transpose(0, 2, 3, 1)
        grams.append(rows @ rows.transpose(0, 1, 3, 2))
    squares = (grams[0] * grams[1]).sum((2, 3), dtype=np.float64)
    norms: Array = np.sqrt(np.maximum(squares, 1e-30))
    return norms


def _tiles(votes: Array, heads: int, block: int) -> Array:
    """Votes (n, heads, heads, block, block): of pairs of heads."""
    split = votes.reshape(len(votes), heads, block, heads, block)
    return split.transpose(0, 1, 3, 2, 4)


def _within(order: Array, orders: Array | None, heads: int, block: int) -> Array:
    """Permutation (n, heads * block) from that of heads and those within.

    ``orders`` has shape (n, heads, heads, block), for each pair, or (n, heads, block).
    """
    n = len(order)
    if orders is None:
        orders = np.broadcast_to(np.arange(block), (n, heads, block))
    elif orders.ndim == 4:
        orders = np.take_along_axis(orders, order[:, :, None, None], axis=2)[:, :, 0]
    joined: Array = (order[:, :, None] * block + orders).reshape(n, heads * block)
    return joined
