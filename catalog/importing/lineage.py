"""Lineage of the networks of a source, and the splits of related runs.

A network that holds all tensors of another network, bit for bit, under one prefix (``_f.``
in a tandem network) was made from that network. Related runs share their fixed splits,
because a network in test whose parent is in train would leak.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from catalog.errors import CatalogError, closest
from catalog.formats.format import Network
from catalog.storage.splits import common_split, split

Key = tuple[str, int]
_Parents = dict[str, list[dict[str, Any]]]


class Lineage:
    """Collector of networks that determines parents once all networks have been added."""

    def __init__(self) -> None:
        self._run_ids: dict[str, str] = {}
        self._whole: dict[str, list[Key]] = {}
        self._parts: dict[str, list[tuple[int, str]]] = {}
        self._stated: dict[str, tuple[tuple[str, int, str], ...]] = {}
        self._outside: dict[str, tuple[tuple[str, int, str], ...]] = {}
        self._split_keys: dict[str, tuple[str, ...]] = {}

    def add(self, network: Network, run_id: str, digests: Mapping[str, bytes]) -> None:
        """Add a network with the hash of each of its tensors."""
        name = network.run_name
        self._run_ids[name] = run_id
        if network.parents:
            self._stated[name] = (*self._stated.get(name, ()), *network.parents)
        if network.known_parents:
            known = self._outside.get(name, ())
            self._outside[name] = (*known, *network.known_parents)
        if network.split_keys:
            self._split_keys[name] = network.split_keys
        if not digests:
            return
        self._whole.setdefault(combined(digests), []).append((name, network.step))
        groups: dict[str, dict[str, bytes]] = {}
        for tensor, digest in digests.items():
            prefix, dot, inner_name = tensor.partition(".")
            if dot:
                groups.setdefault(prefix, {})[inner_name] = digest
        parts = [(network.step, combined(g)) for g in groups.values() if len(g) > 1]
        self._parts.setdefault(name, []).extend(parts)

    def parents(self) -> _Parents:
        """Return the parents by run name, for the runs that have parents.

        Raises
        ------
        CatalogError
            If a stated parent is not in the source.
        """
        parents_of: _Parents = {}
        for name, stated in self._stated.items():
            for parent, step, role in stated:
                self._append(parents_of, name, (parent, step), role)
        for name, parts in self._parts.items():
            for _, digest in parts:
                candidates = [key for key in self._whole.get(digest, ()) if key[0] != name]
                if len(candidates) == 1:  # equal networks make the parent ambiguous
                    self._append(parents_of, name, candidates[0], "embedded")
        for name, outside in self._outside.items():
            for run_id, step, role in outside:
                _link(parents_of, name, run_id, step, role)
        return parents_of

    def _append(self, parents_of: _Parents, name: str, parent: Key, role: str) -> None:
        if parent[0] not in self._run_ids:
            raise CatalogError(
                f"{name} names the parent {parent[0]!r}, which the source does not hold. "
                f"{closest(parent[0], self._run_ids)}"
            )
        _link(parents_of, name, self._run_ids[parent[0]], parent[1], role)

    def splits(self, zoo: str, parents: _Parents) -> dict[str, dict[str, str]]:
        """Return the fixed splits of related runs by run name.

        Related runs get the splits of the first of them that has no parent. ``run/model``
        is related to ``run``, whose folder holds its checkpoints. Runs with keys of their
        own get the splits of these.
        """
        names = {run_id: name for name, run_id in self._run_ids.items()}
        family: dict[str, str] = {}

        def head(name: str) -> str:
            while family.get(name, name) != name:
                name = family[name]
            return name

        order = {name: i for i, name in enumerate(self._run_ids)}
        pairs = [
            (name, names[link["run_id"]])
            for name, links in parents.items()
            for link in links
            if link["run_id"] in names
        ]
        folders = ((name, name.rpartition("/")[0]) for name in self._run_ids)
        pairs += [(name, folder) for name, folder in folders if folder in self._run_ids]
        for pair in pairs:
            heads = {head(name) for name in pair}
            if len(heads) > 1:
                first_head = min(heads, key=lambda n: (n in parents, order[n]))
                for member in heads:
                    family[member] = first_head
        splits_of = {}
        for name in family:
            root = self._run_ids[head(name)]
            splits_of[name] = {
                "split_by_run": split(root),
                "split_by_cell": split(f"{zoo}\0{root}"),
            }
        for name, keys in self._split_keys.items():
            splits_of[name] = {
                "split_by_run": common_split(keys),
                "split_by_cell": common_split(f"{zoo}\0{key}" for key in keys),
            }
        return splits_of


def _link(parents_of: _Parents, name: str, run_id: str, step: int, role: str) -> None:
    link = {"run_id": run_id, "step": step, "role": role}
    parents = parents_of.setdefault(name, [])
    if link not in parents:
        parents.append(link)


def combined(digests: Mapping[str, bytes]) -> str:
    """Combine the hashes of named tensors to one hash, independent of their order."""
    digest = hashlib.sha256()
    for name, value in sorted(digests.items()):
        digest.update(len(name.encode()).to_bytes(8, "little") + name.encode() + value)
    return digest.hexdigest()[:32]
