"""Which runs descend from which: what may not stand on both sides of a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from catalog.catalog import Catalog
from catalog.dtypes import Array

Parents = Mapping[str, Sequence[str]]
"""run_id of runs that were made from others: run_ids of these."""


def parents_in(catalog: Catalog) -> dict[str, list[str]]:
    """The parents of all runs of a catalogue that have some."""
    query = "SELECT run_id, parents FROM runs WHERE len(parents) > 0"
    found: dict[str, list[str]] = {}
    for run, parents in catalog.sql(query).fetchall():
        found[run] = sorted({parent["run_id"] for parent in parents})
    return found


def ancestors(run: str, parents: Parents) -> set[str]:
    """All runs that a run was made from, directly or not."""
    found: set[str] = set()
    left = list(parents.get(run, ()))
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += parents.get(one, ())
    return found


def branch(run: str, parents: Parents) -> str:
    """The ancestor of a run that is a child of its root; the root itself for a root.

    Siblings, and what was made from them, are told apart by it. Where a run has several
    parents it is its own branch.

    Examples
    --------
    >>> parents = {"child": ["root"], "grandchild": ["child"]}
    >>> branch("grandchild", parents), branch("root", parents)
    ('child', 'root')
    """
    above, seen = parents.get(run, ()), {run}  # a file may say that they go in a circle
    while len(above) == 1 and parents.get(above[0]) and above[0] not in seen:
        run, above = above[0], parents[above[0]]
        seen.add(run)
    return run


def joined(*keys: Sequence[object]) -> Array:
    """Group (n,) of rows that share a key of any kind, directly or through others.

    Parameters
    ----------
    keys : sequence of length n
        Each of one kind; None is shared with nobody.

    Examples
    --------
    >>> joined(["a", "a", "b", "c"], [None, 1, 1, None]).tolist()
    [0, 0, 0, 1]
    """
    n = len(keys[0])
    return _components(
        n, ((i, (kind, key)) for kind, of in enumerate(keys) for i, key in enumerate(of))
    )


def families(runs: Sequence[str], parents: Parents) -> Array:
    """Group (n,) of rows whose runs share an ancestor, or are one run or its ancestor."""
    lines = {run: {run, *ancestors(run, parents)} for run in set(runs)}
    pairs = ((i, member) for i, run in enumerate(runs) for member in lines[run])
    return _components(len(runs), pairs)


def _components(n: int, pairs: Iterable[tuple[int, object]]) -> Array:
    rows, codes, known = [], [], dict[object, int]()
    for i, key in pairs:
        if key is None or (isinstance(key, tuple) and key[1] is None):
            continue
        rows.append(i)
        codes.append(known.setdefault(key, n + len(known)))
    size = n + len(known)
    graph = coo_matrix((np.ones(len(rows), bool), (rows, codes)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:n]
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group]
