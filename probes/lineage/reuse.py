"""Search for networks that are embedded in others: modules reused under any names.

The tensors of the smaller network are aligned with those of the larger network wherever a
sequence of shapes matches, as the tensors of a module are neighbours in a state dict. The
agreement of the values is measured by correlation. If the hidden units of the copy may be
permuted, they are matched first.

Related: the importer finds bit-exact copies by their hashes. This module finds noisy,
partial and permuted copies too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from catalog import Layout, LayoutMismatch, Param
from catalog.alignment import match, permute
from catalog.dtypes import Array

SURE = 6.0
"""Standard errors above chance that a link needs: one false link in 10^9 pairs."""

LIKELY = 4.0
"""Standard errors above chance at which a tensor counts as copied on its own, so that the
other tensors may have been replaced."""


@dataclass(frozen=True)
class Placement:
    """Tensors of a part aligned with tensors of a host.

    Attributes
    ----------
    host, part : tuple of str
        Names of the tensors, with equal shapes pairwise.
    coverage : float
        Share of the values of the part that these tensors hold.
    """

    host: tuple[str, ...]
    part: tuple[str, ...]
    coverage: float


@dataclass(frozen=True)
class Reuse:
    """Most likely embedded part of each host.

    Attributes
    ----------
    part : ndarray of shape (hosts,)
        Row of the embedded part, or -1.
    best : ndarray of shape (hosts,)
        Row of the part with the highest score, even if there is no link.
    scores : ndarray of shape (hosts, parts)
        Share of the part that is in the host, for the best placement: correlations of all
        tensors, or of tensors that are likely copies, weighted by size. 1 for exact copies,
        about 0 for unrelated networks.
    confidence : ndarray of shape (hosts,)
        1 - score of the second / score of the first.
    placements : tuple of Placement
        Candidate placements of a part in a host.
    placement : ndarray of shape (hosts, parts)
        Index of the best placement.
    """

    part: Array
    best: Array
    scores: Array
    confidence: Array
    placements: tuple[Placement, ...]
    placement: Array


def find_reuse(
    hosts: Array,
    host_layout: Layout,
    parts: Array,
    part_layout: Layout,
    *,
    permuted: bool = False,
    least: float = 0.2,
    apart: float = 0.2,
) -> Reuse:
    """Find the networks that are embedded in others.

    A link needs a score of at least ``least`` and of `SURE` standard errors, and a
    confidence of at least ``apart``, as a host that is equally near to two parts may embed
    either.

    Parameters
    ----------
    hosts : ndarray of shape (n, d_host)
        Networks that may embed others.
    parts : ndarray of shape (m, d_part)
        Networks that may be embedded in the hosts.
    permuted : bool, default=False
        Match units first, by the symbols of the layout of the part.
    least : float, default=0.2
        Minimum score of a link, and minimum coverage of a placement.
    apart : float, default=0.2
        Minimum confidence of a link.

    Raises
    ------
    LayoutMismatch
        If weights do not match their layouts, or if ``permuted`` and the layout of the part
        has no symbols.
    """
    for role, X, layout in (("hosts", hosts, host_layout), ("parts", parts, part_layout)):
        if X.ndim != 2 or X.shape[1] != layout.d:
            raise LayoutMismatch(
                f"{role} must be weights of shape (n, {layout.d}), as in their layout. Got "
                f"{X.shape}."
            )
    candidates = tuple(placements(host_layout, part_layout, least))
    shape = (len(candidates), len(hosts), len(parts))
    scores, evidence = np.zeros(shape), np.zeros(shape)
    for k, place in enumerate(candidates):
        layout = _restricted(part_layout, place.part)
        host_values = _columns(hosts, host_layout, place.host)
        part_values = _columns(parts, part_layout, place.part)
        compare = _matched if permuted else _correlations
        scores[k], evidence[k] = compare(host_values, part_values, layout)
        scores[k] *= place.coverage
    if not candidates or not len(parts) or not len(hosts):
        none = np.full(len(hosts), -1)
        zeros = np.zeros(shape[1:])
        return Reuse(none, none, zeros, np.zeros(len(hosts)), candidates, zeros.astype(int))
    best_placement = scores.argmax(0)
    best = scores.max(0)
    winner = best.argmax(1)
    rows = np.arange(len(hosts))
    highest = best[rows, winner]
    second = np.sort(best, axis=1)[:, -2] if len(parts) > 1 else np.zeros(len(hosts))
    confidence = np.where(
        highest > 0, 1 - np.maximum(second, 0) / np.maximum(highest, 1e-12), 0.0
    )
    significant = evidence[best_placement[rows, winner], rows, winner] >= SURE
    linked = significant & (highest >= least) & (confidence >= apart)
    return Reuse(
        np.where(linked, winner, -1), winner, best, confidence, candidates, best_placement
    )


def placements(host: Layout, part: Layout, least: float = 0.2) -> Iterator[Placement]:
    """Yield sequences of tensors with equal shapes in both, covering ``least`` of the part.

    Sequences are the longest possible: no placement is contained in another.
    """
    host_tensors = [p for p in host if p.in_vector]
    part_tensors = [p for p in part if p.in_vector]
    for offset in range(1 - len(part_tensors), len(host_tensors)):
        run: list[tuple[Param, Param]] = []
        for j in range(len(part_tensors) + 1):
            i = j + offset
            inside = j < len(part_tensors) and 0 <= i < len(host_tensors)
            if inside and host_tensors[i].shape == part_tensors[j].shape:
                run.append((host_tensors[i], part_tensors[j]))
                continue
            coverage = sum(p.size for _, p in run) / max(part.d, 1)
            if run and coverage >= least:
                names = ([a.name for a, _ in run], [b.name for _, b in run])
                yield Placement(tuple(names[0]), tuple(names[1]), coverage)
            run = []


def _restricted(layout: Layout, names: tuple[str, ...]) -> Layout:
    return Layout(tuple(layout[name] for name in names))


def _columns(X: Array, layout: Layout, names: tuple[str, ...]) -> Array:
    return np.concatenate([X[:, layout.slices[name]] for name in names], axis=1)


def _correlations(hosts: Array, parts: Array, layout: Layout) -> tuple[Array, Array]:
    """Compute correlations (n, m), averaged over tensors by size, and their evidence.

    The evidence is the number of standard errors above 0. Both are the larger of the values
    over all tensors and over likely copies only, so that replaced tensors of a copy do not
    hide the others.
    """
    shape = (len(hosts), len(parts))
    total, likely, size_likely = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for columns in layout.slices.values():
        size = columns.stop - columns.start
        correlation = _unit(hosts[:, columns]) @ _unit(parts[:, columns]).T
        is_likely = correlation * np.sqrt(size) >= LIKELY
        total += size * correlation
        likely += np.where(is_likely, size * correlation, 0)
        size_likely += np.where(is_likely, size, 0)
    evidence = np.maximum(
        total / np.sqrt(layout.d), likely / np.sqrt(np.maximum(size_likely, 1))
    )
    return np.maximum(total, likely) / layout.d, evidence


def _unit(X: Array) -> Array:
    """Centre rows (n, size), and scale them to length 1; 0 if all values are equal.

    A scalar equals its mean, so it carries no information.
    """
    deviations = X - X.mean(1, keepdims=True, dtype=np.float64)
    length = np.linalg.norm(deviations, axis=1, keepdims=True)
    rounding = 1e-6 * np.abs(X).max(1, keepdims=True)
    return np.divide(
        deviations, length, out=np.zeros_like(deviations), where=length > rounding
    )


def _matched(hosts: Array, parts: Array, layout: Layout) -> tuple[Array, Array]:
    """Compute `_correlations` after matching the units of each host to those of each part.

    Unrelated networks correlate after matching too; only the confidence separates copies.
    """
    correlations, evidence = np.empty((2, len(hosts), len(parts)))
    for j, reference in enumerate(parts):
        orders = match(hosts, reference, layout).permutations
        permuted = permute(np.asarray(hosts, np.float32), orders, layout)
        matched = _correlations(permuted, parts[j : j + 1], layout)
        correlations[:, j], evidence[:, j] = matched[0][:, 0], matched[1][:, 0]
    return correlations, evidence
