"""Which network is embedded in another: modules that were reused, under any names.

The tensors of the smaller network are laid on those of the larger one wherever a run of
shapes fits, as modules stand together in a state dict; how well the values agree is a
correlation. Where the units of the copy may be in another order they are matched first.

Related: the importer finds bit-exact copies by their hashes. This finds noisy, partial and
permuted ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from catalog import Layout, LayoutMismatch, Param
from catalog.alignment import match, permute
from catalog.dtypes import Array

SURE = 6.0
"""Standard errors above chance that a link needs: one false one in 10^9 pairs."""

LIKELY = 4.0
"""And those of a tensor that counts on its own, so that the rest may have been replaced."""


@dataclass(frozen=True)
class Placement:
    """Tensors of a part laid on tensors of a host.

    Attributes
    ----------
    host, part : tuple of str
        Names, pairwise of one shape.
    coverage : float
        Share of the part's values that they hold.
    """

    host: tuple[str, ...]
    part: tuple[str, ...]
    coverage: float


@dataclass(frozen=True)
class Reuse:
    """For each host the part that it most likely embeds.

    Attributes
    ----------
    part : ndarray of shape (hosts,)
        Row of the part, or -1.
    best : ndarray of shape (hosts,)
        Row of the part with the highest score, link or not.
    scores : ndarray of shape (hosts, parts)
        Share of the part that is in the host, on the best placement: correlations of the
        tensors, weighted by size; of all, or of those that are likely copies. 1 of exact
        copies, about 0 of strangers.
    confidence : ndarray of shape (hosts,)
        1 - score of the second / score of the first.
    placements : tuple of Placement
    placement : ndarray of shape (hosts, parts)
        The one that was best.
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
    """Find the networks that others embed.

    A link needs a score of at least ``least`` and of `SURE` standard errors, and a
    confidence of at least ``apart``: a host that is as near to two parts may have either.

    Parameters
    ----------
    hosts : ndarray of shape (n, d_host)
    parts : ndarray of shape (m, d_part)
        Networks that may be embedded in them.
    permuted : bool, default=False
        Match units first, by the symbols of the part's layout.
    least : float, default=0.2
        Also the least coverage of a placement.
    apart : float, default=0.2

    Raises
    ------
    LayoutMismatch
        If weights do not fit their layouts, or units are to be matched and the part has
        no symbols.
    """
    for what, X, layout in (("hosts", hosts, host_layout), ("parts", parts, part_layout)):
        if X.ndim != 2 or X.shape[1] != layout.d:
            raise LayoutMismatch(
                f"{what} must be (n, {layout.d}) weights of their layout. Got {X.shape}."
            )
    found = tuple(placements(host_layout, part_layout, least))
    shape = (len(found), len(hosts), len(parts))
    scores, evidence = np.zeros(shape), np.zeros(shape)
    for k, place in enumerate(found):
        layout = _restricted(part_layout, place.part)
        on_hosts = _columns(hosts, host_layout, place.host)
        on_parts = _columns(parts, part_layout, place.part)
        compare = _matched if permuted else _correlations
        scores[k], evidence[k] = compare(on_hosts, on_parts, layout)
        scores[k] *= place.coverage
    if not found or not len(parts) or not len(hosts):
        none = np.full(len(hosts), -1)
        nothing = np.zeros(shape[1:])
        return Reuse(none, none, nothing, np.zeros(len(hosts)), found, nothing.astype(int))
    chosen = scores.argmax(0)
    best = scores.max(0)
    winner = best.argmax(1)
    rows = np.arange(len(hosts))
    top = best[rows, winner]
    second = np.sort(best, axis=1)[:, -2] if len(parts) > 1 else np.zeros(len(hosts))
    confidence = np.where(top > 0, 1 - np.maximum(second, 0) / np.maximum(top, 1e-12), 0.0)
    sure = evidence[chosen[rows, winner], rows, winner] >= SURE
    linked = sure & (top >= least) & (confidence >= apart)
    return Reuse(np.where(linked, winner, -1), winner, best, confidence, found, chosen)


def placements(host: Layout, part: Layout, least: float = 0.2) -> Iterator[Placement]:
    """Runs of neighbouring tensors of one shape in both, that cover ``least`` of the part.

    The longest ones: no placement is part of another.
    """
    ours = [p for p in host if p.in_vector]
    theirs = [p for p in part if p.in_vector]
    for offset in range(1 - len(theirs), len(ours)):
        run: list[tuple[Param, Param]] = []
        for j in range(len(theirs) + 1):
            i = j + offset
            inside = j < len(theirs) and 0 <= i < len(ours)
            if inside and ours[i].shape == theirs[j].shape:
                run.append((ours[i], theirs[j]))
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
    """Correlations (n, m), averaged over tensors with their sizes as weights.

    Also by how many standard errors they are above 0. Of all tensors, or of those that
    are likely copies, whichever gives more: where a part of a copy was replaced, the rest
    must not drown in the noise of the new values.
    """
    shape = (len(hosts), len(parts))
    whole, likely, size_likely = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for columns in layout.slices.values():
        size = columns.stop - columns.start
        found = _unit(hosts[:, columns]) @ _unit(parts[:, columns]).T
        counts = found * np.sqrt(size) >= LIKELY
        whole += size * found
        likely += np.where(counts, size * found, 0)
        size_likely += np.where(counts, size, 0)
    evidence = np.maximum(
        whole / np.sqrt(layout.d), likely / np.sqrt(np.maximum(size_likely, 1))
    )
    return np.maximum(whole, likely) / layout.d, evidence


def _unit(X: Array) -> Array:
    """Rows (n, size) without their mean and of length 1; 0 where all values are equal.

    A scalar has no deviation from its own mean, so it says nothing.
    """
    off = X - X.mean(1, keepdims=True, dtype=np.float64)
    length = np.linalg.norm(off, axis=1, keepdims=True)
    rounding = 1e-6 * np.abs(X).max(1, keepdims=True)
    return np.divide(off, length, out=np.zeros_like(off), where=length > rounding)


def _matched(hosts: Array, parts: Array, layout: Layout) -> tuple[Array, Array]:
    """`_correlations` after matching the units of each host to those of each part.

    Matched strangers are alike as well: only the confidence tells copies from them.
    """
    found, evidence = np.empty((2, len(hosts), len(parts)))
    for j, reference in enumerate(parts):
        orders = match(hosts, reference, layout).permutations
        moved = permute(np.asarray(hosts, np.float32), orders, layout)
        both = _correlations(moved, parts[j : j + 1], layout)
        found[:, j], evidence[:, j] = both[0][:, 0], both[1][:, 0]
    return found, evidence
