"""Groups of symbols that are solved together: a symbol and the symbols within its units."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.alignment.votes import Ballots


@dataclass(frozen=True)
class Group:
    """A symbol together with the symbols that lie within its units.

    Attributes
    ----------
    name : str
        Name of the outer symbol, such as attention heads.
    size : int
        Number of units of the outer symbol.
    inner : tuple of str
        Symbols within the units of the outer symbol.
    block : int
        Number of positions per unit that the inner symbols permute; 1 without inner
        symbols.
    """

    name: str
    size: int
    inner: tuple[str, ...] = ()
    block: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all symbols of the group, the outer symbol first."""
        return (self.name, *self.inner)


def groups_of(ballots: Ballots) -> list[Group]:
    """Return the groups that parameters vote for, in the order of the layout's symbols."""
    homes = ballots.layout.homes
    groups = []
    for name, size in ballots.sizes.items():
        inner = tuple(key for key, (home, _) in homes.items() if home == name)
        voted = any(ballots.fixed[key] or ballots.bound[key] for key in (name, *inner))
        if name not in homes and voted:
            groups.append(Group(name, size, inner, homes[inner[0]][1] if inner else 1))
    return groups
