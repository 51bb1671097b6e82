"""Symbols that are solved together: one, or heads and what is within them."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.alignment.votes import Ballots


@dataclass(frozen=True)
class Group:
    """A symbol with those that lie within its units.

    Attributes
    ----------
    name : str
    size : int
        Units of the symbol.
    inner : tuple of str
        Symbols within its units.
    block : int
        Positions of each unit that those permute; 1 without them.
    """

    name: str
    size: int
    inner: tuple[str, ...] = ()
    block: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """All symbols of the group."""
        return (self.name, *self.inner)


def groups_of(ballots: Ballots) -> list[Group]:
    """The groups of a layout that parameters vote for, in its order."""
    homes = ballots.layout.homes
    groups = []
    for name, size in ballots.sizes.items():
        inner = tuple(key for key, (home, _) in homes.items() if home == name)
        voted = any(ballots.fixed[key] or ballots.bound[key] for key in (name, *inner))
        if name not in homes and voted:
            groups.append(Group(name, size, inner, homes[inner[0]][1] if inner else 1))
    return groups
