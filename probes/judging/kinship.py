"""Relations between runs, which must not be divided between the sides of a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from catalog.catalog import Catalog
from catalog.dtypes import Array

Parents = Mapping[str, Sequence[str]]
"""Parents of runs: run_ids by the run_id of a run that was made from other runs."""


def parents_in(catalog: Catalog) -> dict[str, list[str]]:
    """Return the parents of all runs of a catalogue that have parents."""
    query = "SELECT run_id, parents FROM runs WHERE len(parents) > 0"
    parents_of: dict[str, list[str]] = {}
    for run, parents in catalog.sql(query).fetchall():
        parents_of[run] = sorted({parent["run_id"] for parent in parents})
    return parents_of


def ancestors(run: str, parents: Parents) -> set[str]:
    """Return all runs that a run was made from, directly or indirectly."""
    visited: set[str] = set()
    queue = list(parents.get(run, ()))
    while queue:
        ancestor = queue.pop()
        if ancestor not in visited:
            visited.add(ancestor)
            queue += parents.get(ancestor, ())
    return visited


def branch(run: str, parents: Parents) -> str:
    """Return the ancestor of a run that is a child of the root; for a root, the root.

    The branch distinguishes siblings and their descendants. A run with several parents is
    its own branch.

    Examples
    --------
    >>> parents = {"child": ["root"], "grandchild": ["child"]}
    >>> branch("grandchild", parents), branch("root", parents)
    ('child', 'root')
    """
    run_parents, seen = parents.get(run, ()), {run}  # parents in a file may form a cycle
    while (
        len(run_parents) == 1 and parents.get(run_parents[0]) and run_parents[0] not in seen
    ):
        run, run_parents = run_parents[0], parents[run_parents[0]]
        seen.add(run)
    return run


def joined(*keys: Sequence[object]) -> Array:
    """Group (n,) rows that share a key of any kind, directly or through other rows.

    Parameters
    ----------
    keys : sequence of length n
        Keys of one kind per sequence; None is not shared.

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
    """Group (n,) rows whose runs are equal, share an ancestor, or one is an ancestor."""
    lineages = {run: {run, *ancestors(run, parents)} for run in set(runs)}
    pairs = ((i, member) for i, run in enumerate(runs) for member in lineages[run])
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
