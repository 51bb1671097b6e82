"""Matching of units that contain units of other symbols: attention heads.

A head computes with products of two matrices, queries with keys and values with the
projection, so any basis within a head gives the same function. The first matching of the
heads therefore compares these products, which do not depend on the basis, and then orders
the positions within each head by their own votes. Later matchings try every pair of heads
with its best inner order, which makes the step exact: no order of heads and positions
collects more votes.

References
----------
.. [1] Rinaldi et al., 2025, arXiv:2505.22697, match heads by their spectra, then the units
   within. Differences here: inner products of the products of matrices instead of singular
   values of each product; one order for queries and keys and another for values and
   projection; biases vote.
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
    """Find the best order of heads and of the positions within each head.

    Parameters
    ----------
    home : str
        Symbol of the heads.
    heads, block : int
        Number of heads, and number of positions per head.
    inner : mapping of str to ndarray of shape (n, heads * block, heads * block) or None
        Votes for the symbols within the heads; None for a symbol without votes.
    own : ndarray of shape (n, heads, heads), optional
        Votes for the heads themselves.

    Returns
    -------
    dict of str to ndarray
        Permutations (n, heads) of ``home`` and (n, heads * block) of each inner symbol.
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
    """Order heads by the similarity of their products, then the positions within each head.

    Parameters
    ----------
    home, heads, block, inner
        Symbol, sizes and votes as in `nested`.
    likeness : ndarray of shape (n, heads, heads)
        Similarity of the heads of the reference and of each network.

    Returns
    -------
    dict of str to ndarray
        Permutations as in `nested`.
    """
    order = assign(likeness)
    permutations = {home: order}
    for name, votes in inner.items():
        orders = None
        if votes is not None:
            tiles = _tiles(votes, heads, block)
            index = order[:, :, None, None, None]
            matched = np.take_along_axis(tiles, index, axis=2).reshape(-1, block, block)
            orders = assign(matched).reshape(len(order), heads, block)
        permutations[name] = _within(order, orders, heads, block)
    return permutations


def product_likeness(
    reference: Sequence[Array], networks: Sequence[Array], heads: int, block: int
) -> Array:
    """Return the cosines (n, heads, heads) between the matrix products of heads.

    The inner product of ``Q^T K`` and ``Q'^T K'`` is the sum of the entries of
    ``(Q Q'^T) * (K K'^T)``, so no product is ever formed.

    Parameters
    ----------
    reference, networks : two ndarrays of shape (n, K, heads * block)
        The two matrices of each head, units last. n is 1 for a reference that all
        networks share.
    heads, block : int
        Number of heads, and number of positions per head.
    """
    first_grams, second_grams = (
        _tiles(reference_side.transpose(0, 2, 1) @ network_side, heads, block)
        for reference_side, network_side in zip(reference, networks, strict=True)
    )
    dot = (first_grams * second_grams).sum((3, 4), dtype=np.float64)
    reference_norms, network_norms = (
        _norms(sides, heads, block) for sides in (reference, networks)
    )
    cosine: Array = dot / (reference_norms[:, :, None] * network_norms[:, None, :])
    return cosine


def _norms(sides: Sequence[Array], heads: int, block: int) -> Array:
    """Return the norms (n, heads) of the products, with a tiny value instead of 0."""
    grams = []
    for side in sides:
        rows = side.reshape(len(side), -1, heads, block).transpose(0, 2, 3, 1)
        grams.append(rows @ rows.transpose(0, 1, 3, 2))
    squares = (grams[0] * grams[1]).sum((2, 3), dtype=np.float64)
    norms: Array = np.sqrt(np.maximum(squares, 1e-30))
    return norms


def _tiles(votes: Array, heads: int, block: int) -> Array:
    """Split votes into tiles (n, heads, heads, block, block), one per pair of heads."""
    split = votes.reshape(len(votes), heads, block, heads, block)
    return split.transpose(0, 1, 3, 2, 4)


def _within(order: Array, orders: Array | None, heads: int, block: int) -> Array:
    """Join permutations of heads and of positions to one permutation (n, heads * block).

    ``orders`` has shape (n, heads, heads, block), for each pair of heads, or (n, heads,
    block); None keeps the positions in order.
    """
    n = len(order)
    if orders is None:
        orders = np.broadcast_to(np.arange(block), (n, heads, block))
    elif orders.ndim == 4:
        orders = np.take_along_axis(orders, order[:, :, None, None], axis=2)[:, :, 0]
    joined: Array = (order[:, :, None] * block + orders).reshape(n, heads * block)
    return joined
