"""Networks matched to training networks: copies whose units have another order or scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from catalog import Canonicaliser, Layout, Population
from catalog.alignment import match, normalise, permute
from catalog.alignment.matching import chunks
from catalog.dtypes import Array
from generators.judging.space import Near, Space, measured_rows, other_runs

MATCHED = "matched"


@dataclass(frozen=True)
class Matcher:
    """Brings networks into the units of training networks, each for itself.

    First as training networks were: aligned with the canonicaliser's reference. Then with
    single training networks that it may be a copy of. Where matching fails, a copy is as
    far as it was: distances of matched networks only ever stand beside others, of which
    the smallest counts. Novelty 1 is what training networks are apart, matched alike.

    Attributes
    ----------
    canonicaliser : Canonicaliser
        What took the training networks to where they are.
    whole : Space
        Training networks in canonical units.
    body : Space, optional
        Their parameters before the last layer, the others 0. What each unit reads has
        norm 1 there, where its scale is free: in canonical units it depends on the last
        layer, which a copy can have as it likes.
    columns : ndarray of bool, shape (d,)
        Parameters of the body.
    """

    canonicaliser: Canonicaliser
    whole: Space
    body: Space | None
    columns: Array

    @classmethod
    def of(
        cls,
        canonicaliser: Canonicaliser,
        transported: Space,
        columns: Array,
        runs: Array,
        functions: Sequence[Space],
    ) -> Self:
        """A matcher to training networks.

        Parameters
        ----------
        transported : Space
            Training networks in canonical units.
        columns : ndarray of bool, shape (d,)
        runs : ndarray of shape (n,), int64
        functions : sequence of Space
            The same networks, as what they compute: nearest there are suspects.
        """
        layout = canonicaliser.layout_.widened()
        some = measured_rows(len(runs))
        suspects = [
            rows for space in functions for rows in _both(other_runs(space.train, runs))
        ]

        def measured(space: Space, others: Sequence[Array]) -> Near:
            near = other_runs(space.train, runs)
            rows = [*_both(near), *others]
            return _matched(near, space.train[some], space.train, layout, rows)

        near = measured(transported, suspects)
        whole = transported.measured_as(MATCHED, near.distance)
        found = cls(canonicaliser, whole, None, columns)
        if not columns.any() or columns.all():
            return found
        bodies = found._bodies(transported.train, layout)
        body = Space.of(f"{MATCHED}, rest", bodies, runs)
        near = measured(body, [*suspects, near.row])
        return replace(found, body=body.measured_as(body.name, near.distance))

    def near(self, networks: Population, suspects: Sequence[Array]) -> dict[str, Near]:
        """Where n networks stand once their units are in order, by space.

        Parameters
        ----------
        suspects : sequence of ndarray of shape (n,)
            Rows of training networks to match each network with, beside those that are
            nearest in canonical units. Networks so large that products of their weights
            are not finite are far, and not matched.
        """
        finite = _squares_are_known(networks.weights)
        if not finite.any():
            both = [space for space in (self.whole, self.body) if space is not None]
            return {space.name: space.near(networks.weights) for space in both}
        own = self.canonicaliser.transform(networks.select(finite))
        spaces = {MATCHED: (self.whole, own.weights)}
        if self.body is not None:
            spaces[self.body.name] = self.body, self._bodies(own.weights, own.layout)
        found: dict[str, Near] = {}
        rows = [row[finite] for row in suspects]
        for name, (space, weights) in spaces.items():
            part = space.near(weights)
            part = _matched(part, weights, space.train, own.layout, [*_both(part), *rows])
            rows = [*rows, part.row]
            near = part
            if not finite.all():
                near = space.near(networks.weights)
                for field in ("distance", "second", "row", "second_row"):
                    getattr(near, field)[finite] = getattr(part, field)
            found[name] = replace(near, novelty=near.distance / space.scale)
        return found

    def _bodies(self, weights: Array, layout: Layout) -> Array:
        bodies = np.empty_like(weights, np.float32)
        for rows in chunks(*weights.shape):
            own = normalise(weights[rows], layout, self.canonicaliser.scaled_)
            bodies[rows] = np.where(self.columns, own, np.float32(0))
        return bodies


def _squares_are_known(weights: Array) -> Array:
    """Which networks (n,) have a squared norm in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Array = np.isfinite(np.einsum("nd,nd->n", weights, weights))
    return found


def _both(near: Near) -> tuple[Array, Array]:
    return near.row, near.second_row


def _matched(
    near: Near, weights: Array, train: Array, layout: Layout, suspects: Sequence[Array]
) -> Near:
    """Where networks (n, d) stand if they may be matched with rows of training networks."""
    known = _squares_are_known(weights)
    for rows in suspects:
        distance = np.full(len(weights), np.inf)
        for within in chunks(int(known.sum()), weights.shape[1]):
            part = np.flatnonzero(known)[within]
            theirs = train[rows[part]]
            order = match(weights[part], theirs, layout).permutations
            apart = permute(weights[part], order, layout).astype(np.float64) - theirs
            distance[part] = np.linalg.norm(apart, axis=1)
        other = rows != near.row
        first = distance < near.distance
        second = ~first & other & (distance < near.second)
        near = replace(
            near,
            distance=np.where(first, distance, near.distance),
            row=np.where(first, rows, near.row),
            second=np.select(
                [first & other, second], [near.distance, distance], near.second
            ),
            second_row=np.select(
                [first & other, second], [near.row, rows], near.second_row
            ),
        )
    return near
