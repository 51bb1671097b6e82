"""Matching to training networks, to find copies with permuted or rescaled units."""

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
    """Matcher that puts each network in the units of the training networks.

    Each network is first aligned with the canonicaliser's reference, as training networks
    were, and then with single training networks of which it may be a copy. Matching cannot
    hide a copy: the distance of a matched network is used only if it is the smallest.
    Novelty 1 is the distance between training networks that are matched in the same way.

    Attributes
    ----------
    canonicaliser : Canonicaliser
        Canonicaliser that aligned the training networks.
    whole : Space
        Training networks in canonical units.
    body : Space, optional
        Parameters of the training networks before the last layer, with the others set to 0.
        The incoming weights of each unit have norm 1 there if its scale is free: in
        canonical units the norm depends on the last layer, which a copy can choose freely.
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
        """Return a matcher to training networks.

        Parameters
        ----------
        canonicaliser : Canonicaliser
            Canonicaliser of the generator.
        transported : Space
            Training networks in canonical units.
        columns : ndarray of bool, shape (d,)
            Parameters of the body.
        runs : ndarray of shape (n,), int64
            Run of each training network.
        functions : sequence of Space
            Functions of the same networks: the nearest networks there are possible
            originals.
        """
        layout = canonicaliser.layout_.widened()
        measured_index = measured_rows(len(runs))
        suspects = [
            rows for space in functions for rows in _two_rows(other_runs(space.train, runs))
        ]

        def measured(space: Space, others: Sequence[Array]) -> Near:
            near = other_runs(space.train, runs)
            rows = [*_two_rows(near), *others]
            return _matched(near, space.train[measured_index], space.train, layout, rows)

        near = measured(transported, suspects)
        matched_space = transported.measured_as(MATCHED, near.distance)
        matcher = cls(canonicaliser, matched_space, None, columns)
        if not columns.any() or columns.all():
            return matcher
        bodies = matcher._bodies(transported.train, layout)
        body = Space.of(f"{MATCHED}, rest", bodies, runs)
        near = measured(body, [*suspects, near.row])
        return replace(matcher, body=body.measured_as(body.name, near.distance))

    def near(self, networks: Population, suspects: Sequence[Array]) -> dict[str, Near]:
        """Return the nearest training networks of n networks after matching, by space.

        Networks so large that products of their weights are not finite are far, and not
        matched.

        Parameters
        ----------
        networks : Population
            Networks to match.
        suspects : sequence of ndarray of shape (n,)
            Rows of training networks to match each network with, beside those that are
            nearest in canonical units.
        """
        finite = _finite_squares(networks.weights)
        if not finite.any():
            all_spaces = [space for space in (self.whole, self.body) if space is not None]
            return {space.name: space.near(networks.weights) for space in all_spaces}
        aligned = self.canonicaliser.transform(networks.select(finite))
        spaces = {MATCHED: (self.whole, aligned.weights)}
        if self.body is not None:
            spaces[self.body.name] = (
                self.body,
                self._bodies(aligned.weights, aligned.layout),
            )
        near_by_space: dict[str, Near] = {}
        rows = [row[finite] for row in suspects]
        for name, (space, weights) in spaces.items():
            part = space.near(weights)
            part = _matched(
                part, weights, space.train, aligned.layout, [*_two_rows(part), *rows]
            )
            rows = [*rows, part.row]
            near = part
            if not finite.all():
                near = space.near(networks.weights)
                for field in ("distance", "second", "row", "second_row"):
                    getattr(near, field)[finite] = getattr(part, field)
            near_by_space[name] = replace(near, novelty=near.distance / space.scale)
        return near_by_space

    def _bodies(self, weights: Array, layout: Layout) -> Array:
        bodies = np.empty_like(weights, np.float32)
        for rows in chunks(*weights.shape):
            normalised = normalise(weights[rows], layout, self.canonicaliser.scaled_)
            bodies[rows] = np.where(self.columns, normalised, np.float32(0))
        return bodies


def _finite_squares(weights: Array) -> Array:
    """Return which networks (n,) have a finite squared norm in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite: Array = np.isfinite(np.einsum("nd,nd->n", weights, weights))
    return is_finite


def _two_rows(near: Near) -> tuple[Array, Array]:
    return near.row, near.second_row


def _matched(
    near: Near, weights: Array, train: Array, layout: Layout, suspects: Sequence[Array]
) -> Near:
    """Return the nearest rows of networks (n, d) after matching with the suspects."""
    is_finite = _finite_squares(weights)
    for rows in suspects:
        distance = np.full(len(weights), np.inf)
        for chunk in chunks(int(is_finite.sum()), weights.shape[1]):
            part = np.flatnonzero(is_finite)[chunk]
            train_weights = train[rows[part]]
            permutations = match(weights[part], train_weights, layout).permutations
            differences = (
                permute(weights[part], permutations, layout).astype(np.float64)
                - train_weights
            )
            distance[part] = np.linalg.norm(differences, axis=1)
        is_other = rows != near.row
        is_nearest = distance < near.distance
        is_second = ~is_nearest & is_other & (distance < near.second)
        near = replace(
            near,
            distance=np.where(is_nearest, distance, near.distance),
            row=np.where(is_nearest, rows, near.row),
            second=np.select(
                [is_nearest & is_other, is_second], [near.distance, distance], near.second
            ),
            second_row=np.select(
                [is_nearest & is_other, is_second], [near.row, rows], near.second_row
            ),
        )
    return near
