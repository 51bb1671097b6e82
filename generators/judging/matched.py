"""Networks matched to training networks: copies whose units have another order or scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from catalog import Canonicaliser, Layout, Population
from catalog.alignment import match, normalise, permute
from catalog.dtypes import Array
from generators.judging.space import Near, Space, measured_rows, other_run, unit_of

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
        train: Array,
        columns: Array,
        runs: Array,
        functions: Sequence[Space],
    ) -> Self:
        """A matcher to training networks.

        Parameters
        ----------
        train : ndarray of shape (n, d)
            In canonical units.
        columns : ndarray of bool, shape (d,)
        runs : ndarray of shape (n,), int64
        functions : sequence of Space
            The same networks, as what they compute: nearest there are suspects.
        """
        layout = canonicaliser.layout_.widened()
        suspects = [other_run(space.train, runs)[1] for space in functions]

        def measured(
            name: str, networks: Array, others: list[Array]
        ) -> tuple[Space, Array]:
            distance, row = other_run(networks, runs)
            some = networks[measured_rows(len(networks))]
            near = Near(distance, distance, row, row, distance)
            near = _matched(near, some, networks, layout, [row, *others])
            unit = unit_of(name, near.distance)
            return Space(name, networks, near.distance, unit), near.row

        whole, row = measured(MATCHED, train, suspects)
        found = cls(canonicaliser, whole, None, columns)
        if not columns.any() or columns.all():
            return found
        bodies = found._bodies(train, layout)
        body, _ = measured(f"{MATCHED}, rest", bodies, [*suspects, row])
        return replace(found, body=body)

    def near(self, networks: Population, suspects: Sequence[Array]) -> dict[str, Near]:
        """Where n networks stand once their units are in order, by space.

        Parameters
        ----------
        suspects : sequence of ndarray of shape (n,)
            Rows of training networks to match each network with, beside those that are
            nearest in canonical units.
        """
        own = self.canonicaliser.transform(networks)

        def nearest(space: Space, weights: Array, others: Sequence[Array]) -> Near:
            near = space.near(weights)
            rows = [near.row, near.second_row, *others]
            near = _matched(near, weights, space.train, own.layout, rows)
            return replace(near, novelty=near.distance / space.scale)

        found = {self.whole.name: nearest(self.whole, own.weights, suspects)}
        if self.body is not None:
            bodies = self._bodies(own.weights, own.layout)
            rows = [*suspects, found[self.whole.name].row]
            found[self.body.name] = nearest(self.body, bodies, rows)
        return found

    def _bodies(self, weights: Array, layout: Layout) -> Array:
        bodies = normalise(weights, layout, self.canonicaliser.scaled_)
        return np.where(self.columns, bodies, np.float32(0))


def _matched(
    near: Near, weights: Array, train: Array, layout: Layout, suspects: Sequence[Array]
) -> Near:
    """Where networks (n, d) stand if they may be matched with rows of training networks."""
    for rows in suspects:
        theirs = train[rows]
        order = match(weights, theirs, layout).permutations
        apart = permute(weights, order, layout).astype(np.float64) - theirs
        distance = np.linalg.norm(apart, axis=1)
        closer = distance < near.distance
        moved = closer & (rows != near.row)
        near = replace(
            near,
            distance=np.where(closer, distance, near.distance),
            second=np.where(moved, near.distance, near.second),
            second_row=np.where(moved, near.row, near.second_row),
            row=np.where(closer, rows, near.row),
        )
    return near
